// SPDX-License-Identifier: Apache-2.0
//! The networks' dnsmasq: started, adopted, started again when one ends by itself.

use super::Engine;
use super::guard::nic_mac;
use crate::acts::{self, deed};
use crate::dnsmasq::{Dnsmasq, Starting, Wanted, forget_leases, read_leases};
use crate::rtnl::Counters;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Dhcp, Error, Lease, NetworkName, NetworkSpec, Result};

/// The wait before the first, second … start after it ended by itself; the last one repeats.
const BACKOFF: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];
/// One that ran for so long is not failing in a loop.
const STEADY: Duration = Duration::from_secs(60);
/// How often one that was disturbed while it started is started again at once.
const DISTURBED: usize = 3;

/// dnsmasq is told of what was written for it after so long. Reading it costs it and the machine
/// more than all that a request does, and whoever switches NAT off and on again wants it once.
pub(super) const RELOAD_DELAY: Duration = Duration::from_millis(20);

/// A network's dnsmasq, or when to start it again.
#[derive(Debug)]
pub enum Service {
    /// It runs.
    Running {
        /// The process.
        dnsmasq: Dnsmasq,
        /// Since when netd has had it.
        since: Instant,
        /// How often in a row it had to be started again.
        failures: usize,
    },
    /// It ended by itself.
    Down {
        /// When to start it again.
        retry: Instant,
        /// How often in a row it ended.
        failures: usize,
    },
}

impl Service {
    fn new(dnsmasq: Dnsmasq, failures: usize) -> Service {
        Service::Running {
            dnsmasq,
            since: Instant::now(),
            failures,
        }
    }

    fn down(failures: usize) -> Service {
        let wait = BACKOFF[failures.min(BACKOFF.len() - 1)];
        Service::Down {
            retry: Instant::now() + wait,
            failures: failures + 1,
        }
    }

    /// The process, where it runs.
    pub fn dnsmasq(&self) -> Option<&Dnsmasq> {
        match self {
            Service::Running { dnsmasq, .. } => Some(dnsmasq),
            Service::Down { .. } => None,
        }
    }
}

/// What [`Engine::begin_dns`] found to do.
pub(super) enum Pending {
    /// Nothing is wanted, or it is as wanted; whether that needed a change.
    Settled(bool),
    /// It was started, stands at its gate, and is waited for in [`Engine::finish_dns`].
    Starting(Starting),
}

impl Pending {
    /// Its bridge is there.
    pub(super) fn open_gate(&mut self) {
        if let Pending::Starting(starting) = self {
            starting.open_gate();
        }
    }

    /// Gives up what was started.
    pub(super) fn abandon(self) {
        if let Pending::Starting(starting) = self {
            starting.abandon();
        }
    }
}

impl Engine {
    /// Brings a network's dnsmasq to what is wanted, without waiting for one that had to be
    /// started, so that other work goes on meanwhile. `anew`: the one that runs served a bridge
    /// that is no more.
    pub(super) fn begin_dns(&mut self, spec: &NetworkSpec, anew: bool) -> Result<Pending> {
        let Some(dhcp) = &spec.dhcp else {
            return Ok(Pending::Settled(self.end_dns(&spec.name)?));
        };
        let directory = self.dns_directory(&spec.name)?;
        let upstream = self.uplink.dns_servers();
        let wanted = Wanted {
            network: spec,
            dhcp,
            upstream: &upstream,
        };
        let forsaken = self.forsaken(dhcp, &directory)?;
        if let Some(Service::Running { dnsmasq, .. }) = self.dns.get(&spec.name)
            && !dnsmasq.ended()
            && !anew
            && forsaken.is_empty()
            && dnsmasq.is_as_wanted(&wanted)
        {
            let changed = dnsmasq.update(&wanted)?;
            if changed {
                self.reload.insert(spec.name.clone());
            }
            return Ok(Pending::Settled(changed));
        }
        self.end_dns(&spec.name)?;
        if !forsaken.is_empty() {
            let of = forsaken.iter();
            let of: Vec<String> = of.map(|l| format!("{} ({})", l.address, l.mac)).collect();
            let forgotten = forget_leases(&directory, &forsaken)
                .map_err(|e| Error::kernel("rewrite the leases", &e));
            let deed = deed(format!("released {} of NICs that are gone", of.join(", ")));
            // What stays costs another NIC its reservation, and no more.
            if let Err(error) = deed.told(forgotten) {
                eprintln!("{error}");
            }
        }
        Ok(Pending::Starting(Dnsmasq::start(&directory, &wanted)?))
    }

