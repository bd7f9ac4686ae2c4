// SPDX-License-Identifier: Apache-2.0
//! A NETLINK_NETFILTER socket: dumps and all-or-nothing batches.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, getsockname, netlink, recv, send,
    socket_with, sockopt,
};

use super::{Error, Result};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
/// Make it; an object that is there and alike is no error.
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// A rule goes behind those that are there.
pub(crate) const NLM_F_APPEND: u16 = 0x800;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
/// nf_tables, in the high byte of a message's type.
pub(crate) const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// `NFT_MSG_NEWRULE`
pub(crate) const NEWRULE: u16 = 6;
/// ctnetlink, in the high byte of a message's type.
pub(crate) const NFNL_SUBSYS_CTNETLINK: u16 = 1;

/// More than the kernel puts into one answer.
const BUFFER: usize = 64 * 1024;
const HEADER: usize = 16;
const NFGENMSG: usize = 4;
/// The kernel answers within the send itself; this only keeps a surprise from hanging netd.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// A dump that another writer disturbed is read again, so many times.
const DUMP_TRIES: usize = 10;

/// One message of nfnetlink without its netlink header.
#[derive(Debug)]
pub(crate) struct Message {
    /// What it does, in nft's words; an error of the kernel is told with it.
    pub(crate) operation: String,
    /// `NFNL_SUBSYS_… << 8 | NFT_MSG_…`.
    pub(crate) kind: u16,
    /// `NLM_F_CREATE`, `NLM_F_APPEND`.
    pub(crate) flags: u16,
    /// `NFPROTO_…`.
    pub(crate) family: u8,
    /// Attributes.
    pub(crate) attrs: Vec<u8>,
}

impl Message {
    /// Whether it adds a rule, whose words would be long.
    pub(crate) fn is_rule(&self) -> bool {
        self.kind == NFNL_SUBSYS_NFTABLES << 8 | NEWRULE
    }
}

/// The socket and its sequence counter.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens it in the calling thread's network namespace, to which it then belongs for good.
    pub(crate) fn open() -> Result<Socket> {
        let open = || -> std::result::Result<OwnedFd, Errno> {
            let fd = socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                Some(netlink::NETFILTER),
            )?;
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_DEADLINE))?;
            Ok(fd)
        };
        let fd = open().map_err(|e| kernel("open a netfilter socket", e.into()))?;
        Ok(Socket {
            fd,
            seq: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// The port by which the kernel names this socket as the origin of a change.
    pub(crate) fn port(&self) -> Result<u32> {
        let address = getsockname(&self.fd)
            .and_then(SocketAddrNetlink::try_from)
            .map_err(|e| kernel("look up a netfilter socket's port", e.into()))?;
        Ok(address.pid())
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    fn send(&self, operation: &str, bytes: &[u8]) -> Result<()> {
        let sent =
            send(&self.fd, bytes, SendFlags::empty()).map_err(|e| kernel(operation, e.into()))?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(malformed(operation))
        }
    }

    fn receive(&mut self, operation: &str) -> Result<&[u8]> {
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Err(e) => return Err(kernel(operation, e.into())),
                Ok((_, size)) => {
                    let answer = self.buffer.get(..size);
                    return answer.ok_or_else(|| malformed(operation));
                }
            }
        }
    }

    /// Asks for one object and gives the attributes of the answer; none where it is not there
    /// (`ENOENT`).
    pub(crate) fn get(&mut self, request: &Message) -> Result<Option<Vec<u8>>> {
        let operation = &request.operation;
        let seq = self.next_seq();
        let mut bytes = Vec::new();
        encode(&mut bytes, request, NLM_F_REQUEST, seq, 0);
        self.send(operation, &bytes)?;
        loop {
            for part in split(self.receive(operation)?) {
                let part = part.ok_or_else(|| malformed(operation))?;
                if part.seq != seq {
                    continue;
                }
                if part.kind != NLMSG_ERROR {
                    return Ok(Some(part.body.get(NFGENMSG..).unwrap_or_default().to_vec()));
                }
                return match part.errno().ok_or_else(|| malformed(operation))? {
                    libc::ENOENT => Ok(None),
                    errno => Err(kernel(operation, io::Error::from_raw_os_error(errno))),
                };
            }
        }
    }

    /// Asks for a dump and gives the attributes of each message of the answer.
    ///
    /// An object that is not there (`ENOENT`) is an empty dump.
    pub(crate) fn dump(&mut self, request: &Message) -> Result<Vec<Vec<u8>>> {
        for _ in 0..DUMP_TRIES {
            if let Some(items) = self.dump_once(request)? {
                return Ok(items);
            }
        }
        Err(kernel(&request.operation, Errno::INTR.into()))
    }

    /// None when the table changed under the dump.
    fn dump_once(&mut self, request: &Message) -> Result<Option<Vec<Vec<u8>>>> {
        let operation = &request.operation;
        let seq = self.next_seq();
        let mut bytes = Vec::new();
        encode(&mut bytes, request, NLM_F_REQUEST | NLM_F_DUMP, seq, 0);
        self.send(operation, &bytes)?;
        let mut items = Vec::new();
        let mut disturbed = false;
        loop {
            for part in split(self.receive(operation)?) {
                let part = part.ok_or_else(|| malformed(operation))?;
                if part.seq != seq {
                    continue;
                }
                disturbed |= part.flags & NLM_F_DUMP_INTR != 0;
                match part.kind {
                    NLMSG_DONE => return Ok((!disturbed).then_some(items)),
                    NLMSG_ERROR => match part.errno().ok_or_else(|| malformed(operation))? {
                        libc::ENOENT => return Ok(Some(Vec::new())),
                        libc::EINTR => return Ok(None),
                        errno => {
                            return Err(kernel(operation, io::Error::from_raw_os_error(errno)));
                        }
                    },
                    _ => items.push(part.body.get(NFGENMSG..).unwrap_or_default().to_vec()),
                }
            }
        }
    }

    /// One request that is answered by an acknowledgement.
    pub(crate) fn request(&mut self, message: &Message) -> Result<()> {
        let seq = self.next_seq();
        let mut bytes = Vec::new();
        encode(
            &mut bytes,
            message,
            NLM_F_REQUEST | NLM_F_ACK | message.flags,
            seq,
            0,
        );
        self.send(&message.operation, &bytes)?;
        self.acknowledged(seq, &[(seq, &message.operation)])
    }

    /// All of these or none of them (`NFNL_MSG_BATCH_BEGIN` … `NFNL_MSG_BATCH_END`).
    pub(crate) fn commit(&mut self, messages: &[Message]) -> Result<()> {
        let Some(last) = messages.len().checked_sub(1) else {
            return Ok(());
        };
        let mut bytes = Vec::with_capacity(256 * messages.len());
        let begin = self.next_seq();
        encode(
            &mut bytes,
            &batch(NFNL_MSG_BATCH_BEGIN),
            NLM_F_REQUEST,
            begin,
            NFNL_SUBSYS_NFTABLES,
        );
        // A batch that the kernel refuses as a whole is answered with the sequence of its begin.
        let mut seqs = vec![(begin, "commit the filter")];
        for (i, message) in messages.iter().enumerate() {
            let seq = self.next_seq();
            let ack = if i == last { NLM_F_ACK } else { 0 };
            encode(
                &mut bytes,
                message,
                NLM_F_REQUEST | ack | message.flags,
                seq,
                0,
            );
            seqs.push((seq, &message.operation));
        }
        let end = self.next_seq();
        encode(
            &mut bytes,
            &batch(NFNL_MSG_BATCH_END),
            NLM_F_REQUEST,
            end,
            NFNL_SUBSYS_NFTABLES,
        );
        self.send("commit the filter", &bytes)?;
        self.acknowledged(begin.wrapping_add(last as u32 + 1), &seqs)
    }

    /// Reads answers until the one to `last`, or until the first refusal.
    fn acknowledged(&mut self, last: u32, seqs: &[(u32, &str)]) -> Result<()> {
        loop {
            let operation = seqs[seqs.len() - 1].1;
            for part in split(self.receive(operation)?) {
                let part = part.ok_or_else(|| malformed(operation))?;
                let Some((seq, operation)) = seqs.iter().find(|(seq, _)| *seq == part.seq) else {
                    continue; // left over from a call that ended in a refusal
                };
                if part.kind != NLMSG_ERROR {
                    continue;
                }
                match part.errno().ok_or_else(|| malformed(operation))? {
                    0 if *seq == last => return Ok(()),
                    0 => {}
                    errno => return Err(kernel(operation, io::Error::from_raw_os_error(errno))),
                }
            }
        }
    }
}

