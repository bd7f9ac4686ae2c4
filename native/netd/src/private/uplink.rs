// SPDX-License-Identifier: Apache-2.0
//! The private scope's way out as the inner half sees it: pasta's interface here, the rest by
//! word of the outer half.

use ipnet::IpNet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use tapyard_protocol::{Code, Error, Provider, Removed, Result, Uplink as State, Uplink6};

use super::channel::Channel;
use super::message::{Outside, ToInner, ToOuter};
use super::pasta;
use crate::acts;
use crate::rtnl::{AddressFamily, Monitor, Rtnl, default_route};
use crate::uplink::Uplink;

/// The outer half says its first word before it makes this process.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// Ending pasta and the anchor, each with a deadline of its own.
const END_DEADLINE: Duration = Duration::from_secs(15);

/// pasta, seen from the lab.
#[derive(Debug)]
pub(super) struct PastaUplink {
    outer: Channel,
    rtnl: Rtnl,
    monitor: Monitor,
    /// Readable when `outer` or `monitor` is.
    ready: OwnedFd,
    outside: Outside,
    /// `up0` is there with its address and the default route.
    inside: bool,
    /// The same of IPv6.
    inside6: bool,
    /// What the outer half was told of networks with IPv6.
    wants_ipv6: Option<bool>,
    /// The same of ways out that are shut.
    paused: Option<bool>,
}

impl PastaUplink {
    /// Subscribes in the calling process's network namespace, the lab's.
    pub(super) fn open(outer: Channel) -> Result<PastaUplink> {
        let failed = |e: io::Error| Error::kernel("watch the uplink", &e);
        let rtnl = Rtnl::open()?;
        let monitor = Monitor::open()?;
        let watch = || -> io::Result<OwnedFd> {
            let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            for fd in [outer.fd(), monitor.fd()] {
                let data = epoll::EventData::new_u64(0);
                epoll::add(&ready, fd, data, epoll::EventFlags::IN)?;
            }
            Ok(ready)
        };
        let ready = watch().map_err(failed)?;
        let outside = match outer.receive(FIRST_WORD).map_err(failed)? {
            Some(ToInner::Outside(outside)) => outside,
            _ => {
                return Err(Error::new(
                    Code::AnchorFailed,
                    "the outer half of netd has ended",
                ));
            }
        };
        let mut uplink = PastaUplink {
            outer,
            rtnl,
            monitor,
            ready,
            outside,
            inside: false,
            inside6: false,
            wants_ipv6: None,
            paused: None,
        };
        uplink.look_inside();
        Ok(uplink)
    }

    /// Another handle of the channel to the outer half.
    pub(super) fn outer(&self) -> io::Result<Channel> {
        self.outer.try_clone()
    }

    fn look_inside(&mut self) {
        let mut look = || -> crate::rtnl::Result<[bool; 2]> {
            let Some(link) = self.rtnl.link_named(pasta::DEVICE)? else {
                return Ok([false; 2]);
            };
            let addresses = self.rtnl.addresses(AddressFamily::Any)?;
            let has = |net: Option<IpNet>| {
                let mut addresses = addresses.iter();
                addresses.any(|a| a.ifindex == link.ifindex && Some(a.net) == net)
            };
            let mut leads_out = |family| -> crate::rtnl::Result<bool> {
                let routes = self.rtnl.routes(family)?;
                let device = default_route(&routes).and_then(|route| route.device);
                Ok(device == Some(link.ifindex))
            };
            Ok([
                has(pasta::address().map(Into::into)) && leads_out(AddressFamily::V4)?,
                has(pasta::address6().map(Into::into)) && leads_out(AddressFamily::V6)?,
            ])
        };
        [self.inside, self.inside6] = look().unwrap_or_else(|error| {
            eprintln!("look at {}: {error}", pasta::DEVICE);
            [false; 2]
        });
    }

