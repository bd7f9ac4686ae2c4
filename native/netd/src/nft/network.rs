// SPDX-License-Identifier: Apache-2.0
//! A network as the filter knows it.

use ipnet::{Ipv4Net, Ipv6Net};
use tapyard_protocol::Mode;

use super::element::Element;
use super::ruleset::{BRIDGES, IN, OUT, SWITCHED, in_chain, out_chain};

/// What the filter needs to know of a network.
#[derive(Debug, Clone, Copy)]
pub struct NetworkRules<'a> {
    /// The bridge's interface name.
    pub bridge: &'a str,
    /// The subnet behind the bridge; none where the guests are on somebody else's.
    pub subnet: Option<Ipv4Net>,
    /// The IPv6 subnet behind it, a /64.
    pub subnet6: Option<Ipv6Net>,
    /// What may pass between the two.
    pub mode: Mode,
    /// The switch of [`Mode::Nat`]; without meaning in other modes.
    pub nat: bool,
}

impl NetworkRules<'_> {
    /// Whether the bridge is in `nat_off`.
    pub fn is_off(&self) -> bool {
        self.mode == Mode::Nat && !self.nat
    }
}

/// The elements that make a network of any mode known to the base chains.
pub(super) fn elements_of(bridge: &str) -> [(&'static str, Element); 4] {
    let jump = |chain| Element::Jump {
        interface: bridge.to_owned(),
        chain,
    };
    [
        (BRIDGES, Element::Interface(bridge.to_owned())),
        (SWITCHED, Element::Pair(bridge.to_owned())),
        (OUT, jump(out_chain(bridge))),
        (IN, jump(in_chain(bridge))),
    ]
}
