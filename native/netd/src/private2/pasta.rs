// SPDX-License-Identifier: Apache-2.0
//! pasta(1): the way out of a namespace, with no privilege, through ordinary sockets.

use super::anchor::Anchor;
use super::namespaces::{enter, fork_into};
use crate::process::{Identity, Process};
use crate::programs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, waitpid};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tapyard_protocol::{Code, Error, Result};

/// Its interface in the lab's namespace.
pub const DEVICE: &str = "up0";
/// That interface's address; link-local (RFC 3927), so that it meets nobody's subnet.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);
/// The other end, where there is nothing but pasta.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 1);

const RECORD: &str = "pasta.json";
/// How long three forks may take.
const START_DEADLINE: Duration = Duration::from_secs(5);
/// How long it may take to go on SIGTERM.
const END_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    pid: u32,
    start: u64,
}

/// A running pasta.
#[derive(Debug)]
pub struct Pasta {
    process: Process,
    record: PathBuf,
    /// What it wrote on stderr; none for one that was adopted.
    words: Option<File>,
}

impl Pasta {
    /// The one that a netd before this one started, if it lives.
    pub fn running(directory: &Path) -> Option<Pasta> {
        let record = directory.join(RECORD);
        let read: Record = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        let process = Process::hold(Identity {
            pid: read.pid,
            start: read.start,
        })?;
        Some(Pasta {
            process,
            record,
            words: None,
        })
    }

    /// Starts it in the anchor's user and process namespaces and in the network namespace of the
    /// caller. `PASTA_MISSING`, `PASTA_FAILED`; failing later it says so by ending.
    pub fn start(directory: &Path, anchor: &Anchor, host_servers: &[IpAddr]) -> Result<Pasta> {
        let program = programs::find("pasta").ok_or_else(|| {
            Error::new(
                Code::PastaMissing,
                "there is no pasta on this machine, so guests in the private scope have no way out",
            )
            .hint("Install it (Debian: apt install passt); guests have their way out as soon as the lab is brought up again.")
        })?;
        let broken = |e: io::Error| failed(&e.to_string());
        // Its last words go to memory: it outlives netd, and a pipe would not.
        let words = rustix::fs::memfd_create("pasta", MemfdFlags::CLOEXEC)
            .map(File::from)
            .map_err(|e| broken(e.into()))?;
        let mut command = Command::new(program);
        command
            .args(arguments(anchor.keeper.pid(), host_servers))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words.try_clone().map_err(broken)?);
        let pid = start_inside(anchor, &mut command).map_err(broken)?;
        let pasta = Identity::of(pid).and_then(|identity| {
            let record = directory.join(RECORD);
            write_record(&record, identity).ok()?;
            Some(Pasta {
                process: Process::hold(identity)?,
                record,
                words: words.try_clone().ok(),
            })
        });
        pasta.ok_or_else(|| failed(&last_words(&words)))
    }

    /// Its number, as netd sees it.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Readable when it has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.process.fd()
    }

    /// Why it ended, after it did: `PASTA_FAILED`.
    pub fn obituary(&self) -> Error {
        match &self.words {
            Some(words) => failed(&last_words(words)),
            None => failed("it ended"),
        }
    }

    /// Ends it and forgets it. False when it does not go.
    pub fn end(self) -> bool {
        let ended = self.process.end(END_PATIENCE);
        let _ = std::fs::remove_file(&self.record);
        ended
    }

    /// Forgets one that ended by itself.
    pub fn bury(self) {
        let _ = std::fs::remove_file(&self.record);
    }
}

/// Hardened: its defaults would let guests reach the host's loopback services (`-t`, `-u`, `-T`
/// and `-U` default to auto, and the gateway's address to the host's loopback).
fn arguments(keeper: u32, host_servers: &[IpAddr]) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--foreground",
        "--quiet",
        "--ipv4-only",
        "--config-net",
        "--tcp-ports",
        "none",
        "--udp-ports",
        "none",
        "--tcp-ns",
        "none",
        "--udp-ns",
        "none",
        "--no-map-gw",
        "--no-dhcp",
        "--ns-ifname",
        DEVICE,
        "--netmask",
        "30",
        "--mtu",
        "65520",
    ]
    .map(str::to_owned)
    .into();
    arguments.extend(["--address".into(), ADDRESS.to_string()]);
    arguments.extend(["--gateway".into(), GATEWAY.to_string()]);
    if forwards_dns(host_servers) {
        arguments.extend(["--dns-forward".into(), GATEWAY.to_string()]);
    }
    arguments.extend([
        "--userns".into(),
        format!("/proc/{keeper}/ns/user"),
        "--netns".into(),
        format!("/proc/{keeper}/ns/net"),
    ]);
    arguments
}

