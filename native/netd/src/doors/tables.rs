// SPDX-License-Identifier: Apache-2.0
//! The tables of ip, ip6 and inet that are not ours, with their base chains on the forward and
//! input hooks, read from the kernel.

use super::judge::Rules;
use super::rule::Rule;
use crate::nft::attr::{self, Attrs};
use crate::nft::socket::{Message, NFNL_SUBSYS_NFTABLES, Socket};
use crate::nft::{Error, Result, is_netds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

const GETCHAIN: u16 = 4;
const GETRULE: u16 = 7;
const GETSETELEM: u16 = 13;
const NF_DROP: u32 = 0;

/// A table's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

impl Family {
    pub(super) const ALL: [Family; 3] = [Family::Ip, Family::Ip6, Family::Inet];

    pub(super) fn number(self) -> u8 {
        let number = match self {
            Family::Ip => libc::NFPROTO_IPV4,
            Family::Ip6 => libc::NFPROTO_IPV6,
            Family::Inet => libc::NFPROTO_INET,
        };
        number as u8
    }

    /// Whether packets of this `NFPROTO_…` pass its chains.
    pub(super) fn sees(self, number: u8) -> bool {
        self == Family::Inet || self.number() == number
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Inet => "inet",
        })
    }
}

/// Where a lab's packets pass a firewall of the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Forward,
    Input,
}

/// A chain that the kernel calls.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) name: String,
    pub(super) hook: Hook,
    pub(super) policy_drops: bool,
}

/// A table with what it does to packets.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) bases: Vec<Base>,
    pub(super) rules: Rules,
}

/// By family and name.
pub(super) type Tables = BTreeMap<(Family, String), Table>;

/// Reads them. Tables of a netd are left out: what they drop is meant for their own labs.
pub(super) fn read(socket: &mut Socket) -> Result<Tables> {
    let mut tables = Tables::new();
    for family in Family::ALL {
        for attrs in socket.dump(&list("list chains", GETCHAIN, family))? {
            add_chain(&mut tables, family, &attrs);
        }
    }
    // Whoever has no chain on our way needs no look at his rules.
    tables.retain(|_, table| !table.bases.is_empty());
    for family in Family::ALL {
        if !tables.keys().any(|(of, _)| *of == family) {
            continue;
        }
        for attrs in socket.dump(&list("list rules", GETRULE, family))? {
            add_rule(&mut tables, family, &attrs, &mut |table, set| {
                keys(socket, family, table, set)
            });
        }
    }
    Ok(tables)
}

/// The keys of a set; none where it has ranges, or cannot be read.
fn keys(socket: &mut Socket, family: Family, table: &str, set: &str) -> Option<Vec<Vec<u8>>> {
    let mut attrs = Attrs::new();
    attrs.string(1, table).string(2, set);
    let message = Message {
        attrs: attrs.into_bytes(),
        ..list("list a set", GETSETELEM, family)
    };
    let dump = socket.dump(&message).ok()?;
    keys_in(dump.iter().map(Vec::as_slice))
}

/// The keys in what the kernel lists of a set.
fn keys_in<'a>(dump: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Vec<u8>>> {
    let lists = dump.filter_map(|attrs| attr::find(attrs, 3));
    lists
        .flat_map(attr::parse)
        .map(|(_, element)| key(element))
        .collect()
}

/// The key of an element that is no end of a range.
fn key(element: &[u8]) -> Option<Vec<u8>> {
    let flags = attr::find(element, 3).and_then(attr::be32).unwrap_or(0);
    let key = attr::find(attr::find(element, 1)?, 1)?;
    (flags == 0).then(|| key.to_vec())
}

fn list(operation: &str, kind: u16, family: Family) -> Message {
    Message {
        operation: operation.into(),
        kind: NFNL_SUBSYS_NFTABLES << 8 | kind,
        flags: 0,
        family: family.number(),
        attrs: Vec::new(),
    }
}

