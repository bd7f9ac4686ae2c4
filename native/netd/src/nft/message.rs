// SPDX-License-Identifier: Apache-2.0
//! The messages of nf_tables that netd sends, and what it reads out of dumps.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::Ipv4Addr;
use tapyard_protocol::{Exposure, Port, Transport};

use super::attr::{self, Attrs};
use super::expr::{self, Expr, Verdict};
use super::ruleset::{Chain, SETS, SetKind};
use super::socket::{Message, NEWRULE, NFNL_SUBSYS_NFTABLES, NLM_F_APPEND, NLM_F_CREATE};

/// `NFPROTO_INET` and `NFPROTO_BRIDGE`, with their names in nft.
pub(crate) const INET: (u8, &str) = (1, "inet");
pub(crate) const BRIDGE: (u8, &str) = (7, "bridge");
const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const DELCHAIN: u16 = 5;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const DELSET: u16 = 11;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;

pub(crate) const SET_INTERVAL: u32 = 0x4;
pub(crate) const SET_MAP: u32 = 0x8;
const ELEM_INTERVAL_END: u32 = 0x1;
/// `NFT_DATA_VERDICT` as the type of a map's values, which have no length.
pub(crate) const VERDICTS: (u32, u32) = (0xffff_ff00, 0);
/// nft's own numbers of its datatypes (`enum datatypes` of its sources); the kernel only keeps them.
pub(crate) const NFT_TYPE_IPV4_ADDR: u32 = 7;
pub(crate) const NFT_TYPE_IPV6_ADDR: u32 = 8;
const NFT_TYPE_INET_PROTO: u32 = 12;
const NFT_TYPE_INET_SERVICE: u32 = 13;
const NFT_TYPE_IFNAME: u32 = 41;
/// How far each part of a concatenated type is shifted.
const NFT_TYPE_BITS: u32 = 6;
/// Userdata of sets, by which nft knows the byte order to print in (libnftnl's udata.h).
pub(crate) const UDATA_KEY_BYTEORDER: u8 = 0;
const UDATA_DATA_BYTEORDER: u8 = 1;
const UDATA_DATA_INTERVAL: u8 = 6;
pub(crate) const HOST_ENDIAN: u32 = 1;
pub(crate) const BIG_ENDIAN: u32 = 2;
/// IFNAMSIZ: interface names are keys of this size, filled up with NULs.
const IFNAME: usize = 16;

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    /// An interface name.
    Interface(String),
    /// An interface name, twice.
    Pair(String),
    /// A subnet, which the kernel keeps as two elements, its start and what comes after its end.
    Subnet(Ipv4Net),
    /// The same of IPv6.
    Subnet6(Ipv6Net),
    /// A port of the host's with the guest's that it leads to.
    Service(Exposure),
    /// An interface name with the chain to jump to.
    Jump {
        /// The key.
        interface: String,
        /// The chain.
        chain: String,
    },
}

/// A rule of a dump.
#[derive(Debug)]
pub(crate) struct DumpedRule {
    pub(crate) chain: String,
    pub(crate) exprs: Vec<Expr>,
}

/// Makes messages for one table.
#[derive(Debug)]
pub(crate) struct Table {
    /// [`INET`] or [`BRIDGE`].
    pub(crate) family: (u8, &'static str),
    pub(crate) name: String,
}

/// What a set is made with.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) flags: u32,
    /// nft's number of the key's type.
    pub(crate) key_type: u32,
    pub(crate) key_len: u32,
    /// The type of a map's values and their length.
    pub(crate) values: Option<(u32, u32)>,
    /// Packets add elements, which go after so many milliseconds; 0 is never.
    pub(crate) dynamic: Option<u64>,
    /// By which nft knows how to print it.
    pub(crate) userdata: Vec<u8>,
}

