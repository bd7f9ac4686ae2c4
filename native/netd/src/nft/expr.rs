// SPDX-License-Identifier: Apache-2.0
//! The expressions a rule is made of (linux/netfilter/nf_tables.h), to and from attributes.
//!
//! Every value goes through register 1, as in the rules that nft makes of the same text; what is
//! concatenated follows in the four-byte registers behind it. nft folds `meta nfproto ipv4` and
//! `meta l4proto udp` into the match that follows when it lists.

use super::attr::{self, Attrs};

const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;
/// `NFT_REG_2`: behind a first part of 16 bytes.
pub(crate) const REG_AFTER_16: u32 = 2;
/// `NFT_REG32_01`, `_02` and `_03`: behind 4, 8 and 12 bytes.
pub(crate) const REG_AFTER_4: u32 = 9;
pub(crate) const REG_AFTER_8: u32 = 10;
pub(crate) const REG_AFTER_12: u32 = 11;

pub(crate) const META_PROTOCOL: u32 = 1;
pub(crate) const META_IIF: u32 = 4;
pub(crate) const META_IIFNAME: u32 = 6;
pub(crate) const META_OIFNAME: u32 = 7;
pub(crate) const META_NFPROTO: u32 = 15;
pub(crate) const META_L4PROTO: u32 = 16;
pub(crate) const META_IIFGROUP: u32 = 21;
pub(crate) const META_OIFGROUP: u32 = 22;
pub(crate) const PAYLOAD_LINK: u32 = 0;
pub(crate) const PAYLOAD_NETWORK: u32 = 1;
pub(crate) const PAYLOAD_TRANSPORT: u32 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const CMP_GTE: u32 = 5;
const NF_DROP: u32 = 0;
pub(crate) const NF_ACCEPT: u32 = 1;
const NFT_JUMP: u32 = -3_i32 as u32;
const NFT_GOTO: u32 = -4_i32 as u32;
const NFT_RETURN: u32 = -5_i32 as u32;
/// `NFTA_LOOKUP_FLAGS`, `NFTA_LIMIT_FLAGS`.
const INVERTED: u32 = 1;
const DYNSET_ADD: u32 = 0;
const DYNSET_UPDATE: u32 = 1;
/// The extension header of fragments (RFC 8200, 4.5).
const IPV6_FRAGMENT: u8 = 44;
/// `NFT_NAT_DNAT`
const NAT_DESTINATION: u32 = 1;
/// `NFT_FIB_RESULT_OIF` and `_ADDRTYPE`; `NFTA_FIB_F_SADDR`, `_DADDR`, `_IIF` and `_PRESENT`.
const FIB_OIF: u32 = 1;
const FIB_TYPE: u32 = 3;
const FIB_SOURCE_BY_INPUT: u32 = 1 | 1 << 3 | 1 << 5;
const FIB_DESTINATION_AT_INPUT: u32 = 1 << 1 | 1 << 3;
const FIB_SOURCE: u32 = 1;
const SECONDS_OF_A_MINUTE: u64 = 60;

// Attribute types: the element of a list, and an expression's name and data.
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
// NFTA_DATA_*, NFTA_VERDICT_*.
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// `NFT_RT_TCPMSS`
const RT_TCPMSS: u32 = 3;
/// `NFT_REJECT_ICMPX_UNREACH` and `NFT_REJECT_ICMPX_NO_ROUTE`: a code of either family's.
const REJECT_ICMPX: u32 = 2;
const ICMPX_NO_ROUTE: u8 = 0;
/// `NFT_BYTEORDER_HTON`
const BYTEORDER_HTON: u32 = 1;
/// `NFT_EXTHDR_OP_TCPOPT`
const EXTHDR_TCP_OPTION: u32 = 1;
/// The TCP header's window and checksum (RFC 9293).
pub(crate) const TCP_WINDOW: u32 = 14;
const TCP_CHECKSUM: u32 = 16;
/// `NFT_PAYLOAD_CSUM_INET`
const CHECKSUM_INET: u32 = 1;
/// RFC 9293: kind, length, and the size at offset 2.
const TCP_OPTION_MSS: u8 = 2;

