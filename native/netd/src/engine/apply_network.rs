// SPDX-License-Identifier: Apache-2.0
//! `apply_network`: make or adjust a network.

use super::guard::is_guarded;
use super::supervise::Pending;
use super::{Engine, Stopwatch, subnets_of};
use crate::acts;
use crate::conntrack::Which;
use crate::journal::{Entry, Recorded, bridge_addresses};
use crate::nft;
use crate::rtnl::LinkInfo;
use tapyard_protocol::{
    ApplyNetwork, ApplyNetworkReply, Code, Error, LabName, Mode, Network, NetworkSpec, Result, Step,
};

impl Engine {
    /// See the protocol page.
    pub fn apply_network(&mut self, args: ApplyNetwork) -> Result<ApplyNetworkReply> {
        let ApplyNetwork { lab, network: spec } = args;
        let _about = acts::about(&lab, &spec.name);
        self.check_lab(&lab)?;
        spec.check()?;
        self.check_mode(&spec)?;
        self.check_interface(&lab, &spec)?;
        self.check_uplink(&spec)?;
        let before = self.journal.state().networks.get(&spec.name).cloned();
        if before.as_ref().is_none_or(|before| before.removing) {
            self.check_network_quota(&spec.name)?;
        }
        let shapes = before.as_ref().map(|before| before.shapes.clone());
        let before = self.change_bridge(&lab, &spec, before)?;
        self.check_name(&lab, &spec, before.as_ref())?;
        let settled = before.as_ref().filter(|b| !b.removing);
        self.forget_asked(&spec.name);
        let on_lan = |spec: &NetworkSpec| spec.proxy_arp;
        if settled.is_none_or(|b| {
            !subnets_of(&b.spec).eq(subnets_of(&spec)) || on_lan(&b.spec) != on_lan(&spec)
        }) {
            let lan = self.check_on_lan(&spec)?;
            self.check_subnet(&spec)?;
            if let Some(lan) = lan {
                self.ask_lan(&spec, lan)?;
            }
        } else if settled.is_some_and(|b| bridge_addresses(&b.spec) != bridge_addresses(&spec)) {
            // Its route becomes the last one to the subnet, where the host has another by now.
            self.check_subnet(&spec)?;
        }
        if settled.is_none_or(|b| b.spec != spec) {
            self.journal.append(Entry::Network {
                lab: lab.clone(),
                network: Box::new(spec.clone()),
            })?;
        }
        self.dirty = true;
        // Taps go on with a new bridge, and so does what they are held to.
        let lost = shapes.filter(|_| before.is_none()).unwrap_or_default();
        let reshaped = self.reshape(&spec.name, lost);
        let switched = reshaped.and_then(|()| match settled {
            Some(before) => self.switch_as_set_nat(before, &spec),
            None => Ok(()),
        });
        let made = switched.and_then(|()| self.make(&lab, &spec));
        let made = made.and_then(|(steps, network)| {
            // What was masqueraded goes on so, and what was not leaves with a private source.
            if let Some(before) = settled.filter(|b| b.spec.mode != spec.mode) {
                for subnet in subnets_of(&before.spec) {
                    self.clear_connections(subnet, Which::All)?;
                }
            }
            verify(&spec, &network)?;
            Ok((steps, network))
        });
        match made {
            Ok((steps, network)) => Ok(ApplyNetworkReply { steps, network }),
            Err(error) => {
                self.undo(&spec, before);
                Err(error)
            }
        }
    }

    /// Where the network's NAT is only switched, that is done as by `set_nat`: what is under way arrives, and
    /// streams outlive it.
    fn switch_as_set_nat(&mut self, before: &Recorded, spec: &NetworkSpec) -> Result<()> {
        let is_nat = before.spec.mode == Mode::Nat && spec.mode == Mode::Nat;
        if !is_nat || before.spec.nat == spec.nat {
            return Ok(());
        }
        let mut switched = before.spec.clone();
        switched.nat = spec.nat;
        self.switch_nat(&switched).map(drop)
    }

