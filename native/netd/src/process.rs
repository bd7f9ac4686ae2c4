// SPDX-License-Identifier: Apache-2.0
//! A process that may outlive netd: known by its number and start time, held by a pidfd.

use crate::wait;
use rustix::event::epoll;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What tells a process from a later one of the same number (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its number, in the process namespace of /proc.
    pub pid: u32,
    /// Clock ticks between the machine's start and its own.
    pub start: u64,
}

impl Identity {
    /// From the text of /proc/PID/stat. None for a zombie, or where the text is something else.
    pub fn parse(stat: &str) -> Option<Identity> {
        let pid = stat.split_once(' ')?.0.parse().ok()?;
        // The second field is the program's name in parentheses, with anything in it.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        // Field 3 is taken; the start time is field 22.
        let start = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Identity { pid, start })
    }

    /// Of the process that has this number now.
    pub fn of(pid: u32) -> Option<Identity> {
        Identity::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

/// A running process: its number cannot be given to another while this is held.
#[derive(Debug)]
pub struct Process {
    identity: Identity,
    pidfd: OwnedFd,
}

impl Process {
    /// Holds the process if it is still the one that is meant.
    pub fn hold(identity: Identity) -> Option<Process> {
        let pid = Pid::from_raw(identity.pid.try_into().ok()?)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Looked at after it is held: the number cannot have changed hands in between.
        (Identity::of(identity.pid)? == identity).then_some(Process { identity, pidfd })
    }

    /// Holds a child of this process, whose number is its own until it is waited for. None where
    /// it has ended already; then it is waited for here, since one that nobody waits for keeps
    /// its process namespace from ending.
    pub fn child(pid: Pid) -> Option<Process> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let identity = Identity::of(pid.as_raw_pid().unsigned_abs());
        if identity.is_none() {
            ended_within(pidfd.as_fd(), Duration::ZERO);
        }
        identity.map(|identity| Process { identity, pidfd })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Readable when it has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal; false when it is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.pidfd, signal).is_ok()
    }

    /// Whether it ends within this time. Takes its exit status away if it is our child.
    pub fn ended_within(&self, patience: Duration) -> bool {
        ended_within(self.fd(), patience)
    }

    /// Ends it: SIGTERM, and SIGKILL after `patience`. False when even that did not help.
    pub fn end(&self, patience: Duration) -> bool {
        self.signal(Signal::TERM);
        if self.ended_within(patience) {
            return true;
        }
        self.signal(Signal::KILL);
        self.ended_within(patience)
    }
}

/// Readable when one of many processes has ended: whoever waits for 200 of them and for something
/// else need not show the kernel all 200 each time.
#[derive(Debug)]
pub struct Ends {
    epoll: OwnedFd,
}

impl Ends {
    /// Watches none yet.
    pub fn watch() -> io::Result<Ends> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Ends { epoll })
    }

    /// Watches one, by what its [`Process::fd`] is, until that is closed.
    pub fn add(&self, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(0); // which one, whoever asks looks himself
        Ok(epoll::add(&self.epoll, pidfd, data, epoll::EventFlags::IN)?)
    }

    /// What to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn ended_within(pidfd: BorrowedFd<'_>, patience: Duration) -> bool {
    let ended = wait::readable(pidfd, Some(Instant::now() + patience)).unwrap_or(false);
    if ended {
        // It has ended, so this waits for nothing but a debugger that has it still.
        // ECHILD: adopted, so its parent is init's or the anchor's business.
        let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let stat = "12 (a) S 1) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n";
        let expected = Identity {
            pid: 12,
            start: 4711,
        };
        assert_eq!(Identity::parse(stat), Some(expected));
        assert_eq!(Identity::parse(&stat.replace(" R ", " Z ")), None);
        for garbage in ["", "12", "12 (", "12 ()", "x (a) R 1", "12 (a) R 1 2"] {
            assert_eq!(Identity::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    #[allow(clippy::zombie_processes)] // `end` waits, through the pidfd
    fn a_child_is_held_and_ended() {
        let child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let other = Identity {
            start: identity.start + 1,
            ..identity
        };
        assert!(Process::hold(other).is_none());
        let process = Process::hold(identity).unwrap();
        let ends = Ends::watch().unwrap();
        ends.add(process.fd()).unwrap();
        let is_told = || wait::readable(ends.fd(), Some(Instant::now())).unwrap();
        assert!(!process.ended_within(Duration::ZERO) && !is_told());
        assert!(process.end(Duration::from_secs(5)));
        assert!(is_told());
        drop(process);
        // A child that another test starts has the descriptor, too, until it is another program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_told() {
            assert!(Instant::now() < deadline, "it is not watched any more");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(Process::hold(identity).is_none());
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("stat", |bytes| {
            Identity::parse(&String::from_utf8_lossy(bytes))
        });
    }
}
