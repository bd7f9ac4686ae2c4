// SPDX-License-Identifier: Apache-2.0
//! Multicast groups of rtnetlink(7): told when something changed, not what. Whoever is told
//! reads the kernel again, so a lost message costs nothing.

use super::socket::{split, u32_at};
use super::{Error, Result};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

// linux/rtnetlink.h, RTNLGRP_… as bits.
const LINK: u32 = 1 << 0;
const TC: u32 = 1 << 3;
const IPV4_IFADDR: u32 = 1 << 4;
const IPV4_ROUTE: u32 = 1 << 6;
const IPV6_IFADDR: u32 = 1 << 8;
const IPV6_ROUTE: u32 = 1 << 10;
const IPV4_RULE: u32 = 1 << 7;
const IPV6_RULE: u32 = 1 << 18;
const IPV4_NETCONF: u32 = 1 << 23;
const IPV6_NETCONF: u32 = 1 << 24;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;

/// What may have changed since last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Interfaces.
    pub links: bool,
    /// Addresses of interfaces.
    pub addresses: bool,
    /// Routes, and the rules that choose among their tables.
    pub routes: bool,
    /// sysctls of net.ipv4.conf, forwarding among them.
    pub netconf: bool,
    /// sysctls of net.ipv6.conf.
    pub netconf6: bool,
    /// Queueing disciplines and their filters.
    pub disciplines: bool,
}

impl Changes {
    /// Whether anything did.
    pub fn any(self) -> bool {
        let configured = self.links || self.addresses || self.routes;
        configured || self.netconf || self.netconf6 || self.disciplines
    }
}

/// The subscription.
#[derive(Debug)]
pub struct Monitor {
    fd: OwnedFd,
}

impl Monitor {
    /// Subscribes in the calling thread's network namespace.
    pub fn open() -> Result<Monitor> {
        let ipv4 = IPV4_IFADDR | IPV4_ROUTE | IPV4_RULE | IPV4_NETCONF;
        let ipv6 = IPV6_IFADDR | IPV6_ROUTE | IPV6_RULE | IPV6_NETCONF;
        let fd = subscribe(LINK | TC | ipv4 | ipv6)?;
        Ok(Monitor { fd })
    }

    /// Readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes all that is there, without blocking.
    pub fn drain(&mut self) -> Changes {
        let mut changes = Changes::default();
        let mut buffer = [0; 16 * 1024];
        loop {
            match recv(&self.fd, &mut buffer, RecvFlags::empty()) {
                Ok((size, _)) => {
                    for part in split(&buffer[..size]) {
                        match part.kind {
                            RTM_NEWLINK | RTM_DELLINK => changes.links = true,
                            RTM_NEWADDR | RTM_DELADDR => changes.addresses = true,
                            RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE => {
                                changes.routes = true;
                            }
                            RTM_NEWQDISC | RTM_DELQDISC | RTM_NEWTFILTER | RTM_DELTFILTER => {
                                changes.disciplines = true;
                            }
                            RTM_NEWNETCONF | RTM_DELNETCONF if is_ipv6(part.body) => {
                                changes.netconf6 = true;
                            }
                            RTM_NEWNETCONF | RTM_DELNETCONF => changes.netconf = true,
                            _ => {}
                        }
                    }
                }
                // ENOBUFS: messages were lost; anything may have changed.
                Err(Errno::NOBUFS) => {
                    changes = Changes {
                        links: true,
                        addresses: true,
                        routes: true,
                        netconf: true,
                        netconf6: true,
                        disciplines: true,
                    };
                }
                Err(Errno::INTR) => {}
                Err(_) => return changes,
            }
        }
    }
}

/// A subscription of its own by which it is known, without a look at all of them, whether there are
/// interfaces of others that were not there before.
#[derive(Debug)]
pub struct Newcomers {
    fd: OwnedFd,
    known: HashSet<u32>,
}

impl Newcomers {
    /// Subscribes in the calling thread's network namespace. Whatever is there comes as news.
    pub fn watch() -> Result<Newcomers> {
        let (fd, known) = (subscribe(LINK)?, HashSet::new());
        Ok(Newcomers { fd, known })
    }

    /// This one is no news.
    pub fn expect(&mut self, ifindex: u32) {
        self.known.insert(ifindex);
    }

    /// Whether any came since last asked. The kernel tells of an interface before whoever makes it
    /// goes on.
    pub fn came(&mut self) -> bool {
        let mut came = false;
        let mut buffer = [0; 16 * 1024];
        loop {
            match recv(&self.fd, &mut buffer, RecvFlags::empty()) {
                Ok((size, _)) => {
                    for part in split(&buffer[..size]) {
                        // `struct ifinfomsg`, ifi_index.
                        match (part.kind, u32_at(part.body, 4)) {
                            (RTM_NEWLINK, Some(ifindex)) => came |= self.known.insert(ifindex),
                            (RTM_DELLINK, Some(ifindex)) => drop(self.known.remove(&ifindex)),
                            _ => {}
                        }
                    }
                }
                // Some were lost.
                Err(Errno::NOBUFS) => came = true,
                Err(Errno::INTR) => {}
                Err(_) => return came,
            }
        }
    }
}

/// A socket that the kernel tells of these groups.
fn subscribe(groups: u32) -> Result<OwnedFd> {
    let open = || -> std::result::Result<OwnedFd, Errno> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None, // NETLINK_ROUTE is 0
        )?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(fd)
    };
    open().map_err(|errno| Error {
        operation: "watch interfaces, addresses and routes".into(),
        errno,
    })
}

/// A `struct netconfmsg` begins with the family.
fn is_ipv6(body: &[u8]) -> bool {
    body.first().copied().map(i32::from) == Some(libc::AF_INET6)
}
