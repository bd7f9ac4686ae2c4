// SPDX-License-Identifier: Apache-2.0
//! The way out as the inner half sees it: pasta's interface in the lab's namespace, and what the
//! outer half tells of the host.

use super::control::{FromInner, FromOuter, Heard, hear, hear_within, tell};
use super::pasta::{ADDRESS, DEVICE};
use crate::rtnl::{AddressFamily, Monitor, Rtnl, default_route};
use crate::uplink::Uplink;
use rustix::event::epoll;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tapyard_protocol::{Code, Error, Provider, Removed, Result, Uplink as State};

/// How long the outer half may take to say where we are, and to end pasta and the anchor.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pasta, through the outer half.
pub struct PastaUplink {
    control: OwnedFd,
    rtnl: Rtnl,
    monitor: Monitor,
    /// Readable when `control` or `monitor` is.
    either: OwnedFd,
    /// As the outer half told it.
    told: State,
    state: State,
    servers: Vec<IpAddr>,
}

impl PastaUplink {
    /// Waits for the outer half's first word.
    pub fn open(control: OwnedFd) -> Result<PastaUplink> {
        let silent = || Error::new(Code::Internal, "the outer half of netd says nothing");
        let (told, servers) = loop {
            match hear_within(&control, PATIENCE).ok_or_else(silent)? {
                FromOuter::Uplink { state, servers } => break (state, servers),
                FromOuter::Ended(_) => {}
            }
        };
        let monitor = Monitor::open()?;
        let watch = || -> rustix::io::Result<OwnedFd> {
            let either = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            for fd in [control.as_fd(), monitor.fd()] {
                epoll::add(
                    &either,
                    fd,
                    epoll::EventData::new_u64(0),
                    epoll::EventFlags::IN,
                )?;
            }
            Ok(either)
        };
        let either = watch().map_err(|e| Error::kernel("epoll", &e.into()))?;
        let mut uplink = PastaUplink {
            control,
            rtnl: Rtnl::open()?,
            monitor,
            either,
            state: told.clone(),
            told,
            servers,
        };
        uplink.state = uplink.look();
        Ok(uplink)
    }

    /// What was told, with the device once it can carry traffic.
    fn look(&mut self) -> State {
        let mut state = self.told.clone();
        if state.provider == Provider::Pasta && self.device_is_ready().unwrap_or(false) {
            state.device = Some(DEVICE.to_owned());
        }
        state
    }

    fn device_is_ready(&mut self) -> crate::rtnl::Result<bool> {
        let Some(link) = self.rtnl.link_named(DEVICE)? else {
            return Ok(false);
        };
        let has_address = self
            .rtnl
            .addresses(AddressFamily::V4)?
            .iter()
            .any(|address| address.ifindex == link.ifindex && address.net.addr() == ADDRESS);
        let routes = self.rtnl.routes()?;
        let leads = default_route(&routes).is_some_and(|route| route.device == Some(link.ifindex));
        Ok(has_address && leads)
    }
}

impl Uplink for PastaUplink {
    fn state(&self) -> State {
        self.state.clone()
    }

    fn dns_servers(&self) -> Vec<IpAddr> {
        self.servers.clone()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.either.as_fd())
    }

    fn on_readable(&mut self) -> bool {
        let mut changed = false;
        loop {
            match hear(&self.control) {
                Heard::Message(FromOuter::Uplink { state, servers }) => {
                    changed |= servers != self.servers;
                    self.told = state;
                    self.servers = servers;
                }
                Heard::Message(FromOuter::Ended(_)) => {}
                Heard::Nothing => break,
                // Half a netd serves nobody. What it made stays; the next netd adopts it.
                Heard::Gone => std::process::exit(1),
            }
        }
        self.monitor.drain();
        let state = self.look();
        changed |= state != self.state;
        self.state = state;
        changed
    }

    fn shutdown(&mut self) -> Removed {
        let answer = || {
            if !tell(&self.control, &FromInner::Shutdown) {
                return None;
            }
            loop {
                if let FromOuter::Ended(removed) = hear_within(&self.control, PATIENCE)? {
                    return Some(removed);
                }
            }
        };
        answer().unwrap_or_else(|| Removed {
            removed: Vec::new(),
            failed: vec![Error::new(
                Code::AnchorFailed,
                "the outer half of netd did not end the lab's namespaces",
            )],
        })
    }
}
