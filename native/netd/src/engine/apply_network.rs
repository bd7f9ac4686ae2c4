// SPDX-License-Identifier: Apache-2.0
//! `apply_network`: make or adjust a network.

use super::supervise::Pending;
use super::{Engine, Stopwatch, label};
use crate::journal::{Entry, Recorded};
use crate::rtnl::{AddressFamily, Counters, LinkChange, LinkInfo, NewBridge};
use ipnet::{IpNet, Ipv4Net};
use rustix::io::Errno;
use tapyard_protocol::{
    ApplyNetwork, ApplyNetworkReply, Code, Error, LabName, NetworkSpec, Result, Step,
};

/// Free interface numbers are tried so often: each try fails only when somebody makes an
/// interface at that very moment.
const NUMBER_TRIES: u32 = 8;

impl Engine {
    /// See the protocol page.
    pub fn apply_network(&mut self, args: ApplyNetwork) -> Result<ApplyNetworkReply> {
        let ApplyNetwork { lab, network: spec } = args;
        self.check_lab(&lab)?;
        spec.check()?;
        let before = self.journal.state().networks.get(&spec.name).cloned();
        self.check_name(&lab, &spec, before.as_ref())?;
        let settled = before.as_ref().filter(|b| !b.removing);
        if settled.is_none_or(|b| b.spec.subnet != spec.subnet) {
            self.check_subnet(&spec)?;
        }
        if settled.is_none_or(|b| b.spec != spec) {
            self.journal.append(Entry::Network {
                lab: lab.clone(),
                network: Box::new(spec.clone()),
            })?;
        }
        self.dirty = true;
        let made = self
            .make(&lab, &spec, before.as_ref())
            .and_then(|steps| Ok((steps, self.verify(&lab, &spec)?)));
        match made {
            Ok((steps, network)) => Ok(ApplyNetworkReply { steps, network }),
            Err(error) => {
                self.undo(&lab, &spec, before);
                Err(error)
            }
        }
    }

    /// Back to what was before a failed apply: the network as it was, or none.
    fn undo(&mut self, lab: &LabName, spec: &NetworkSpec, before: Option<Recorded>) {
        let Some(before) = before.filter(|b| !b.removing) else {
            for error in self.take_down(&spec.name).failed {
                eprintln!("undo of {}: {error}", spec.name);
            }
            return;
        };
        let now = Recorded {
            lab: lab.clone(),
            spec: spec.clone(),
            removing: false,
        };
        let restored = self
            .journal
            .append(Entry::Network {
                lab: before.lab.clone(),
                network: Box::new(before.spec.clone()),
            })
            .and_then(|()| self.make(&before.lab, &before.spec, Some(&now)));
        if let Err(error) = restored {
            eprintln!("undo of {}: {error}", spec.name);
        }
    }

