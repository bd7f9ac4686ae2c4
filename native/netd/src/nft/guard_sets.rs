// SPDX-License-Identifier: Apache-2.0
//! What the guard's sets and maps are, and their names: the table's own, and those of each network.

use super::expr::META_IIF;
use super::guard_match::{DHCP_CHADDR, Field, ND_TARGET};
use super::layout::{
    BIG_ENDIAN, HOST_ENDIAN, Layout, NFT_TYPE_IPV4_ADDR, NFT_TYPE_IPV6_ADDR, SET_INTERVAL, SET_MAP,
    SET_TIMEOUT, UDATA_KEY_BYTEORDER, UDATA_KEY_TYPEOF, VERDICTS, concatenated, udata,
    udata_nested as nested, udata_of_concatenation, udata_of_verdicts,
};

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
// nft's own numbers of its datatypes, beside those of `layout.rs`.
const TYPE_INTEGER: u32 = 4;
const TYPE_ETHER_ADDR: u32 = 9;
const TYPE_IFACE_INDEX: u32 = 20;
const TYPE_DEVGROUP: u32 = 35;

const SET_EVAL: u32 = 0x20;
/// How long an IPv6 address stays a port's without neighbour discovery.
const HOUR_MS: u64 = 3_600_000;

/// The sets and maps of the table, in the order in which nft shows them.
pub(crate) fn sets() -> [(&'static str, Layout); 10] {
    let addresses = Layout {
        key_type: concatenated(&[TYPE_IFACE_INDEX, TYPE_ETHER_ADDR, NFT_TYPE_IPV4_ADDR]),
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
        (SOURCES, first_come(port_and(NFT_TYPE_IPV6_ADDR, 16, None))),
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
            interval(address(NFT_TYPE_IPV6_ADDR, Vec::new())),
        ),
        (target_prefixes_set(bridge), interval(targets())),
        (
            host_sources_set(bridge),
            address(NFT_TYPE_IPV6_ADDR, Vec::new()),
        ),
        (host_targets_set(bridge), targets()),
        (
            sources_set(bridge),
            first_come(address(NFT_TYPE_IPV6_ADDR, Vec::new())),
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
        key_type: concatenated(&[TYPE_IFACE_INDEX, key_type]),
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
