// SPDX-License-Identifier: Apache-2.0
//! What the guard says: the second table of `docs/netd-protocol.md`, "The filter", as data.
//!
//! Everything that a guest may send is allowed by a rule; what is left is dropped. A load that
//! fails (a header that is cut off) ends its rule, so no rule drops on a value that is *not*
//! somewhere where a later one would accept.

use super::expr::{
    Expr, META_IIF, META_IIFGROUP, META_L4PROTO, META_PROTOCOL, PAYLOAD_LINK, PAYLOAD_NETWORK,
    PAYLOAD_TRANSPORT, REG_AFTER_4, REG_AFTER_12, Verdict,
};
use super::layout::{
    BIG_ENDIAN, HOST_ENDIAN, Layout, NFT_TYPE_IPV4_ADDR, SET_INTERVAL, SET_MAP, SET_TIMEOUT,
    UDATA_KEY_BYTEORDER, VERDICTS, udata, udata_nested as nested, udata_of_concatenation,
    udata_of_verdicts,
};
use super::ruleset::{Chain, Hook};

/// Ports that are guarded.
pub(crate) const GUARDED: &str = "guarded";
/// Those of them that are on an administrator's bridge, whose network gives IPv4 addresses.
pub(crate) const BRIDGED: &str = "bridged";
/// Ports with their NICs' MAC addresses.
pub(crate) const MACS: &str = "macs";
/// The same as DHCP carries them.
pub(crate) const CHADDRS: &str = "chaddrs";
/// Ports with MAC and IPv4 address, reserved or leased.
pub(crate) const ADDRESSES: &str = "addresses";
/// Ports with the IPv6 addresses that they send from, first come.
pub(crate) const SOURCES: &str = "sources";
/// Ports with the IPv6 addresses that they answer for, first come.
pub(crate) const TARGETS: &str = "targets";
/// How fast each port takes new ones.
pub(crate) const NEWCOMERS: &str = "newcomers";
/// From a network's group of ports to its chain for IPv6 sources.
pub(crate) const SOURCE: &str = "source";
/// From a network's group of ports to its chain for IPv6 targets.
pub(crate) const TARGET: &str = "target";

// nft's numbers of its datatypes, and of a concatenation: six bits for each part.
const TYPE_INTEGER: u32 = 4;
const TYPE_IPV6_ADDR: u32 = 8;
const TYPE_ETHER_ADDR: u32 = 9;
const TYPE_IFACE_INDEX: u32 = 20;
const TYPE_DEVGROUP: u32 = 35;
const fn concat(first: u32, second: u32) -> u32 {
    first << 6 | second
}

const SET_EVAL: u32 = 0x20;
/// How long an IPv6 address stays a port's without neighbour discovery.
const HOUR_MS: u64 = 3_600_000;
/// New IPv6 addresses of one port: so many at once, then one a minute.
const BURST: u32 = 64;

const ETH_ARP: [u8; 2] = [0x08, 0x06];
const ETH_IPV4: [u8; 2] = [0x08, 0x00];
const ETH_IPV6: [u8; 2] = [0x86, 0xdd];
// ICMPv6 types (RFC 4861).
const ROUTER_ADVERT: u8 = 134;
const NEIGHBOUR_SOLICIT: u8 = 135;
const NEIGHBOUR_ADVERT: u8 = 136;
const REDIRECT: u8 = 137;

/// A part of a packet: base, offset, length.
type Field = (u32, u32, u32);
const ETHER_SADDR: Field = (PAYLOAD_LINK, 6, 6);
const ARP_SENDER_MAC: Field = (PAYLOAD_NETWORK, 8, 6);
const ARP_SENDER_IP: Field = (PAYLOAD_NETWORK, 14, 4);
/// Flags and offset.
const IPV4_FRAGMENT: Field = (PAYLOAD_NETWORK, 6, 2);
const IPV4_SADDR: Field = (PAYLOAD_NETWORK, 12, 4);
const IPV6_SADDR: Field = (PAYLOAD_NETWORK, 8, 16);
/// The client's hardware address in a DHCP message, behind the UDP header.
const DHCP_CHADDR: Field = (PAYLOAD_TRANSPORT, 36, 6);
/// The target address of a neighbour solicitation or advertisement.
const ND_TARGET: Field = (PAYLOAD_TRANSPORT, 8, 16);