impl Table {
    fn message(
        &self,
        operation: String,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Attrs),
    ) -> Message {
        let mut attrs = Attrs::new();
        attrs.string(1, &self.name); // NFTA_…_TABLE is 1 everywhere
        fill(&mut attrs);
        Message {
            operation,
            kind: NFNL_SUBSYS_NFTABLES << 8 | kind,
            flags,
            family: self.family.0,
            attrs: attrs.into_bytes(),
        }
    }

    /// Family and name.
    fn words(&self) -> String {
        format!("{} {}", self.family.1, self.name)
    }

    pub(crate) fn add(&self) -> Message {
        self.message(
            format!("add table {}", self.words()),
            NEWTABLE,
            NLM_F_CREATE,
            |a| {
                a.be32(2, 0); // flags
            },
        )
    }

    pub(crate) fn get(&self) -> Message {
        let operation = format!("look for table {} {}", self.family.1, self.name);
        self.message(operation, GETTABLE, 0, |_| ())
    }

    pub(crate) fn delete(&self) -> Message {
        let operation = format!("delete table {}", self.words());
        self.message(operation, DELTABLE, 0, |_| ())
    }

    pub(crate) fn add_set(&self, name: &str, kind: SetKind) -> Message {
        let id = SETS.iter().position(|(set, _)| *set == name);
        self.add_set_of(name, id.unwrap_or(SETS.len()) as u32 + 1, &kind.layout())
    }

    /// `id` is any number that no other set of the transaction has.
    pub(crate) fn add_set_of(&self, name: &str, id: u32, layout: &Layout) -> Message {
        self.message(format!("add set {name}"), NEWSET, NLM_F_CREATE, |a| {
            a.string(2, name)
                .be32(3, layout.flags)
                .be32(4, layout.key_type)
                .be32(5, layout.key_len);
            if let Some((data_type, len)) = layout.values {
                a.be32(6, data_type).be32(7, len);
            }
            // Without a size: the first rule that fills the set gives it 65 535 elements at most. With
            // one the kernel makes room for all of them, a megabyte that every dump walks through.
            if let Some(timeout) = layout.dynamic.filter(|timeout| *timeout > 0) {
                a.be64(11, timeout);
            }
            a.be32(10, id).raw(13, &layout.userdata);
        })
    }

    pub(crate) fn delete_set(&self, set: &str) -> Message {
        self.message(
            format!("delete set {} {set}", self.words()),
            DELSET,
            0,
            |a| _ = a.string(2, set),
        )
    }

    pub(crate) fn add_chain(&self, chain: &Chain) -> Message {
        self.message(
            format!("add chain {} {}", self.words(), chain.name),
            NEWCHAIN,
            NLM_F_CREATE,
            |a| {
                a.string(3, &chain.name);
                if let Some(hook) = chain.hook {
                    a.string(7, hook.kind).be32(5, expr::NF_ACCEPT);
                    a.nest(4, |a| {
                        _ = a.be32(1, hook.number).be32(2, hook.priority as u32)
                    });
                }
            },
        )
    }

    pub(crate) fn delete_chain(&self, chain: &str) -> Message {
        self.message(
            format!("delete chain {} {chain}", self.words()),
            DELCHAIN,
            0,
            |a| _ = a.string(3, chain),
        )
    }

    pub(crate) fn add_rule(&self, chain: &str, exprs: &[Expr]) -> Message {
        let operation = format!("add rule in chain {chain}");
        self.message(operation, NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |a| {
            a.string(2, chain)
                .nest(4, |list| expr::encode_all(exprs, list));
        })
    }

    pub(crate) fn flush_chain(&self, chain: &str) -> Message {
        self.message(
            format!("flush chain {} {chain}", self.words()),
            DELRULE,
            0,
            |a| _ = a.string(2, chain),
        )
    }

    pub(crate) fn add_element(&self, set: &str, element: &Element) -> Message {
        self.elements(
            format!(
                "add element {} {set} {{ {} }}",
                self.words(),
                element.words()
            ),
            NEWSETELEM,
            NLM_F_CREATE,
            set,
            |list| element.encode(list),
        )
    }

    pub(crate) fn delete_element(&self, set: &str, element: &Element) -> Message {
        self.elements(
            format!(
                "delete element {} {set} {{ {} }}",
                self.words(),
                element.words()
            ),
            DELSETELEM,
            0,
            set,
            |list| element.encode(list),
        )
    }

    fn elements(
        &self,
        operation: String,
        kind: u16,
        flags: u16,
        set: &str,
        encode: impl FnOnce(&mut Attrs),
    ) -> Message {
        self.message(operation, kind, flags, |a| {
            a.string(2, set).nest(3, encode);
        })
    }

    /// Adds or deletes elements that the caller writes with [`encode_element`].
    pub(crate) fn change_elements(
        &self,
        set: &str,
        add: bool,
        encode: impl FnOnce(&mut Attrs),
    ) -> Message {
        if add {
            let operation = format!("add elements to {set}");
            self.elements(operation, NEWSETELEM, NLM_F_CREATE, set, encode)
        } else {
            let operation = format!("delete elements from {set}");
            self.elements(operation, DELSETELEM, 0, set, encode)
        }
    }

    pub(crate) fn dump_chains(&self) -> Message {
        self.message("list chains".into(), GETCHAIN, 0, |_| ())
    }

    /// Rules of one chain, or of all; the kernel filters, and knows no chain as an empty one.
    pub(crate) fn dump_rules(&self, chain: Option<&str>) -> Message {
        self.message("list rules".into(), GETRULE, 0, |a| {
            if let Some(chain) = chain {
                a.string(2, chain);
            }
        })
    }

    /// The element of this interface.
    pub(crate) fn get_element(&self, set: &str, interface: &str) -> Message {
        self.elements(
            format!("look for {interface} in {set}"),
            GETSETELEM,
            0,
            set,
            |list| Element::Interface(interface.to_owned()).encode(list),
        )
    }

    pub(crate) fn dump_elements(&self, set: &str) -> Message {
        self.message(format!("list set {set}"), GETSETELEM, 0, |a| {
            _ = a.string(2, set)
        })
    }

    /// The chain's name, if it is one of this table's (a dump of chains has every table's).
    pub(crate) fn chain_name(&self, attrs: &[u8]) -> Option<String> {
        let table = attr::find(attrs, 1).and_then(attr::string)?;
        let name = attr::find(attrs, 3).and_then(attr::string)?;
        (table == self.name).then(|| name.to_owned())
    }

    /// A rule, if it is one of this table's.
    pub(crate) fn rule(&self, attrs: &[u8]) -> Option<DumpedRule> {
        let table = attr::find(attrs, 1).and_then(attr::string)?;
        let chain = attr::find(attrs, 2).and_then(attr::string)?.to_owned();
        let exprs = expr::decode_all(attr::find(attrs, 4).unwrap_or_default());
        (table == self.name).then_some(DumpedRule { chain, exprs })
    }
}

