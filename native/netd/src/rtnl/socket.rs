// SPDX-License-Identifier: Apache-2.0
//! The request socket: batches with acknowledgements, and dumps.

use super::{Error, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_REPLACE: u16 = 0x100;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;

/// sizeof(struct nlmsghdr).
const HEADER: usize = 16;
/// The kernel fills at most 32 KiB (NLMSG_GOODSIZE and the reader's buffer).
const BUFFER: usize = 64 * 1024;
/// The kernel answers within the send itself; this only keeps a surprise from hanging netd.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// A dump that another writer disturbed is read again, so many times.
const DUMP_TRIES: usize = 10;

/// One message without its netlink header.
pub(super) struct Message {
    /// What it does, in words, for errors.
    pub(super) operation: String,
    /// `RTM_…`
    pub(super) kind: u16,
    /// `NLM_F_CREATE`, `NLM_F_EXCL`, `NLM_F_REPLACE`.
    pub(super) flags: u16,
    /// The family's header and the attributes.
    pub(super) body: Vec<u8>,
}

/// A NETLINK_ROUTE socket. It belongs for good to the network namespace of the thread that
/// opened it.
#[derive(Debug)]
pub struct Rtnl {
    fd: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Rtnl {
    /// Opens it in the calling thread's network namespace.
    pub fn open() -> Result<Rtnl> {
        let open = || -> std::result::Result<OwnedFd, Errno> {
            let fd = socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                None, // NETLINK_ROUTE is 0
            )?;
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_DEADLINE))?;
            Ok(fd)
        };
        Ok(Rtnl {
            fd: open().map_err(failed("open a route netlink socket"))?,
            seq: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// A socket of this namespace, for ioctls that want any.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends the messages in one system call, which carries all of them out before it returns:
    /// a signal that kills netd comes before or after, never between. They are no transaction:
    /// one that is refused does not stop the next. Returns the first refusal.
    pub(super) fn request(&mut self, messages: &[Message]) -> Result<()> {
        let Some(last) = messages.last() else {
            return Ok(());
        };
        let first_seq = self.seq.wrapping_add(1);
        let mut bytes = Vec::with_capacity(512);
        for message in messages {
            self.seq = self.seq.wrapping_add(1);
            let flags = NLM_F_REQUEST | NLM_F_ACK | message.flags;
            encode(&mut bytes, message.kind, flags, self.seq, &message.body);
        }
        self.send(&bytes, &last.operation)?;
        let mut refusal = None;
        let mut open = messages.len();
        while open > 0 {
            let size = self.receive(&last.operation)?;
            for part in split(&self.buffer[..size]) {
                let index = part.seq.wrapping_sub(first_seq) as usize;
                let Some(message) = messages.get(index) else {
                    continue; // left over from a call that gave up
                };
                if part.kind != NLMSG_ERROR {
                    continue;
                }
                open -= 1;
                let errno = part.errno();
                if errno != 0 && refusal.is_none() {
                    refusal = Some(Error {
                        operation: message.operation.clone(),
                        errno: Errno::from_raw_os_error(errno),
                    });
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Asks for one object; none where it is not there (ENODEV).
    pub(super) fn get(&mut self, request: &Message) -> Result<Option<Vec<u8>>> {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let mut bytes = Vec::with_capacity(64);
        encode(&mut bytes, request.kind, NLM_F_REQUEST, seq, &request.body);
        self.send(&bytes, &request.operation)?;
        loop {
            let size = self.receive(&request.operation)?;
            for part in split(&self.buffer[..size]) {
                if part.seq != seq {
                    continue;
                }
                if part.kind != NLMSG_ERROR {
                    return Ok(Some(part.body.to_vec()));
                }
                return match Errno::from_raw_os_error(part.errno()) {
                    Errno::NODEV => Ok(None),
                    errno => Err(failed(&request.operation)(errno)),
                };
            }
        }
    }

    /// Asks for a dump; `item` gets the type and body of each message of the answer.
    pub(super) fn dump(
        &mut self,
        request: &Message,
        mut item: impl FnMut(u16, &[u8]),
    ) -> Result<()> {
        for _ in 0..DUMP_TRIES {
            let mut items = Vec::new();
            if self.dump_once(request, &mut items)? {
                for (kind, body) in &items {
                    item(*kind, body);
                }
                return Ok(());
            }
        }
        Err(failed(&request.operation)(Errno::INTR))
    }

    /// False when something changed under the dump.
    fn dump_once(&mut self, request: &Message, items: &mut Vec<(u16, Vec<u8>)>) -> Result<bool> {
        let operation = &request.operation;
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let mut bytes = Vec::with_capacity(64);
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        encode(&mut bytes, request.kind, flags, seq, &request.body);
        self.send(&bytes, operation)?;
        let mut steady = true;
        loop {
            let size = self.receive(operation)?;
            for part in split(&self.buffer[..size]) {
                if part.seq != seq {
                    continue;
                }
                steady &= part.flags & NLM_F_DUMP_INTR == 0;
                match part.kind {
                    NLMSG_DONE => return Ok(steady),
                    NLMSG_ERROR if part.errno() == libc::EINTR => return Ok(false),
                    NLMSG_ERROR => {
                        return Err(failed(operation)(Errno::from_raw_os_error(part.errno())));
                    }
                    kind => items.push((kind, part.body.to_vec())),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], operation: &str) -> Result<()> {
        let sent = send(&self.fd, bytes, SendFlags::empty()).map_err(failed(operation))?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(failed(operation)(Errno::MSGSIZE))
        }
    }

    fn receive(&mut self, operation: &str) -> Result<usize> {
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(failed(operation)(Errno::TIMEDOUT)),
                Err(errno) => return Err(failed(operation)(errno)),
                Ok((_, size)) if size > BUFFER => return Err(failed(operation)(Errno::MSGSIZE)),
                Ok((_, size)) => return Ok(size),
            }
        }
    }
}

fn failed(operation: &str) -> impl Fn(Errno) -> Error + '_ {
    move |errno| Error {
        operation: operation.to_owned(),
        errno,
    }
}

fn encode(bytes: &mut Vec<u8>, kind: u16, flags: u16, seq: u32, body: &[u8]) {
    bytes.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&seq.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]); // the kernel fills in our port
    bytes.extend_from_slice(body); // attributes are padded already
}

/// One message of the kernel's.
pub(super) struct Part<'a> {
    pub(super) kind: u16,
    flags: u16,
    seq: u32,
    port: u32,
    pub(super) body: &'a [u8],
}

impl Part<'_> {
    /// The errno of an NLMSG_ERROR; 0 acknowledges. Too short a message counts as EBADMSG.
    fn errno(&self) -> i32 {
        u32_at(self.body, 0).map_or(libc::EBADMSG, |code| (code as i32).wrapping_neg())
    }
}

/// The messages of a datagram; ends at the first that does not fit.
pub(super) fn split(mut bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let part = Part {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            seq: u32_at(bytes, 8)?,
            port: u32_at(bytes, 12)?,
            body: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    })
}

/// The origin (nlmsg_pid) of each message of a datagram, of whatever netlink family.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = u32> {
    split(bytes).map(|part| part.port)
}

/// Two bytes in the machine's order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes in the machine's order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Eight bytes in the machine's order.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lengths_end_the_walk() {
        for bytes in [
            &[][..],
            &[0; 16],
            &[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[255; 40],
            &[17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(split(bytes).count(), 0, "{bytes:?}");
        }
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, 1, 2, &[1, 2, 3, 4]);
        encode(&mut bytes, 8, 1, 3, &[]);
        let kinds: Vec<u16> = split(&bytes).map(|part| part.kind).collect();
        assert_eq!(kinds, [7, 8]);
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("datagram", |bytes| {
            let origins: Vec<u32> = messages(bytes).collect();
            let parts: Vec<_> = split(bytes).map(|part| (part.kind, part.errno())).collect();
            (origins, parts)
        });
    }
}