/// The sets and maps of the table, in the order in which nft shows them.
pub(crate) fn sets() -> [(&'static str, Layout); 10] {
    let addresses = Layout {
        key_type: concat(
            concat(TYPE_IFACE_INDEX, TYPE_ETHER_ADDR),
            NFT_TYPE_IPV4_ADDR,
        ),
        key_len: 16,
        ..port_and(TYPE_ETHER_ADDR, 8, None)
    };
    let newcomers = Layout {
        flags: SET_EVAL,
        dynamic: Some(0),
        ..ports()
    };
    let verdicts = || {
        let mut layout = ports();
        layout.key_type = TYPE_DEVGROUP;
        layout.flags = SET_MAP;
        layout.values = Some(VERDICTS);
        layout.userdata.extend(udata_of_verdicts());
        layout
    };
    [
        (GUARDED, ports()),
        (BRIDGED, ports()),
        (MACS, port_and(TYPE_ETHER_ADDR, 8, None)),
        (CHADDRS, port_and(TYPE_INTEGER, 8, Some(DHCP_CHADDR))),
        (ADDRESSES, addresses),
        (SOURCES, first_come(port_and(TYPE_IPV6_ADDR, 16, None))),
        (
            TARGETS,
            first_come(port_and(TYPE_INTEGER, 16, Some(ND_TARGET))),
        ),
        (NEWCOMERS, newcomers),
        (SOURCE, verdicts()),
        (TARGET, verdicts()),
    ]
}

/// A network's own sets, for sources and for targets: the prefixes that its guests' addresses are in, what
/// of them is the host's, and what has been taken.
pub(crate) fn network_sets(bridge: &str) -> [(String, Layout); 6] {
    let address = |key_type, typeof_| Layout {
        flags: 0,
        key_type,
        key_len: 16,
        values: None,
        dynamic: None,
        userdata: [udata(UDATA_KEY_BYTEORDER, BIG_ENDIAN), typeof_].concat(),
    };
    let interval = |layout| Layout {
        flags: SET_INTERVAL,
        ..layout
    };
    let targets = || address(TYPE_INTEGER, typeof_key(&raw_payload(ND_TARGET)));
    [
        (
            source_prefixes_set(bridge),
            interval(address(TYPE_IPV6_ADDR, Vec::new())),
        ),
        (target_prefixes_set(bridge), interval(targets())),
        (
            host_sources_set(bridge),
            address(TYPE_IPV6_ADDR, Vec::new()),
        ),
        (host_targets_set(bridge), targets()),
        (
            sources_set(bridge),
            first_come(address(TYPE_IPV6_ADDR, Vec::new())),
        ),
        (targets_set(bridge), first_come(targets())),
    ]
}

pub(crate) fn source_prefixes_set(bridge: &str) -> String {
    format!("source_prefixes_{bridge}")
}

pub(crate) fn target_prefixes_set(bridge: &str) -> String {
    format!("target_prefixes_{bridge}")
}

pub(crate) fn host_sources_set(bridge: &str) -> String {
    format!("host_sources_{bridge}")
}

pub(crate) fn host_targets_set(bridge: &str) -> String {
    format!("host_targets_{bridge}")
}

pub(crate) fn sources_set(bridge: &str) -> String {
    format!("sources_{bridge}")
}

pub(crate) fn targets_set(bridge: &str) -> String {
    format!("targets_{bridge}")
}

pub(crate) fn source_chain(bridge: &str) -> String {
    format!("source_{bridge}")
}

pub(crate) fn target_chain(bridge: &str) -> String {
    format!("target_{bridge}")
}

fn ports() -> Layout {
    Layout {
        flags: 0,
        key_type: TYPE_IFACE_INDEX,
        key_len: 4,
        values: None,
        dynamic: None,
        userdata: udata(UDATA_KEY_BYTEORDER, HOST_ENDIAN),
    }
}

/// `iface_index . …`. A raw part of a packet has no name of a type, so `field` is spelt out for
/// nft (`typeof iif . @th,…`).
fn port_and(key_type: u32, len: u32, field: Option<Field>) -> Layout {
    let parts = field.map_or_else(Vec::new, |field| {
        let iif = [udata(0, EXPR_META), nested(1, &udata(META_KEY, META_IIF))];
        [nested(0, &iif.concat()), nested(1, &raw_payload(field))].concat()
    });
    Layout {
        flags: 0,
        key_type: concat(TYPE_IFACE_INDEX, key_type),
        key_len: 4 + len,
        values: None,
        dynamic: None,
        userdata: [
            udata(UDATA_KEY_BYTEORDER, 0),
            udata_of_concatenation(&parts),
        ]
        .concat(),
    }
}

fn first_come(layout: Layout) -> Layout {
    Layout {
        flags: SET_TIMEOUT | SET_EVAL,
        dynamic: Some(HOUR_MS),
        ..layout
    }
}

// nft's userdata of a set's `typeof` (its sources' `enum expr_types`, libnftnl's udata.h).
const UDATA_KEY_TYPEOF: u8 = 3;
const EXPR_PAYLOAD: u32 = 7;
const EXPR_META: u32 = 9;
const META_KEY: u8 = 0;

fn typeof_key(expr: &[u8]) -> Vec<u8> {
    nested(UDATA_KEY_TYPEOF, expr)
}

/// `@th,OFFSET,LENGTH`, in bits. nft counts its bases from the packet's outside, one higher.
fn raw_payload((base, offset, len): Field) -> Vec<u8> {
    let data = [
        udata(0, 0), // no protocol's description
        udata(1, 0), // no field of it
        udata(2, base + 1),
        udata(3, offset * 8),
        udata(4, len * 8),
    ];
    [udata(0, EXPR_PAYLOAD), nested(1, &data.concat())].concat()
}

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

fn rule<const N: usize>(parts: [Vec<Expr>; N]) -> Vec<Expr> {
    parts.concat()
}

fn iif() -> Expr {
    Expr::Meta(META_IIF)
}

fn guarded() -> Vec<Expr> {
    vec![iif(), in_(GUARDED)]
}

fn bridged() -> Vec<Expr> {
    vec![iif(), in_(BRIDGED)]
}

fn load((base, offset, len): Field) -> Expr {
    Expr::Payload { base, offset, len }
}

fn part(register: u32, (base, offset, len): Field) -> Expr {
    Expr::Part {
        register,
        base,
        offset,
        len,
    }
}

/// `iif . FIELD`
fn port_with(field: Field) -> Vec<Expr> {
    vec![iif(), part(REG_AFTER_4, field)]
}

/// `iif . ether saddr . ip saddr @addresses`
fn own_address() -> Vec<Expr> {
    rule([
        port_with(ETHER_SADDR),
        vec![part(REG_AFTER_12, IPV4_SADDR), in_(ADDRESSES)],
    ])
}

fn in_(set: &str) -> Expr {
    Expr::InSet(set.to_owned())
}

fn not_in(set: &str) -> Expr {
    Expr::NotInSet(set.to_owned())
}

fn verdict_of(map: &str) -> Vec<Expr> {
    vec![Expr::Meta(META_IIFGROUP), Expr::VerdictOf(map.to_owned())]
}

fn ether_type(kind: [u8; 2]) -> Vec<Expr> {
    vec![load((PAYLOAD_LINK, 12, 2)), Expr::Equal(kind.to_vec())]
}

/// What nft puts before a match of an IPv4 header in a bridge table.
fn ipv4() -> Vec<Expr> {
    vec![Expr::Meta(META_PROTOCOL), Expr::Equal(ETH_IPV4.to_vec())]
}

fn ipv6() -> Vec<Expr> {
    vec![Expr::Meta(META_PROTOCOL), Expr::Equal(ETH_IPV6.to_vec())]
}

fn unspecified_source() -> Vec<Expr> {
    rule([ipv6(), vec![load(IPV6_SADDR), Expr::Equal(vec![0; 16])]])
}

fn icmpv6(kind: u8) -> Vec<Expr> {
    rule([
        ether_type(ETH_IPV6),
        vec![
            Expr::Meta(META_L4PROTO),
            Expr::Equal(vec![libc::IPPROTO_ICMPV6 as u8]),
            load((PAYLOAD_TRANSPORT, 0, 1)),
            Expr::Equal(vec![kind]),
        ],
    ])
}

/// The source port at offset 0, the destination port at 2.
fn udp_port(offset: u32, port: u16) -> Vec<Expr> {
    vec![
        Expr::Meta(META_L4PROTO),
        Expr::Equal(vec![libc::IPPROTO_UDP as u8]),
        load((PAYLOAD_TRANSPORT, offset, 2)),
        Expr::Equal(port.to_be_bytes().to_vec()),
    ]
}

fn go(chain: &str) -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Goto(chain.to_owned()))]
}

fn jump(chain: &str) -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Jump(chain.to_owned()))]
}

fn back() -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Return)]
}

fn accept() -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Accept)]
}

fn drop() -> Vec<Expr> {
    vec![Expr::Counter, Expr::Verdict(Verdict::Drop)]
}