impl SetKind {
    fn layout(self) -> Layout {
        let (flags, key_type, key_len, byteorder) = match self {
            SetKind::Interfaces => (0, NFT_TYPE_IFNAME, IFNAME as u32, HOST_ENDIAN),
            SetKind::Pairs => (
                0,
                concatenated(&[NFT_TYPE_IFNAME, NFT_TYPE_IFNAME]),
                2 * IFNAME as u32,
                0,
            ),
            SetKind::Subnets => (SET_INTERVAL, NFT_TYPE_IPV4_ADDR, 4, BIG_ENDIAN),
            SetKind::Subnets6 => (SET_INTERVAL, NFT_TYPE_IPV6_ADDR, 16, BIG_ENDIAN),
            SetKind::Services => (
                SET_MAP,
                concatenated(&[
                    NFT_TYPE_IPV4_ADDR,
                    NFT_TYPE_INET_PROTO,
                    NFT_TYPE_INET_SERVICE,
                ]),
                SERVICE_KEY as u32,
                0,
            ),
            SetKind::Verdicts => (SET_MAP, NFT_TYPE_IFNAME, IFNAME as u32, HOST_ENDIAN),
        };
        let values = match self {
            SetKind::Verdicts => Some(VERDICTS),
            SetKind::Services => Some((
                concatenated(&[NFT_TYPE_IPV4_ADDR, NFT_TYPE_INET_SERVICE]),
                SERVICE_VALUE as u32,
            )),
            _ => None,
        };
        let mut userdata = udata(UDATA_KEY_BYTEORDER, byteorder);
        if self == SetKind::Pairs {
            userdata.extend(udata_of_concatenation(&[]));
        }
        if self == SetKind::Services {
            userdata.extend(udata(UDATA_DATA_BYTEORDER, 0));
        }
        if self == SetKind::Verdicts {
            userdata.extend(udata_of_verdicts());
        }
        Layout {
            flags,
            key_type,
            key_len,
            values,
            dynamic: None,
            userdata,
        }
    }
}

impl Element {
    /// By which they are sorted.
    fn key(&self) -> String {
        match self {
            Element::Interface(name)
            | Element::Pair(name)
            | Element::Jump {
                interface: name, ..
            } => name.clone(),
            Element::Subnet(subnet) => subnet.to_string(),
            Element::Subnet6(subnet) => subnet.to_string(),
            Element::Service(exposure) => exposure.to_string(),
        }
    }

    /// In nft's words.
    fn words(&self) -> String {
        match self {
            Element::Interface(name) => format!("\"{name}\""),
            Element::Pair(name) => format!("\"{name}\" . \"{name}\""),
            Element::Jump { interface, chain } => format!("\"{interface}\" : jump {chain}"),
            Element::Subnet(subnet) => subnet.to_string(),
            Element::Subnet6(subnet) => subnet.to_string(),
            Element::Service(exposure) => {
                let Exposure {
                    address,
                    protocol,
                    port,
                    to,
                    to_port,
                } = exposure;
                format!("{address} . {protocol} . {port} : {to} . {to_port}")
            }
        }
    }