/// Writes an expression's data.
type Fill<'a> = Box<dyn Fn(&mut Attrs) + 'a>;

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    /// To this chain, and back when it does not decide.
    Jump(String),
    /// To this chain, which decides.
    Goto(String),
    /// Back to the chain that jumped here.
    Return,
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    /// Load `NFT_META_…`.
    Meta(u32),
    /// Load `len` bytes at `offset` of a header.
    Payload { base: u32, offset: u32, len: u32 },
    /// The same into a later register, as the next part of a key.
    Part {
        register: u32,
        base: u32,
        offset: u32,
        len: u32,
    },
    /// Load `NFT_META_…` into a later register, as the next part of a key.
    MetaPart { register: u32, key: u32 },
    /// Go on if the value is this.
    Equal(Vec<u8>),
    /// Go on if the value is not this.
    NotEqual(Vec<u8>),
    /// Go on if the value is this or larger, in the network's order.
    AtLeast(Vec<u8>),
    /// And the value with this mask.
    Mask(Vec<u8>),
    /// Go on if the set has the value.
    InSet(String),
    /// Go on if the set has it not.
    NotInSet(String),
    /// Put the value into the set, or let its time begin anew.
    Update(String),
    /// Put the value into the set with a limit of its own, and go on once it is exceeded.
    OverLimit {
        set: String,
        per_minute: u64,
        burst: u32,
    },
    /// The verdict that the map has for the value; go on if it has none.
    VerdictOf(String),
    /// Load what the map has for the value; go on only if it has something.
    ValueOf(String),
    /// Destination NAT to the IPv4 address that was loaded and the port behind it.
    Redirect,
    /// Load the 16 bits of an IPv6 fragment header that hold its offset, if the packet has one.
    Fragment,
    /// Load whether what is sent to the packet's source would leave by where it came from.
    SourceRoute,
    /// Load what the packet's destination is to the interface that it came in by (`RTN_…`).
    DestinationType,
    /// Load what the packet's source is to this machine (`RTN_…`).
    SourceType,
    /// Load the largest TCP segment that fits the smaller of the ways to and from.
    PathMss,
    /// Put 16 bits into the network's order.
    ToNetworkOrder,
    /// Write 16 bits as the packet's TCP option for the largest segment, if it has one.
    SetMss,
    /// Write 16 bits as the TCP header's window.
    SetWindow,
    /// Load the connection's state bits.
    CtState,
    /// Load the connection's status bits.
    CtStatus,
    /// Count packets and bytes.
    Counter,
    /// Let connection tracking pass the packet by.
    Untracked,
    /// Source NAT to the leaving interface's address.
    Masquerade,
    /// Drop it, and tell its sender by ICMP that there is no route.
    NoRoute,
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
            Verdict::Goto(chain) => {
                a.be32(VERDICT_CODE, NFT_GOTO).string(VERDICT_CHAIN, chain);
            }
            Verdict::Return => {
                a.be32(VERDICT_CODE, NFT_RETURN);
            }
        });
    }

    /// From the attributes that [`Verdict::encode`] writes.
    pub(crate) fn decode(data: &[u8]) -> Option<Verdict> {
        let verdict = attr::find(data, DATA_VERDICT)?;
        let chain = || {
            let chain = attr::find(verdict, VERDICT_CHAIN).and_then(attr::string)?;
            Some(chain.to_owned())
        };
        match attr::find(verdict, VERDICT_CODE).and_then(attr::be32)? {
            NF_ACCEPT => Some(Verdict::Accept),
            NF_DROP => Some(Verdict::Drop),
            NFT_JUMP => chain().map(Verdict::Jump),
            NFT_GOTO => chain().map(Verdict::Goto),
            NFT_RETURN => Some(Verdict::Return),
            _ => None,
        }
    }
}