    /// Back to what was before a failed apply: the network as it was, or none.
    fn undo(&mut self, spec: &NetworkSpec, before: Option<Recorded>) {
        let Some(before) = before.filter(|b| !b.removing) else {
            for error in self.take_down(&spec.name).failed {
                eprintln!("undo of {}: {error}", spec.name);
            }
            return;
        };
        let restored = self
            .journal
            .append(Entry::Network {
                lab: before.lab.clone(),
                network: Box::new(before.spec.clone()),
            })
            .and_then(|()| self.make(&before.lab, &before.spec).map(drop));
        if let Err(error) = restored {
            eprintln!("undo of {}: {error}", spec.name);
        }
    }

    /// Brings the kernel and dnsmasq to what is wanted, and reads the network back.
    pub(super) fn make(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
    ) -> Result<(Vec<Step>, Network)> {
        if !spec.has_own_bridge() {
            let steps = self.join_bridge(lab, spec)?;
            return Ok((steps, self.network(lab, spec)?));
        }
        let mut watch = Stopwatch::start();
        let there = self.rtnl.link_named(&spec.name)?;
        // dnsmasq takes the longest to start, so it loads while everything else is made, and binds
        // its sockets while that is read back.
        let mut pending = self.begin_dns(spec, there.is_none())?;
        let mut dns = watch.step("dns", false);
        let made = self.make_in_kernel(lab, spec, there, &mut watch, &mut pending);
        let made = made.and_then(|steps| Ok((steps, self.network(lab, spec)?)));
        let (mut steps, mut network) = match made {
            Ok(made) => made,
            Err(error) => {
                pending.abandon();
                return Err(error);
            }
        };
        dns.changed = self.finish_dns(&spec.name, pending)?;
        dns.ms += watch.ms();
        steps.push(dns);
        self.nameless.insert(spec.name.clone());
        network.dns = self.dns_of(spec);
        Ok((steps, network))
    }

    /// The steps but for `dns`, whose gate is opened when there is a bridge to serve.
    fn make_in_kernel(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        there: Option<LinkInfo>,
        watch: &mut Stopwatch,
        dns: &mut Pending,
    ) -> Result<Vec<Step>> {
        let made = there.is_none();
        let held = there.as_ref().is_some_and(|link| link.group == nft::HELD);
        let (ifindex, changed) = self.make_bridge(lab, spec, there)?;
        let bridge = watch.step("bridge", changed);
        let changed = self.make_address(ifindex, spec)?;
        let address = watch.step("bridge_address", changed);
        let changed = self.switch_on(ifindex, spec, made)?;
        let up = watch.step("bridge_up", changed);
        dns.open_gate();
        self.plan_uplink()?;
        let mut changed = self.hold_rules()? | self.hold_doors(Some(&spec.name));
        if !held {
            self.tell_others(ifindex, spec)?;
            changed = true;
        }
        let filter = watch.step("filter", changed);
        let changed = self.hold_forwarding()?;
        let forwarding = watch.step("forwarding", changed);
        let changed = self.hold_proxies()?;
        let proxy = spec.proxy_arp.then(|| watch.step("proxy_arp", changed));
        // Told in the order of the tutorial.
        let mut steps = vec![bridge, address, up, forwarding, filter];
        steps.extend(proxy);
        // Last, so that the host is shut off from what is behind it.
        if let Some(interface) = &spec.interface {
            let changed = self.take_interface(lab, spec, interface, ifindex)?;
            steps.push(watch.step("bridge_port", changed));
        }
        Ok(steps)
    }
}

/// `KERNEL` where what was read back is not as wanted.
fn verify(spec: &NetworkSpec, network: &Network) -> Result<()> {
    let own_mtu = spec.mode != Mode::Bridged;
    let wrong = [
        (network.bridge.is_none(), "its bridge is gone again"),
        (
            own_mtu && network.mtu != spec.mtu.get(),
            "its MTU is another",
        ),
        (!network.filter, "its filter is gone again"),
        (network.nat != spec.nat, "its NAT is switched otherwise"),
        (
            network.forwarding != spec.mode.forwards(),
            "forwarding of its bridge is switched otherwise",
        ),
        (
            network.antispoof != is_guarded(spec),
            "its anti-spoofing is switched otherwise",
        ),
    ];
    match wrong.into_iter().find(|(is, _)| *is) {
        None => Ok(()),
        Some((_, what)) => Err(Error::new(
            Code::Kernel,
            format!("{} was made, but {what}", spec.name),
        )
        .hint("Some other program changes the network at the same time; try again.")
        .subject(spec.name.as_str())),
    }
}
