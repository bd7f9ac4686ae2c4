// SPDX-License-Identifier: Apache-2.0
//! How rules ask for addresses in an inet table, and how the subnet comes back out of a rule.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::Ipv4Addr;

use super::expr::{Expr, META_NFPROTO, PAYLOAD_NETWORK};

/// Offsets of the addresses in an IPv4 header (RFC 791).
const IPV4_SADDR: u32 = 12;
const IPV4_DADDR: u32 = 16;
/// Offsets of the addresses in an IPv6 header (RFC 8200).
const IPV6_SADDR: u32 = 8;
const IPV6_DADDR: u32 = 24;

/// `ip saddr SUBNET` in an inet table.
pub(crate) fn source_in(subnet: Ipv4Net) -> Vec<Expr> {
    address_in(IPV4_SADDR, subnet)
}

/// `ip daddr SUBNET` in an inet table.
pub(crate) fn destination_in(subnet: Ipv4Net) -> Vec<Expr> {
    address_in(IPV4_DADDR, subnet)
}

/// Loads an IPv4 packet's destination address.
pub(crate) fn destination_address() -> Vec<Expr> {
    address(libc::NFPROTO_IPV4, IPV4_DADDR, 4)
}

/// Loads an IPv6 packet's destination address.
pub(crate) fn destination_address6() -> Vec<Expr> {
    address(libc::NFPROTO_IPV6, IPV6_DADDR, 16)
}

/// `ip6 daddr != ff00::/8` in an inet table.
pub(crate) fn destination_not_multicast6() -> Vec<Expr> {
    let mut exprs = address(libc::NFPROTO_IPV6, IPV6_DADDR, 1);
    exprs.push(Expr::NotEqual(vec![0xff]));
    exprs
}

/// `ip6 saddr SUBNET`, a /64, in an inet table.
pub(crate) fn source6_in(subnet: Ipv6Net) -> Vec<Expr> {
    address6_in(IPV6_SADDR, subnet)
}

/// `ip6 daddr SUBNET`, a /64, in an inet table.
pub(crate) fn destination6_in(subnet: Ipv6Net) -> Vec<Expr> {
    address6_in(IPV6_DADDR, subnet)
}

fn address6_in(offset: u32, subnet: Ipv6Net) -> Vec<Expr> {
    let network = subnet.network().octets();
    let mut exprs = address(libc::NFPROTO_IPV6, offset, 8);
    exprs.push(Expr::Equal(network[..8].to_vec()));
    exprs
}

/// Loads an IPv6 packet's source address.
pub(crate) fn source_address6() -> Vec<Expr> {
    address(libc::NFPROTO_IPV6, IPV6_SADDR, 16)
}

/// The /64 of the first `ip6 saddr` match in a rule, the reverse of [`source6_in`].
pub(crate) fn find_source6(exprs: &[Expr]) -> Option<Ipv6Net> {
    let load = exprs.iter().position(|e| {
        matches!(
            e,
            Expr::Payload {
                base: PAYLOAD_NETWORK,
                offset: IPV6_SADDR,
                len: 8,
            }
        )
    })?;
    let Some(Expr::Equal(value)) = exprs.get(load + 1) else {
        return None;
    };
    let mut octets = [0; 16];
    octets.get_mut(..value.len())?.copy_from_slice(value);
    Ipv6Net::new(octets.into(), 64).ok()
}

/// As nft writes it: whole bytes are compared as they are, a prefix that ends within a byte is
/// masked.
fn address_in(offset: u32, subnet: Ipv4Net) -> Vec<Expr> {
    let mut exprs = address(libc::NFPROTO_IPV4, offset, 4);
    let prefix = subnet.prefix_len();
    let network = subnet.network().octets();
    if prefix.is_multiple_of(8) {
        let len = usize::from(prefix / 8);
        exprs.pop();
        exprs.push(Expr::Payload {
            base: PAYLOAD_NETWORK,
            offset,
            len: len as u32,
        });
        exprs.push(Expr::Equal(network[..len].to_vec()));
    } else {
        exprs.push(Expr::Mask(subnet.netmask().octets().to_vec()));
        exprs.push(Expr::Equal(network.to_vec()));
    }
    exprs
}

/// Loads an IPv4 packet's source address.
pub(crate) fn source_address() -> Vec<Expr> {
    address(libc::NFPROTO_IPV4, IPV4_SADDR, 4)
}

fn address(family: i32, offset: u32, len: u32) -> Vec<Expr> {
    vec![
        Expr::Meta(META_NFPROTO),
        Expr::Equal(vec![family as u8]),
        Expr::Payload {
            base: PAYLOAD_NETWORK,
            offset,
            len,
        },
    ]
}

/// The subnet of the first `ip saddr` match in a rule, the reverse of [`source_in`].
pub(crate) fn find_source(exprs: &[Expr]) -> Option<Ipv4Net> {
    let load = exprs.iter().position(|e| {
        matches!(
            e,
            Expr::Payload {
                base: PAYLOAD_NETWORK,
                offset: IPV4_SADDR,
                ..
            }
        )
    })?;
    let (prefix, value) = match exprs.get(load + 1..)? {
        [Expr::Equal(value), ..] => (value.len() as u32 * 8, value),
        [Expr::Mask(mask), Expr::Equal(value), ..] => (
            u32::from_be_bytes(mask.as_slice().try_into().ok()?).leading_ones(),
            value,
        ),
        _ => return None,
    };
    let mut octets = [0; 4];
    octets.get_mut(..value.len())?.copy_from_slice(value);
    Ipv4Net::new(Ipv4Addr::from(octets), u8::try_from(prefix).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_come_back_from_their_match() {
        for prefix in 8..=30 {
            let subnet = Ipv4Net::new(Ipv4Addr::new(10, 171, 219, 253), prefix)
                .unwrap()
                .trunc();
            assert_eq!(find_source(&source_in(subnet)), Some(subnet));
        }
    }
}
