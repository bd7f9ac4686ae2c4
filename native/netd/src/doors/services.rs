// SPDX-License-Identifier: Apache-2.0
//! What a network needs of the host itself: addresses, names and, for IPv6, neighbours and routers.

use super::Wanted;
use super::tables::Family;
use tapyard_protocol::Mode;

/// A service of the host's, in the words of `nft` and of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Service {
    /// `NFPROTO_…`, where it is of one family only.
    family: Option<i32>,
    /// As nft writes it: `udp dport 67`.
    pub(super) words: &'static str,
    /// The name of the protocol's match of iptables, with the port; none where there is no port.
    pub(super) port: Option<(&'static str, u16)>,
    /// `IPPROTO_…`
    pub(super) protocol: i32,
}

const SERVICES: [Service; 5] = [
    Service {
        family: Some(libc::NFPROTO_IPV4),
        words: "udp dport 67",
        port: Some(("udp", 67)),
        protocol: libc::IPPROTO_UDP,
    },
    Service {
        family: None,
        words: "udp dport 53",
        port: Some(("udp", 53)),
        protocol: libc::IPPROTO_UDP,
    },
    Service {
        family: None,
        words: "tcp dport 53",
        port: Some(("tcp", 53)),
        protocol: libc::IPPROTO_TCP,
    },
    Service {
        family: Some(libc::NFPROTO_IPV6),
        words: "udp dport 547",
        port: Some(("udp", 547)),
        protocol: libc::IPPROTO_UDP,
    },
    Service {
        family: Some(libc::NFPROTO_IPV6),
        words: "meta l4proto ipv6-icmp",
        port: None,
        protocol: libc::IPPROTO_ICMPV6,
    },
];

impl Service {
    /// Whether the network needs it in packets of this `NFPROTO_…`. The host serves nothing to guests
    /// that are on somebody else's network.
    pub(super) fn is_of(&self, family: i32, network: &Wanted) -> bool {
        network.mode != Mode::Bridged
            && self.family.is_none_or(|own| own == family)
            && (family == libc::NFPROTO_IPV4 || network.ipv6.is_some())
    }
}

/// What has to get through the tables of a family.
pub(super) fn services(family: Family, network: &Wanted) -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().filter(move |service| {
        [libc::NFPROTO_IPV4, libc::NFPROTO_IPV6]
            .into_iter()
            .any(|number| family.sees(number as u8) && service.is_of(number, network))
    })
}
