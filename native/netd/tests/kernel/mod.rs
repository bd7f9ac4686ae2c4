// SPDX-License-Identifier: Apache-2.0
//! What tests against the kernel share: a namespace of their own, programs, netd,
//! nft's JSON.

#![allow(dead_code)] // each test file uses what it needs

use serde_json::Value;
use std::fs::DirBuilder;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Set in the inner run.
pub const INSIDE: &str = "TAPYARD_TEST_INSIDE";

/// Runs this test's body in a fresh namespace: true for the inner run, which does the work.
pub fn inside(test: &str) -> bool {
    inside_of(test, "-Urn", "")
}

/// The same in the namespaces that `unshare` makes of these flags, after this script.
pub fn inside_of(test: &str, flags: &str, script: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(flags.split(' '))
        .args(["--", "sh", "-ec"])
        .arg(format!("{script}\nexec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) is needed for this test");
    assert!(
        status.success(),
        "{test} failed inside `unshare {flags}` ({status})"
    );
    false
}

/// A directory that netd takes for its own.
pub fn netd_directory(test: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tapyard-{test}-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}

/// The program.
pub const NETD: &str = env!("CARGO_BIN_EXE_tapyard-netd");

/// A netd with these arguments, and the one line that it says.
pub fn start_netd(args: &[&str], directory: &Path) -> (Child, Value) {
    start_copy(NETD, args, directory)
}

/// The same of a copy of the program.
pub fn start_copy(program: &str, args: &[&str], directory: &Path) -> (Child, Value) {
    let mut netd = Command::new(program)
        .args(args)
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(netd.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    // stdout ends for whoever waits for its end.
    assert_eq!(out.read_to_string(&mut String::new()).unwrap(), 0);
    (netd, serde_json::from_str(&line).unwrap())
}

pub fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let out = out.unwrap_or_else(|e| panic!("{program} is needed for this test: {e}"));
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

pub fn sh(script: &str) -> String {
    run("sh", &["-ec", script])
}

/// What `nft -j list ruleset` says, without handles, counts and its own version.
pub fn normalised(json: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| {
                    !matches!(key.as_str(), "handle" | "packets" | "bytes" | "metainfo")
                });
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(json).unwrap();
    strip(&mut value);
    value
}
