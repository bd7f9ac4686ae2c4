// SPDX-License-Identifier: Apache-2.0
//! What the kernel has, as the protocol tells it, and what changed between two looks.

use super::bridged::bridge_name;
use super::forwarding::rules_of;
use super::guard::is_guarded;
use super::{Engine, Service, label};
use crate::dnsmasq::read_leases;
use crate::nft::FilterState;
use crate::rtnl::{Address, AddressFamily, Counters, LinkInfo};
use crate::sysctl;
use std::collections::HashMap;
use std::hash::Hash;
use tapyard_protocol::{
    Dns, Event, LabName, Link, Mode, Network, NetworkRef, NetworkSpec, Owner, Result, Shape,
    Snapshot, Uplink,
};

impl Engine {
    /// Everything at once, read from the kernel now.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let links = self.rtnl.links(Counters::Skip)?;
        let mut addresses: HashMap<u32, Vec<Address>> = HashMap::new();
        for address in self.rtnl.addresses(AddressFamily::Any)? {
            addresses.entry(address.ifindex).or_default().push(address);
        }
        let filter = match self.journal.state().networks.is_empty() {
            true => FilterState::default(),
            false => self.read_filter(),
        };
        let guard = self.read_guard();
        let shapes = self.read_shapes();
        let networks = self.journal.state().networks.values();
        let mut networks: Vec<Network> = networks
            .map(|recorded| {
                let bridge = links
                    .iter()
                    .find(|link| self.is_bridge_of(link, &recorded.lab, &recorded.spec));
                let guarded =
                    is_guarded(&recorded.spec) && guard.contains(bridge_name(&recorded.spec));
                self.network_from(&recorded.lab, &recorded.spec, bridge, &filter, guarded)
            })
            .collect();
        for network in &mut networks {
            network.proxy_arp = self.proxy_of(&network.lab, &network.name)?;
        }
        let mut links: Vec<Link> = links
            .into_iter()
            .map(|link| {
                let addresses = addresses.remove(&link.ifindex).unwrap_or_default();
                let shape = shapes.get(&link.ifindex).copied().unwrap_or_default();
                self.link_from(link, addresses, shape)
            })
            .collect();
        links.sort_by_key(|link| link.ifindex);
        Ok(Snapshot {
            scope: self.config.identity.scope,
            lab: self.config.identity.lab.clone(),
            links,
            networks,
            uplink: self.uplink_state(),
        })
    }

    /// One network, read from the kernel now.
    pub(super) fn network(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<Network> {
        let bridge = self.rtnl.link_named(bridge_name(spec))?;
        let bridge = bridge.filter(|link| self.is_bridge_of(link, lab, spec));
        let filter = match rules_of(spec) {
            Some(rules) => self.filter.read_network(&rules)?,
            None => FilterState::default(),
        };
        let guarded = is_guarded(spec) && self.guard.guards(bridge_name(spec))?;
        let proxy_arp = self.proxy_of(lab, &spec.name)?;
        Ok(Network {
            proxy_arp,
            ..self.network_from(lab, spec, bridge.as_ref(), &filter, guarded)
        })
    }

    fn network_from(
        &self,
        lab: &LabName,
        spec: &NetworkSpec,
        bridge: Option<&LinkInfo>,
        filter: &FilterState,
        antispoof: bool,
    ) -> Network {
        // Where there is nothing for it to hold, it does.
        let holds = rules_of(spec).is_none_or(|rules| filter.holds(&rules));
        let directory = self.config.directory.dns_path(&spec.name);
        Network {
            lab: lab.clone(),
            name: spec.name.clone(),
            bridge: bridge.map(|link| link.ifindex),
            subnet: spec.subnet,
            address: spec.address,
            ipv6: spec.ipv6,
            uplink: spec.uplink.clone(),
            interface: spec.interface.clone(),
            proxy_arp: None, // the caller reads it
            mac: spec.mac,
            mtu: bridge.map_or(spec.mtu.get(), |link| link.mtu),
            mode: spec.mode,
            nat: holds && spec.mode == Mode::Nat && filter.nat(&spec.name),
            filter: holds,
            antispoof,
            forwarding: bridge.is_some()
                && spec.has_own_bridge()
                && sysctl::forwarding(&spec.name).unwrap_or(false),
            dns: self.dns_of(spec),
            host_names: bridge.and_then(|link| self.resolved.of(&spec.name, link.ifindex)),
            doors: self.doors_of(&spec.name),
            exposed: self.exposed_of(&spec.name, filter),
            leases: match spec.dhcp {
                Some(_) => read_leases(&directory),
                None => Vec::new(),
            },
        }
    }

    pub(super) fn dns_of(&self, spec: &NetworkSpec) -> Option<Dns> {
        let service = self.dns.get(&spec.name);
        let dnsmasq = service.and_then(Service::dnsmasq);
        spec.dhcp.as_ref().map(|dhcp| Dns {
            pid: dnsmasq.map(crate::dnsmasq::Dnsmasq::pid),
            from: dhcp.from,
            to: dhcp.to,
        })
    }

    fn link_from(&self, link: LinkInfo, addresses: Vec<Address>, shape: Shape) -> Link {
        let ours = self.owner(&link);
        Link {
            ifindex: link.ifindex,
            name: link.name,
            kind: link.kind,
            master: link.master,
            up: link.up,
            carrier: link.carrier,
            operstate: operstate(link.operstate).to_owned(),
            mac: hex(&link.mac),
            mtu: link.mtu,
            alias: link.alias,
            addresses: addresses.into_iter().map(|address| address.net).collect(),
            ours,
            shape,
        }
    }

    /// Whose an interface is, where label and journal agree.
    fn owner(&self, link: &LinkInfo) -> Option<Owner> {
        let owner = label::parse(self.config.identity.label_uid, &link.alias)?;
        let recorded = self.journal.state().networks.get(&owner.network)?;
        let fits = match owner.guest {
            None => link.kind == "bridge" && link.name == *owner.network,
            Some(_) => matches!(link.kind.as_str(), "tun" | "ifb"),
        };
        (fits && recorded.lab == owner.lab).then_some(owner)
    }

    fn uplink_state(&self) -> Uplink {
        let mut uplink = self.uplink.state();
        let device = uplink.device.as_deref();
        uplink.forwarding = device.is_some_and(|d| sysctl::forwarding(d).unwrap_or(false));
        uplink.ipv6 = self.uplink6();
        uplink
    }
}

