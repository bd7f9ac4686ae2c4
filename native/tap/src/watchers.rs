// SPDX-License-Identifier: Apache-2.0
//! Who wants to know of a forward: a unix socket on which each client is told how it stands, now and
//! at every change, and learns by the end of the stream that it is over.

use rustix::fs::Mode;
use rustix::process::umask;
use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use tapyard_protocol::{Error, Result};

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
            clients: Vec::new(),
            told: String::new(),
        })
    }

    /// What to poll for reading: the listener, where there is one, then each client.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listener = self.listener.iter().map(AsFd::as_fd);
        listener.chain(self.clients.iter().map(AsFd::as_fd))
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
            && let Ok((client, _)) = listener.accept()
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
