// SPDX-License-Identifier: Apache-2.0
//! The expressions a rule is made of (linux/netfilter/nf_tables.h), to and from attributes.
//!
//! Every value goes through register 1, as in the rules that nft makes of the same text; nft
//! folds `meta nfproto ipv4` and `meta l4proto udp` into the match that follows when it lists.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::attr::{self, Attrs};

const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;

pub(crate) const META_IIFNAME: u32 = 6;
pub(crate) const META_OIFNAME: u32 = 7;
pub(crate) const META_NFPROTO: u32 = 15;
pub(crate) const META_L4PROTO: u32 = 16;
pub(crate) const PAYLOAD_NETWORK: u32 = 1;
pub(crate) const PAYLOAD_TRANSPORT: u32 = 2;
const CT_STATE: u32 = 0;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const NF_DROP: u32 = 0;
pub(crate) const NF_ACCEPT: u32 = 1;
const NFT_JUMP: u32 = -3_i32 as u32;

// Attribute types: the element of a list, and an expression's name and data.
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
// NFTA_DATA_*, NFTA_VERDICT_*.
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// Offsets of the addresses in an IPv4 header (RFC 791).
const IPV4_SADDR: u32 = 12;
const IPV4_DADDR: u32 = 16;

/// Writes an expression's data.
type Fill<'a> = Box<dyn Fn(&mut Attrs) + 'a>;

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    /// To this chain, and back when it does not decide.
    Jump(String),
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    /// Load `NFT_META_…`.
    Meta(u32),
    /// Load `len` bytes at `offset` of a header.
    Payload { base: u32, offset: u32, len: u32 },
    /// Go on if the value is this.
    Equal(Vec<u8>),
    /// Go on if the value is not this.
    NotEqual(Vec<u8>),
    /// And the value with this mask.
    Mask(Vec<u8>),
    /// Go on if the set has the value.
    InSet(String),
    /// The verdict that the map has for the value; go on if it has none.
    VerdictOf(String),
    /// Load the connection's state bits.
    CtState,
    /// Count packets and bytes.
    Counter,
    /// Source NAT to the leaving interface's address.
    Masquerade,
    /// A match of iptables, revision 0, with its own data.
    Match { name: String, info: Vec<u8> },
    /// Decide.
    Verdict(Verdict),
    /// Something that netd does not write.
    Foreign(String),
}

impl Verdict {
    /// `NFTA_DATA_VERDICT` with code and chain.
    pub(crate) fn encode(&self, attrs: &mut Attrs) {
        attrs.nest(DATA_VERDICT, |a| match self {
            Verdict::Accept => {
                a.be32(VERDICT_CODE, NF_ACCEPT);
            }
            Verdict::Drop => {
                a.be32(VERDICT_CODE, NF_DROP);
            }
            Verdict::Jump(chain) => {
                a.be32(VERDICT_CODE, NFT_JUMP).string(VERDICT_CHAIN, chain);
            }
        });
    }

    /// From the attributes that [`Verdict::encode`] writes.
    pub(crate) fn decode(data: &[u8]) -> Option<Verdict> {
        let verdict = attr::find(data, DATA_VERDICT)?;
        match attr::find(verdict, VERDICT_CODE).and_then(attr::be32)? {
            NF_ACCEPT => Some(Verdict::Accept),
            NF_DROP => Some(Verdict::Drop),
            NFT_JUMP => Some(Verdict::Jump(
                attr::find(verdict, VERDICT_CHAIN)
                    .and_then(attr::string)?
                    .to_owned(),
            )),
            _ => None,
        }
    }
}

impl Expr {
    fn encode(&self, list: &mut Attrs) {
        let (name, fill): (&str, Fill<'_>) = match self {
            Expr::Meta(key) => ("meta", Box::new(|a| _ = a.be32(2, *key).be32(1, REG_1))),
            Expr::Payload { base, offset, len } => (
                "payload",
                Box::new(|a| {
                    _ = a
                        .be32(1, REG_1)
                        .be32(2, *base)
                        .be32(3, *offset)
                        .be32(4, *len)
                }),
            ),
            Expr::Equal(value) => ("cmp", Box::new(|a| compare(a, CMP_EQ, value))),
            Expr::NotEqual(value) => ("cmp", Box::new(|a| compare(a, CMP_NEQ, value))),
            Expr::Mask(mask) => (
                "bitwise",
                Box::new(|a| {
                    a.be32(1, REG_1).be32(2, REG_1).be32(3, mask.len() as u32);
                    a.nest(4, |a| _ = a.raw(DATA_VALUE, mask));
                    a.nest(5, |a| _ = a.raw(DATA_VALUE, &vec![0; mask.len()]));
                }),
            ),
            Expr::InSet(set) => ("lookup", Box::new(|a| _ = a.be32(2, REG_1).string(1, set))),
            Expr::VerdictOf(map) => (
                "lookup",
                Box::new(|a| _ = a.be32(2, REG_1).be32(3, REG_VERDICT).string(1, map)),
            ),
            Expr::CtState => ("ct", Box::new(|a| _ = a.be32(2, CT_STATE).be32(1, REG_1))),
            Expr::Counter => ("counter", Box::new(|_| ())),
            Expr::Masquerade => ("masq", Box::new(|_| ())),
            Expr::Match { name, info } => (
                "match",
                Box::new(|a| _ = a.string(1, name).be32(2, 0).raw(3, info)),
            ),
            Expr::Verdict(verdict) => (
                "immediate",
                Box::new(|a| {
                    a.be32(1, REG_VERDICT);
                    a.nest(2, |a| verdict.encode(a));
                }),
            ),
            Expr::Foreign(name) => (name, Box::new(|_| ())),
        };
        list.nest(LIST_ELEM, |a| {
            a.string(EXPR_NAME, name);
            a.nest(EXPR_DATA, fill);
        });
    }

