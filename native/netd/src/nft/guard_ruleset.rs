// SPDX-License-Identifier: Apache-2.0
//! What the guard says: the second table of `docs/netd-protocol.md`, "The filter", as data.
//!
//! Everything that a guest may send is allowed by a rule; what is left is dropped. A load that
//! fails (a header that is cut off) ends its rule, so no rule drops on a value that is *not*
//! somewhere where a later one would accept.

use super::expr::{Expr, META_L4PROTO, PAYLOAD_NETWORK, PAYLOAD_TRANSPORT, REG_AFTER_12, Verdict};
use super::guard_match::{
    ARP_SENDER_IP, ARP_SENDER_MAC, DHCP_CHADDR, ETH_ARP, ETH_IPV4, ETH_IPV6, ETHER_SADDR,
    IPV4_FRAGMENT, IPV4_SADDR, IPV6_SADDR, ND_TARGET, NEIGHBOUR_ADVERT, NEIGHBOUR_SOLICIT,
    REDIRECT, ROUTER_ADVERT, accept, back, bridged, drop, ether_type, go, guarded, icmpv6, iif,
    in_, ipv4, ipv6, jump, load, not_in, own_address, part, port_with, rule, udp_port,
    unspecified_source, verdict_of,
};
use super::guard_sets::{
    ADDRESSES, CHADDRS, MACS, NEWCOMERS, SOURCE, SOURCES, TARGET, TARGETS, host_sources_set,
    host_targets_set, source_prefixes_set, sources_set, target_prefixes_set, targets_set,
};
use super::ruleset::{Chain, Hook};

/// New IPv6 addresses of one port: so many at once, then one a minute.
const BURST: u32 = 64;

/// The chains that are there before any network is.
pub(crate) fn base_chains() -> [Chain; 9] {
    let prerouting = Hook {
        kind: "filter",
        number: libc::NF_INET_PRE_ROUTING as u32,
        priority: -200, // NF_BR_PRI_FILTER_BRIDGED
    };
    let chain = |name: &str, rules| Chain {
        name: name.to_owned(),
        hook: None,
        rules,
    };
    [
        Chain {
            name: "prerouting".to_owned(),
            hook: Some(prerouting),
            rules: vec![rule([guarded(), go("guest")])],
        },
        chain(
            "guest",
            vec![
                rule([port_with(ETHER_SADDR), vec![not_in(MACS)], drop()]),
                rule([ether_type(ETH_ARP), go("guest_arp")]),
                rule([ether_type(ETH_IPV4), go("guest_ipv4")]),
                rule([ether_type(ETH_IPV6), go("guest_ipv6")]),
                drop(),
            ],
        ),
        chain("guest_arp", guest_arp()),
        chain(
            "guest_ipv4",
            vec![
                rule([udp_port(0, 67), drop()]),
                rule([udp_port(2, 67), go("guest_dhcp")]),
                rule([ipv4(), own_address(), accept()]),
                rule([bridged(), jump("guest_whole")]),
                rule([bridged(), accept()]),
                drop(),
            ],
        ),
        chain("guest_dhcp", guest_dhcp()),
        chain("guest_ipv6", guest_ipv6()),
        chain(
            "guest_advert",
            vec![
                verdict_of(TARGET),
                rule([port_with(ND_TARGET), vec![in_(TARGETS)], back()]),
                drop(),
            ],
        ),
        chain("guest_whole", guest_whole()),
        chain("guest_source", guest_source()),
    ]
}

/// A sender is the NIC itself at its own address, or asks whether an address is free. On an
/// administrator's bridge it is the NIC itself.
fn guest_arp() -> Vec<Vec<Expr>> {
    let ethernet_ipv4 = || {
        rule([
            ether_type(ETH_ARP),
            vec![
                load((PAYLOAD_NETWORK, 0, 4)),
                Expr::Equal(vec![0, 1, 8, 0]),
                load((PAYLOAD_NETWORK, 4, 2)),
                Expr::Equal(vec![6, 4]),
            ],
        ])
    };
    let probe = vec![
        load((PAYLOAD_NETWORK, 6, 2)),
        Expr::Equal(vec![0, 1]),
        load(ARP_SENDER_IP),
        Expr::Equal(vec![0; 4]),
    ];
    let own = [
        port_with(ARP_SENDER_MAC),
        vec![part(REG_AFTER_12, ARP_SENDER_IP), in_(ADDRESSES)],
    ];
    vec![
        rule([ethernet_ipv4(), own.concat(), accept()]),
        rule([
            ethernet_ipv4(),
            probe,
            port_with(ARP_SENDER_MAC),
            vec![in_(MACS)],
            accept(),
        ]),
        rule([
            bridged(),
            ethernet_ipv4(),
            port_with(ARP_SENDER_MAC),
            vec![in_(MACS)],
            accept(),
        ]),
        drop(),
    ]
}

/// A client speaks for its own hardware address only: leases hang on it.
fn guest_dhcp() -> Vec<Vec<Expr>> {
    let own_chaddr = || rule([port_with(DHCP_CHADDR), vec![in_(CHADDRS)]]);
    let no_address = vec![load(IPV4_SADDR), Expr::Equal(vec![0; 4])];
    vec![
        rule([ipv4(), no_address, own_chaddr(), accept()]),
        rule([ipv4(), own_address(), own_chaddr(), accept()]),
        rule([bridged(), own_chaddr(), accept()]),
        drop(),
    ]
}