    /// Leases of addresses that are reserved for another NIC by now, and whose own is gone. dnsmasq
    /// would give them to nobody until they end.
    fn forsaken(&mut self, dhcp: &Dhcp, directory: &Path) -> Result<Vec<Lease>> {
        let mut leases = read_leases(directory);
        leases.retain(|lease| {
            let mut of = dhcp.reservations.iter();
            of.any(|r| r.address == lease.address && r.mac.to_string() != lease.mac)
        });
        if !leases.is_empty() {
            let macs: BTreeSet<String> = (self.rtnl.links(Counters::Skip)?.iter())
                .filter(|link| link.kind == "tun")
                .filter_map(nic_mac)
                .map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"))
                .collect();
            leases.retain(|lease| !macs.contains(&lease.mac));
        }
        Ok(leases)
    }

    /// Waits for what [`Engine::begin_dns`] started. True when something changed.
    pub(super) fn finish_dns(&mut self, name: &NetworkName, pending: Pending) -> Result<bool> {
        match pending {
            Pending::Settled(changed) => Ok(changed),
            Pending::Starting(starting) => {
                let deed = deed(format!("started dnsmasq for {name}")).command(starting.command());
                let mut ready = starting.ready();
                for _ in 0..DISTURBED {
                    if !ready.as_ref().is_err_and(Dnsmasq::was_disturbed) {
                        break;
                    }
                    ready = self.start_dns(name);
                }
                let dnsmasq = deed.told(ready)?;
                self.watch_dns(name, dnsmasq)?;
                Ok(true)
            }
        }
    }

    fn watch_dns(&mut self, name: &NetworkName, dnsmasq: Dnsmasq) -> Result<()> {
        let watched = self.dns_ends.add(dnsmasq.fd());
        self.dns.insert(name.clone(), Service::new(dnsmasq, 0));
        watched.map_err(|e| {
            Error::kernel(format!("watch {name}'s dnsmasq"), &e).subject(name.as_str())
        })
    }

    /// Starts the dnsmasq of a network that is there, and waits for it.
    fn start_dns(&mut self, name: &NetworkName) -> Result<Dnsmasq> {
        let recorded = self.journal.state().networks.get(name);
        let spec = recorded.map(|recorded| recorded.spec.clone());
        let Some((spec, dhcp)) = spec.and_then(|spec| spec.dhcp.clone().map(|dhcp| (spec, dhcp)))
        else {
            return Err(Error::new(
                Code::Internal,
                format!("{name} has no DHCP to serve"),
            ));
        };
        let upstream = self.uplink.dns_servers();
        let wanted = Wanted {
            network: &spec,
            dhcp: &dhcp,
            upstream: &upstream,
        };
        Dnsmasq::start(&self.dns_directory(name)?, &wanted)?.ready()
    }

    /// Ends a network's dnsmasq. True when there was one.
    pub(super) fn end_dns(&mut self, name: &NetworkName) -> Result<bool> {
        match self.dns.remove(name) {
            Some(Service::Running { dnsmasq, .. }) if !dnsmasq.ended() => {
                let pid = dnsmasq.pid();
                let deed = deed(format!("ended dnsmasq for {name}")).command(acts::kill(pid));
                if dnsmasq.end() {
                    deed.done();
                    return Ok(true);
                }
                self.dns.insert(name.clone(), Service::new(dnsmasq, 0));
                deed.told(Err(Error::new(
                    Code::DnsmasqFailed,
                    format!("dnsmasq for {name} (process {pid}) does not end"),
                )
                .hint(format!(
                    "It hangs in the kernel; look at /proc/{pid}/stack."
                ))
                .subject(name.as_str())))
            }
            _ => Ok(false),
        }
    }

    /// Takes over the dnsmasq that a netd before this one started.
    pub(super) fn adopt_dns(&mut self, name: &NetworkName) -> Result<()> {
        let directory = self.dns_directory(name)?;
        if let Some(dnsmasq) = Dnsmasq::running(&directory) {
            let pid = dnsmasq.pid();
            deed(format!("took over dnsmasq for {name}, process {pid}")).done();
            self.watch_dns(name, dnsmasq)?;
        }
        Ok(())
    }

