// SPDX-License-Identifier: Apache-2.0
//! The outer half: it stays in the host's namespaces, because nobody can go back to them.

use super::anchor::Anchor;
use super::control::{FromInner, FromOuter, Heard, hear, tell};
use super::namespaces::{enter, fork_into, own_proc_again, set_name};
use super::pasta::{Pasta, servers_inside};
use super::uplink::PastaUplink;
use crate::announce;
use crate::directory::Directory;
use crate::engine::{Config, Engine, Identity};
use crate::host::outlive_the_caller;
use crate::process::{self, Process};
use crate::server;
use crate::uplink::{KernelUplink, Uplink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Error, LabName, Provider, Removed, Result, Scope, Uplink as State};

/// pasta is started again after so long, doubled each time until the longest.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// A pasta that lived so long is well; the next failure begins anew.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// Serves the lab until `shutdown`. `NAMESPACE_DENIED`, `ANCHOR_FAILED`, and the engine's.
pub fn run(directory: Directory, lab: LabName) -> Result<()> {
    outlive_the_caller();
    let path = directory.path().to_owned();
    let host = KernelUplink::open()?;
    let anchor = Anchor::find_or_start(&path)?;
    let mut outer = Outer {
        path,
        pasta: Supervised::Waiting {
            at: Instant::now(),
            wait: FIRST_RETRY,
            reason: None,
        },
        anchor,
        host,
        told: None,
    };
    // Before the engine, so that both start at the same time.
    outer.look_after_pasta();
    let listener = directory.listen()?;
    let (control, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|e| Error::kernel("make a socket pair", &e.into()))?;
    let pid = std::process::id();
    let Some(inner) = fork_into(0).map_err(|e| Error::kernel("fork", &e.into()))? else {
        drop(control);
        return inner(outer.anchor, directory, lab, listener, theirs, pid);
    };
    drop((theirs, listener));
    // The inner half speaks to whoever started us; this half has nothing to say.
    announce::leave();
    let inner = u32::try_from(inner.as_raw_nonzero().get())
        .ok()
        .and_then(process::Identity::of)
        .and_then(Process::hold);
    match inner {
        Some(inner) => outer.serve(&control, &inner),
        None => outer.inner_ended(),
    }
    Ok(())
}

/// The inner half, from its fork on.
fn inner(
    anchor: Anchor,
    directory: Directory,
    lab: LabName,
    listener: UnixListener,
    control: OwnedFd,
    pid: u32,
) -> Result<()> {
    set_name(c"netd-inner");
    let label_uid = rustix::process::getuid().as_raw();
    enter(
        anchor.keeper.fd(),
        libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWPID,
    )
    .map_err(|e| Error::kernel("enter the lab's namespaces", &e))?;
    own_proc_again();
    let fresh_namespace = anchor.fresh;
    drop(anchor);
    let socket = directory.socket();
    let engine = Engine::start(Config {
        identity: Identity {
            scope: Scope::Private,
            lab: Some(lab),
            label_uid,
            // The owner is the one who is mapped to root in here.
            owner_uid_here: 0,
            pid,
        },
        directory,
        uplink: Box::new(PastaUplink::open(control)?),
        fresh_namespace,
    })?;
    announce::ready(pid, &socket);
    server::run(listener, engine)
}

/// pasta, or why there is none and when to try again.
enum Supervised {
    Running {
        pasta: Pasta,
        since: Instant,
        wait: Duration,
    },
    Waiting {
        at: Instant,
        wait: Duration,
        reason: Option<Error>,
    },
}

struct Outer {
    path: PathBuf,
    anchor: Anchor,
    pasta: Supervised,
    /// The host's own way out, in whose place pasta works.
    host: KernelUplink,
    /// What the inner half knows.
    told: Option<FromOuter>,
}

impl Outer {
    fn serve(&mut self, control: &OwnedFd, inner: &Process) {
        loop {
            self.tell(control);
            let Some(ready) = self.wait(control, inner) else {
                continue;
            };
            match ready {
                Ready::Host => {
                    self.host.on_readable();
                }
                Ready::Pasta => self.pasta_ended(),
                Ready::Control => match hear(control) {
                    Heard::Message(FromInner::Shutdown) => {
                        let removed = self.end();
                        tell(control, &FromOuter::Ended(removed));
                        return;
                    }
                    Heard::Nothing => {}
                    Heard::Gone => return self.inner_ended(),
                },
                Ready::Inner => return self.inner_ended(),
                // Somebody ended the lab; nothing of it lives.
                Ready::Anchor => return self.forget(),
            }
            self.look_after_pasta();
        }
    }