/// What to tell somebody who knows `old`. Nothing where they are alike.
pub fn changes(old: &Snapshot, new: &Snapshot) -> Vec<Event> {
    let mut events = Vec::new();
    let (put, del) = diff(&old.links, &new.links, |link| link.ifindex);
    if !(put.is_empty() && del.is_empty()) {
        events.push(Event::Links { put, del });
    }
    let (put, del) = diff(&old.networks, &new.networks, |network| NetworkRef {
        lab: network.lab.clone(),
        name: network.name.clone(),
    });
    if !(put.is_empty() && del.is_empty()) {
        events.push(Event::Networks { put, del });
    }
    if old.uplink != new.uplink {
        events.push(Event::Uplink {
            uplink: Box::new(new.uplink.clone()),
        });
    }
    events
}

/// Entities that are new or changed, in the new order, and the keys of those that went.
fn diff<T: Clone + PartialEq, K: Eq + Hash>(
    old: &[T],
    new: &[T],
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Vec<K>) {
    let before: HashMap<K, &T> = old.iter().map(|entity| (key(entity), entity)).collect();
    let put = new
        .iter()
        .filter(|entity| before.get(&key(entity)) != Some(entity))
        .cloned()
        .collect();
    let after: HashMap<K, ()> = new.iter().map(|entity| (key(entity), ())).collect();
    let gone = old.iter().map(key).filter(|key| !after.contains_key(key));
    (put, gone.collect())
}

/// RFC 2863 states in the words of iproute2.
fn operstate(state: u8) -> &'static str {
    match state {
        1 => "notpresent",
        2 => "down",
        3 => "lowerlayerdown",
        4 => "testing",
        5 => "dormant",
        6 => "up",
        _ => "unknown",
    }
}

fn hex(mac: &[u8]) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let (put, del) = diff(&[(1, 'a'), (2, 'b')], &[(2, 'c'), (3, 'd')], |e| e.0);
        assert_eq!((put, del), (vec![(2, 'c'), (3, 'd')], vec![1]));
        let (put, del) = diff(&[(1, 'a')], &[(1, 'a')], |e| e.0);
        assert!(put.is_empty() && del.is_empty());
        assert_eq!(hex(&[0x52, 0x54, 0, 0, 0, 1]), "52:54:00:00:00:01");
    }
}
