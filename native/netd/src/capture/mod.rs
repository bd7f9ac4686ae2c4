// SPDX-License-Identifier: Apache-2.0
//! Captures. A child of netd's reads a packet socket and writes pcapng to the client.
//!
//! The socket is handed to nobody: whoever has one may bind it to any other interface of the
//! namespace and send by it (packet(7)), which is what CAP_NET_RAW keeps people from. The child
//! has no capability, the two descriptors and netd's log, lets nobody look into it, and copies
//! bytes that it does not look into either.

mod pcapng;

use crate::process::Process;
use crate::{confine, packet};
use pcapng::Direction;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid,
};
use std::io::{self, Write};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Bytes of a packet that are kept. A guest's TCP sends 64 KiB at once, and the kernel may join
/// more.
const SNAP: usize = 256 << 10;
/// What waits for the child, bytes, of which the kernel makes twice as many; it allows less where
/// net.core.rmem_max does.
const WAITING: libc::c_int = 2 << 20;
/// How long a capture may take to end by itself, once its interface is gone.
const PATIENCE: Duration = Duration::from_millis(300);
/// And when it was killed.
const KILLED: Duration = Duration::from_secs(1);
/// How often is looked whether an interface that is down is there still.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};
/// Without waiting.
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// Written at once, where more packets wait.
const CHUNK: usize = 128 << 10;

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    process: Process,
}

impl Capture {
    /// Begins one of an interface. What the client gets is a stream of pcapng that ends with the
    /// interface, or when the client shuts its sending side down.
    pub fn start(ifindex: u32, name: &str) -> io::Result<(Capture, OwnedFd)> {
        let socket = open(ifindex)?;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let netd = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        // SAFETY: netd has one thread, so the child may do whatever its parent could.
        let child = match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                // A panic must not go on with what netd is at.
                let run = AssertUnwindSafe(|| become_capture(socket, ours, &netd, name));
                match catch_unwind(run) {
                    Ok(Ok(())) => {}
                    // The reader went without a word.
                    Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
                    Ok(Err(error)) => eprintln!("capture of {name}: {error}"),
                    Err(_) => eprintln!("capture of {name}: a defect"),
                }
                // SAFETY: _exit does not return and touches no memory.
                unsafe { libc::_exit(0) }
            }
            pid => pid,
        };
        let child = Pid::from_raw(child).ok_or_else(|| io::Error::other("fork"))?;
        match Process::child(child) {
            Some(process) => Ok((Capture { process }, theirs)),
            // Nobody would wait for it, and a process namespace does not end before that.
            None => {
                let _ = kill_process(child, Signal::KILL);
                let _ = waitpid(Some(child), WaitOptions::empty());
                Err(io::Error::other("the capture cannot be watched"))
            }
        }
    }

    /// Readable when it has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.process.fd()
    }

    /// Whether it has; takes its exit status away.
    pub fn ended(&self) -> bool {
        self.process.ended_within(Duration::ZERO)
    }

    /// Ends it. One whose interface has gone writes its last block first.
    pub fn end(&self) {
        if !self.process.ended_within(PATIENCE) {
            self.process.signal(Signal::KILL);
            self.process.ended_within(KILLED);
        }
    }
}

/// A packet socket that has only ever seen this interface.
fn open(ifindex: u32) -> io::Result<OwnedFd> {
    let socket = packet::socket()?;
    let on: libc::c_int = 1;
    set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, on)?;
    // VLAN tags have left the packet by then (packet(7)).
    set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, on)?;
    // Past the limit where netd may, up to it else.
    if set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, WAITING).is_err() {
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, WAITING)?;
    }
    packet::bind(&socket, ifindex, libc::ETH_P_ALL)?;
    Ok(socket)
}

