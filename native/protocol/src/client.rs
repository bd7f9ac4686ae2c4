// SPDX-License-Identifier: Apache-2.0
//! A small blocking client: one request at a time, a deadline on every wait.

use crate::{
    Act, ClientKind, Code, Error, Hello, HelloReply, LineReader, Link, MAX_REPLY, MAX_REQUEST,
    Network, NetworkRef, PROTOCOL, Reply, Request, Result, Uplink, Verb, recv_with_fds,
    send_with_fds, to_line,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// What netd tells those who observe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
pub enum Event {
    /// Interfaces that are new or changed, and those that went.
    Links {
        /// Whole entities.
        put: Vec<Link>,
        /// Their ifindex.
        del: Vec<u32>,
    },
    /// Networks that are new or changed, and those that went.
    Networks {
        /// Whole entities.
        put: Vec<Network>,
        /// Their names.
        del: Vec<NetworkRef>,
    },
    /// The way out changed.
    Uplink {
        /// As it is now.
        uplink: Box<Uplink>,
    },
    /// netd did something.
    Acts {
        /// The oldest first.
        acts: Vec<Act>,
    },
}

/// A connection that has said hello.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    reader: LineReader,
    last_id: u32,
    hello: HelloReply,
}

impl Client {
    /// Connects to netd's socket and says hello, all within `wait`.
    /// `PATH_TOO_LONG`, `UNREACHABLE`, `TIMED_OUT`, and what netd answers to hello.
    pub fn connect(path: &Path, kind: ClientKind, wait: Duration) -> Result<Client> {
        let deadline = Instant::now() + wait;
        let subject = path.display().to_string();
        let address = SocketAddrUnix::new(path).map_err(|_| {
            Error::new(
                Code::PathTooLong,
                format!("{subject} is longer than the 107 bytes of a unix socket's path"),
            )
            .subject(&subject)
        })?;
        let unreachable = |cause: Errno| {
            Error::new(
                Code::Unreachable,
                format!("cannot reach netd at {subject}: {cause}"),
            )
            .hint("netd does not run for this lab; bring the lab up first.")
            .subject(&subject)
        };
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(unreachable)?;
        // A full backlog answers EAGAIN at once (unix(7)); there is nothing to poll for.
        loop {
            match connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::AGAIN | Errno::INTR) => return Err(timed_out("netd to accept")),
                Err(cause) => return Err(unreachable(cause)),
            }
        }
        let mut client = Client {
            socket,
            reader: LineReader::new(MAX_REPLY),
            last_id: 0,
            hello: HelloReply {
                protocol: 0,
                version: String::new(),
                scope: crate::Scope::Private,
                lab: None,
                uid: 0,
                pid: 0,
                instance: String::new(),
            },
        };
        let hello = Hello {
            protocol: PROTOCOL,
            client: kind,
        };
        let wait = deadline.saturating_duration_since(Instant::now());
        client.hello = client.call(&hello, wait)?.0;
        Ok(client)
    }

    /// What netd answered to hello.
    pub fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// Sends a request and waits for its reply and the fds that come with it; events are passed over.
    /// `TIMED_OUT`, `UNREACHABLE` (the connection broke), `BAD_MESSAGE` (netd's words make no
    /// sense), and what netd answers. After the first two the client is of no more use.
    pub fn call<V: Verb>(&mut self, args: &V, wait: Duration) -> Result<(V::Reply, Vec<OwnedFd>)> {
        let deadline = Instant::now() + wait;
        self.last_id = self.last_id.wrapping_add(1);
        let request = Request {
            id: self.last_id,
            verb: V::NAME.to_owned(),
            args,
        };
        let line = to_line(&request).map_err(|e| nonsense(&e))?;
        if line.len() > MAX_REQUEST {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "{} of {} bytes; at most {MAX_REQUEST} fit",
                    V::NAME,
                    line.len()
                ),
            ));
        }
        self.send(&line, deadline, V::NAME)?;
        let mut fds = Vec::new();
        loop {
            let line = self.line(deadline, V::NAME, &mut fds)?;
            let value: serde_json::Value =
                serde_json::from_slice(&line).map_err(|e| nonsense(&e))?;
            if value.get("event").is_some() {
                continue;
            }
            return match serde_json::from_value(value).map_err(|e| nonsense(&e))? {
                Reply::Ok { id, ok } if id == self.last_id => Ok((ok, fds)),
                // Without an id: refused before a request was read (BUSY, NOT_ALLOWED).
                Reply::Error { id, error } if id.is_none_or(|id| id == self.last_id) => Err(error),
                // The answer to a request whose wait ran out.
                _ => continue,
            };
        }
    }

    fn send(&mut self, mut line: &[u8], deadline: Instant, what: &str) -> Result<()> {
        while !line.is_empty() {
            match send_with_fds(&self.socket, line, &[]) {
                Ok(sent) => line = &line[sent..],
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline, what)?,
                Err(cause) => return Err(broken(cause)),
            }
        }
        Ok(())
    }

    fn line(&mut self, deadline: Instant, what: &str, fds: &mut Vec<OwnedFd>) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.reader.next_line() {
                Some(Ok(line)) => return Ok(line),
                Some(Err(error)) => return Err(nonsense(&error)),
                None => {}
            }
            match recv_with_fds(&self.socket, &mut buffer) {
                Ok(received) if received.bytes == 0 => return Err(broken(Errno::PIPE)),
                Ok(received) => {
                    self.reader.push(&buffer[..received.bytes]);
                    fds.extend(received.fds);
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline, what)?,
                Err(cause) => return Err(broken(cause)),
            }
        }
    }

    fn wait(&self, flags: PollFlags, deadline: Instant, what: &str) -> Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|e| nonsense(&e))?;
            match poll(&mut [PollFd::new(&self.socket, flags)], Some(&timeout)) {
                Ok(0) => return Err(timed_out(what)),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(cause) => return Err(broken(cause)),
            }
        }
    }
}

fn timed_out(what: &str) -> Error {
    Error::new(Code::TimedOut, format!("waited for {what} in vain")).hint(
        "netd does not answer. Look into its log; bringing the lab down and up starts a new one.",
    )
}

fn broken(cause: Errno) -> Error {
    Error::new(
        Code::Unreachable,
        format!("the connection to netd broke: {cause}"),
    )
}

fn nonsense(cause: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::BadMessage,
        format!("netd's words make no sense: {cause}"),
    )
}