fn kernel(operation: &str, source: io::Error) -> Error {
    Error::Kernel {
        operation: operation.to_owned(),
        source,
    }
}

fn malformed(operation: &str) -> Error {
    Error::Malformed {
        operation: operation.to_owned(),
    }
}

fn batch(kind: u16) -> Message {
    Message {
        operation: String::new(),
        kind,
        flags: 0,
        family: 0,
        attrs: Vec::new(),
    }
}

fn encode(bytes: &mut Vec<u8>, message: &Message, flags: u16, seq: u32, res_id: u16) {
    let len = (HEADER + NFGENMSG + message.attrs.len()) as u32;
    bytes.extend_from_slice(&len.to_ne_bytes());
    bytes.extend_from_slice(&message.kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&seq.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]); // the kernel fills in our port
    bytes.extend_from_slice(&[message.family, 0]);
    bytes.extend_from_slice(&res_id.to_be_bytes());
    bytes.extend_from_slice(&message.attrs); // attributes are padded already
}

struct Part<'a> {
    kind: u16,
    flags: u16,
    seq: u32,
    body: &'a [u8],
}

impl Part<'_> {
    /// The errno of an NLMSG_ERROR; 0 acknowledges. The least number has no opposite and is no errno.
    fn errno(&self) -> Option<i32> {
        i32::from_ne_bytes(self.body.get(0..4)?.try_into().ok()?).checked_neg()
    }
}

/// The messages of a datagram; None for one that does not fit, which is then the last.
fn split(mut bytes: &[u8]) -> impl Iterator<Item = Option<Part<'_>>> {
    fn part(bytes: &[u8]) -> Option<(Part<'_>, usize)> {
        let len = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
        let part = Part {
            kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
            flags: u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?),
            seq: u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?),
            body: bytes.get(HEADER..len)?,
        };
        Some((part, len.next_multiple_of(4)))
    }
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let found = part(bytes);
        bytes = found
            .as_ref()
            .and_then(|(_, len)| bytes.get(*len..))
            .unwrap_or_default();
        Some(found.map(|(part, _)| part))
    })
}

/// What a datagram of dumps holds: each object's kind without its subsystem, family and attributes.
#[cfg(test)]
pub(crate) fn objects(bytes: &[u8]) -> impl Iterator<Item = (u16, u8, &[u8])> {
    split(bytes).flatten().filter_map(|part| {
        let (head, attrs) = part.body.split_at_checked(NFGENMSG)?;
        Some((part.kind & 0xff, head[0], attrs))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes() {
        crate::fuzz::run("datagram", |bytes| {
            split(bytes)
                .flatten()
                .map(|part| (part.kind, part.errno(), part.body.len()))
                .collect::<Vec<_>>()
        });
    }
}
