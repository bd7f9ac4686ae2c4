// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap forward` where descriptors run out.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A forward to a guest of a netd that is not there: each connection is reset.
struct Forward {
    process: Child,
    at: SocketAddr,
    watch: PathBuf,
}

impl Forward {
    fn start() -> Forward {
        let watch = std::env::temp_dir().join(format!("tapyard-watch-{}", std::process::id()));
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = free.local_addr().unwrap();
        drop(free);
        let mut process = Command::new(env!("CARGO_BIN_EXE_tapyard-tap"))
            .args(["forward", "--netd", "/nowhere/netd.sock", "--lab", "seed"])
            .args(["--listen", &at.to_string(), "--to", "192.168.57.2:80"])
            .arg("--watch")
            .arg(&watch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut begin = process.stdin.take().unwrap();
        begin.write_all(b"\n").unwrap();
        let mut said = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        assert!(said.contains("listening"), "{said}");
        Forward { process, at, watch }
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.process.id().to_string())
    }

    /// Only descriptors below that may be had from now on.
    fn limit(&self, below: usize) {
        let pid = self.process.id().to_string();
        let limit = format!("--nofile={below}:1024");
        let done = Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .status();
        assert!(done.unwrap().success());
    }

    /// The number that its next descriptor gets.
    fn next(&self) -> usize {
        let taken = |number: &usize| self.proc().join(format!("fd/{number}")).is_symlink();
        (0..).find(|number| !taken(number)).unwrap()
    }

    /// Whether it sleeps most of the time, for half a second. What spins runs or wants to.
    fn sleeps(&self) -> bool {
        let asleep = || {
            fs::read_to_string(self.proc().join("stat"))
                .unwrap()
                .contains(") S ")
        };
        let looks = (0..50).filter(|_| {
            sleep(Duration::from_millis(10));
            asleep()
        });
        looks.count() > 25
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.watch);
    }
}

fn is_reset(mut client: &TcpStream) -> bool {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let read = client.read(&mut [0]);
    read.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}

/// Killed before it has noted the process, a core leaves none that listens.
#[test]
fn does_not_begin_for_one_who_ends_without_a_word() {
    let watch = std::env::temp_dir().join(format!("tapyard-unnoted-{}", std::process::id()));
    let done = Command::new(env!("CARGO_BIN_EXE_tapyard-tap"))
        .args(["forward", "--netd", "/nowhere/netd.sock", "--lab", "seed"])
        .args(["--listen", "127.0.0.1:1", "--to", "192.168.57.2:80"])
        .arg("--watch")
        .arg(&watch)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stdout.is_empty());
    assert!(String::from_utf8_lossy(&done.stderr).contains("has not noted it"));
    assert!(!watch.exists());
}

#[test]
fn waits_for_descriptors() {
    let forward = Forward::start();
    // By then it has opened what it opens.
    assert!(forward.sleeps());
    // Enough for a client, and for nothing that leads on.
    let next = forward.next();
    forward.limit(next + 1);
    for _ in 0..3 {
        assert!(is_reset(&TcpStream::connect(forward.at).unwrap()));
    }

    forward.limit(next);
    let client = TcpStream::connect(forward.at).unwrap();
    let watcher = UnixStream::connect(&forward.watch).unwrap();
    assert!(forward.sleeps());

    forward.limit(1024);
    assert!(is_reset(&client));
    watcher.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut told = String::new();
    BufReader::new(watcher).read_line(&mut told).unwrap();
    assert!(told.contains("\"flows\":0"), "{told}");
}