    /// Writes the servers and reservations of all networks anew, where they changed.
    pub(super) fn update_dns(&mut self) {
        let upstream = self.uplink.dns_servers();
        for recorded in self.journal.state().networks.values() {
            let service = self.dns.get(&recorded.spec.name);
            let dnsmasq = service.and_then(Service::dnsmasq);
            if let (Some(dnsmasq), Some(dhcp)) = (dnsmasq, &recorded.spec.dhcp) {
                let wanted = Wanted {
                    network: &recorded.spec,
                    dhcp,
                    upstream: &upstream,
                };
                match dnsmasq.update(&wanted) {
                    Ok(true) => {
                        dnsmasq.reload();
                        let _about = acts::about(&recorded.lab, &recorded.spec.name);
                        let name = &recorded.spec.name;
                        deed(format!("told dnsmasq of {name} which servers to ask"))
                            .command(format!("kill -HUP {}", dnsmasq.pid()))
                            .done();
                    }
                    Ok(false) => {}
                    Err(error) => eprintln!("{error}"),
                }
            }
        }
    }

    /// Makes dnsmasq read what was written for it.
    pub(super) fn reload_dns(&mut self) {
        self.reload_at = None;
        let _by = acts::by_itself("its files changed");
        for name in std::mem::take(&mut self.reload) {
            if let Some(dnsmasq) = self.dns.get(&name).and_then(Service::dnsmasq) {
                dnsmasq.reload();
                deed(format!("told dnsmasq of {name} to read its files again"))
                    .command(format!("kill -HUP {}", dnsmasq.pid()))
                    .done();
            }
        }
    }

    /// One of them has ended.
    pub(super) fn dns_ended(&mut self) {
        for (name, service) in &mut self.dns {
            if let Service::Running {
                dnsmasq,
                since,
                failures,
            } = service
                && dnsmasq.ended()
            {
                eprintln!("dnsmasq for {name} ended");
                deed(format!(
                    "dnsmasq for {name} ended by itself, process {}",
                    dnsmasq.pid()
                ))
                .done();
                let failures = if since.elapsed() > STEADY {
                    0
                } else {
                    *failures
                };
                // Closes what held it, so that it is watched no more.
                *service = Service::down(failures);
            }
        }
    }

    /// When the next one is to be started again.
    pub(super) fn dns_retry(&self) -> Option<Instant> {
        self.dns
            .values()
            .filter_map(|service| match service {
                Service::Down { retry, .. } => Some(*retry),
                Service::Running { .. } => None,
            })
            .min()
    }

    /// Starts those again whose time has come. True when that changed something.
    pub(super) fn restart_dns(&mut self, now: Instant) -> bool {
        let due: Vec<(NetworkName, usize)> = self
            .dns
            .iter()
            .filter_map(|(name, service)| match service {
                Service::Down { retry, failures } if *retry <= now => {
                    Some((name.clone(), *failures))
                }
                _ => None,
            })
            .collect();
        for (name, failures) in &due {
            let Some(recorded) = self.journal.state().networks.get(name) else {
                self.dns.remove(name);
                continue;
            };
            let spec = recorded.spec.clone();
            let _about = acts::about(&recorded.lab, name);
            let started = self
                .begin_dns(&spec, true)
                .and_then(|pending| self.finish_dns(name, pending));
            let service = match (started, self.dns.remove(name)) {
                (Ok(_), Some(Service::Running { dnsmasq, .. })) => Service::new(dnsmasq, *failures),
                (result, _) => {
                    if let Err(error) = result {
                        eprintln!("{error}");
                    }
                    Service::down(*failures)
                }
            };
            self.dns.insert(name.clone(), service);
        }
        !due.is_empty()
    }

    pub(super) fn dns_directory(&self, name: &NetworkName) -> Result<PathBuf> {
        let directory = self.config.directory.dns(name);
        let watched = directory.and_then(|path| self.leases.add(&path).map(|()| path));
        watched.map_err(|e| {
            Error::kernel(format!("make the directory of {name}'s dnsmasq"), &e)
                .subject(name.as_str())
        })
    }
}
