// SPDX-License-Identifier: Apache-2.0
//! What the engine waits for, and what it does about it: events say what to doubt, and when they have been
//! gathered for a while, what is doubtful is looked at once.

use super::Engine;
use crate::acts::{self, deed};
use crate::capture::Capture;
use crate::resolved::Resolved;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// What the engine waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Interfaces, addresses, sysctls.
    Kernel,
    /// nf_tables.
    Filter,
    /// The lease files.
    Leases,
    /// Other firewalls.
    Doors,
    /// systemd-resolved.
    Names,
    /// The way out.
    Uplink,
    /// A dnsmasq that ended.
    Dns,
    /// A capture.
    Capture,
}

impl Source {
    /// Why something is done when it has something, for people.
    fn cause(&self) -> &'static str {
        match self {
            Source::Kernel => "somebody changed what forwards",
            Source::Filter => "somebody changed the firewall",
            Source::Leases => "a guest got an address",
            Source::Doors => "another firewall changed",
            Source::Names => "systemd-resolved answered",
            Source::Uplink => "the way out changed",
            Source::Dns => "dnsmasq ended",
            Source::Capture => "a capture ended",
        }
    }
}

impl Engine {
    /// What to poll for reading.
    pub fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut sources = vec![
            (Source::Kernel, self.monitor.fd()),
            (Source::Filter, self.filter_watch.fd()),
            (Source::Leases, self.leases.fd()),
        ];
        sources.extend(self.doors.fds().map(|fd| (Source::Doors, fd)));
        sources.extend(self.resolved.fds().map(|fd| (Source::Names, fd)));
        sources.extend(self.uplink.fd().map(|fd| (Source::Uplink, fd)));
        let captures = self.captures.iter().map(Capture::fd);
        sources.extend(captures.map(|fd| (Source::Capture, fd)));
        sources.push((Source::Dns, self.dns_ends.fd()));
        sources
    }

    /// Takes what a source has.
    pub fn on_readable(&mut self, source: &Source) {
        let _by = acts::by_itself(source.cause());
        match source {
            Source::Kernel => self.hear_of_kernel(),
            Source::Filter => self.hear_of_filters(),
            Source::Leases => {
                if !self.leases.drain() {
                    return;
                }
                self.dirty = true;
                if let Err(error) = self.hold_guarded_addresses() {
                    eprintln!("guard the leased addresses: {error}");
                    self.taps_doubtful = true;
                }
            }
            Source::Doors => {
                if self.doors.on_readable() {
                    self.filter_doubtful = true;
                    self.dirty = true;
                }
            }
            Source::Names => self.dirty |= self.hear_of_names(Resolved::on_readable),
            Source::Uplink => self.hear_of_uplink(),
            Source::Capture => self.reap_captures(),
            Source::Dns => {
                self.dns_ended();
                self.dirty = true;
            }
        }
    }

    /// Interfaces, addresses or sysctls changed.
    fn hear_of_kernel(&mut self) {
        let changes = self.monitor.drain();
        self.dirty |= changes.any();
        // An address of the host's is no guest's.
        self.taps_doubtful |= changes.links || changes.addresses;
        self.shapes_doubtful |= changes.links || changes.disciplines;
        // An interface that goes down forgets what it answers for.
        self.proxies.doubtful |= changes.links || changes.addresses;
        // Somebody wrote ip_forward, which reset every interface, or all.forwarding of IPv6.
        if changes.netconf6 && self.is_router6_doubtful() {
            self.repair(Engine::hold_all);
        } else if changes.netconf {
            self.repair(Engine::hold_forwards);
        }
        self.filter_doubtful |= changes.links && self.is_switched6_shown();
    }

    /// The way out may have changed: follows it.
    fn hear_of_uplink(&mut self) {
        let before = self.uplink.state().host_device;
        if !self.uplink.on_readable() {
            return;
        }
        self.dirty = true;
        let followed = match (before, self.uplink.state().host_device) {
            (before, now) if before == now => None,
            (Some(before), Some(now)) => Some(format!(
                "follows the way out from {before} to {now}, where this computer's default route leads now"
            )),
            (None, Some(now)) => Some(format!(
                "follows the way out to {now}, where this computer's default route leads"
            )),
            (Some(before), None) => Some(format!("the way out by {before} is gone")),
            (None, None) => None,
        };
        if let Some(what) = followed {
            deed(what).done();
        }
        if let Err(error) = self.hold_all() {
            eprintln!("follow the uplink: {error}");
        }
        self.update_dns();
    }

    /// Whether somebody else changed nf_tables. Told with the change itself, so whoever asks before
    /// an act misses none.
    pub(super) fn hear_of_filters(&mut self) {
        // An unknown port is nobody's, so everything counts as foreign.
        let ours = [self.filter.port(), self.guard.port(), self.doors.port()];
        let ours = ours.map(|port| port.unwrap_or(0));
        if self.filter_watch.foreign(&ours) {
            self.guard.doubt();
            self.filter_doubtful = true;
            self.dirty = true;
        }
    }

    /// When [`Engine::on_deadline`] has something to do by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let retries = self.dns_retry().into_iter().chain(self.repair_at);
        let others = self.doors.deadline().into_iter();
        let others = others.chain(self.resolved.deadline()).chain(self.reload_at);
        retries.chain(others).min()
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.reload_at.is_some_and(|at| at <= now) {
            self.reload_dns();
        }
        let _by = acts::by_itself("it tries again");
        self.dirty |= self.restart_dns(now);
        self.dirty |= self.hear_of_names(|resolved| resolved.on_deadline(now));
        if self.doors.on_deadline(now) {
            self.filter_doubtful = true;
            self.dirty = true;
        }
        if self.repair_at.is_some_and(|at| at <= now) {
            self.repair_at = None;
            self.dirty = true;
            self.repair(Engine::hold_all);
        }
    }

    /// Whether observers may have something to be told since last asked. Called when events
    /// have been gathered for a while; mends the filter if somebody spoilt it.
    pub fn take_dirty(&mut self) -> bool {
        if std::mem::take(&mut self.filter_doubtful) {
            let _by = acts::by_itself(Source::Filter.cause());
            self.repair(Engine::hold_rules);
            self.repair_doors();
        }
        let _by = acts::by_itself("interfaces came or went");
        if std::mem::take(&mut self.taps_doubtful)
            && let Err(error) = self.hold_guard()
        {
            eprintln!("guard the taps: {error}");
        }
        if std::mem::take(&mut self.shapes_doubtful) {
            let _by = acts::by_itself("somebody changed tc, or a guest ended");
            self.repair(Engine::hold_shapes);
        }
        if std::mem::take(&mut self.proxies.doubtful) {
            let _by = acts::by_itself("interfaces or their addresses changed");
            self.repair(Engine::hold_proxies);
        }
        std::mem::take(&mut self.dirty)
    }

    /// Whether [`Engine::take_dirty`] would have something to do; also right after it, since what it
    /// does may hear of more.
    pub fn is_dirty(&self) -> bool {
        let doubtful = self.filter_doubtful || self.taps_doubtful || self.shapes_doubtful;
        self.dirty || doubtful || self.proxies.doubtful
    }
}