impl Expr {
    fn encode(&self, list: &mut Attrs) {
        let (name, fill): (&str, Fill<'_>) = match self {
            Expr::Meta(key) => ("meta", Box::new(|a| _ = a.be32(2, *key).be32(1, REG_1))),
            Expr::MetaPart { register, key } => {
                ("meta", Box::new(|a| _ = a.be32(2, *key).be32(1, *register)))
            }
            Expr::Payload { base, offset, len } => (
                "payload",
                Box::new(|a| payload(a, REG_1, *base, *offset, *len)),
            ),
            Expr::Part {
                register,
                base,
                offset,
                len,
            } => (
                "payload",
                Box::new(|a| payload(a, *register, *base, *offset, *len)),
            ),
            Expr::Equal(value) => ("cmp", Box::new(|a| compare(a, CMP_EQ, value))),
            Expr::NotEqual(value) => ("cmp", Box::new(|a| compare(a, CMP_NEQ, value))),
            Expr::AtLeast(value) => ("cmp", Box::new(|a| compare(a, CMP_GTE, value))),
            Expr::Mask(mask) => (
                "bitwise",
                Box::new(|a| {
                    a.be32(1, REG_1).be32(2, REG_1).be32(3, mask.len() as u32);
                    a.nest(4, |a| _ = a.raw(DATA_VALUE, mask));
                    a.nest(5, |a| _ = a.raw(DATA_VALUE, &vec![0; mask.len()]));
                }),
            ),
            Expr::InSet(set) => ("lookup", Box::new(|a| _ = a.be32(2, REG_1).string(1, set))),
            Expr::NotInSet(set) => (
                "lookup",
                Box::new(|a| _ = a.be32(2, REG_1).string(1, set).be32(5, INVERTED)),
            ),
            Expr::Update(set) => ("dynset", Box::new(|a| dynset(a, DYNSET_UPDATE, set))),
            Expr::OverLimit {
                set,
                per_minute,
                burst,
            } => (
                "dynset",
                Box::new(|a| {
                    dynset(a, DYNSET_ADD, set);
                    a.nest(7, |a| {
                        a.string(EXPR_NAME, "limit").nest(EXPR_DATA, |a| {
                            a.be64(1, *per_minute)
                                .be64(2, SECONDS_OF_A_MINUTE)
                                .be32(3, *burst)
                                .be32(4, 0) // packets
                                .be32(5, INVERTED);
                        });
                    });
                }),
            ),
            Expr::VerdictOf(map) => (
                "lookup",
                Box::new(|a| _ = a.be32(2, REG_1).be32(3, REG_VERDICT).string(1, map)),
            ),
            Expr::ValueOf(map) => (
                "lookup",
                Box::new(|a| _ = a.be32(2, REG_1).be32(3, REG_1).string(1, map)),
            ),
            Expr::Redirect => (
                "nat",
                Box::new(|a| {
                    a.be32(1, NAT_DESTINATION)
                        .be32(2, libc::NFPROTO_IPV4 as u32)
                        .be32(3, REG_1)
                        .be32(5, REG_AFTER_4);
                }),
            ),
            Expr::Fragment => (
                "exthdr",
                Box::new(|a| {
                    a.be32(1, REG_1).raw(2, &[IPV6_FRAGMENT]);
                    a.be32(3, 2).be32(4, 2).be32(5, 0).be32(6, 0);
                }),
            ),
            Expr::SourceRoute => (
                "fib",
                Box::new(|a| {
                    a.be32(1, REG_1).be32(2, FIB_OIF);
                    a.be32(3, FIB_SOURCE_BY_INPUT);
                }),
            ),
            Expr::DestinationType => (
                "fib",
                Box::new(|a| {
                    a.be32(1, REG_1).be32(2, FIB_TYPE);
                    a.be32(3, FIB_DESTINATION_AT_INPUT);
                }),
            ),
            Expr::SourceType => (
                "fib",
                Box::new(|a| {
                    a.be32(1, REG_1).be32(2, FIB_TYPE).be32(3, FIB_SOURCE);
                }),
            ),
            Expr::PathMss => ("rt", Box::new(|a| _ = a.be32(1, REG_1).be32(2, RT_TCPMSS))),
            Expr::ToNetworkOrder => (
                "byteorder",
                Box::new(|a| {
                    a.be32(1, REG_1).be32(2, REG_1).be32(3, BYTEORDER_HTON);
                    a.be32(4, 2).be32(5, 2);
                }),
            ),
            Expr::SetMss => (
                "exthdr",
                Box::new(|a| {
                    a.be32(7, REG_1).raw(2, &[TCP_OPTION_MSS]);
                    a.be32(3, 2).be32(4, 2).be32(6, EXTHDR_TCP_OPTION);
                }),
            ),
            Expr::SetWindow => (
                "payload",
                Box::new(|a| {
                    a.be32(2, PAYLOAD_TRANSPORT).be32(3, TCP_WINDOW).be32(4, 2);
                    a.be32(5, REG_1).be32(6, CHECKSUM_INET);
                    a.be32(7, TCP_CHECKSUM).be32(8, 0);
                }),
            ),
            Expr::CtState => ("ct", Box::new(|a| _ = a.be32(2, CT_STATE).be32(1, REG_1))),
            Expr::CtStatus => ("ct", Box::new(|a| _ = a.be32(2, CT_STATUS).be32(1, REG_1))),
            Expr::Counter => ("counter", Box::new(|_| ())),
            Expr::Untracked => ("notrack", Box::new(|_| ())),
            Expr::Masquerade => ("masq", Box::new(|_| ())),
            Expr::NoRoute => (
                "reject",
                Box::new(|a| _ = a.be32(1, REJECT_ICMPX).raw(2, &[ICMPX_NO_ROUTE])),
            ),
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

    /// `Foreign` for an expression of which netd writes none alike. Not every attribute is looked at:
    /// `masq` with flags is `Masquerade`, too. A match of iptables does not come back.
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
            "meta" => {
                let (register, key) = (number(1)?, number(2)?);
                Some(match register == REG_1 {
                    true => Expr::Meta(key),
                    false => Expr::MetaPart { register, key },
                })
            }
            "payload" if number(5).is_some() => ((number(2)?, number(3)?, number(4)?)
                == (PAYLOAD_TRANSPORT, TCP_WINDOW, 2))
                .then_some(Expr::SetWindow),
            "payload" => {
                let (register, base) = (number(1)?, number(2)?);
                let (offset, len) = (number(3)?, number(4)?);
                Some(if register == REG_1 {
                    Expr::Payload { base, offset, len }
                } else {
                    Expr::Part {
                        register,
                        base,
                        offset,
                        len,
                    }
                })
            }
            "cmp" => match number(2)? {
                CMP_EQ => value(3).map(Expr::Equal),
                CMP_NEQ => value(3).map(Expr::NotEqual),
                CMP_GTE => value(3).map(Expr::AtLeast),
                _ => None,
            },
            "bitwise" => value(5)?
                .iter()
                .all(|b| *b == 0)
                .then_some(Expr::Mask(value(4)?)),
            "lookup" => {
                let set = attr::find(data, 1).and_then(attr::string)?.to_owned();
                match (number(5).unwrap_or(0), number(3)) {
                    (0, None) => Some(Expr::InSet(set)),
                    (INVERTED, None) => Some(Expr::NotInSet(set)),
                    (0, Some(REG_VERDICT)) => Some(Expr::VerdictOf(set)),
                    (0, Some(REG_1)) => Some(Expr::ValueOf(set)),
                    _ => None,
                }
            }
            "dynset" => {
                let set = attr::find(data, 1).and_then(attr::string)?.to_owned();
                match (number(3)?, attr::find(data, 7)) {
                    (DYNSET_UPDATE, None) => Some(Expr::Update(set)),
                    (DYNSET_ADD, Some(limit)) => over_limit(set, limit),
                    _ => None,
                }
            }
            "rt" => (number(2)? == RT_TCPMSS).then_some(Expr::PathMss),
            "byteorder" => ((number(3)?, number(4)?, number(5)?) == (BYTEORDER_HTON, 2, 2))
                .then_some(Expr::ToNetworkOrder),
            "exthdr" if number(7).is_some() => {
                let kind = attr::find(data, 2)?.first().copied()?;
                ((kind, number(3)?, number(4)?, number(6)?)
                    == (TCP_OPTION_MSS, 2, 2, EXTHDR_TCP_OPTION))
                    .then_some(Expr::SetMss)
            }
            "exthdr" => {
                let kind = attr::find(data, 2)?;
                let ipv6 = number(6).unwrap_or(0) == 0 && number(5).unwrap_or(0) == 0;
                (ipv6 && kind.first() == Some(&IPV6_FRAGMENT) && (number(3)?, number(4)?) == (2, 2))
                    .then_some(Expr::Fragment)
            }
            "fib" => match (number(2)?, number(3)?) {
                (FIB_OIF, FIB_SOURCE_BY_INPUT) => Some(Expr::SourceRoute),
                (FIB_TYPE, FIB_DESTINATION_AT_INPUT) => Some(Expr::DestinationType),
                (FIB_TYPE, FIB_SOURCE) => Some(Expr::SourceType),
                _ => None,
            },
            "ct" => match number(2)? {
                CT_STATE => Some(Expr::CtState),
                CT_STATUS => Some(Expr::CtStatus),
                _ => None,
            },
            "nat" => ((number(1)?, number(2)?, number(3)?, number(5)?)
                == (
                    NAT_DESTINATION,
                    libc::NFPROTO_IPV4 as u32,
                    REG_1,
                    REG_AFTER_4,
                ))
                .then_some(Expr::Redirect),
            "counter" => Some(Expr::Counter),
            "notrack" => Some(Expr::Untracked),
            "masq" => Some(Expr::Masquerade),
            "reject" => (number(1)? == REJECT_ICMPX
                && attr::find(data, 2)? == [ICMPX_NO_ROUTE].as_slice())
            .then_some(Expr::NoRoute),
            "immediate" if number(1)? == REG_VERDICT => {
                Verdict::decode(attr::find(data, 2)?).map(Expr::Verdict)
            }
            _ => None,
        }
    }
}

