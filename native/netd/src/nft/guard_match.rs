// SPDX-License-Identifier: Apache-2.0
//! The matches that the guard's rules are made of: fields of a guest's packet, alone or as a key with
//! the port that it came in by, in a bridge table.

use super::expr::{
    Expr, META_IIF, META_IIFGROUP, META_L4PROTO, META_PROTOCOL, PAYLOAD_LINK, PAYLOAD_NETWORK,
    PAYLOAD_TRANSPORT, REG_AFTER_4, REG_AFTER_12, Verdict,
};
use super::guard_sets::{ADDRESSES, BRIDGED, GUARDED};

pub(super) const ETH_ARP: [u8; 2] = [0x08, 0x06];
pub(super) const ETH_IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const ETH_IPV6: [u8; 2] = [0x86, 0xdd];
// ICMPv6 types (RFC 4861, 4).
pub(super) const ROUTER_ADVERT: u8 = 134;
pub(super) const NEIGHBOUR_SOLICIT: u8 = 135;
pub(super) const NEIGHBOUR_ADVERT: u8 = 136;
pub(super) const REDIRECT: u8 = 137;

/// A part of a packet: base, offset, length.
pub(super) type Field = (u32, u32, u32);
pub(super) const ETHER_SADDR: Field = (PAYLOAD_LINK, 6, 6);
pub(super) const ARP_SENDER_MAC: Field = (PAYLOAD_NETWORK, 8, 6);
pub(super) const ARP_SENDER_IP: Field = (PAYLOAD_NETWORK, 14, 4);
/// Flags and offset.
pub(super) const IPV4_FRAGMENT: Field = (PAYLOAD_NETWORK, 6, 2);
pub(super) const IPV4_SADDR: Field = (PAYLOAD_NETWORK, 12, 4);
pub(super) const IPV6_SADDR: Field = (PAYLOAD_NETWORK, 8, 16);
/// The client's hardware address in a DHCP message, behind the UDP header.
pub(super) const DHCP_CHADDR: Field = (PAYLOAD_TRANSPORT, 36, 6);
/// The target address of a neighbour solicitation or advertisement.
pub(super) const ND_TARGET: Field = (PAYLOAD_TRANSPORT, 8, 16);

pub(super) fn rule<const N: usize>(parts: [Vec<Expr>; N]) -> Vec<Expr> {
    parts.concat()
}

pub(super) fn iif() -> Expr {
    Expr::Meta(META_IIF)
}

pub(super) fn guarded() -> Vec<Expr> {
    vec![iif(), in_(GUARDED)]
}

pub(super) fn bridged() -> Vec<Expr> {
    vec![iif(), in_(BRIDGED)]
}

pub(super) fn load((base, offset, len): Field) -> Expr {
    Expr::Payload { base, offset, len }
}

pub(super) fn part(register: u32, (base, offset, len): Field) -> Expr {
    Expr::Part {
        register,
        base,
        offset,
        len,
    }
}

/// `iif . FIELD`
pub(super) fn port_with(field: Field) -> Vec<Expr> {
    vec![iif(), part(REG_AFTER_4, field)]
}

/// `iif . ether saddr . ip saddr @addresses`
pub(super) fn own_address() -> Vec<Expr> {
    rule([
        port_with(ETHER_SADDR),
        vec![part(REG_AFTER_12, IPV4_SADDR), in_(ADDRESSES)],
    ])
}

pub(super) fn in_(set: &str) -> Expr {
    Expr::InSet(set.to_owned())
}

pub(super) fn not_in(set: &str) -> Expr {
    Expr::NotInSet(set.to_owned())
}

pub(super) fn verdict_of(map: &str) -> Vec<Expr> {
    vec![Expr::Meta(META_IIFGROUP), Expr::VerdictOf(map.to_owned())]
}

pub(super) fn ether_type(kind: [u8; 2]) -> Vec<Expr> {
    vec![load((PAYLOAD_LINK, 12, 2)), Expr::Equal(kind.to_vec())]
}

/// What nft puts before a match of an IPv4 header in a bridge table.
pub(super) fn ipv4() -> Vec<Expr> {
    vec![Expr::Meta(META_PROTOCOL), Expr::Equal(ETH_IPV4.to_vec())]
}

pub(super) fn ipv6() -> Vec<Expr> {
    vec![Expr::Meta(META_PROTOCOL), Expr::Equal(ETH_IPV6.to_vec())]
}

pub(super) fn unspecified_source() -> Vec<Expr> {
    rule([ipv6(), vec![load(IPV6_SADDR), Expr::Equal(vec![0; 16])]])
}

pub(super) fn icmpv6(kind: u8) -> Vec<Expr> {
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
pub(super) fn udp_port(offset: u32, port: u16) -> Vec<Expr> {
    vec![
        Expr::Meta(META_L4PROTO),
        Expr::Equal(vec![libc::IPPROTO_UDP as u8]),
        load((PAYLOAD_TRANSPORT, offset, 2)),
        Expr::Equal(port.to_be_bytes().to_vec()),
    ]
}

pub(super) fn go(chain: &str) -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Goto(chain.to_owned()))]
}

pub(super) fn jump(chain: &str) -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Jump(chain.to_owned()))]
}

pub(super) fn back() -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Return)]
}

pub(super) fn accept() -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Accept)]
}

pub(super) fn drop() -> Vec<Expr> {
    vec![Expr::Counter, Expr::Verdict(Verdict::Drop)]
}
