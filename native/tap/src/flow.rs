// SPDX-License-Identifier: Apache-2.0
//! Two sockets joined: socket → pipe → socket by splice(2) each way, nothing ever waits.

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Bytes that may be on their way in one direction.
const PIPE: usize = 256 << 10;
/// Rounds before others get their turn.
const ROUNDS: usize = 16;

/// One direction.
#[derive(Debug)]
struct Half {
    write: OwnedFd,
    read: OwnedFd,
    held: usize,
    /// The pipe took no more, so it has to be emptied before the source is read again.
    full: bool,
    ended: bool,
    shut: bool,
}

impl Half {
    fn new() -> Result<Half, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user has a limit of pipe pages (pipe(7)); the usual 64 KiB do as well.
        let _ = fcntl_setpipe_size(&write, PIPE);
        Ok(Half {
            write,
            read,
            held: 0,
            full: false,
            ended: false,
            shut: false,
        })
    }

    /// Moves what can be moved. An error: one of the two broke.
    fn pump(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        for _ in 0..ROUNDS {
            let mut moved = false;
            if !self.ended && !self.full {
                match splice(from, None, &self.write, None, PIPE, flags) {
                    Ok(0) => self.ended = true,
                    Ok(bytes) => {
                        self.held += bytes;
                        moved = true;
                    }
                    // Either nothing has come or the pipe is full; that it is emptied helps both.
                    Err(Errno::AGAIN) => self.full = self.held > 0,
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if self.held > 0 {
                match splice(&self.read, None, to, None, self.held, flags) {
                    Ok(bytes) => {
                        self.held -= bytes;
                        moved = true;
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
                if self.held == 0 {
                    self.full = false;
                }
            }
            if !moved {
                break;
            }
        }
        if self.ended && self.held == 0 && !self.shut {
            self.shut = true;
            // The other side learns that no more comes. That it has gone is seen elsewhere.
            let _ = shutdown(to, Shutdown::Write);
        }
        Ok(())
    }

    fn wants_input(&self) -> bool {
        !self.ended && !self.full
    }
}

/// A client's connection and the guest's.
#[derive(Debug)]
pub struct Flow {
    ends: [OwnedFd; 2],
    halves: [Half; 2],
}

impl Flow {
    /// Joins two connected sockets, both non-blocking.
    pub fn new(client: OwnedFd, guest: OwnedFd) -> Result<Flow, Errno> {
        Ok(Flow {
            ends: [client, guest],
            halves: [Half::new()?, Half::new()?],
        })
    }

    /// The two sockets, each with what to wait for.
    pub fn waits(&self) -> [(BorrowedFd<'_>, PollFlags); 2] {
        [0, 1].map(|end| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.halves[end].wants_input());
            flags.set(PollFlags::OUT, self.halves[1 - end].held > 0);
            (self.ends[end].as_fd(), flags)
        })
    }

    /// Moves what can be moved. False when it is over.
    pub fn pump(&mut self) -> bool {
        for end in [0, 1] {
            let (from, to) = (self.ends[end].as_fd(), self.ends[1 - end].as_fd());
            if self.halves[end].pump(from, to).is_err() {
                self.ends.iter().for_each(|socket| reset(socket.as_fd()));
                return false;
            }
        }
        !self.halves.iter().all(|half| half.shut)
    }
}

/// Makes closing a socket a reset: what broke on one side shall not look like an end on the other.
pub fn reset(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, poll};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = listener.accept().unwrap().0;
        theirs.set_nonblocking(true).unwrap();
        (ours, theirs.into())
    }

    fn run(mut flow: Flow) {
        while flow.pump() {
            let waits = flow.waits();
            let mut fds = waits.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
            poll(&mut fds, None).unwrap();
        }
    }

    #[test]
    fn both_ways_with_half_close_and_a_slow_reader() {
        let ((mut client, a), (mut guest, b)) = (pair(), pair());
        let bytes: Vec<u8> = (0..6_u32 << 20).map(|i| ((i * 7) >> 3) as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| run(Flow::new(a, b).unwrap()));
            scope.spawn(|| {
                // Nobody reads at first: the flow must wait, not spin, and lose nothing.
                std::thread::sleep(Duration::from_millis(200));
                let mut got = Vec::new();
                guest.read_to_end(&mut got).unwrap();
                guest.write_all(&got).unwrap();
                guest.shutdown(std::net::Shutdown::Write).unwrap();
            });
            client.write_all(&bytes).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).unwrap();
            assert!(back == bytes);
        });
    }

    #[test]
    fn a_reset_is_a_reset_on_the_other_side() {
        let ((client, a), (mut guest, b)) = (pair(), pair());
        std::thread::scope(|scope| {
            scope.spawn(|| run(Flow::new(a, b).unwrap()));
            reset(client.as_fd());
            drop(client);
            let error = guest.read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        });
    }
}
