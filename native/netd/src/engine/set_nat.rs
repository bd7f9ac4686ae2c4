// SPDX-License-Identifier: Apache-2.0
//! `set_nat`: the switch. Neither forks nor syncs.

use super::{Engine, Stopwatch, subnets_of};
use crate::acts;
use crate::conntrack::Which;
use crate::dnsmasq::Wanted;
use crate::journal::{Entry, Recorded};
use crate::nft::DRAINS_MS;
use tapyard_protocol::{Code, Error, Mode, NetworkSpec, Result, SetNat, SetNatReply};

impl Engine {
    /// See the protocol page.
    pub fn set_nat(&mut self, args: &SetNat) -> Result<SetNatReply> {
        let _about = acts::about(&args.lab, &args.network);
        self.check_lab(&args.lab)?;
        let mut spec = self.settled(&args.lab, &args.network)?.spec.clone();
        if spec.mode != Mode::Nat {
            return Err(Error::new(
                Code::NoNatSwitch,
                format!("{} is {}: it has no NAT to switch", spec.name, spec.mode),
            )
            .hint("Give the network mode: nat in the lab file, and bring the lab up again.")
            .subject(spec.name.as_str()));
        }
        let watch = Stopwatch::start();
        let before = spec.nat;
        spec.nat = args.nat;
        if before != args.nat {
            self.record_nat(&spec)?;
        }
        match self.switch_nat(&spec) {
            Ok((changed, flows_removed)) => {
                self.dirty |= changed;
                Ok(SetNatReply {
                    nat: args.nat,
                    changed,
                    flows_removed,
                    drains_ms: if args.nat { 0 } else { DRAINS_MS },
                    ms: watch.ms(),
                })
            }
            Err(error) => {
                if before != args.nat {
                    spec.nat = before;
                    let restored = self
                        .record_nat(&spec)
                        .and_then(|()| self.switch_nat(&spec).map(drop));
                    if let Err(error) = restored {
                        eprintln!("undo of set_nat {}: {error}", spec.name);
                    }
                }
                Err(error)
            }
        }
    }

    /// Pauses the provider of the way out where all of the lab's ways out are shut, or lets it go on. What the
    /// filter does is in place by then: what the provider still delivers is let through.
    pub(super) fn pause_unused(&mut self) {
        let networks = self.journal.state().networks.values();
        let mut out = networks
            .filter(|n| !n.removing && n.spec.mode.forwards())
            .peekable();
        let is_shut = |n: &Recorded| n.spec.mode == Mode::Nat && !n.spec.nat;
        let may = out.peek().is_some() && out.all(is_shut);
        self.uplink.pause(may);
    }

    fn record_nat(&mut self, spec: &NetworkSpec) -> Result<()> {
        self.journal.append(Entry::Nat {
            name: spec.name.clone(),
            nat: spec.nat,
        })
    }

    /// Whether that changed something, and how many flows it removed.
    pub(super) fn switch_nat(&mut self, spec: &NetworkSpec) -> Result<(bool, u64)> {
        let switched = match self.filter.set_nat(&spec.name, spec.nat) {
            Ok(changed) => changed,
            // Somebody flushed the ruleset: then all of it is written, NAT as journalled.
            Err(error) => {
                eprintln!("set NAT of {}: {error}; writing the filter anew", spec.name);
                self.hold_filter().map_err(|_| Error::from(error))?
            }
        };
        self.pause_unused();
        // The drop is in place, so whatever entry still appears lets nothing pass. A stream that
        // outlives the cut needs its own.
        let mut flows = 0;
        for subnet in subnets_of(spec).filter(|_| !spec.nat) {
            flows += self.clear_connections(subnet, Which::AllButTcp)?;
        }
        let upstream = self.uplink.dns_servers();
        if let (Some(dhcp), Some(service)) = (&spec.dhcp, self.dns.get(&spec.name))
            && let Some(dnsmasq) = service.dnsmasq()
        {
            let wanted = Wanted {
                network: spec,
                dhcp,
                upstream: &upstream,
            };
            if dnsmasq.update(&wanted)? {
                self.reload.insert(spec.name.clone());
            }
        }
        Ok((switched, flows as u64))
    }
}
