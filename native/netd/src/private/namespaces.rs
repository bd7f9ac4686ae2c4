// SPDX-License-Identifier: Apache-2.0
//! The lab's namespaces, and the two processes that hold them.
//!
//! ```text
//! host ── user namespace A + process namespace: anchor (PID 1), pasta (host's network), dnsmasq
//!           └─ user namespace B ── owns the lab's network namespace: keeper
//! ```
//!
//! A maps the caller to root, B maps that root to root. pasta needs the two to be apart: it
//! stays in the host's network with A's powers and enters B's network from outside.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, wait};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};
use tapyard_protocol::{Code, Error, LabName, Result};

use super::channel::Channel;
use super::fork::{
    Fork, exit, fork, fork_sibling, hold, identity_of_self, keep_only, reap, reap_ended, set_title,
};
use super::record::Recorded;
use crate::process::Process;

/// Making namespaces takes milliseconds, and longer on a machine that tears many down.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a killed anchor may take to go, with all that lives in its namespace.
const END_DEADLINE: Duration = Duration::from_secs(5);
const END_POLL: Duration = Duration::from_millis(5);

/// The processes that hold the lab's namespaces.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// PID 1 of the process namespace; when it ends, everything in it does.
    pub(super) anchor: Process,
    /// Lives in user namespace B and the lab's network namespace.
    pub(super) keeper: Process,
}

/// New namespaces, whose anchor ends unless it is released.
#[derive(Debug)]
pub(super) struct Unreleased {
    pub(super) anchor: Recorded,
    pub(super) keeper: Recorded,
    channel: Channel,
}

/// What the new processes tell.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Anchor(Recorded),
    Keeper(Recorded),
    Failed { operation: String, errno: i32 },
}

/// Makes the namespaces. `NAMESPACE_DENIED`, `ANCHOR_FAILED`.
pub(super) fn create(lab: &LabName, uid: u32) -> Result<Unreleased> {
    let broken = |e: io::Error| anchor_failed(lab, &e.to_string());
    let (ours, theirs) = Channel::pair().map_err(broken)?;
    let helper = match fork().map_err(broken)? {
        Fork::Parent(helper) => helper,
        Fork::Child => {
            drop(ours);
            let failed = become_helper(lab, uid, &theirs);
            // Nobody reads it where netd itself is gone.
            let _ = theirs.send(&failed);
            exit(1)
        }
    };
    drop(theirs);
    reap(helper);
    let (mut anchor, mut keeper) = (None, None);
    loop {
        match ours.receive(DEADLINE).map_err(broken)? {
            Some(Report::Anchor(process)) => anchor = Some(process),
            Some(Report::Keeper(process)) => keeper = Some(process),
            Some(Report::Failed { operation, errno }) => return Err(denied(&operation, errno)),
            None => return Err(anchor_failed(lab, "it ended while it was made")),
        }
        if let (Some(anchor), Some(keeper)) = (anchor, keeper) {
            return Ok(Unreleased {
                anchor,
                keeper,
                channel: ours,
            });
        }
    }
}

impl Unreleased {
    /// Lets the anchor go on without netd. To be called once a later netd can find it.
    pub(super) fn release(self, lab: &LabName) -> Result<Namespaces> {
        let release = || {
            let namespaces = Namespaces {
                anchor: hold(self.anchor.into())?,
                keeper: hold(self.keeper.into())?,
            };
            self.channel.send(&())?;
            Ok(namespaces)
        };
        release().map_err(|e: io::Error| anchor_failed(lab, &e.to_string()))
    }
}

impl Namespaces {
    /// Moves this process into user namespace B and the lab's network namespace; its children
    /// will live in the process namespace.
    pub(super) fn enter(&self) -> io::Result<()> {
        let all = ThreadNameSpaceType::USER
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::PROCESS_ID;
        Ok(move_into_thread_name_spaces(self.keeper.fd(), all)?)
    }

    /// Moves this process into user namespace A; its children will live in the process
    /// namespace, and like it in the host's network.
    pub(super) fn enter_outer(&self) -> io::Result<()> {
        let some = ThreadNameSpaceType::USER | ThreadNameSpaceType::PROCESS_ID;
        Ok(move_into_thread_name_spaces(self.anchor.fd(), some)?)
    }

    /// Ends the anchor and with it everything in its process namespace. False when it does not.
    pub(super) fn end(&self) -> bool {
        self.anchor.signal(Signal::KILL);
        let deadline = Instant::now() + END_DEADLINE;
        loop {
            // A child of ours in that namespace, such as one that ended before it became pasta,
            // keeps the anchor waiting for as long as we do not wait for it.
            reap_ended();
            if self.anchor.ended_within(END_POLL) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
        }
    }
}

/// Makes user namespace A and a process namespace, and the anchor in them. Returns only to say
/// what failed.
fn become_helper(lab: &LabName, uid: u32, channel: &Channel) -> Report {
    let made = failing("unshare the user namespace", || new_user_namespace(uid))
        .and_then(|()| {
            failing("unshare the process namespace", || {
                unshare(UnshareFlags::NEWPID)
            })
        })
        .and_then(|()| failing("fork the anchor", fork_sibling));
    match made {
        Err(report) => report,
        Ok(Fork::Parent(_)) => exit(0),
        Ok(Fork::Child) => become_anchor(lab, uid, channel.fd()),
    }
}

