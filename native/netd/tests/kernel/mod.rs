// SPDX-License-Identifier: Apache-2.0
//! What tests against the kernel share: a namespace of their own, programs, nft's JSON.

#![allow(dead_code)] // each test file uses what it needs

use serde_json::Value;
use std::process::{Command, Stdio};

const INSIDE: &str = "TAPYARD_TEST_INSIDE";

/// Runs this test's body in a fresh namespace: true for the inner run, which does the work.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["-Urn", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) is needed for this test");
    assert!(
        status.success(),
        "{test} failed inside `unshare -Urn` ({status})"
    );
    false
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
