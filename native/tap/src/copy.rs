// SPDX-License-Identifier: Apache-2.0
//! Bytes from one descriptor to another until the first ends, by splice(2) where one of them is a pipe.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::BorrowedFd;

/// At most so many bytes in one system call.
const CHUNK: usize = 1 << 20;
/// Where the bytes come through this process.
const BUFFER: usize = 128 << 10;

/// Why a copy ended before the source did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The source broke.
    Read(Errno),
    /// The destination takes no more.
    Write(Errno),
}

/// Copies until the source ends, waiting where it has to. A socket beside a pipe must be
/// non-blocking. Returns the number of bytes.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<u64, Failed> {
    let mut total = 0;
    // splice(2) needs a pipe at one end. It refuses some others (EINVAL: a terminal, a file that
    // is open for appending), before it has moved anything.
    //
    // A splice holds the pipe's lock while it waits for a socket, and the program at the pipe's
    // other end hangs in read(2) meanwhile (fs/splice.c, splice_file_to_pipe): so it never waits.
    // SPLICE_F_NONBLOCK is about the pipe only; a socket has to be non-blocking itself.
    if is_pipe(from) || is_pipe(to) {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        loop {
            match retry_on_intr(|| splice(from, None, to, None, CHUNK, flags)) {
                Ok(0) => return Ok(total),
                Ok(bytes) => total += bytes as u64,
                Err(Errno::INVAL) => break,
                // It does not say which of the two.
                Err(Errno::AGAIN) => {
                    wait(from, PollFlags::IN).map_err(Failed::Read)?;
                    wait(to, PollFlags::OUT).map_err(Failed::Write)?;
                }
                Err(Errno::PIPE) => return Err(Failed::Write(Errno::PIPE)),
                Err(errno) => return Err(Failed::Read(errno)),
            }
        }
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let bytes = match retry_on_intr(|| read(from, &mut buffer)) {
            Ok(0) => return Ok(total),
            Ok(bytes) => bytes,
            Err(Errno::AGAIN) => {
                wait(from, PollFlags::IN).map_err(Failed::Read)?;
                continue;
            }
            Err(errno) => return Err(Failed::Read(errno)),
        };
        let mut rest = &buffer[..bytes];
        while !rest.is_empty() {
            match retry_on_intr(|| write(to, rest)) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN) => wait(to, PollFlags::OUT).map_err(Failed::Write)?,
                Err(errno) => return Err(Failed::Write(errno)),
            }
        }
        total += bytes as u64;
    }
}

/// Waits as long as it takes: a conversation has no deadline.
fn wait(fd: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
    retry_on_intr(|| poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None)).map(|_| ())
}

fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    /// 3 MiB through `copy`, whatever the two ends are.
    fn through(
        (ours, from): (impl Into<OwnedFd>, impl Into<OwnedFd>),
        (to, theirs): (impl Into<OwnedFd>, impl Into<OwnedFd>),
    ) {
        let (mut ours, mut theirs) = (File::from(ours.into()), File::from(theirs.into()));
        let (from, to) = (from.into(), to.into());
        let bytes: Vec<u8> = (0..3_u32 << 20).map(|i| ((i * 7) >> 3) as u8).collect();
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let ours = &mut ours;
                ours.write_all(&bytes).unwrap();
                drop(std::mem::replace(ours, File::open("/dev/null").unwrap()));
            });
            let copied = scope.spawn(move || copy(from.as_fd(), to.as_fd()));
            theirs.read_to_end(&mut got).unwrap();
            assert_eq!(copied.join().unwrap(), Ok(bytes.len() as u64));
        });
        assert!(got == bytes);
    }

    fn nonblocking(socket: UnixStream) -> UnixStream {
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// The other end of the pipe must not hang while we wait for the socket.
    #[test]
    fn a_reader_is_not_locked_out_meanwhile() {
        let (mut read, write) = std::io::pipe().unwrap();
        let (mut ours, from) = UnixStream::pair().unwrap();
        let from = nonblocking(from);
        std::thread::scope(|scope| {
            let copied = scope.spawn(move || copy(from.as_fd(), write.as_fd()));
            for _ in 0..100 {
                ours.write_all(b"ping").unwrap();
                let mut got = [0; 4];
                read.read_exact(&mut got).unwrap();
            }
            drop(ours);
            assert_eq!(copied.join().unwrap(), Ok(400));
        });
    }

    #[test]
    fn pipes_and_sockets_each_way() {
        let sockets = || {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (ours, nonblocking(theirs))
        };
        let (read, write) = std::io::pipe().unwrap();
        let (theirs, to) = sockets();
        through((write, read), (to, theirs));
        let (read, write) = std::io::pipe().unwrap();
        through(sockets(), (write, read));
        let (theirs, to) = sockets();
        through(sockets(), (to, theirs));
    }

    #[test]
    fn a_reader_that_left_is_a_failed_write() {
        let (read, write) = std::io::pipe().unwrap();
        let (mut ours, from) = UnixStream::pair().unwrap();
        let from = nonblocking(from);
        drop(read);
        ours.write_all(b"x").unwrap();
        assert_eq!(
            copy(from.as_fd(), write.as_fd()),
            Err(Failed::Write(Errno::PIPE))
        );
    }
}