fn payload(attrs: &mut Attrs, register: u32, base: u32, offset: u32, len: u32) {
    attrs
        .be32(1, register)
        .be32(2, base)
        .be32(3, offset)
        .be32(4, len);
}

fn dynset(attrs: &mut Attrs, op: u32, set: &str) {
    attrs.string(1, set).be32(3, op).be32(4, REG_1);
}

fn over_limit(set: String, limit: &[u8]) -> Option<Expr> {
    let name = attr::find(limit, EXPR_NAME).and_then(attr::string)?;
    let data = attr::find(limit, EXPR_DATA)?;
    let long = |kind| attr::find(data, kind).and_then(attr::be64);
    let number = |kind| attr::find(data, kind).and_then(attr::be32);
    let ours = name == "limit"
        && long(2)? == SECONDS_OF_A_MINUTE
        && number(4)? == 0
        && number(5)? == INVERTED;
    ours.then_some(Expr::OverLimit {
        set,
        per_minute: long(1)?,
        burst: number(3)?,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_comes_back() {
        let exprs = vec![
            Expr::Meta(META_OIFNAME),
            Expr::InSet("uplinks".into()),
            Expr::NotInSet("macs".into()),
            Expr::NoRoute,
            Expr::Fragment,
            Expr::SourceRoute,
            Expr::DestinationType,
            Expr::SourceType,
            Expr::PathMss,
            Expr::ToNetworkOrder,
            Expr::SetMss,
            Expr::VerdictOf("out".into()),
            Expr::ValueOf("exposed".into()),
            Expr::Redirect,
            Expr::CtStatus,
            Expr::Payload {
                base: PAYLOAD_TRANSPORT,
                offset: 2,
                len: 2,
            },
            Expr::Part {
                register: REG_AFTER_4,
                base: PAYLOAD_LINK,
                offset: 6,
                len: 6,
            },
            Expr::MetaPart {
                register: REG_AFTER_16,
                key: META_OIFNAME,
            },
            Expr::Update("sources".into()),
            Expr::OverLimit {
                set: "newcomers".into(),
                per_minute: 1,
                burst: 64,
            },
            Expr::Verdict(Verdict::Goto("guest".into())),
            Expr::Verdict(Verdict::Return),
            Expr::Equal(vec![0, 53]),
            Expr::CtState,
            Expr::Mask(vec![6, 0, 0, 0]),
            Expr::NotEqual(vec![0; 4]),
            Expr::Counter,
            Expr::Untracked,
            Expr::Masquerade,
            Expr::Verdict(Verdict::Jump("to_host".into())),
            Expr::Verdict(Verdict::Drop),
        ];
        let mut list = Attrs::new();
        encode_all(&exprs, &mut list);
        assert_eq!(decode_all(&list.into_bytes()), exprs);
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("nft-rule", |rule| {
            crate::nft::attr::parse(rule)
                .map(|(_, value)| decode_all(value))
                .collect::<Vec<_>>()
        });
    }
}
