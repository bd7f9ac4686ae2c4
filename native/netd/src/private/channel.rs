// SPDX-License-Identifier: Apache-2.0
//! Messages between processes that netd forked: JSON in packets on a socket pair. The end of one
//! side is known to the other at once, however it came.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::wait;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// More than the largest message, which lists the addresses of one interface.
const MAX_MESSAGE: usize = 64 * 1024;

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Two ends, close-on-exec.
    pub(super) fn pair() -> io::Result<(Channel, Channel)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Channel(a), Channel(b)))
    }

    /// Sends one message; `BrokenPipe` where the other side has ended.
    pub(super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        send(&self.0, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message; none where the other side has ended. `WouldBlock` where there is none
    /// yet, `InvalidData` where it is something else than a `T`.
    pub(super) fn try_receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        match recv(&self.0, &mut buffer, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(None),
            Ok((size, _)) => Ok(Some(serde_json::from_slice(&buffer[..size])?)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for the next message; `TimedOut` after `wait`.
    pub(super) fn receive<T: DeserializeOwned>(&self, wait: Duration) -> io::Result<Option<T>> {
        let deadline = Instant::now() + wait;
        loop {
            match self.try_receive() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if !wait::readable(&self.0, Some(deadline))? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Readable when there is a message or the other side has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Another handle of this end.
    pub(super) fn try_clone(&self) -> io::Result<Channel> {
        Ok(Channel(self.0.try_clone()?))
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Channel {
        Channel(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_then_the_end() {
        let (a, b) = Channel::pair().unwrap();
        assert_eq!(
            a.receive::<u32>(Duration::from_millis(1))
                .unwrap_err()
                .kind(),
            io::ErrorKind::TimedOut
        );
        b.send(&1).unwrap();
        b.send(&"x").unwrap();
        drop(b);
        let soon = Duration::from_secs(1);
        assert_eq!(a.receive::<u32>(soon).unwrap(), Some(1));
        assert_eq!(
            a.receive::<u32>(soon).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(a.receive::<u32>(soon).unwrap(), None);
        assert_eq!(a.send(&1).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
