// SPDX-License-Identifier: Apache-2.0
//! What the journal's lines amount to: the networks that there are or may be, and whose
//! forwarding was switched on.

use super::{Disturbed6, Entry, Found, VERSION};
use crate::doors::Place;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use tapyard_protocol::{Exposure, GuestName, LabName, NetworkName, NetworkSpec, Nic, Shape};

/// A network of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its lab.
    pub lab: LabName,
    /// As wanted.
    pub spec: NetworkSpec,
    /// It is to go; what is left of it failed to.
    pub removing: bool,
    /// Addresses that its bridge had under earlier specs. A netd that was killed while it
    /// changed one leaves both.
    pub formers: Vec<IpNet>,
    /// Where it may have doors, sorted.
    pub doors: Vec<Place>,
    /// systemd-resolved may know its bridge.
    pub named: bool,
    /// Ports of the host's that lead to its guests.
    pub exposed: Vec<Exposure>,
    /// What traffic is held to, by NIC. A shape that is none is still to be taken off.
    pub shapes: BTreeMap<(GuestName, Nic), Shape>,
    /// The interface of the host's that is, or is to be, a port of its bridge.
    pub taken: Option<Found>,
    /// Addresses that the LAN gets an answer for, with the number of the interface that answers.
    pub proxied: BTreeSet<(u32, Ipv4Addr)>,
}

/// A bridge's addresses with their subnets' lengths; none where the network is bridged.
pub fn bridge_addresses(spec: &NetworkSpec) -> Vec<IpNet> {
    let Some((address, subnet)) = spec.address.zip(spec.subnet) else {
        return Vec::new();
    };
    let ipv4 = IpNet::new(address.into(), subnet.net().prefix_len());
    let ipv6 = spec.ipv6_of(address).map(|own| IpNet::new(own.into(), 64));
    ipv4.into_iter().chain(ipv6.into_iter().flatten()).collect()
}

/// Whether a port of the host's may lead there: to a guest's address in a network that has a way in.
pub fn may_expose(spec: &NetworkSpec, exposure: &Exposure) -> bool {
    let to = exposure.to;
    spec.mode.forwards()
        && Some(to) != spec.address
        && spec.subnet.is_some_and(|subnet| subnet.is_host(to))
}

/// What the lines amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// By name, which is the bridge's and so one of a kind.
    pub networks: BTreeMap<NetworkName, Recorded>,
    /// Interfaces whose IPv4 forwarding netd switched on, sorted.
    pub opened: Vec<String>,
    /// Interfaces whose IPv6 forwarding netd switched on, sorted.
    pub opened6: Vec<String>,
    /// netd made the machine an IPv6 router.
    pub router6: bool,
    /// What is to be put back after IPv6 forwarding was written.
    pub disturbed6: Option<Disturbed6>,
}

