// SPDX-License-Identifier: Apache-2.0
//! What else tells netd of changes: nf_tables' own notifications, and inotify for leases.

use crate::dnsmasq::LEASES;
use crate::rtnl::messages;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with,
};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// linux/netfilter/nfnetlink.h: NFNLGRP_NFTABLES is 7; groups are bits from 1.
const NFTABLES: u32 = 1 << 6;

/// Told after each nf_tables transaction of anybody's in the namespace.
#[derive(Debug)]
pub struct FilterWatch {
    fd: OwnedFd,
}

impl FilterWatch {
    /// Subscribes in the calling thread's network namespace.
    pub fn open() -> io::Result<FilterWatch> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(netlink::NETFILTER),
        )?;
        bind(&fd, &SocketAddrNetlink::new(0, NFTABLES))?;
        Ok(FilterWatch { fd })
    }

    /// Readable when there was a transaction.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes all that is there, without blocking. Whether any of it was done by another socket
    /// than the ones of these ports.
    pub fn foreign(&self, ports: &[u32]) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut foreign = false;
        loop {
            match recv(&self.fd, &mut buffer, RecvFlags::empty()) {
                Ok((size, _)) => {
                    foreign |= messages(&buffer[..size]).any(|origin| !ports.contains(&origin));
                }
                // Some were lost; they may have been anybody's.
                Err(Errno::NOBUFS) => foreign = true,
                Err(Errno::INTR) => {}
                Err(_) => return foreign,
            }
        }
    }
}

/// Told when dnsmasq writes its lease file.
#[derive(Debug)]
pub struct LeaseWatch {
    fd: OwnedFd,
}

impl LeaseWatch {
    /// Watches nothing yet.
    pub fn open() -> io::Result<LeaseWatch> {
        Ok(LeaseWatch {
            fd: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        })
    }

    /// Watches a network's directory until it is removed. Twice is once.
    pub fn add(&self, directory: &Path) -> io::Result<()> {
        add_watch(&self.fd, directory, WatchFlags::MODIFY | WatchFlags::CREATE)?;
        Ok(())
    }

    /// Readable when something was written.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes all that is there, without blocking. Whether leases were among it: netd itself writes
    /// the other files.
    pub fn drain(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        let mut leases = false;
        while let Ok(event) = reader.next() {
            let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            leases |= lost
                || event
                    .file_name()
                    .is_some_and(|name| name.to_bytes() == LEASES.as_bytes());
        }
        leases
    }
}