/// PID 1: it reaps what its namespace's orphans leave, and ends with the keeper. Until it is
/// released it also ends with netd, so that one killed at the wrong moment leaves nothing.
fn become_anchor(lab: &LabName, uid: u32, channel: BorrowedFd<'_>) -> Report {
    set_title(&format!("tapyard-netd: anchor of {lab} (uid {uid})"));
    let started = failing("start the anchor", || {
        let channel = Channel::from(keep_only(channel)?);
        let identity = identity_of_self()?.into();
        match fork()? {
            Fork::Parent(keeper) => {
                channel.send(&Report::Anchor(identity))?;
                Ok((channel, keeper))
            }
            Fork::Child => {
                let failed = become_keeper(lab, uid, &channel);
                let _ = channel.send(&failed);
                exit(1)
            }
        }
    });
    let (channel, keeper) = match started {
        Ok(started) => started,
        Err(report) => return report,
    };
    // Whether it was released or netd has ended: either way there is something to read.
    if crate::wait::readable(channel.fd(), None).is_err()
        || !matches!(channel.try_receive::<()>(), Ok(Some(())))
    {
        exit(1)
    }
    drop(channel);
    reap_until(keeper)
}

fn reap_until(keeper: Pid) -> ! {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, _))) if ended == keeper => exit(0),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => exit(1),
        }
    }
}

/// Makes user namespace B and the lab's network namespace, and stays in them.
fn become_keeper(lab: &LabName, uid: u32, channel: &Channel) -> Report {
    set_title(&format!("tapyard-netd: keeper of {lab} (uid {uid})"));
    let made = failing("unshare the lab's user namespace", || new_user_namespace(0))
        .and_then(|()| {
            failing("unshare the network namespace", || {
                unshare(UnshareFlags::NEWNET)
            })
        })
        .and_then(|()| {
            failing("start the keeper", || {
                let identity = identity_of_self()?.into();
                channel.send(&Report::Keeper(identity))?;
                keep_only(rustix::stdio::stdin().as_fd())
            })
        });
    match made {
        Err(report) => report,
        // It holds no fd of anybody, waits for nothing, and is ended by SIGKILL only.
        Ok(_stdin) => loop {
            // SAFETY: pause has no arguments and touches no memory.
            unsafe { libc::pause() };
        },
    }
}

fn failing<T>(
    operation: &str,
    attempt: impl FnOnce() -> io::Result<T>,
) -> std::result::Result<T, Report> {
    attempt().map_err(|e| Report::Failed {
        operation: operation.to_owned(),
        errno: e.raw_os_error().unwrap_or(libc::EIO),
    })
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: none of the flags that netd uses unshares the table of fds (CLONE_FILES), the only
    // one that could break what Rust takes for granted.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// A user namespace in which this process, `uid` outside, is root, and nobody else is anybody
/// (user_namespaces(7): without privilege only the own ids may be mapped, the group only after
/// setgroups is given up).
fn new_user_namespace(uid: u32) -> io::Result<()> {
    let gid = rustix::process::getegid().as_raw();
    unshare(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn anchor_failed(lab: &LabName, why: &str) -> Error {
    Error::new(Code::AnchorFailed, format!("the anchor of {lab}: {why}")).subject(lab.as_str())
}

/// Names the switch that forbids it, where one does.
fn denied(operation: &str, errno: i32) -> Error {
    let cause = io::Error::from_raw_os_error(errno);
    let error = Error::new(
        Code::NamespaceDenied,
        format!(
            "this machine does not let netd make a namespace for the lab: {operation}: {cause}"
        ),
    );
    match switch(|name| fs::read_to_string(format!("/proc/sys/{name}")).ok()) {
        Some((sysctl, hint)) => error.hint(hint).subject(sysctl),
        None => error.hint(
            "A sandbox or container around Tapyard forbids it, or the host has too many \
             namespaces: tapyard check says more. The host scope needs none.",
        ),
    }
}

/// The sysctl that forbids user or network namespaces to ordinary users, and what to do.
fn switch(read: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    const SWITCHES: [(&str, &str, &str); 4] = [
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user/max_user_namespaces", "0", "15000"),
        ("user/max_net_namespaces", "0", "15000"),
    ];
    SWITCHES
        .iter()
        .find(|(name, bad, _)| read(name).is_some_and(|value| value.trim() == *bad))
        .map(|(name, bad, good)| {
            let dotted = name.replace('/', ".");
            let hint = format!(
                "{dotted} is {bad}; an administrator can allow it: sysctl -w {dotted}={good}. \
                 Or use the host scope."
            );
            (dotted, hint)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_forbids_is_named() {
        let host = |bad: &'static str, value: &'static str| {
            switch(move |name| Some(if name == bad { value } else { "7\n" }.to_owned()))
        };
        assert!(host("kernel/apparmor_restrict_unprivileged_userns", "1\n").is_some());
        assert!(host("user/max_user_namespaces", "0\n").is_some());
        let (name, hint) = host("kernel/unprivileged_userns_clone", "0").unwrap();
        assert_eq!(name, "kernel.unprivileged_userns_clone");
        assert!(hint.contains("sysctl -w kernel.unprivileged_userns_clone=1"));
        assert!(switch(|_| None).is_none());
    }
}