    fn encode(&self, list: &mut Attrs) {
        let mut one = |key: &[u8], end, verdict| encode_element(list, key, end, verdict);
        match self {
            Element::Interface(name) => one(&ifname(name), false, None),
            Element::Pair(name) => one(&[ifname(name), ifname(name)].concat(), false, None),
            Element::Jump { interface, chain } => {
                one(
                    &ifname(interface),
                    false,
                    Some(Verdict::Jump(chain.clone())),
                );
            }
            Element::Subnet(subnet) => {
                let after = u32::from(subnet.broadcast()).wrapping_add(1);
                one(&subnet.network().octets(), false, None);
                one(&after.to_be_bytes(), true, None);
            }
            Element::Subnet6(subnet) => {
                let after = u128::from(subnet.broadcast()).wrapping_add(1);
                one(&subnet.network().octets(), false, None);
                one(&after.to_be_bytes(), true, None);
            }
            Element::Service(exposure) => {
                list.nest(1, |a| {
                    a.nest(1, |a| _ = a.raw(1, &service_key(exposure)));
                    let value = service_value(exposure.to, exposure.to_port);
                    a.nest(2, |a| _ = a.raw(1, &value));
                });
            }
        }
    }
}

/// `ipv4_addr . inet_proto . inet_service`, each filled up to four bytes.
const SERVICE_KEY: usize = 12;
/// `ipv4_addr . inet_service`
const SERVICE_VALUE: usize = 8;

fn service_key(exposure: &Exposure) -> [u8; SERVICE_KEY] {
    let [a, b, c, d] = exposure.address.octets();
    let [high, low] = exposure.port.get().to_be_bytes();
    let protocol = exposure.protocol.number();
    [a, b, c, d, protocol, 0, 0, 0, high, low, 0, 0]
}

fn service_value(address: Ipv4Addr, port: Port) -> [u8; SERVICE_VALUE] {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.get().to_be_bytes();
    [a, b, c, d, high, low, 0, 0]
}

/// The reverse of the two.
fn service(key: &[u8], value: &[u8]) -> Option<Exposure> {
    let address = |bytes: &[u8]| Some(Ipv4Addr::from(attr::be32(bytes)?));
    let port = |bytes: Option<&[u8]>| {
        let number = u16::from_be_bytes(bytes?.try_into().ok()?);
        Port::try_from(u64::from(number)).ok()
    };
    Some(Exposure {
        address: address(key)?,
        protocol: Transport::of_number(*key.get(4)?)?,
        port: port(key.get(8..10))?,
        to: address(value)?,
        to_port: port(value.get(4..6))?,
    })
}

fn concatenated(types: &[u32]) -> u32 {
    types
        .iter()
        .fold(0, |whole, part| whole << NFT_TYPE_BITS | part)
}

/// Writes an element: its key, whether it ends an interval, its verdict.
pub(crate) fn encode_element(list: &mut Attrs, key: &[u8], end: bool, verdict: Option<Verdict>) {
    list.nest(1, |a| {
        if end {
            a.be32(3, ELEM_INTERVAL_END);
        }
        a.nest(1, |a| _ = a.raw(1, key));
        if let Some(verdict) = verdict {
            a.nest(2, |a| verdict.encode(a));
        }
    });
}

fn ifname(name: &str) -> [u8; IFNAME] {
    let mut key = [0; IFNAME];
    for (to, from) in key.iter_mut().zip(name.as_bytes()) {
        *to = *from;
    }
    key
}

/// What follows the byte order of a concatenation: its parts, where nft needs them (`typeof`).
pub(crate) fn udata_of_concatenation(parts: &[u8]) -> Vec<u8> {
    const KEY_TYPEOF: u8 = 3;
    const EXPR_CONCAT: u32 = 13;
    let concatenation = [udata(0, EXPR_CONCAT), udata_nested(1, parts)].concat();
    udata_nested(KEY_TYPEOF, &concatenation)
}

/// Userdata within userdata; at most 64 bytes here.
pub(crate) fn udata_nested(kind: u8, inner: &[u8]) -> Vec<u8> {
    let len = u8::try_from(inner.len()).unwrap_or(u8::MAX);
    [&[kind, len], inner].concat()
}

/// What follows the byte order of a verdict map's key.
pub(crate) fn udata_of_verdicts() -> Vec<u8> {
    let mut userdata = udata(UDATA_DATA_BYTEORDER, 0);
    userdata.extend(udata(UDATA_DATA_INTERVAL, 0));
    userdata
}

