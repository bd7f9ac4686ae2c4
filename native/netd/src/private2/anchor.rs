// SPDX-License-Identifier: Apache-2.0
//! The anchor and the keeper: two processes that do nothing but hold the lab's namespaces.

use super::namespaces::{
    become_root, denied, fork_into, let_go_of_all_but, own_pid, own_proc_again, set_name,
};
use crate::process::{Identity, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitOptions, getegid, geteuid, wait};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tapyard_protocol::{Code, Error, Result};

/// The record's name in netd's directory.
const RECORD: &str = "anchor.json";
/// How long two forks may take.
const START_DEADLINE: Duration = Duration::from_secs(5);
/// How long the kernel may take to end a process namespace.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// A process as it is written down.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    pid: u32,
    start: u64,
}

impl From<Identity> for Recorded {
    fn from(identity: Identity) -> Recorded {
        Recorded {
            pid: identity.pid,
            start: identity.start,
        }
    }
}

impl Recorded {
    fn hold(self) -> Option<Process> {
        Process::hold(Identity {
            pid: self.pid,
            start: self.start,
        })
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    anchor: Recorded,
    keeper: Recorded,
}

/// The lab's namespaces, held.
#[derive(Debug)]
pub struct Anchor {
    /// Pid 1 of the lab's process namespace, in user namespace A.
    pub anchor: Process,
    /// In user namespace B, which owns the lab's network namespace.
    pub keeper: Process,
    /// Made just now, not found.
    pub fresh: bool,
    record: PathBuf,
}

impl Anchor {
    /// The one that is recorded in netd's directory, if it lives; else a new one.
    /// `NAMESPACE_DENIED`, `ANCHOR_FAILED`.
    pub fn find_or_start(directory: &Path) -> Result<Anchor> {
        let record = directory.join(RECORD);
        if let Some((anchor, keeper)) = recorded(&record) {
            return Ok(Anchor {
                anchor,
                keeper,
                fresh: false,
                record,
            });
        }
        let (anchor, keeper) = start()?;
        let held = Anchor {
            anchor,
            keeper,
            fresh: true,
            record,
        };
        held.write().map_err(|e| {
            // Without a record nobody would ever find it again.
            held.anchor.signal(rustix::process::Signal::KILL);
            failed(&format!("write {}: {e}", held.record.display()))
        })?;
        Ok(held)
    }

    fn write(&self) -> io::Result<()> {
        let of = |process: &Process| {
            Identity::of(process.pid())
                .map(Recorded::from)
                .ok_or_else(|| io::Error::other("it ended at once"))
        };
        let record = Record {
            anchor: of(&self.anchor)?,
            keeper: of(&self.keeper)?,
        };
        let temporary = self.record.with_extension("new");
        let mut file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        std::fs::rename(&temporary, &self.record)
    }

    /// Ends the anchor and with it everything that lives in its process namespace.
    pub fn end(&self) -> Result<()> {
        self.anchor.signal(rustix::process::Signal::KILL);
        if !self.anchor.ended_within(END_PATIENCE) {
            return Err(failed("the kernel does not end it"));
        }
        match std::fs::remove_file(&self.record) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(failed(&format!("remove {}: {e}", self.record.display())))
            }
            _ => Ok(()),
        }
    }
}

fn recorded(record: &Path) -> Option<(Process, Process)> {
    let record: Record = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    let anchor = record.anchor.hold()?;
    match record.keeper.hold() {
        Some(keeper) => Some((anchor, keeper)),
        None => {
            // Without the keeper the network is gone; what is left in the anchor is of no use.
            anchor.signal(rustix::process::Signal::KILL);
            anchor.ended_within(END_PATIENCE);
            None
        }
    }
}

fn failed(words: &str) -> Error {
    Error::new(Code::AnchorFailed, format!("the lab's anchor: {words}"))
        .hint("Bring the lab down and up again.")
}