/// Lets nothing more in; what waits can be read. By a filter that keeps no byte of any packet:
/// a socket that is bound to nothing would hear everything.
fn deafen(socket: &OwnedFd) -> io::Result<()> {
    let mut keep_nothing = libc::sock_filter {
        code: 0x06, // BPF_RET | BPF_K (linux/bpf_common.h)
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut keep_nothing,
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
}

/// setsockopt(2); `T` is what the option takes.
fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: T) -> io::Result<()> {
    // SAFETY: the kernel reads a `T`, which lives here, and nothing behind it but what a filter's
    // own length says.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the child is from here on. Returns at the capture's end.
fn become_capture(socket: OwnedFd, client: OwnedFd, netd: &OwnedFd, name: &str) -> io::Result<()> {
    // With the user's uid and no capability it would be the user's to look into, and the socket
    // his to take (pidfd_getfd(2)).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    confine::keep_capabilities(confine::NONE).map_err(io::Error::other)?;
    let _ = rustix::thread::set_name(c"netd-capture");
    // netd's end is the capture's as well.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = std::time::Instant::now();
    if crate::wait::readable(netd, Some(now))? {
        return Ok(());
    }
    rustix::stdio::dup2_stdin(&socket)?;
    rustix::stdio::dup2_stdout(&client)?;
    // SAFETY: what netd had above is not used any more: this process goes on with the standard
    // three, and ends by _exit, which drops nothing.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    std::mem::forget((socket, client));
    // SAFETY: both were opened above and belong to this process alone.
    let (socket, mut client) = unsafe { (OwnedFd::from_raw_fd(0), UnixStream::from_raw_fd(1)) };
    stream(&socket, &mut client, name)
}

/// Copies packets until the interface is gone, or the client.
fn stream(socket: &OwnedFd, client: &mut UnixStream, name: &str) -> io::Result<()> {
    let mut buffer = vec![0; SNAP];
    let mut out = Vec::with_capacity(2 * CHUNK);
    let mut written = 0;
    let mut received = 0;
    let mut last = 0;
    let mut down = false;
    let mut ends = false;
    pcapng::head(&mut out, name, SNAP as u32);
    loop {
        client.write_all(&out)?;
        out.clear();
        let mut fds = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(client, PollFlags::IN),
        ];
        let timeout = match (ends, down) {
            (true, _) => Some(&NOW),
            (false, true) => Some(&LOOK),
            (false, false) => None,
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // The client says nothing; that it can be read is its end.
        if !ends && !fds[1].revents().is_empty() {
            deafen(socket)?;
            ends = true;
        }
        let mut empty = false;
        while out.len() <= CHUNK {
            match receive(socket.as_fd(), &mut buffer)? {
                Received::Packet(packet) => {
                    last = packet.time;
                    written += 1;
                    packet.write(&buffer, &mut out);
                }
                Received::Down => down = true,
                Received::Nothing => {
                    empty = true;
                    break;
                }
            }
        }
        let gone = down && !is_bound(socket.as_fd())?;
        // Reading the counters sets them back.
        received += u64::from(statistics(socket)?.tp_packets);
        // What waits still is the reader's as well.
        if empty && (gone || ends) {
            break;
        }
    }
    pcapng::foot(&mut out, last, received, received.saturating_sub(written));
    client.write_all(&out)
}

/// What one look at the socket gives.
enum Received {
    Packet(Packet),
    Nothing,
    /// The interface is down, or gone.
    Down,
}

/// A packet that lies in the buffer.
struct Packet {
    time: u64,
    direction: Direction,
    /// On the wire, without the tag.
    length: usize,
    kept: usize,
    /// The VLAN tag that the kernel took out: TPID and TCI.
    tag: Option<[u8; 4]>,
}

/// Where a VLAN tag stands in a frame: behind the two addresses.
const ADDRESSES: usize = 12;

impl Packet {
    fn write(&self, buffer: &[u8], out: &mut Vec<u8>) {
        let frame = &buffer[..self.kept];
        match &self.tag {
            Some(tag) if frame.len() >= ADDRESSES => {
                let (addresses, rest) = frame.split_at(ADDRESSES);
                let length = self.length + tag.len();
                pcapng::packet(
                    out,
                    self.time,
                    self.direction,
                    length,
                    &[addresses, tag, rest],
                );
            }
            _ => pcapng::packet(out, self.time, self.direction, self.length, &[frame]),
        }
    }
}

/// Room for a time stamp and what packet(7) tells beside a packet.
#[repr(align(8))]
struct Control([u8; 128]);

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; 128]);
    // SAFETY: all-zero is a valid sockaddr_ll and a valid msghdr.
    let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) =
        unsafe { (zeroed(), zeroed()) };
    let mut piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the message's parts live here, and their lengths are theirs.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(Received::Nothing),
            Some(libc::ENETDOWN) => Ok(Received::Down),
            _ => Err(error),
        };
    };
    let mut packet = Packet {
        time: 0,
        direction: match from.sll_pkttype {
            libc::PACKET_OUTGOING => Direction::Out,
            _ => Direction::In,
        },
        length,
        kept: length.min(buffer.len()),
        tag: None,
    };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within what the kernel filled in, and the values
    // are of the types that their level and kind say; they may lie anywhere.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(each) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            match (each.cmsg_level, each.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    packet.time = nanoseconds(data.cast::<libc::timespec>().read_unaligned());
                }
                (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                    packet.tag = tag_of(&data.cast::<libc::tpacket_auxdata>().read_unaligned());
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(Received::Packet(packet))
}

fn nanoseconds(time: libc::timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn tag_of(beside: &libc::tpacket_auxdata) -> Option<[u8; 4]> {
    let has = |flag| beside.tp_status & flag != 0;
    if !has(libc::TP_STATUS_VLAN_VALID) {
        return None;
    }
    let kind = match has(libc::TP_STATUS_VLAN_TPID_VALID) {
        true => beside.tp_vlan_tpid,
        false => libc::ETH_P_8021Q as u16,
    };
    let [a, b] = kind.to_be_bytes();
    let [c, d] = beside.tp_vlan_tci.to_be_bytes();
    Some([a, b, c, d])
}

/// Whether the socket's interface is there still. The kernel tells that it went down, and unbinds
/// the socket without a word when it is unregistered after that (net/packet/af_packet.c,
/// packet_notifier).
fn is_bound(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address has room for `length` bytes.
    let done = unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    match done {
        0 => Ok(address.sll_ifindex > 0),
        _ => Err(io::Error::last_os_error()),
    }
}

fn statistics(socket: &OwnedFd) -> io::Result<libc::tpacket_stats> {
    let mut counted = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the kernel fills at most `length` bytes in.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut counted).cast(),
            &raw mut length,
        )
    };
    match done {
        0 => Ok(counted),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_put_back_where_it_was() {
        let frame = *b"ddddddssssss\x08\x00data";
        let packet = Packet {
            time: 1,
            direction: Direction::In,
            length: frame.len(),
            kept: frame.len(),
            tag: Some([0x81, 0, 0, 7]),
        };
        let (mut tagged, mut expected) = (Vec::new(), Vec::new());
        packet.write(&frame, &mut tagged);
        let whole = *b"ddddddssssss\x81\x00\x00\x07\x08\x00data";
        pcapng::packet(&mut expected, 1, Direction::In, whole.len(), &[&whole]);
        assert_eq!(tagged, expected);
    }
}