fn guest_ipv6() -> Vec<Vec<Expr>> {
    let probe = rule([
        unspecified_source(),
        vec![
            Expr::Meta(META_L4PROTO),
            Expr::Equal(vec![libc::IPPROTO_ICMPV6 as u8]),
            load((PAYLOAD_TRANSPORT, 0, 1)),
            Expr::Equal(vec![NEIGHBOUR_SOLICIT]),
        ],
    ]);
    vec![
        rule([icmpv6(ROUTER_ADVERT), drop()]),
        rule([icmpv6(REDIRECT), drop()]),
        rule([udp_port(0, 547), drop()]),
        rule([icmpv6(NEIGHBOUR_ADVERT), jump("guest_advert")]),
        // A guest asks whether an address is free: from then on it is this port's.
        rule([probe, verdict_of(TARGET)]),
        jump("guest_whole"),
        go("guest_source"),
    ]
}

/// Its upper-layer header is there, or it is a later fragment: its first one had it.
fn guest_whole() -> Vec<Vec<Expr>> {
    vec![
        rule([
            vec![
                load((PAYLOAD_TRANSPORT, 0, 1)),
                Expr::Mask(vec![0]),
                Expr::Equal(vec![0]),
            ],
            back(),
        ]),
        rule([
            ipv4(),
            vec![
                load(IPV4_FRAGMENT),
                Expr::Mask(vec![0x1f, 0xff]),
                Expr::NotEqual(vec![0, 0]),
            ],
            back(),
        ]),
        rule([
            ether_type(ETH_IPV6),
            vec![
                Expr::Fragment,
                Expr::Mask(vec![0xff, 0xf8]),
                Expr::NotEqual(vec![0, 0]),
            ],
            back(),
        ]),
        drop(),
    ]
}

/// Neighbour discovery keeps an address a port's; other packets only take new ones.
///
/// Each time a map gets an element that jumps, the kernel walks every way through the table, and at
/// a map all of its elements again. So the maps have networks' groups and not their ports, only one
/// way leads here, and only one rule looks into the map.
fn guest_source() -> Vec<Vec<Expr>> {
    let own = || rule([ipv6(), port_with(IPV6_SADDR), vec![in_(SOURCES)], accept()]);
    let icmp = Expr::Equal(vec![libc::IPPROTO_ICMPV6 as u8]);
    let no_icmp = Expr::NotEqual(vec![libc::IPPROTO_ICMPV6 as u8]);
    let no_discovery = [NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT]
        .map(|kind| vec![load((PAYLOAD_TRANSPORT, 0, 1)), Expr::NotEqual(vec![kind])]);
    vec![
        rule([
            unspecified_source(),
            vec![Expr::Meta(META_L4PROTO), icmp.clone()],
            accept(),
        ]),
        rule([vec![Expr::Meta(META_L4PROTO), no_icmp], own()]),
        rule([
            ether_type(ETH_IPV6),
            vec![Expr::Meta(META_L4PROTO), icmp],
            no_discovery.concat(),
            own(),
        ]),
        verdict_of(SOURCE),
        own(),
        drop(),
    ]
}

/// A network's chains: an address belongs to the port that used it first (RFC 6620), and the host's
/// to none.
pub(crate) fn network_chains(bridge: &str) -> [Chain; 2] {
    let (sources, targets) = (sources_set(bridge), targets_set(bridge));
    let limit = Expr::OverLimit {
        set: NEWCOMERS.into(),
        per_minute: 1,
        burst: BURST,
    };
    let not_own_source = || rule([ipv6(), port_with(IPV6_SADDR), vec![not_in(SOURCES)]]);
    let not_own_target = || rule([port_with(ND_TARGET), vec![not_in(TARGETS)]]);
    let source = vec![
        rule([
            ipv6(),
            vec![load(IPV6_SADDR), not_in(&source_prefixes_set(bridge))],
            drop(),
        ]),
        rule([
            ipv6(),
            vec![load(IPV6_SADDR), in_(&host_sources_set(bridge))],
            drop(),
        ]),
        rule([
            not_own_source(),
            vec![load(IPV6_SADDR), in_(&sources)],
            drop(),
        ]),
        rule([not_own_source(), vec![iif(), limit.clone()], drop()]),
        rule([ipv6(), vec![load(IPV6_SADDR), Expr::Update(sources)]]),
        rule([
            ipv6(),
            port_with(IPV6_SADDR),
            vec![Expr::Update(SOURCES.into())],
        ]),
    ];
    let target = vec![
        rule([vec![
            load(ND_TARGET),
            not_in(&target_prefixes_set(bridge)),
            Expr::Verdict(Verdict::Return),
        ]]),
        rule([vec![
            load(ND_TARGET),
            in_(&host_targets_set(bridge)),
            Expr::Verdict(Verdict::Return),
        ]]),
        rule([
            not_own_target(),
            vec![
                load(ND_TARGET),
                in_(&targets),
                Expr::Verdict(Verdict::Return),
            ],
        ]),
        rule([not_own_target(), vec![iif(), limit], drop()]),
        vec![load(ND_TARGET), Expr::Update(targets)],
        rule([port_with(ND_TARGET), vec![Expr::Update(TARGETS.into())]]),
    ];
    [
        Chain {
            name: source_chain(bridge),
            hook: None,
            rules: source,
        },
        Chain {
            name: target_chain(bridge),
            hook: None,
            rules: target,
        },
    ]
}

pub(crate) fn source_chain(bridge: &str) -> String {
    format!("source_{bridge}")
}

pub(crate) fn target_chain(bridge: &str) -> String {
    format!("target_{bridge}")
}