/// A resolver on the host's loopback (systemd-resolved's 127.0.0.53, say) is out of the lab's
/// reach; pasta then hands questions to it.
fn forwards_dns(host_servers: &[IpAddr]) -> bool {
    host_servers.first().is_some_and(IpAddr::is_loopback)
}

/// Where the lab's dnsmasq asks, given the host's servers.
pub fn servers_inside(host_servers: &[IpAddr]) -> Vec<IpAddr> {
    if forwards_dns(host_servers) {
        return vec![GATEWAY.into()];
    }
    host_servers
        .iter()
        .copied()
        .filter(|server| !server.is_loopback())
        .collect()
}

/// Runs a command in the anchor's user and process namespaces, which its first process does not
/// enter by setns(2) itself but its child does. Answers the number that netd sees.
fn start_inside(anchor: &Anchor, command: &mut Command) -> io::Result<u32> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(middle) = fork_into(0)? else {
        let pid = (|| -> io::Result<i32> {
            enter(anchor.anchor.fd(), libc::CLONE_NEWUSER | libc::CLONE_NEWPID)?;
            match fork_into(0)? {
                Some(pid) => Ok(pid.as_raw_nonzero().get()),
                None => {
                    let _ = rustix::process::setsid();
                    let cause = command.exec();
                    eprintln!("pasta: {cause}");
                    std::process::exit(127);
                }
            }
        })();
        let word = pid.map_or_else(|e| format!("E{e}"), |pid| pid.to_string());
        let _ = rustix::io::write(&write, word.as_bytes());
        std::process::exit(0);
    };
    drop(write);
    let timeout = Timespec::try_from(START_DEADLINE).map_err(io::Error::other)?;
    let mut word = String::new();
    if poll(&mut [PollFd::new(&read, PollFlags::IN)], Some(&timeout))? > 0 {
        // The write end is close-on-exec and the middle process ends, so there is an end.
        File::from(read).take(512).read_to_string(&mut word)?;
    }
    let _ = waitpid(Some(middle), WaitOptions::empty());
    match word.strip_prefix('E') {
        Some(cause) => Err(io::Error::other(cause.to_owned())),
        None => word.parse().map_err(io::Error::other),
    }
}

fn write_record(path: &Path, identity: Identity) -> io::Result<()> {
    let record = Record {
        pid: identity.pid,
        start: identity.start,
    };
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&serde_json::to_vec(&record)?)
}

fn failed(words: &str) -> Error {
    Error::new(
        Code::PastaFailed,
        format!("pasta, the lab's way out, ended: {words}"),
    )
    .hint("Guests reach each other and the host's bridge; netd tries again by itself.")
}

/// What it said, without the phrase that it only says because it has no system log.
fn last_words(words: &File) -> String {
    let mut text = String::new();
    let mut words = words;
    let read = words
        .rewind()
        .and_then(|()| words.take(4096).read_to_string(&mut text));
    let said: Vec<&str> = text
        .lines()
        .filter(|line| !line.ends_with("bytes to syslog") && !line.is_empty())
        .collect();
    match (read, said.is_empty()) {
        (Ok(_), false) => said.join("; "),
        _ => "it ended without a word".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_resolvers_are_asked_through_pasta() {
        let servers =
            |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|ip| ip.parse().unwrap()).collect() };
        let stub = servers(&["127.0.0.53"]);
        assert!(arguments(7, &stub).contains(&"--dns-forward".to_owned()));
        assert_eq!(servers_inside(&stub), servers(&["169.254.2.1"]));
        let lan = servers(&["10.0.0.1", "127.0.0.1"]);
        assert!(!arguments(7, &lan).contains(&"--dns-forward".to_owned()));
        assert_eq!(servers_inside(&lan), servers(&["10.0.0.1"]));
    }
}