pub(crate) fn udata(kind: u8, value: u32) -> Vec<u8> {
    let mut bytes = vec![kind, 4];
    bytes.extend_from_slice(&value.to_ne_bytes());
    bytes
}

/// A raw element of a dump: key, whether it ends an interval, and its verdict.
pub(crate) type RawElement<'a> = (&'a [u8], bool, Option<Verdict>);

pub(crate) fn raw_elements(attrs: &[u8]) -> Vec<RawElement<'_>> {
    let one = |elem| {
        let key = attr::find(attr::find(elem, 1)?, 1)?;
        let flags = attr::find(elem, 3).and_then(attr::be32).unwrap_or(0);
        let verdict = attr::find(elem, 2).and_then(Verdict::decode);
        Some((key, flags & ELEM_INTERVAL_END != 0, verdict))
    };
    let list = attr::find(attrs, 3).unwrap_or_default();
    attr::parse(list)
        .filter_map(|(_, elem)| one(elem))
        .collect()
}

/// The elements of a dumped set, in an order that depends on nothing but them.
pub(crate) fn decode_elements(dump: &[Vec<u8>], kind: SetKind) -> Vec<Element> {
    let raw: Vec<RawElement<'_>> = dump.iter().flat_map(|attrs| raw_elements(attrs)).collect();
    let mut elements: Vec<Element> = match kind {
        SetKind::Interfaces => raw
            .iter()
            .filter_map(|(key, ..)| Some(Element::Interface(attr::string(key)?.to_owned())))
            .collect(),
        SetKind::Pairs => raw
            .iter()
            .filter_map(|(key, ..)| {
                let (first, second) = key.split_at_checked(IFNAME)?;
                let name = attr::string(first).filter(|_| first == second)?;
                Some(Element::Pair(name.to_owned()))
            })
            .collect(),
        SetKind::Verdicts => raw
            .iter()
            .filter_map(|(key, _, verdict)| {
                let Some(Verdict::Jump(chain)) = verdict else {
                    return None;
                };
                Some(Element::Jump {
                    interface: attr::string(key)?.to_owned(),
                    chain: chain.clone(),
                })
            })
            .collect(),
        SetKind::Services => dump
            .iter()
            .flat_map(|attrs| attr::parse(attr::find(attrs, 3).unwrap_or_default()))
            .filter_map(|(_, elem)| {
                let key = attr::find(attr::find(elem, 1)?, 1)?;
                let value = attr::find(attr::find(elem, 2)?, 1)?;
                service(key, value).map(Element::Service)
            })
            .collect(),
        SetKind::Subnets => subnets(&raw),
        SetKind::Subnets6 => subnets6(&raw),
    };
    elements.sort_by_key(Element::key);
    elements
}

/// Pairs each start with the nearest end after it.
fn subnets(raw: &[RawElement<'_>]) -> Vec<Element> {
    let number = |key: &[u8]| attr::be32(key);
    let ends: Vec<u32> = raw
        .iter()
        .filter(|(_, end, _)| *end)
        .filter_map(|(key, ..)| number(key))
        .collect();
    let subnet = |start: u32| {
        let end = ends.iter().copied().filter(|end| *end > start).min()?;
        let size = end - start;
        let prefix = 32 - u8::try_from(size.trailing_zeros()).ok()?;
        Ipv4Net::new(start.into(), prefix)
            .ok()
            .filter(|_| size.is_power_of_two())
    };
    raw.iter()
        .filter(|(_, end, _)| !end)
        .filter_map(|(key, ..)| subnet(number(key)?))
        .map(Element::Subnet)
        .collect()
}

/// The /64s of a set: netd has no others there.
fn subnets6(raw: &[RawElement<'_>]) -> Vec<Element> {
    raw.iter()
        .filter(|(_, end, _)| !end)
        .filter_map(|(key, ..)| <[u8; 16]>::try_from(*key).ok())
        .filter_map(|start| Ipv6Net::new(start.into(), 64).ok())
        .map(Element::Subnet6)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::ruleset::SETS;

    #[test]
    fn any_bytes() {
        let table = Table {
            family: INET,
            name: "tapyard_1000".to_owned(),
        };
        crate::fuzz::run("nft-chain", |bytes| table.chain_name(bytes));
        crate::fuzz::run("nft-rule", |bytes| table.rule(bytes).is_some());
        crate::fuzz::run("nft-elements", |bytes| {
            for (_, kind) in SETS {
                decode_elements(&[bytes.to_vec()], kind);
            }
        });
    }
}
