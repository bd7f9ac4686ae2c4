// SPDX-License-Identifier: Apache-2.0
//! The elements of sets: as netd knows them, in nft's words, and as the kernel has them.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tapyard_protocol::{Exposure, Port, Transport};

use super::attr::{self, Attrs};
use super::expr::Verdict;
use super::ruleset::SetKind;

const ELEM_INTERVAL_END: u32 = 0x1;
/// For how long after its way out was shut a bridge drains. pasta acknowledges up to 50 ms late, a
/// server is a round trip away, and the machine may be busy.
pub const DRAINS_MS: u64 = 250;
/// IFNAMSIZ: interface names are keys of this size, filled up with NULs.
pub(super) const IFNAME: usize = 16;
/// `ipv4_addr . inet_proto . inet_service`, each filled up to four bytes.
pub(super) const SERVICE_KEY: usize = 12;
/// `ipv4_addr . inet_service`
pub(super) const SERVICE_VALUE: usize = 8;

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    /// An interface name.
    Interface(String),
    /// An interface name, for [`DRAINS_MS`].
    Draining(String),
    /// An interface name, twice.
    Pair(String),
    /// A subnet, which the kernel keeps as two elements, its start and what comes after its end.
    Subnet(Ipv4Net),
    /// The same of IPv6.
    Subnet6(Ipv6Net),
    /// An address, in a set of its family.
    Address(IpAddr),
    /// A family of protocols (`NFPROTO_…`).
    Family(u8),
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

impl Element {
    /// By which they are sorted.
    fn key(&self) -> String {
        match self {
            Element::Interface(name)
            | Element::Draining(name)
            | Element::Pair(name)
            | Element::Jump {
                interface: name, ..
            } => name.clone(),
            Element::Subnet(subnet) => subnet.to_string(),
            Element::Subnet6(subnet) => subnet.to_string(),
            Element::Address(address) => address.to_string(),
            Element::Family(family) => family_name(*family).to_owned(),
            Element::Service(exposure) => exposure.to_string(),
        }
    }

    /// In nft's words.
    pub(super) fn words(&self) -> String {
        match self {
            Element::Interface(name) => format!("\"{name}\""),
            Element::Draining(name) => format!("\"{name}\" timeout {DRAINS_MS}ms"),
            Element::Pair(name) => format!("\"{name}\" . \"{name}\""),
            Element::Jump { interface, chain } => format!("\"{interface}\" : jump {chain}"),
            Element::Subnet(subnet) => subnet.to_string(),
            Element::Subnet6(subnet) => subnet.to_string(),
            Element::Address(address) => address.to_string(),
            Element::Family(family) => family_name(*family).to_owned(),
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

    pub(super) fn encode(&self, list: &mut Attrs) {
        let mut one = |key: &[u8], end, verdict| encode_element(list, key, end, verdict);
        match self {
            Element::Interface(name) => one(&ifname(name), false, None),
            Element::Draining(name) => {
                list.nest(1, |a| {
                    a.nest(1, |a| _ = a.raw(1, &ifname(name)))
                        .be64(4, DRAINS_MS);
                });
            }
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
            Element::Address(IpAddr::V4(address)) => one(&address.octets(), false, None),
            Element::Address(IpAddr::V6(address)) => one(&address.octets(), false, None),
            Element::Family(family) => one(&[*family], false, None),
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

fn family_name(family: u8) -> &'static str {
    match i32::from(family) {
        libc::NFPROTO_IPV4 => "ipv4",
        libc::NFPROTO_IPV6 => "ipv6",
        _ => "other",
    }
}

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
        // They go by themselves, and nobody has to hold them.
        SetKind::Timed => Vec::new(),
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
        SetKind::Addresses => raw
            .iter()
            .filter_map(|(key, ..)| <[u8; 4]>::try_from(*key).ok())
            .map(|octets| Element::Address(Ipv4Addr::from(octets).into()))
            .collect(),
        SetKind::Addresses6 => raw
            .iter()
            .filter_map(|(key, ..)| <[u8; 16]>::try_from(*key).ok())
            .map(|octets| Element::Address(Ipv6Addr::from(octets).into()))
            .collect(),
        SetKind::Families => raw
            .iter()
            .filter_map(|(key, ..)| Some(Element::Family(*key.first()?)))
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
        crate::fuzz::run("nft-elements", |bytes| {
            for (_, kind) in SETS {
                decode_elements(&[bytes.to_vec()], kind);
            }
        });
    }
}
