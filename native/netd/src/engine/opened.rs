// SPDX-License-Identifier: Apache-2.0
//! The interfaces that are not ours and whose forwarding netd switched on: the ways out.
//!
//! Netds of other uids in the namespace share a way out. Each that needs it has it in its set
//! `opened`, so that each keeps the machine from being a router, and the last of them puts it back.

use super::Engine;
use crate::acts::deed;
use crate::journal::Entry;
use crate::sysctl::{self, Router6};
use std::io;
use tapyard_protocol::{Error, Result, Scope, Uplink6};

impl Engine {
    /// The uplink's device, where there is a network that may use it.
    fn wanted_uplink(&self) -> Option<String> {
        let mut networks = self.journal.state().networks.values();
        networks
            .any(|network| network.spec.mode.forwards())
            .then(|| self.uplink.state().device)?
    }

    /// Decides which interface is `opened` and records it. Interfaces that are the way out no
    /// longer are closed.
    pub(super) fn plan_uplink(&mut self) -> Result<()> {
        let wanted = self.wanted_uplink();
        let opened = self.journal.state().opened.clone();
        let router = sysctl::is_router();
        for device in opened {
            if router || Some(&device) != wanted.as_ref() {
                self.close(device)?;
            }
        }
        if let Some(device) = wanted {
            let opened = self.journal.state().opened.contains(&device);
            if !opened && self.is_to_open(&device)? {
                self.journal.append(Entry::Opened { device })?;
            }
        }
        self.plan_uplink6()
    }

    /// Whether an interface does not forward, or does so because another netd switched it on. In
    /// this order: that one says so before it does.
    fn is_to_open(&mut self, device: &str) -> Result<bool> {
        match sysctl::forwarding(device) {
            Ok(true) => Ok(!sysctl::is_router() && self.filter.others_opened(device)?),
            Ok(false) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    fn is_to_open6(&mut self, device: &str) -> Result<bool> {
        match sysctl::forwarding6(device) {
            Ok(true) => Ok(self.filter.others_opened6(device)?),
            Ok(false) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// The way out of IPv6.
    pub(super) fn uplink6(&self) -> Uplink6 {
        let ipv6 = self.uplink.state().ipv6;
        let Some(device) = &ipv6.device else {
            return ipv6;
        };
        let router = sysctl::router6();
        let alone = sysctl::forwarding6(device).unwrap_or(false);
        Uplink6 {
            forwarding: router != Router6::No || alone,
            router: self.journal.state().router6 && router == Router6::ForLabs,
            ..ipv6
        }
    }

    fn plan_uplink6(&mut self) -> Result<()> {
        let sends = self.sends_ipv6();
        self.uplink.want_ipv6(sends);
        if self.config.identity.scope == Scope::Private {
            return Ok(()); // see hold_forwarding6
        }
        let wanted = sends.then(|| self.uplink6().device).flatten();
        if !sysctl::forwards_single6() {
            return self.plan_router6(wanted.is_some());
        }
        let router = sysctl::is_router6();
        for device in self.journal.state().opened6.clone() {
            if router || Some(&device) != wanted.as_ref() {
                self.close6(device)?;
            }
        }
        if let Some(device) = wanted.filter(|_| !router) {
            let opened = self.journal.state().opened6.contains(&device);
            if !opened && self.is_to_open6(&device)? {
                self.journal.append(Entry::Opened6 { device })?;
            }
        }
        Ok(())
    }

    /// As [`Engine::close`].
    pub(super) fn close6(&mut self, device: String) -> Result<()> {
        if !sysctl::is_router6()
            && sysctl::forwarding6(&device).unwrap_or(false)
            && !self.is_left_to_others6(&device)?
            && let Err(e) = switch6(&device, false)
        {
            let what = format!("switch IPv6 forwarding of {device} off");
            return Err(Error::kernel(what, &e)
                .hint(format!(
                    "Do it yourself: sysctl -w net.ipv6.conf.{device}.force_forwarding=0"
                ))
                .subject(device));
        }
        self.journal.note(Entry::Closed6 { device });
        Ok(())
    }

    /// Puts an interface back as it was found, if it is still as netd left it. Where somebody made
    /// the machine a router meanwhile, what netd switched on is theirs: neither to be guarded nor to
    /// be switched off.
    pub(super) fn close(&mut self, device: String) -> Result<()> {
        // The interface may be gone, and with it what was switched.
        if !sysctl::is_router()
            && sysctl::forwarding(&device).unwrap_or(false)
            && !self.is_left_to_others(&device)?
            && let Err(e) = switch(&device, false)
        {
            return Err(
                Error::kernel(format!("switch forwarding of {device} off"), &e)
                    .hint(format!(
                        "Do it yourself: sysctl -w net.ipv4.conf.{device}.forwarding=0"
                    ))
                    .subject(device),
            );
        }
        self.journal.note(Entry::Closed { device });
        Ok(())
    }

    /// Whether another netd has the interface `opened` too, so that it is that one's from now on. Ours
    /// goes out of the filter before the second look: of two that let go at the same time, one at least
    /// sees that it was the last.
    fn is_left_to_others(&mut self, device: &str) -> Result<bool> {
        if !self.filter.others_opened(device)? {
            return Ok(false);
        }
        self.filter
            .set_opened(&without(&self.journal.state().opened, device))?;
        let left = self.filter.others_opened(device)?;
        if left {
            deed(format!(
                "left {device} forwarding, for the labs of another user"
            ))
            .done();
        }
        Ok(left)
    }

    fn is_left_to_others6(&mut self, device: &str) -> Result<bool> {
        if !self.filter.others_opened6(device)? {
            return Ok(false);
        }
        self.filter
            .set_opened6(&without(&self.journal.state().opened6, device))?;
        let left = self.filter.others_opened6(device)?;
        if left {
            deed(format!(
                "left {device} forwarding IPv6, for the labs of another user"
            ))
            .done();
        }
        Ok(left)
    }
}

fn without(devices: &[String], device: &str) -> Vec<String> {
    let others = devices.iter().filter(|other| *other != device);
    others.cloned().collect()
}

/// Switches IPv4 forwarding of an interface.
pub(super) fn switch(device: &str, on: bool) -> io::Result<()> {
    let (state, value) = if on { ("on", 1) } else { ("off", 0) };
    deed(format!("switched forwarding of {device} {state}"))
        .command(format!(
            "echo {value} > /proc/sys/net/ipv4/conf/{device}/forwarding"
        ))
        .told(sysctl::set_forwarding(device, on))
}

/// The same for IPv6.
pub(super) fn switch6(device: &str, on: bool) -> io::Result<()> {
    let (state, value) = if on { ("on", 1) } else { ("off", 0) };
    deed(format!("switched IPv6 forwarding of {device} {state}"))
        .command(format!(
            "echo {value} > /proc/sys/net/ipv6/conf/{device}/force_forwarding"
        ))
        .told(sysctl::set_forwarding6(device, on))
}
