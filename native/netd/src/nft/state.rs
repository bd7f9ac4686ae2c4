// SPDX-License-Identifier: Apache-2.0
//! The filter as it was read back, and what it says of networks and the machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tapyard_protocol::{Exposure, Mode};

use super::element::Element;
use super::network::{NetworkRules, elements_of};
use super::ruleset::{
    self, ADDRESSED, BRIDGE_ADDRESSES, BRIDGE_ADDRESSES6, EXPOSED, NAT_OFF, NAT_SOURCES,
    NAT_SOURCES6, OPENED, OPENED6, OUT, ROUTER, SWITCHED, UPLINKS, UPLINKS6,
};
use super::table::{Rules, rules_of};

/// The filter as read back from the kernel; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterState {
    pub(super) sets: BTreeMap<&'static str, Vec<Element>>,
    pub(super) rules: Rules,
}

impl FilterState {
    /// Whether the chains that all networks share are as netd writes them.
    pub fn has_base(&self) -> bool {
        ruleset::base_chains()
            .iter()
            .all(|chain| rules_of(&self.rules, &chain.name) == chain.rules)
    }

    /// Whether the network's chains and elements are as netd writes them. Its switch is not
    /// looked at: see [`FilterState::nat`].
    pub fn holds(&self, network: &NetworkRules<'_>) -> bool {
        let masked = network.mode == Mode::Nat;
        elements_of(network.bridge)
            .iter()
            .all(|(set, e)| self.has(set, e))
            && network.subnet.is_some()
                == self.has(ADDRESSED, &Element::Interface(network.bridge.to_owned()))
            && network
                .subnet
                .is_none_or(|s| masked == self.has(NAT_SOURCES, &Element::Subnet(s)))
            && network
                .subnet6
                .is_none_or(|s| masked == self.has(NAT_SOURCES6, &Element::Subnet6(s)))
            && (masked || self.nat(network.bridge))
            && ruleset::network_chains(network)
                .iter()
                .all(|chain| rules_of(&self.rules, &chain.name) == chain.rules)
    }

    /// False where the bridge is in `nat_off`.
    pub fn nat(&self, bridge: &str) -> bool {
        !self.has(NAT_OFF, &Element::Interface(bridge.to_owned()))
    }

    /// The bridges that have chains, sorted.
    pub fn bridges(&self) -> Vec<&str> {
        names(self.elements(OUT)).collect()
    }

    /// Interfaces that lead out, sorted.
    pub fn uplinks(&self) -> Vec<&str> {
        names(self.elements(UPLINKS)).collect()
    }

    /// Interfaces that lead out for IPv6, sorted.
    pub fn uplinks6(&self) -> Vec<&str> {
        names(self.elements(UPLINKS6)).collect()
    }

    /// Interfaces whose forwarding netd switched on, sorted.
    pub fn opened(&self) -> Vec<&str> {
        names(self.elements(OPENED)).collect()
    }

    /// The same for IPv6.
    pub fn opened6(&self) -> Vec<&str> {
        names(self.elements(OPENED6)).collect()
    }

    /// Whether it drops what the machine forwards of IPv6 only because netd made it a router.
    pub fn router6(&self) -> bool {
        self.has(ROUTER, &Element::Family(libc::NFPROTO_IPV6 as u8))
    }

    /// Bridges whose ports may send to each other, sorted.
    pub fn switched(&self) -> Vec<&str> {
        names(self.elements(SWITCHED)).collect()
    }

    /// The bridges' own addresses, sorted.
    pub fn bridge_addresses(&self) -> Vec<IpAddr> {
        let sets = [BRIDGE_ADDRESSES, BRIDGE_ADDRESSES6];
        let elements = sets.into_iter().flat_map(|set| self.elements(set));
        let mut addresses: Vec<IpAddr> = elements
            .filter_map(|element| match element {
                Element::Address(address) => Some(*address),
                _ => None,
            })
            .collect();
        addresses.sort();
        addresses
    }

    /// The host's ports that lead to guests, sorted.
    pub fn exposed(&self) -> Vec<Exposure> {
        let mut exposed: Vec<Exposure> = self
            .elements(EXPOSED)
            .iter()
            .filter_map(|element| match element {
                Element::Service(exposure) => Some(*exposure),
                _ => None,
            })
            .collect();
        exposed.sort();
        exposed
    }

    fn elements(&self, set: &str) -> &[Element] {
        self.sets.get(set).map_or(&[], Vec::as_slice)
    }

    fn has(&self, set: &str, element: &Element) -> bool {
        self.elements(set).contains(element)
    }
}

fn names(elements: &[Element]) -> impl Iterator<Item = &str> {
    elements.iter().filter_map(|element| match element {
        Element::Interface(name)
        | Element::Draining(name)
        | Element::Pair(name)
        | Element::Jump {
            interface: name, ..
        } => Some(name.as_str()),
        Element::Family(_)
        | Element::Subnet(_)
        | Element::Subnet6(_)
        | Element::Address(_)
        | Element::Service(_) => None,
    })
}
