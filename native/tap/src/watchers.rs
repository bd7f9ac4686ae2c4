// SPDX-License-Identifier: Apache-2.0
//! Who wants to know of a forward: a unix socket on which each client is told how it stands, now and
//! at every change, and learns by the end of the stream that it is over.

use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::process::umask;
use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;
use tapyard_protocol::{Error, Rest, Result};

/// Cores come and go one at a time; more is somebody's mistake.
const MOST: usize = 8;

/// How a forward stands.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    /// Connections that it carries.
    pub flows: usize,
    /// Why the last client was turned away; none once a later one was let in.
    pub failure: Option<Error>,
}

/// The socket and its clients. Nothing here ever waits.
#[derive(Debug)]
pub struct Watchers {
    listener: Option<UnixListener>,
    rest: Rest,
    clients: Vec<UnixStream>,
    told: String,
}

impl Watchers {
    /// Listens at `path`, for this user only; without one there is nobody to tell. `KERNEL`.
    pub fn open(path: Option<&Path>) -> Result<Watchers> {
        let listen = |path: &Path| {
            let before = umask(Mode::from_raw_mode(0o177));
            let bound = UnixListener::bind(path);
            umask(before);
            let listener = bound?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = path.map(|path| {
            listen(path).map_err(|e: std::io::Error| {
                Error::kernel(format!("listen on {}", path.display()), &e)
                    .subject(path.display().to_string())
            })
        });
        Ok(Watchers {
            listener: listener.transpose()?,
            rest: Rest::default(),
            clients: Vec::new(),
            told: String::new(),
        })
    }

    /// When the listener's rest is over, while it has one.
    pub fn rest(&self) -> Option<Instant> {
        self.rest.over()
    }

    /// What to poll, and for what: the listener, where there is one, then each client.
    pub fn fds(&self, rest: Option<Instant>) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let mut accepting = PollFlags::empty();
        accepting.set(PollFlags::IN, rest.is_none());
        let listener = self.listener.iter().map(AsFd::as_fd);
        let clients = self.clients.iter().map(AsFd::as_fd);
        listener
            .map(move |fd| (fd, accepting))
            .chain(clients.map(|fd| (fd, PollFlags::IN)))
    }

    /// Takes what `poll` said of [`Watchers::fds`], and tells everybody of a change.
    pub fn tell(&mut self, ready: &[bool], status: &Status) {
        let Some(listener) = &self.listener else {
            return;
        };
        let mut heard = ready.iter().skip(1);
        // A client says nothing: what can be read from it is its end, or nonsense.
        self.clients
            .retain_mut(|client| !heard.next().is_some_and(|ready| *ready) || lives(client));
        let known = self.clients.len();
        if ready.first() == Some(&true)
            && let Some((client, _)) = self.rest.after(listener.accept())
            && client.set_nonblocking(true).is_ok()
            && known < MOST
        {
            self.clients.push(client);
        }
        let Ok(mut line) = serde_json::to_string(status) else {
            return;
        };
        line.push('\n');
        let changed = line != self.told;
        self.told = line;
        let mut index = 0..;
        // A client that does not read is let go; it connects again and is told how things are.
        self.clients.retain_mut(|client| {
            let new = index.next().is_some_and(|index| index >= known);
            !(new || changed) || client.write_all(self.told.as_bytes()).is_ok()
        });
    }
}

fn lives(client: &mut UnixStream) -> bool {
    match client.read(&mut [0; 64]) {
        Ok(read) => read > 0,
        Err(e) => e.kind() == ErrorKind::WouldBlock,
    }
}