    /// `Foreign` for whatever [`Expr::encode`] would not write.
    fn decode(expr: &[u8]) -> Expr {
        let name = attr::find(expr, EXPR_NAME)
            .and_then(attr::string)
            .unwrap_or_default();
        let data = attr::find(expr, EXPR_DATA).unwrap_or_default();
        Expr::decode_named(name, data).unwrap_or_else(|| Expr::Foreign(name.to_owned()))
    }

    fn decode_named(name: &str, data: &[u8]) -> Option<Expr> {
        let number = |kind| attr::find(data, kind).and_then(attr::be32);
        let value = |kind| Some(attr::find(attr::find(data, kind)?, DATA_VALUE)?.to_vec());
        match name {
            "meta" => number(2).map(Expr::Meta),
            "payload" => Some(Expr::Payload {
                base: number(2)?,
                offset: number(3)?,
                len: number(4)?,
            }),
            "cmp" => match number(2)? {
                CMP_EQ => value(3).map(Expr::Equal),
                CMP_NEQ => value(3).map(Expr::NotEqual),
                _ => None,
            },
            "bitwise" => value(5)?
                .iter()
                .all(|b| *b == 0)
                .then_some(Expr::Mask(value(4)?)),
            "lookup" => {
                let set = attr::find(data, 1).and_then(attr::string)?.to_owned();
                // NFTA_LOOKUP_FLAGS inverts.
                match (number(5).unwrap_or(0), number(3)) {
                    (0, None) => Some(Expr::InSet(set)),
                    (0, Some(REG_VERDICT)) => Some(Expr::VerdictOf(set)),
                    _ => None,
                }
            }
            "ct" => (number(2)? == CT_STATE).then_some(Expr::CtState),
            "counter" => Some(Expr::Counter),
            "masq" => Some(Expr::Masquerade),
            "immediate" if number(1)? == REG_VERDICT => {
                Verdict::decode(attr::find(data, 2)?).map(Expr::Verdict)
            }
            _ => None,
        }
    }
}

fn compare(attrs: &mut Attrs, op: u32, value: &[u8]) {
    attrs.be32(1, REG_1).be32(2, op);
    attrs.nest(3, |a| _ = a.raw(DATA_VALUE, value));
}

/// The content of `NFTA_RULE_EXPRESSIONS`.
pub(crate) fn encode_all(exprs: &[Expr], list: &mut Attrs) {
    for expr in exprs {
        expr.encode(list);
    }
}

/// From the content of `NFTA_RULE_EXPRESSIONS`.
pub(crate) fn decode_all(list: &[u8]) -> Vec<Expr> {
    attr::parse(list)
        .map(|(_, expr)| Expr::decode(expr))
        .collect()
}

/// `ip saddr SUBNET` in an inet table.
pub(crate) fn source_in(subnet: Ipv4Net) -> Vec<Expr> {
    address_in(IPV4_SADDR, subnet)
}

/// `ip daddr SUBNET` in an inet table.
pub(crate) fn destination_in(subnet: Ipv4Net) -> Vec<Expr> {
    address_in(IPV4_DADDR, subnet)
}

/// As nft writes it: whole bytes are compared as they are, a prefix that ends within a byte is
/// masked.
fn address_in(offset: u32, subnet: Ipv4Net) -> Vec<Expr> {
    let mut exprs = address(offset, 4);
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

/// Loads the first `len` bytes of an IPv4 packet's source address.
pub(crate) fn source_address(len: u32) -> Vec<Expr> {
    address(IPV4_SADDR, len)
}

fn address(offset: u32, len: u32) -> Vec<Expr> {
    vec![
        Expr::Meta(META_NFPROTO),
        Expr::Equal(vec![libc::NFPROTO_IPV4 as u8]),
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
    fn every_expression_comes_back() {
        let exprs = vec![
            Expr::Meta(META_OIFNAME),
            Expr::InSet("uplinks".into()),
            Expr::VerdictOf("out".into()),
            Expr::Payload {
                base: PAYLOAD_TRANSPORT,
                offset: 2,
                len: 2,
            },
            Expr::Equal(vec![0, 53]),
            Expr::CtState,
            Expr::Mask(vec![6, 0, 0, 0]),
            Expr::NotEqual(vec![0; 4]),
            Expr::Counter,
            Expr::Masquerade,
            Expr::Verdict(Verdict::Jump("to_host".into())),
            Expr::Verdict(Verdict::Drop),
        ];
        let mut list = Attrs::new();
        encode_all(&exprs, &mut list);
        assert_eq!(decode_all(&list.into_bytes()), exprs);
    }

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