/// Forks the anchor, which forks the keeper, which says its number.
fn start() -> Result<(Process, Process)> {
    let broken = |e: Errno| failed(&e.to_string());
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(broken)?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let Some(pid) = fork_into(libc::CLONE_NEWUSER | libc::CLONE_NEWPID).map_err(denied)? else {
        anchor(&theirs, uid, gid);
    };
    drop(theirs);
    let identity = u32::try_from(pid.as_raw_nonzero().get())
        .ok()
        .and_then(Identity::of);
    let word = receive(&ours);
    let keeper = match word.as_deref().and_then(|word| word.split_once(' ')) {
        Some(("keeper", pid)) => pid.parse().ok().and_then(Identity::of),
        Some(("denied", errno)) => {
            let errno = errno.parse().map_or(Errno::PERM, Errno::from_raw_os_error);
            return Err(denied(errno));
        }
        Some((_, words)) => return Err(failed(words)),
        None => return Err(failed("it ended without a word")),
    };
    identity
        .and_then(Process::hold)
        .zip(keeper.and_then(Process::hold))
        .ok_or_else(|| failed("it ended at once"))
}

fn receive(from: &OwnedFd) -> Option<String> {
    let timeout = Timespec::try_from(START_DEADLINE).ok()?;
    match poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&timeout)) {
        Ok(ready) if ready > 0 => {}
        _ => return None,
    }
    let mut buffer = [0; 512];
    let size = rustix::io::read(from, &mut buffer).ok()?;
    (size > 0).then(|| String::from_utf8_lossy(&buffer[..size]).into_owned())
}

fn say(to: &OwnedFd, word: &str) {
    // Nobody listens any more: then nobody needs to hear it.
    let _ = rustix::io::write(to, word.as_bytes());
}

/// Pid 1 of the lab: buries the dead, and ends with nothing else.
fn anchor(to: &OwnedFd, uid: u32, gid: u32) -> ! {
    set_name(c"netd-anchor");
    let made = || -> std::result::Result<Pid, String> {
        let io = |e: io::Error| format!("failed {e}");
        become_root(uid, gid).map_err(io)?;
        own_proc_again();
        // A session of its own: no terminal's signal reaches it.
        let _ = rustix::process::setsid();
        let_go_of_all_but(to.as_raw_fd()).map_err(io)?;
        match fork_into(libc::CLONE_NEWUSER) {
            Ok(None) => keeper(to),
            Ok(Some(pid)) => Ok(pid),
            Err(errno) => Err(format!("denied {}", errno.raw_os_error())),
        }
    };
    let keeper = match made() {
        Ok(keeper) => keeper,
        Err(word) => {
            say(to, &word);
            std::process::exit(1);
        }
    };
    // The keeper alone speaks now; netd must see the end when it dies.
    // SAFETY: closed once; `to` is never used nor dropped again, for this function never returns.
    unsafe { libc::close(to.as_raw_fd()) };
    loop {
        match wait(WaitOptions::empty()) {
            // Without the keeper there is no network, and what is left is of no use.
            Ok(Some((pid, _))) if pid == keeper => std::process::exit(0),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => std::process::exit(1),
        }
    }
}

/// Holds user namespace B and the network namespace.
fn keeper(to: &OwnedFd) -> ! {
    set_name(c"netd-keeper");
    let made = || -> std::result::Result<u32, String> {
        let io = |e: io::Error| format!("failed {e}");
        become_root(0, 0).map_err(io)?;
        // Only now: a network namespace that is made before root is mapped gives its files in
        // /proc/net to the host's root, and the list of connections could not be read.
        // SAFETY: unshare with a flag.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let errno = Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::PERM);
            return Err(format!("denied {}", errno.raw_os_error()));
        }
        own_proc_again();
        own_pid().map_err(io)
    };
    let word = made().map_or_else(|word| word, |pid| format!("keeper {pid}"));
    say(to, &word);
    // SAFETY: as in `anchor`.
    unsafe { libc::close(to.as_raw_fd()) };
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}
