// SPDX-License-Identifier: Apache-2.0
//! One client: its bytes in and out, its rules.

use rustix::io::Errno;
use rustix::net::UCred;
use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tapyard_protocol::{ClientKind, LineReader, MAX_REQUEST, recv_with_fds, send_with_fds};

/// What may pile up behind the message that is being sent, in bytes.
const PILE_LIMIT: usize = 1 << 20;
/// With so much waiting to be read, no more requests are taken from it.
const PATIENCE: usize = 256 << 10;

/// How long a client that is being closed has to read why.
const LINGER: Duration = Duration::from_secs(1);

/// A message on its way out.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fd: Option<OwnedFd>,
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// A line without its LF.
    Line(Vec<u8>),
    /// A line that came with file descriptors, which are closed by now.
    LineWithFds(Vec<u8>),
    /// A line beyond the limit.
    TooLarge,
}

/// A client.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    reader: LineReader,
    /// Fds came with bytes of the line that is being read, or of one before it in the same
    /// datagram; which one cannot be told.
    tainted: bool,
    out: VecDeque<Outgoing>,
    /// Bytes in `out`.
    waiting: usize,
    /// Who connected.
    pub peer: Option<UCred>,
    /// What it said that it is.
    pub client: Option<ClientKind>,
    /// It said hello.
    pub greeted: bool,
    /// It gets events.
    pub observing: bool,
    /// Its last request is not answered yet, so the next ones have to wait.
    pub waits: bool,
    /// Set when it is to end: by then at the latest. Until then what waits is sent and what it
    /// says is thrown away, because a socket that is closed with unread bytes resets the client
    /// before it has read why.
    closing: Option<Instant>,
    /// Nothing can be sent to it or had from it any more.
    broken: bool,
    ended: bool,
}

impl Connection {
    /// A client on this socket, which does not block.
    pub fn new(socket: UnixStream, peer: Option<UCred>) -> Connection {
        Connection {
            socket,
            peer,
            client: None,
            reader: LineReader::new(MAX_REQUEST),
            tainted: false,
            out: VecDeque::new(),
            waiting: 0,
            greeted: false,
            observing: false,
            waits: false,
            closing: None,
            broken: false,
            ended: false,
        }
    }

    /// Its socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes no more requests, and ends when what waits is sent and the client has gone.
    pub fn close(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(Instant::now() + LINGER);
        }
        self.flush();
    }

    /// When it ends at the latest, where it is to end.
    pub fn deadline(&self) -> Option<Instant> {
        self.closing
    }

    /// Whether to read from it now.
    pub fn wants_input(&self) -> bool {
        !self.ended && (self.closing.is_some() || (!self.waits && self.waiting < PATIENCE))
    }

    /// Whether something waits to be sent.
    pub fn wants_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether to drop it.
    pub fn is_done(&self) -> bool {
        self.broken
            || (self.ended && self.out.is_empty())
            || self.closing.is_some_and(|at| at <= Instant::now())
    }

    /// Takes what has come, without blocking. Whether that was anything.
    pub fn receive(&mut self) -> bool {
        let mut buffer = [0; 32 * 1024];
        match recv_with_fds(&self.socket, &mut buffer) {
            Ok(received) if received.bytes == 0 => self.ended = true,
            Ok(_) if self.closing.is_some() => {}
            Ok(received) => {
                self.tainted |= !received.fds.is_empty();
                self.reader.push(&buffer[..received.bytes]);
                return true;
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.broken = true,
        }
        false
    }

    /// The next request among what has come.
    pub fn next_input(&mut self) -> Option<Input> {
        if self.closing.is_some() || self.broken || self.waits || self.waiting >= PATIENCE {
            return None;
        }
        let line = self.reader.next_line();
        let tainted = self.tainted;
        if self.reader.is_empty() {
            self.tainted = false;
        }
        match line? {
            Ok(line) if tainted => Some(Input::LineWithFds(line)),
            Ok(line) => Some(Input::Line(line)),
            Err(_) => Some(Input::TooLarge),
        }
    }

    /// Queues a message, with an fd for its first byte. A client that does not read is dropped.
    pub fn send(&mut self, bytes: Vec<u8>, fd: Option<OwnedFd>) {
        let current = self
            .out
            .front()
            .map_or(0, |first| first.bytes.len() - first.sent);
        if !self.out.is_empty() && self.waiting - current + bytes.len() > PILE_LIMIT {
            self.broken = true;
            return;
        }
        self.waiting += bytes.len();
        self.out.push_back(Outgoing { bytes, sent: 0, fd });
    }

    /// Sends what the socket takes, without blocking.
    pub fn flush(&mut self) {
        while let Some(first) = self.out.front_mut() {
            let fds: Vec<BorrowedFd<'_>> = first.fd.iter().map(AsFd::as_fd).collect();
            match send_with_fds(&self.socket, &first.bytes[first.sent..], &fds) {
                Ok(sent) => {
                    first.sent += sent;
                    self.waiting -= sent;
                    // Closing our copy of a tap is what lets it end with its new holder.
                    first.fd = None;
                    if first.sent == first.bytes.len() {
                        self.out.pop_front();
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
        if self.closing.is_some() {
            // The client sees the end; that it has gone already is as good.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Connection::new(ours, None), theirs)
    }

    #[test]
    fn fds_taint_their_line_only() {
        let (mut connection, theirs) = pair();
        send_with_fds(&theirs, b"with\n", &[theirs.as_fd()]).unwrap();
        assert!(connection.receive());
        assert_eq!(
            connection.next_input(),
            Some(Input::LineWithFds(b"with".to_vec()))
        );
        assert_eq!(connection.next_input(), None);
        send_with_fds(&theirs, b"be", &[theirs.as_fd()]).unwrap();
        assert!(connection.receive());
        assert_eq!(connection.next_input(), None);
        (&theirs).write_all(b"gun\nwithout\n").unwrap();
        assert!(connection.receive());
        assert_eq!(
            connection.next_input(),
            Some(Input::LineWithFds(b"begun".to_vec()))
        );
    }

    #[test]
    fn a_reader_that_sleeps_is_dropped() {
        let (mut connection, _theirs) = pair();
        for _ in 0..100 {
            connection.send(vec![b'x'; 64 << 10], None);
            connection.flush();
        }
        assert!(connection.is_done());
    }

    #[test]
    fn one_large_message_is_no_pile() {
        let (mut connection, mut theirs) = pair();
        connection.send(vec![b'x'; 3 << 20], None);
        connection.send(vec![b'y'; 10], None);
        let reader = std::thread::spawn(move || {
            let mut text = vec![0; (3 << 20) + 10];
            theirs.read_exact(&mut text).unwrap();
            text
        });
        while connection.wants_output() {
            connection.flush();
            assert!(!connection.is_done());
        }
        assert!(reader.join().unwrap().ends_with(b"yyyyyyyyyy"));
    }

    #[test]
    fn no_requests_are_taken_while_answers_wait() {
        let (mut connection, mut theirs) = pair();
        theirs.write_all(b"a\nb\n").unwrap();
        connection.receive();
        connection.send(vec![b'x'; PATIENCE + 1], None);
        assert_eq!(connection.next_input(), None);
    }
}