    /// Waits for one thing; none when pasta is due.
    fn wait(&mut self, control: &OwnedFd, inner: &Process) -> Option<Ready> {
        let host = self.host.fd();
        let mut kinds = vec![Ready::Anchor, Ready::Control, Ready::Inner];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.anchor.anchor.fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(inner.fd(), PollFlags::IN),
        ];
        if let Some(host) = host {
            kinds.push(Ready::Host);
            fds.push(PollFd::from_borrowed_fd(host, PollFlags::IN));
        }
        let mut due = None;
        match &self.pasta {
            Supervised::Running { pasta, .. } => {
                kinds.push(Ready::Pasta);
                fds.push(PollFd::from_borrowed_fd(pasta.fd(), PollFlags::IN));
            }
            Supervised::Waiting { at, .. } if self.host.state().device.is_some() => due = Some(*at),
            // Without a route there is nothing to try; a route event wakes us.
            Supervised::Waiting { .. } => {}
        }
        let timeout = due
            .and_then(|due| Timespec::try_from(due.saturating_duration_since(Instant::now())).ok());
        let result = poll(&mut fds, timeout.as_ref());
        let ready = match result {
            Ok(0) | Err(Errno::INTR) => None,
            Ok(_) => fds
                .iter()
                .position(|fd| !fd.revents().is_empty())
                .and_then(|at| kinds.get(at).copied()),
            Err(_) => Some(Ready::Inner),
        };
        drop(fds);
        if ready.is_none() {
            self.look_after_pasta();
        }
        ready
    }

    /// Starts pasta when it is due, or takes over one that runs.
    fn look_after_pasta(&mut self) {
        let now = Instant::now();
        let Supervised::Waiting { at, wait, .. } = &self.pasta else {
            return;
        };
        let wait = *wait;
        if let Some(pasta) = Pasta::running(&self.path) {
            self.pasta = Supervised::Running {
                pasta,
                since: now,
                wait,
            };
            return;
        }
        // It ends at once where there is no default route.
        if *at > now || self.host.state().device.is_none() {
            return;
        }
        self.pasta = match Pasta::start(&self.path, &self.anchor, &self.host.dns_servers()) {
            Ok(pasta) => Supervised::Running {
                pasta,
                since: now,
                wait,
            },
            Err(error) => Supervised::Waiting {
                at: now + wait,
                wait: (wait * 2).min(LONGEST_RETRY),
                reason: Some(error),
            },
        };
    }

    fn pasta_ended(&mut self) {
        let now = Instant::now();
        let next = Supervised::Waiting {
            at: now,
            wait: FIRST_RETRY,
            reason: None,
        };
        let Supervised::Running { pasta, since, wait } = std::mem::replace(&mut self.pasta, next)
        else {
            return;
        };
        let wait = if now.duration_since(since) > WELL_AFTER {
            FIRST_RETRY
        } else {
            wait
        };
        let reason = pasta.obituary();
        eprintln!("{reason}");
        pasta.bury();
        self.pasta = Supervised::Waiting {
            at: now + wait,
            wait: (wait * 2).min(LONGEST_RETRY),
            reason: Some(reason),
        };
    }

    /// Tells the inner half what it does not know yet.
    fn tell(&mut self, control: &OwnedFd) {
        let host = self.host.state();
        let state = match &self.pasta {
            Supervised::Running { pasta, .. } => State {
                provider: Provider::Pasta,
                device: None,
                pid: Some(pasta.pid()),
                ..host
            },
            Supervised::Waiting {
                reason: Some(reason),
                ..
            } if host.device.is_some() => State::none(reason.clone()),
            Supervised::Waiting { .. } if host.device.is_some() => State {
                provider: Provider::Pasta,
                device: None,
                ..host
            },
            Supervised::Waiting { .. } => host,
        };
        let word = FromOuter::Uplink {
            state,
            servers: servers_inside(&self.host.dns_servers()),
        };
        if self.told.as_ref() != Some(&word) && tell(control, &word) {
            self.told = Some(word);
        }
    }

    /// Ends pasta and the anchor, and with it whatever is left of the lab.
    fn end(&mut self) -> Removed {
        let mut out = Removed::default();
        let next = Supervised::Waiting {
            at: Instant::now(),
            wait: FIRST_RETRY,
            reason: None,
        };
        if let Supervised::Running { pasta, .. } = std::mem::replace(&mut self.pasta, next) {
            if pasta.end() {
                out.removed.push("pasta".to_owned());
            } else {
                out.failed
                    .push(Error::new(Code::PastaFailed, "pasta does not end"));
            }
        }
        match self.anchor.end() {
            Ok(()) => out.removed.push("the lab's namespaces".to_owned()),
            Err(error) => out.failed.push(error),
        }
        out
    }

    /// The engine is gone without a word; a new netd takes over what is there.
    fn inner_ended(&mut self) {
        eprintln!("the inner half of netd ended");
    }

    /// The anchor is gone: the files tell of nothing.
    fn forget(&mut self) {
        eprintln!("the lab's anchor ended, and everything with it");
        let _ = self.anchor.end();
        if let Supervised::Running { pasta, .. } = std::mem::replace(
            &mut self.pasta,
            Supervised::Waiting {
                at: Instant::now(),
                wait: FIRST_RETRY,
                reason: None,
            },
        ) {
            pasta.bury();
        }
    }
}

/// What became ready.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Anchor,
    Control,
    Inner,
    Host,
    Pasta,
}
