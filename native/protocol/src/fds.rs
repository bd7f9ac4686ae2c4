// SPDX-License-Identifier: Apache-2.0
//! File descriptors over a unix socket: SCM_RIGHTS (unix(7)).

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most fds that travel with one message. A peer that sends more loses the rest: the kernel
/// closes what does not fit (MSG_CTRUNC).
pub const MAX_FDS: usize = 8;

/// What one receive brought.
#[derive(Debug)]
pub struct Received {
    /// Bytes written to the front of the buffer; 0 at the end of the stream.
    pub bytes: usize,
    /// Fds that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Sends bytes, and fds with the first of them. Returns how many bytes went (on a stream, the
/// fds went if that is more than 0). SIGPIPE is not raised.
pub fn send_with_fds(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = fds.len() <= MAX_FDS
        && (fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    if !fits {
        return Err(Errno::TOOMANYREFS);
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })
}

/// Receives bytes and the fds that came with them. `EAGAIN` on a socket that does not block.
pub fn recv_with_fds(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut fds = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            fds.extend(received);
        }
    }
    Ok(Received {
        bytes: message.bytes,
        fds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_fd_goes_across() {
        let (a, b) = UnixStream::pair().unwrap();
        let (x, y) = UnixStream::pair().unwrap();
        assert_eq!(send_with_fds(&a, b"hi", &[x.as_fd()]), Ok(2));
        drop(x);
        let mut buffer = [0; 16];
        let received = recv_with_fds(&b, &mut buffer).unwrap();
        assert_eq!((received.bytes, received.fds.len()), (2, 1));
        send_with_fds(&received.fds[0], b"through", &[]).unwrap();
        let through = recv_with_fds(&y, &mut buffer).unwrap();
        assert_eq!(&buffer[..through.bytes], b"through");
        drop(received);
        assert_eq!(
            recv_with_fds(&y, &mut buffer).unwrap().bytes,
            0,
            "the copy is closed"
        );
    }

    #[test]
    fn too_many_fds_are_not_sent() {
        let (a, _b) = UnixStream::pair().unwrap();
        let many = [a.as_fd(); MAX_FDS + 1];
        assert_eq!(send_with_fds(&a, b"x", &many), Err(Errno::TOOMANYREFS));
    }
}