    fn ipv6(&self) -> Uplink6 {
        let outside = &self.outside;
        let Some(host_device) = &outside.device6 else {
            return Uplink6::no_route();
        };
        let template = outside.device.as_deref().unwrap_or_default();
        // pasta takes IPv6 from the interface that it takes IPv4 from; it sends by any.
        let reason = (outside.ipv6 && self.inside && !self.inside6).then(|| {
            let why = format!(
                "pasta carries IPv6 only where the interface of the IPv4 default route has it, and \
                 {template} has none, so IPv6 of guests stays within the lab"
            );
            Error::new(Code::NoIpv6Route, why)
                .hint(format!(
                    "Where IPv6 of {template} is switched off: sysctl -w net.ipv6.conf.{template}.disable_ipv6=0"
                ))
                .subject(template)
        });
        Uplink6 {
            device: self.inside6.then(|| pasta::DEVICE.to_owned()),
            host_device: Some(host_device.clone()),
            gateway: outside.gateway6,
            forwarding: false, // the engine reads it
            router: false,
            reason,
        }
    }

    fn take_messages(&mut self) {
        loop {
            match self.outer.try_receive() {
                Ok(Some(ToInner::Outside(outside))) => {
                    if outside.pasta != self.outside.pasta {
                        // Nobody has told the new one anything, and its interface is another.
                        self.paused = None;
                        self.look_inside();
                    }
                    self.outside = outside;
                }
                Ok(Some(ToInner::Acts(acts))) => acts::take_over(acts),
                Ok(Some(ToInner::Ended(_))) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Without the outer half there is nobody to look after the uplink or to end the
                // anchor; the next netd finds everything where it is.
                Ok(None) | Err(_) => {
                    eprintln!("the outer half of netd has ended, so this one does");
                    std::process::exit(1);
                }
            }
        }
    }
}

impl Uplink for PastaUplink {
    fn state(&self) -> State {
        let outside = &self.outside;
        let host_subnets = outside.host_subnets.clone();
        if let Some(reason) = &outside.reason {
            return State {
                host_subnets,
                ..State::none(reason.clone())
            };
        }
        State {
            provider: Provider::Pasta,
            device: self.inside.then(|| pasta::DEVICE.to_owned()),
            host_device: outside.device.clone(),
            addresses: outside.addresses.clone(),
            gateway: outside.gateway,
            forwarding: false, // the engine reads it
            pid: outside.pasta,
            reason: None,
            ipv6: self.ipv6(),
            host_subnets,
        }
    }

    fn want_ipv6(&mut self, wanted: bool) {
        if self.wants_ipv6 == Some(wanted) {
            return;
        }
        match self.outer.send(&ToOuter::Ipv6(wanted)) {
            Ok(()) => self.wants_ipv6 = Some(wanted),
            // Its end is noticed by the loop.
            Err(e) => eprintln!("ask for IPv6: {e}"),
        }
    }

    fn pause(&mut self, may: bool) {
        // One that is stopped before it has made its interface never makes it.
        if self.paused == Some(may) || (may && !self.inside) {
            return;
        }
        match self.outer.send(&ToOuter::Pause(may)) {
            Ok(()) => self.paused = Some(may),
            // Its end is noticed by the loop.
            Err(e) => eprintln!("pause pasta: {e}"),
        }
    }

    fn dns_servers(&self) -> Vec<IpAddr> {
        self.outside.servers.clone()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ready.as_fd())
    }

    fn on_readable(&mut self) -> bool {
        let before = (self.outside.clone(), self.inside, self.inside6);
        self.take_messages();
        if self.monitor.drain().any() {
            self.look_inside();
        }
        before != (self.outside.clone(), self.inside, self.inside6)
    }

    fn shutdown(&mut self) -> Removed {
        let deadline = Instant::now() + END_DEADLINE;
        let failed = |why: String| Removed {
            removed: Vec::new(),
            failed: vec![Error::new(
                Code::AnchorFailed,
                format!("end the anchor: {why}"),
            )],
        };
        if let Err(e) = self.outer.send(&ToOuter::End) {
            return failed(e.to_string());
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.outer.receive(left) {
                Ok(Some(ToInner::Ended(removed))) => return removed,
                Ok(Some(ToInner::Acts(acts))) => acts::take_over(acts),
                Ok(Some(ToInner::Outside(_))) => {}
                Ok(None) => return failed("the outer half of netd has ended".into()),
                Err(e) => return failed(e.to_string()),
            }
        }
    }
}
