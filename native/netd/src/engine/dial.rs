// SPDX-License-Identifier: Apache-2.0
//! `dial`: a TCP connection to a guest, made here and handed over as a file descriptor, so that
//! nobody outside needs a route to the guest.

use super::{Engine, Stopwatch, subnets_of};
use crate::journal::bridge_addresses;
use crate::rtnl::{AddressFamily as Family, Counters};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Dial, DialReply, Error, LabName, NetworkName, NetworkSpec, Result};

/// How long a guest may take to accept: three SYNs (RFC 6298, 1 s and doubled: at 0, 1 and 3 s).
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection on its way: the server's loop waits for it to become writable.
#[derive(Debug)]
pub struct Dialling {
    socket: OwnedFd,
    to: SocketAddr,
    network: NetworkName,
    watch: Stopwatch,
    deadline: Instant,
}

impl Engine {
    /// Begins a connection; never blocks. `NO_SUCH_NETWORK`, `BAD_ARGS` (subject `address`),
    /// `GUEST_UNREACHABLE`, `KERNEL`.
    pub fn dial(&mut self, args: &Dial) -> Result<Dialling> {
        self.check_lab(&args.lab)?;
        let address = args.address;
        let bad =
            |why: String| Error::new(Code::BadArgs, format!("address: {why}")).subject("address");
        let spec = self.network_of(&args.lab, address)?;
        if !is_host(&spec, address) {
            return Err(bad(format!(
                "{address} is no guest's address in {}",
                spec.name
            )));
        }
        // Also one that somebody else gave to an interface: a service of the host must not be
        // reached by way of netd's namespace.
        let host = self.rtnl.addresses(Family::Any)?;
        let mut host = host
            .iter()
            .map(|own| own.net)
            .chain(bridge_addresses(&spec));
        if host.any(|own| own.addr() == address) {
            return Err(bad(format!("{address} is the host's own, not a guest's")));
        }
        let links = self.rtnl.links(Counters::Skip)?;
        let bridge = links
            .iter()
            .find(|link| link.name == *spec.name && self.is_our_bridge(link, &args.lab, &spec));
        if bridge.is_none() {
            return Err(Error::new(
                Code::NoSuchNetwork,
                format!("the bridge {} is gone", spec.name),
            )
            .hint("Somebody removed it; bring the lab up again.")
            .subject(spec.name.as_str()));
        }
        let to = SocketAddr::new(address, args.port.get());
        let watch = Stopwatch::start();
        let socket = socket_with(
            match address {
                IpAddr::V4(_) => AddressFamily::INET,
                IpAddr::V6(_) => AddressFamily::INET6,
            },
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(|e| Error::kernel("make a socket", &e.into()))?;
        // Whatever routes somebody adds: over this bridge or not at all.
        bind_to_device(socket.as_fd(), &spec.name)?;
        sockopt::set_tcp_nodelay(&socket, true)
            .map_err(|e| Error::kernel("set TCP_NODELAY", &e.into()))?;
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Dialling {
                socket,
                to,
                network: spec.name,
                watch,
                deadline: Instant::now() + PATIENCE,
            }),
            Err(errno) => Err(unreachable(to, &spec.name, errno)),
        }
    }
}

impl Engine {
    /// The network of a lab that has this address in a subnet. `NO_SUCH_NETWORK`.
    pub(super) fn network_of(&self, lab: &LabName, address: IpAddr) -> Result<NetworkSpec> {
        let own = self.journal.state().networks.values();
        own.filter(|recorded| recorded.lab == *lab && !recorded.removing)
            .map(|recorded| &recorded.spec)
            .find(|spec| subnets_of(spec).any(|subnet| subnet.contains(&address)))
            .cloned()
            .ok_or_else(|| {
                Error::new(
                    Code::NoSuchNetwork,
                    format!("{address} is in none of the networks of the lab {lab}"),
                )
                .hint("Only guests can be reached. Bring the lab up first.")
                .subject(address.to_string())
            })
    }
}

/// Whether it is a host's and not the network's or everybody's. (In IPv6 the first one is any
/// router's: RFC 4291, 2.6.1.)
fn is_host(spec: &NetworkSpec, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => spec.subnet.is_some_and(|subnet| subnet.is_host(address)),
        IpAddr::V6(address) => spec.ipv6.is_some_and(|s| s.net().network() != address),
    }
}

impl Dialling {
    /// To be polled for writing: then the kernel has its answer.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// When to give up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The outcome, once it is writable or its deadline is over.
    pub fn finish(self) -> Result<(DialReply, OwnedFd)> {
        // ENOTCONN until the handshake is done; SO_ERROR says why it never will be.
        match sockopt::socket_error(&self.socket) {
            Ok(Ok(())) if rustix::net::getpeername(&self.socket).is_ok() => {}
            Ok(Ok(())) => return Err(unreachable(self.to, &self.network, Errno::TIMEDOUT)),
            Ok(Err(errno)) | Err(errno) => return Err(unreachable(self.to, &self.network, errno)),
        }
        let reply = DialReply {
            network: self.network,
            ms: self.watch.ms(),
        };
        Ok((reply, self.socket))
    }
}

/// SO_BINDTODEVICE (socket(7)); an unbound socket may be bound without CAP_NET_RAW since 5.7.
fn bind_to_device(socket: BorrowedFd<'_>, device: &str) -> Result<()> {
    let length = libc::socklen_t::try_from(device.len())
        .map_err(|_| Error::new(Code::Internal, "a device's name is too long"))?;
    // SAFETY: the option's value is `length` bytes at the name's start, which the kernel copies;
    // it needs no NUL.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.as_ptr().cast(),
            length,
        )
    };
    if done != 0 {
        let cause = std::io::Error::last_os_error();
        return Err(Error::kernel(format!("bind a socket to {device}"), &cause));
    }
    Ok(())
}

fn unreachable(to: SocketAddr, network: &NetworkName, errno: Errno) -> Error {
    let (address, port) = (to.ip(), to.port());
    let (what, hint) = match errno {
        Errno::CONNREFUSED => (
            format!("{address} refuses connections to port {port}"),
            format!("Nothing listens on port {port} of the guest, or its firewall rejects it."),
        ),
        Errno::HOSTUNREACH | Errno::NETUNREACH => (
            format!("no route to {address}: nobody on {network} answers for the address"),
            "The guest is not running, still booting, or has another address.".to_owned(),
        ),
        Errno::TIMEDOUT => (
            format!(
                "{address} did not answer on port {port} within {} s (timeout)",
                PATIENCE.as_secs()
            ),
            "The guest is still booting or paused, or its firewall drops the connection."
                .to_owned(),
        ),
        other => (
            format!("cannot connect to {to}: {other}"),
            "Look at the guest's console.".to_owned(),
        ),
    };
    Error::new(Code::GuestUnreachable, what)
        .hint(hint)
        .subject(to.to_string())
}