fn add_chain(tables: &mut Tables, family: Family, attrs: &[u8]) -> Option<()> {
    let table = attr::find(attrs, 1).and_then(attr::string)?;
    let name = attr::find(attrs, 3).and_then(attr::string)?.to_owned();
    if is_netds(table) {
        return None;
    }
    let table = tables.entry((family, table.to_owned())).or_default();
    table.rules.entry(name.clone()).or_default();
    let hook = attr::find(attrs, 4)?;
    let hook = match attr::find(hook, 1).and_then(attr::be32)? as i32 {
        libc::NF_INET_FORWARD => Hook::Forward,
        libc::NF_INET_LOCAL_IN => Hook::Input,
        _ => return None,
    };
    // NAT chains see the first packet of a connection only, and decide nothing but addresses.
    if attr::find(attrs, 7).and_then(attr::string) != Some("filter") {
        return None;
    }
    let policy = attr::find(attrs, 5).and_then(attr::be32);
    table.bases.push(Base {
        name,
        hook,
        policy_drops: policy == Some(NF_DROP),
    });
    Some(())
}

/// `keys_of` lists a set by its table's name and its own.
fn add_rule(
    tables: &mut Tables,
    family: Family,
    attrs: &[u8],
    keys_of: &mut impl FnMut(&str, &str) -> Option<Vec<Vec<u8>>>,
) -> Option<()> {
    let table = attr::find(attrs, 1).and_then(attr::string)?.to_owned();
    let chain = attr::find(attrs, 2).and_then(attr::string)?;
    let rule = Rule::parse(attrs, family.number(), &mut |set| keys_of(&table, set))?;
    let table = tables.get_mut(&(family, table))?;
    table.rules.entry(chain.to_owned()).or_default().push(rule);
    Some(())
}

/// Whether the kernel says that the object is not there (any more).
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Kernel { source, .. } if source.raw_os_error() == Some(libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::socket::objects;

    fn chain(table: &str, kind: &str, hook: u32, policy: u32) -> Vec<u8> {
        let mut attrs = Attrs::new();
        attrs.string(1, table).string(3, "FORWARD").string(7, kind);
        attrs
            .nest(4, |a| _ = a.be32(1, hook).be32(2, 0))
            .be32(5, policy);
        attrs.into_bytes()
    }

    #[test]
    fn base_chains_on_our_way_and_no_others() {
        let mut tables = Tables::new();
        let family = Family::Ip;
        add_chain(&mut tables, family, &chain("filter", "filter", 2, 0));
        add_chain(&mut tables, family, &chain("mangle", "filter", 4, 0));
        add_chain(&mut tables, family, &chain("nat", "nat", 2, 0));
        add_chain(&mut tables, family, &chain("tapyard_1000", "filter", 2, 0));
        let found: Vec<_> = tables
            .iter()
            .filter(|(_, table)| !table.bases.is_empty())
            .map(|((_, name), table)| (name.as_str(), table.bases[0].policy_drops))
            .collect();
        assert_eq!(found, [("filter", true)]);
        assert!(!tables.contains_key(&(family, "tapyard_1000".into())));
    }

    #[test]
    fn hostile_dumps_are_nothing() {
        let mut tables = Tables::new();
        for bytes in [&[][..], &[0; 7], &[255; 64], &[8, 0, 1, 0, 0, 0, 0, 0]] {
            assert_eq!(add_chain(&mut tables, Family::Inet, bytes), None);
            assert_eq!(key(bytes), None);
        }
    }

    /// Tables of others in the order in which the kernel lists them, and what they do to a packet.
    #[test]
    fn any_bytes() {
        const NEWCHAIN: u16 = 3;
        const NEWRULE: u16 = 6;
        const NEWSETELEM: u16 = 12;
        crate::fuzz::run("tables", |bytes| {
            let mut tables = Tables::new();
            let sets: Vec<&[u8]> = objects(bytes)
                .filter_map(|(kind, _, attrs)| (kind == NEWSETELEM).then_some(attrs))
                .collect();
            for (kind, number, attrs) in objects(bytes) {
                let Some(family) = Family::ALL.into_iter().find(|f| f.number() == number) else {
                    continue;
                };
                match kind {
                    NEWCHAIN => _ = add_chain(&mut tables, family, attrs),
                    NEWRULE => {
                        let mut keys_of = |table: &str, set: &str| {
                            let named = |attrs: &[u8], kind, name| {
                                attr::find(attrs, kind).and_then(attr::string) == Some(name)
                            };
                            let of = |attrs: &&[u8]| named(attrs, 1, table) && named(attrs, 2, set);
                            keys_in(sets.iter().copied().filter(of))
                        };
                        _ = add_rule(&mut tables, family, attrs, &mut keys_of);
                    }
                    _ => {}
                }
            }
            let verdicts = super::super::judge::verdicts(tables.values());
            (tables, verdicts)
        });
    }
}