    /// `NAME_TAKEN` unless the name is free, or its bridge ours by journal and label.
    pub(super) fn check_name(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        before: Option<&Recorded>,
    ) -> Result<()> {
        let name = spec.name.as_str();
        if let Some(other) = before.filter(|b| b.lab != *lab) {
            return Err(Error::new(
                Code::NameTaken,
                format!("the lab {} has a network {name} already", other.lab),
            )
            .hint("Give this network another name.")
            .subject(name));
        }
        match self.rtnl.link_named(name)? {
            Some(link) if before.is_none() || !self.is_our_bridge(&link, lab, spec) => {
                Err(Error::new(
                    Code::NameTaken,
                    format!("an interface {name} is there already and not ours; it stays as it is"),
                )
                .hint(format!(
                    "Give the network another name. Who made {name}: ip -d link show {name}"
                ))
                .subject(name))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_our_bridge(&self, link: &LinkInfo, lab: &LabName, spec: &NetworkSpec) -> bool {
        link.kind == "bridge"
            && link.alias == label::bridge(self.config.identity.label_uid, lab, &spec.name)
    }

    /// `SUBNET_OVERLAP` with another network of ours, the uplink's host, or any address or
    /// route of the namespace but those of the network's own bridge.
    fn check_subnet(&mut self, spec: &NetworkSpec) -> Result<()> {
        let subnet = spec.subnet.net();
        let overlap = |what: String, subject: String| {
            Err(Error::new(
                Code::SubnetOverlap,
                format!("{subnet} of {} overlaps {what}", spec.name),
            )
            .hint("Choose another subnet for this network.")
            .subject(subject))
        };
        let networks = self.journal.state().networks.values();
        for other in networks.filter(|other| other.spec.name != spec.name) {
            if overlaps(subnet, other.spec.subnet.net()) {
                let other = &other.spec;
                return overlap(
                    format!("{} of the network {}", other.subnet, other.name),
                    other.name.to_string(),
                );
            }
        }
        let uplink = self.uplink.state();
        for address in uplink.addresses {
            if let IpNet::V4(net) = address
                && overlaps(subnet, net)
            {
                let device = uplink.host_device.unwrap_or_default();
                return overlap(format!("{net} of the uplink {device}"), net.to_string());
            }
        }
        let links = self.rtnl.links(Counters::Skip)?;
        let own = links
            .iter()
            .find(|l| l.name == *spec.name)
            .map(|l| l.ifindex);
        let name_of = |ifindex: u32| {
            let link = links.iter().find(|link| link.ifindex == ifindex);
            link.map_or("an interface", |link| link.name.as_str())
        };
        for address in self.rtnl.addresses(AddressFamily::V4)? {
            if let IpNet::V4(net) = address.net
                && Some(address.ifindex) != own
                && overlaps(subnet, net)
            {
                let of = name_of(address.ifindex);
                return overlap(format!("the address {net} of {of}"), net.to_string());
            }
        }
        for route in self.rtnl.routes()? {
            let other = route.destination;
            if route.is_local() || other.prefix_len() == 0 || (own.is_some() && route.device == own)
            {
                continue;
            }
            if overlaps(subnet, other) {
                let by = route.device.map_or("nowhere", name_of);
                return overlap(format!("the route {other} by {by}"), other.to_string());
            }
        }
        Ok(())
    }

    /// Brings the kernel and dnsmasq to what is wanted. `before` is what the journal said last.
    pub(super) fn make(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        before: Option<&Recorded>,
    ) -> Result<Vec<Step>> {
        let mut watch = Stopwatch::start();
        let mut steps = Vec::with_capacity(6);
        let (ifindex, made, changed) = self.make_bridge(lab, spec)?;
        steps.push(watch.step("bridge", changed));
        let changed = self.make_address(ifindex, spec, before)?;
        steps.push(watch.step("bridge_address", changed));
        let changed = self.switch_on(ifindex, spec, made)?;
        steps.push(watch.step("bridge_up", changed));
        // dnsmasq takes some milliseconds to bind; the filter is written meanwhile.
        let pending = self.begin_dns(spec, made)?;
        let mut dns = watch.step("dns", false);
        let held = self.plan_uplink().and_then(|()| {
            let changed = self.hold_filter()?;
            let filter = watch.step("filter", changed);
            let changed = self.hold_forwarding()?;
            Ok((filter, watch.step("forwarding", changed)))
        });
        let (filter, forwarding) = match held {
            Ok(held) => held,
            Err(error) => {
                if let Pending::Starting(starting) = pending {
                    starting.abandon();
                }
                return Err(error);
            }
        };
        let changed = self.finish_dns(&spec.name, pending)?;
        let waited = watch.step("dns", changed);
        dns.changed = changed;
        dns.ms += waited.ms;
        // Told in the order of the tutorial.
        steps.extend([forwarding, filter, dns]);
        Ok(steps)
    }

    /// Its number, whether it is new, whether anything changed.
    fn make_bridge(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<(u32, bool, bool)> {
        let name = spec.name.as_str();
        let Some(link) = self.rtnl.link_named(name)? else {
            return Ok((self.add_bridge(lab, spec)?, true, true));
        };
        let change = LinkChange {
            mac: (link.mac != spec.mac.bytes()).then(|| spec.mac.bytes()),
            mtu: (link.mtu != spec.mtu.get()).then(|| spec.mtu.get()),
            bridge_defaults: link.bridge != Some((0, 0)),
            ..LinkChange::default()
        };
        let changed = change.mac.is_some() || change.mtu.is_some() || change.bridge_defaults;
        if changed {
            self.rtnl.change_link(link.ifindex, name, &change)?;
        }
        if let Some(mtu) = change.mtu {
            for tap in self.taps_of(lab, spec)? {
                let change = LinkChange {
                    mtu: Some(mtu),
                    ..LinkChange::default()
                };
                self.rtnl.change_link(tap.ifindex, &tap.name, &change)?;
            }
        }
        Ok((link.ifindex, false, changed))
    }

    fn add_bridge(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<u32> {
        let alias = label::bridge(self.config.identity.label_uid, lab, &spec.name);
        let highest = self.rtnl.links(Counters::Skip)?;
        let highest = highest.iter().map(|link| link.ifindex).max().unwrap_or(0);
        let mut ifindex = highest + 1;
        loop {
            let bridge = NewBridge {
                ifindex,
                name: &spec.name,
                mac: spec.mac.bytes(),
                mtu: spec.mtu.get(),
                alias: &alias,
            };
            match self.rtnl.add_bridge(&bridge) {
                Ok(()) => break,
                Err(error) if error.errno == Errno::BUSY && ifindex - highest < NUMBER_TRIES => {
                    ifindex += 1;
                }
                Err(error) if error.errno == Errno::EXIST => {
                    let error = Error::from(error);
                    return Err(Error::new(Code::NameTaken, error.message)
                        .hint("Somebody made an interface of that name just now; try again.")
                        .subject(spec.name.as_str()));
                }
                Err(error) => return Err(Error::from(error).subject(spec.name.as_str())),
            }
        }
        // Guests that ran on when their bridge was taken away get it back.
        for tap in self.taps_of(lab, spec)? {
            if tap.master.is_none() {
                let change = LinkChange {
                    master: Some(ifindex),
                    ..LinkChange::default()
                };
                self.rtnl.change_link(tap.ifindex, &tap.name, &change)?;
            }
        }
        Ok(ifindex)
    }

    fn taps_of(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<Vec<LinkInfo>> {
        let uid = self.config.identity.label_uid;
        let mut links = self.rtnl.links(Counters::Skip)?;
        links.retain(|link| {
            link.kind == "tun"
                && label::parse(uid, &link.alias).is_some_and(|owner| {
                    owner.lab == *lab && owner.network == spec.name && owner.guest.is_some()
                })
        });
        Ok(links)
    }

    fn make_address(
        &mut self,
        ifindex: u32,
        spec: &NetworkSpec,
        before: Option<&Recorded>,
    ) -> Result<bool> {
        let wanted = bridge_address(spec)?;
        let there: Vec<IpNet> = self
            .rtnl
            .addresses(AddressFamily::V4)?
            .into_iter()
            .filter(|address| address.ifindex == ifindex)
            .map(|address| address.net)
            .collect();
        let mut changed = false;
        if let Some(before) = before {
            let old = bridge_address(&before.spec)?;
            if old != wanted && there.contains(&old.into()) {
                self.rtnl.delete_address(ifindex, old)?;
                changed = true;
            }
        }
        if !there.contains(&wanted.into()) {
            self.rtnl.add_address(ifindex, wanted)?;
            changed = true;
        }
        Ok(changed)
    }

    fn switch_on(&mut self, ifindex: u32, spec: &NetworkSpec, made: bool) -> Result<bool> {
        // A new one is down for sure.
        if !made && self.rtnl.link(ifindex)?.is_some_and(|link| link.up) {
            return Ok(false);
        }
        let change = LinkChange {
            up: Some(true),
            ..LinkChange::default()
        };
        self.rtnl.change_link(ifindex, &spec.name, &change)?;
        Ok(true)
    }

    /// Reads everything back; `KERNEL` where it is not as wanted.
    fn verify(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<tapyard_protocol::Network> {
        let network = self.network(lab, spec)?;
        let wrong = [
            (network.bridge.is_none(), "its bridge is gone again"),
            (network.mtu != spec.mtu.get(), "its MTU is another"),
            (!network.filter, "its filter is gone again"),
            (network.nat != spec.nat, "its NAT is switched otherwise"),
            (!network.forwarding, "its bridge does not forward"),
        ];
        match wrong.into_iter().find(|(is, _)| *is) {
            None => Ok(network),
            Some((_, what)) => Err(Error::new(
                Code::Kernel,
                format!("{} was made, but {what}", spec.name),
            )
            .hint("Some other program changes the network at the same time; try again.")
            .subject(spec.name.as_str())),
        }
    }
}

/// The bridge's address with the subnet's length.
fn bridge_address(spec: &NetworkSpec) -> Result<Ipv4Net> {
    Ipv4Net::new(spec.address, spec.subnet.net().prefix_len())
        .map_err(|e| Error::new(Code::Internal, e.to_string()))
}

fn overlaps(a: Ipv4Net, b: Ipv4Net) -> bool {
    let (a, b) = (a.trunc(), b.trunc());
    a.contains(&b) || b.contains(&a)
}