impl State {
    pub(super) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Begin { .. } => {}
            Entry::Network { lab, network } => {
                let spec = *network;
                let before = self.networks.remove(&spec.name);
                let named = before.as_ref().is_some_and(|before| before.named);
                let (mut formers, doors, mut exposed, shapes, taken, proxied) =
                    before.map_or_else(Default::default, |mut before| {
                        before.formers.extend(bridge_addresses(&before.spec));
                        let Recorded {
                            formers,
                            doors,
                            exposed,
                            shapes,
                            taken,
                            proxied,
                            ..
                        } = before;
                        (formers, doors, exposed, shapes, taken, proxied)
                    });
                exposed.retain(|exposure| may_expose(&spec, exposure));
                let own = bridge_addresses(&spec);
                formers.retain(|former| !own.contains(former));
                let recorded = Recorded {
                    lab,
                    spec,
                    removing: false,
                    formers,
                    doors,
                    named,
                    exposed,
                    shapes,
                    taken,
                    proxied,
                };
                self.networks.insert(recorded.spec.name.clone(), recorded);
            }
            Entry::Formers { network, addresses } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.formers = addresses;
                }
            }
            Entry::Nat { name, nat } => {
                if let Some(recorded) = self.networks.get_mut(&name) {
                    recorded.spec.nat = nat;
                }
            }
            Entry::Removing { name } => {
                if let Some(recorded) = self.networks.get_mut(&name) {
                    recorded.removing = true;
                }
            }
            Entry::Removed { name } => {
                self.networks.remove(&name);
            }
            Entry::Door { network, place } => {
                if let Some(recorded) = self.networks.get_mut(&network)
                    && let Err(at) = recorded.doors.binary_search(&place)
                {
                    recorded.doors.insert(at, place);
                }
            }
            Entry::NoDoor { network, place } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.doors.retain(|other| *other != place);
                }
            }
            Entry::Named { network } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.named = true;
                }
            }
            Entry::Unnamed { network } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.named = false;
                }
            }
            Entry::Exposed { network, exposure } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.exposed.retain(|e| e.key() != exposure.key());
                    recorded.exposed.push(exposure);
                }
            }
            Entry::Unexposed { network, port } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.exposed.retain(|e| e.key() != port);
                }
            }
            Entry::Shape {
                network,
                guest,
                nic,
                shape,
            } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.shapes.insert((guest, nic), shape);
                }
            }
            Entry::Unshaped {
                network,
                guest,
                nic,
            } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.shapes.remove(&(guest, nic));
                }
            }
            Entry::Taken { network, found } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.taken = Some(found);
                }
            }
            Entry::GivenBack { network } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.taken = None;
                }
            }
            Entry::Proxied {
                network,
                ifindex,
                addresses,
            } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    let addresses = addresses.into_iter().map(|address| (ifindex, address));
                    recorded.proxied.extend(addresses);
                }
            }
            Entry::Unproxied {
                network,
                ifindex,
                addresses,
            } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    let gone = |(at, address): &(u32, Ipv4Addr)| {
                        *at == ifindex && addresses.contains(address)
                    };
                    recorded.proxied.retain(|claimed| !gone(claimed));
                }
            }
            Entry::Opened { device } => insert(&mut self.opened, device),
            Entry::Closed { device } => self.opened.retain(|other| *other != device),
            Entry::Opened6 { device } => insert(&mut self.opened6, device),
            Entry::Closed6 { device } => self.opened6.retain(|other| *other != device),
            Entry::Router6 => self.router6 = true,
            Entry::NoRouter6 => self.router6 = false,
            Entry::Disturbed6(disturbed) => self.disturbed6 = Some(disturbed),
            Entry::Settled6 => self.disturbed6 = None,
        }
    }

    /// The fewest lines that amount to this.
    pub(super) fn entries(&self, boot: &str) -> Vec<Entry> {
        let mut entries = vec![Entry::Begin {
            version: VERSION,
            boot: boot.to_owned(),
        }];
        entries.extend(
            self.opened
                .iter()
                .cloned()
                .map(|device| Entry::Opened { device }),
        );
        entries.extend(
            self.opened6
                .iter()
                .cloned()
                .map(|device| Entry::Opened6 { device }),
        );
        entries.extend(self.router6.then_some(Entry::Router6));
        entries.extend(self.disturbed6.clone().map(Entry::Disturbed6));
        for (name, recorded) in &self.networks {
            entries.push(Entry::Network {
                lab: recorded.lab.clone(),
                network: Box::new(recorded.spec.clone()),
            });
            if !recorded.formers.is_empty() {
                entries.push(Entry::Formers {
                    network: name.clone(),
                    addresses: recorded.formers.clone(),
                });
            }
            entries.extend(recorded.doors.iter().map(|place| Entry::Door {
                network: name.clone(),
                place: place.clone(),
            }));
            if recorded.named {
                entries.push(Entry::Named {
                    network: name.clone(),
                });
            }
            entries.extend(recorded.exposed.iter().map(|exposure| Entry::Exposed {
                network: name.clone(),
                exposure: *exposure,
            }));
            let shapes = recorded.shapes.iter();
            entries.extend(shapes.map(|((guest, nic), shape)| Entry::Shape {
                network: name.clone(),
                guest: guest.clone(),
                nic: *nic,
                shape: *shape,
            }));
            entries.extend(recorded.taken.iter().map(|found| Entry::Taken {
                network: name.clone(),
                found: found.clone(),
            }));
            let mut proxied: BTreeMap<u32, Vec<Ipv4Addr>> = BTreeMap::new();
            for (ifindex, address) in &recorded.proxied {
                proxied.entry(*ifindex).or_default().push(*address);
            }
            let proxied = proxied.into_iter();
            entries.extend(proxied.map(|(ifindex, addresses)| Entry::Proxied {
                network: name.clone(),
                ifindex,
                addresses,
            }));
            if recorded.removing {
                entries.push(Entry::Removing { name: name.clone() });
            }
        }
        entries
    }
}

fn insert(sorted: &mut Vec<String>, device: String) {
    if let Err(at) = sorted.binary_search(&device) {
        sorted.insert(at, device);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, network};
    use super::*;

    #[test]
    fn remembers_former_addresses() {
        let mut state = State::default();
        for subnet in ["10.0.1", "10.0.2", "10.0.2", "10.0.3", "10.0.1"] {
            let Entry::Network { lab, mut network } = network("br0") else {
                unreachable!()
            };
            network.subnet = Some(format!("{subnet}.0/24").try_into().unwrap());
            network.address = Some(format!("{subnet}.1").parse().unwrap());
            state.apply(Entry::Network { lab, network });
        }
        let formers: Vec<String> = state.networks[&name("br0")]
            .formers
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(formers, ["10.0.2.1/24", "10.0.3.1/24"]);
    }
}
