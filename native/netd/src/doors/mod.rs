// SPDX-License-Identifier: Apache-2.0
//! Doors: labelled accepts in the firewalls of others that would drop a lab's packets.
//!
//! In nf_tables an accept of ours does not undo a drop in somebody else's chain, so each chain
//! that would drop gets an accept of its own. What may pass is decided by our own table, which
//! sees every packet as well; a door takes away no drop but the other firewall's own.

mod judge;
mod nft;
mod rule;
mod tables;

pub use nft::Chain;

use crate::journal::{Entry, Journal};
use crate::nft::Result;
use crate::nft::attr;
use crate::nft::socket::{Message, NFNL_SUBSYS_NFTABLES, Socket};
use judge::{ESTABLISHED, NEW, Packet};
use rule::Rule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tables::{Base, Family, Hook, Table, Tables};
use tapyard_protocol::{Door, DoorState, Firewall, NetworkName};

const DOCKER_USER: &str = "DOCKER-USER";
const GETRULE: u16 = 7;

/// Where a door is, for the journal: what is to be taken away with the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Rules in a chain of nf_tables.
    Nft(Chain),
}

/// A network that is to get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name and its bridge's.
    pub name: NetworkName,
    /// The label of its objects, which is the comment of its rules.
    pub label: String,
    /// The way out, where there is one.
    pub uplink: Option<String>,
}

/// What opens doors, and which there are.
#[derive(Debug)]
pub struct Doors {
    socket: Socket,
    found: BTreeMap<NetworkName, Vec<Door>>,
}

impl Doors {
    /// Opens its socket in the calling thread's network namespace. Changes nothing.
    pub fn open() -> Result<Doors> {
        Ok(Doors {
            socket: Socket::open()?,
            found: BTreeMap::new(),
        })
    }

    /// The port by which nf_tables' notifications name our own changes.
    pub fn port(&self) -> Result<u32> {
        self.socket.port()
    }

    /// The doors of a network, as last held.
    pub fn of(&self, name: &NetworkName) -> Vec<Door> {
        self.found.get(name).cloned().unwrap_or_default()
    }

    /// Opens a door wherever one is needed for these networks. True when that changed something.
    pub fn hold(&mut self, wanted: &[Wanted], journal: &mut Journal) -> Result<bool> {
        let mut tables = tables::read(&mut self.socket)?;
        let mut changed = false;
        for network in wanted {
            let mut shut = Vec::new();
            let bases: Vec<((Family, String), Base)> = tables
                .iter()
                .flat_map(|(key, table)| table.bases.iter().map(|base| (key.clone(), base.clone())))
                .collect();
            for (key, base) in bases {
                for at in candidates(&tables, &key, &base) {
                    let Some(table) = tables.get(&key) else { break };
                    if !needs(table, key.0, &base, network) {
                        break;
                    }
                    match self.open_door(&at, base.hook, network, table, journal) {
                        Ok(()) => {
                            changed = true;
                            tables = tables::read(&mut self.socket)?;
                        }
                        Err(reason) => shut.push(Door {
                            chain: at.to_string(),
                            firewall: firewall(table, &at),
                            state: DoorState::Shut,
                            command: Some(nft::command(&at, base.hook, &network.name)),
                            reason: Some(reason),
                        }),
                    }
                }
            }
            let mut doors = open_doors(&tables, network);
            doors.extend(shut);
            self.found.insert(network.name.clone(), doors);
        }
        Ok(changed)
    }

    /// Takes a network's doors away, in the places that the journal names and by its label. True
    /// when there was one.
    pub fn remove(&mut self, name: &NetworkName, label: &str, places: &[Place]) -> Result<bool> {
        self.found.remove(name);
        let mut any = false;
        for Place::Nft(at) in places {
            let handles = self.labelled(at, label)?;
            let plan: Vec<Message> = handles.iter().map(|h| nft::remove(at, *h)).collect();
            match self.socket.commit(&plan) {
                Err(error) if tables::is_gone(&error) && self.labelled(at, label)?.is_empty() => {}
                done => done?,
            }
            any |= !plan.is_empty();
        }
        Ok(any)
    }

    /// Puts the accepts at the head of the chain; where they are further down, they do not hold.
    fn open_door(
        &mut self,
        at: &Chain,
        hook: Hook,
        network: &Wanted,
        table: &Table,
        journal: &mut Journal,
    ) -> std::result::Result<(), String> {
        journal
            .append(Entry::Door {
                network: network.name.clone(),
                place: Place::Nft(at.clone()),
            })
            .map_err(|error| error.message)?;
        let mut plan: Vec<Message> = labelled(table, &at.chain, &network.label)
            .map(|rule| nft::remove(at, rule.handle))
            .collect();
        plan.extend(nft::open(at, hook, &network.name, &network.label));
        self.socket.commit(&plan).map_err(|error| error.to_string())
    }

    /// Handles of the rules in a chain that carry this label.
    fn labelled(&mut self, at: &Chain, label: &str) -> Result<Vec<u64>> {
        let mut attrs = attr::Attrs::new();
        attrs.string(1, &at.table).string(2, &at.chain);
        let rules = self.socket.dump(&Message {
            operation: format!("list rules of {at}"),
            kind: NFNL_SUBSYS_NFTABLES << 8 | GETRULE,
            flags: 0,
            family: at.family.number(),
            attrs: attrs.into_bytes(),
        })?;
        let rules = rules
            .iter()
            .filter_map(|attrs| Rule::parse(attrs, at.family.number()));
        Ok(rules
            .filter(|rule| rule.comment.as_deref() == Some(label))
            .map(|rule| rule.handle)
            .collect())
    }
}

/// Where to open a door into this base chain, the best first. Docker keeps what is in
/// DOCKER-USER when it starts again.
fn candidates(tables: &Tables, (family, table): &(Family, String), base: &Base) -> Vec<Chain> {
    let chain = |name: &str| Chain {
        family: *family,
        table: table.clone(),
        chain: name.to_owned(),
    };
    let docker = tables
        .get(&(*family, table.clone()))
        .is_some_and(|table| table.rules.contains_key(DOCKER_USER));
    let mut chains = Vec::new();
    if docker && base.hook == Hook::Forward {
        chains.push(chain(DOCKER_USER));
    }
    chains.push(chain(&base.name));
    chains
}

/// Whether the base chain would drop any packet that has to get through.
fn needs(table: &Table, family: Family, base: &Base, network: &Wanted) -> bool {
    packets(base.hook, network).iter().any(|packet| {
        family.sees(packet.family)
            && judge::dropped_in(&table.rules, &base.name, base.policy_drops, *packet).is_some()
    })
}

/// What has to get through: new connections of the guests, the answers to them, and what asks
/// for an address or a name.
fn packets(hook: Hook, network: &Wanted) -> Vec<Packet<'_>> {
    let bridge = Some(network.name.as_str());
    let uplink = network.uplink.as_deref();
    let packet = |incoming, outgoing, protocol: i32, port, state| Packet {
        family: libc::NFPROTO_IPV4 as u8,
        incoming,
        outgoing,
        protocol: protocol as u8,
        port,
        state,
    };
    match hook {
        Hook::Forward => [libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMP]
            .into_iter()
            .flat_map(|protocol| {
                [
                    packet(bridge, uplink, protocol, None, NEW),
                    packet(uplink, bridge, protocol, None, ESTABLISHED),
                ]
            })
            .collect(),
        Hook::Input => vec![
            packet(bridge, None, libc::IPPROTO_UDP, Some(67), NEW),
            packet(bridge, None, libc::IPPROTO_UDP, Some(53), NEW),
            packet(bridge, None, libc::IPPROTO_TCP, Some(53), NEW),
        ],
    }
}

fn labelled<'a>(table: &'a Table, chain: &str, label: &'a str) -> impl Iterator<Item = &'a Rule> {
    let rules = table.rules.get(chain).map_or(&[][..], Vec::as_slice);
    rules
        .iter()
        .filter(move |rule| rule.comment.as_deref() == Some(label))
}

/// The doors that are there for this network.
fn open_doors(tables: &Tables, network: &Wanted) -> Vec<Door> {
    let mut doors = Vec::new();
    for ((family, name), table) in tables {
        for chain in table.rules.keys() {
            if labelled(table, chain, &network.label).next().is_none() {
                continue;
            }
            let at = Chain {
                family: *family,
                table: name.clone(),
                chain: chain.clone(),
            };
            doors.push(Door {
                chain: at.to_string(),
                firewall: firewall(table, &at),
                state: DoorState::Open,
                command: None,
                reason: None,
            });
        }
    }
    doors
}

/// Whose a chain is, for people.
fn firewall(table: &Table, at: &Chain) -> Firewall {
    if at.chain == DOCKER_USER {
        Firewall::Docker
    } else if at.table == "firewalld" {
        Firewall::Firewalld
    } else if table.rules.keys().any(|chain| chain.starts_with("ufw")) {
        Firewall::Ufw
    } else if nft::is_iptables(at.family, &at.chain) {
        Firewall::Iptables
    } else {
        Firewall::Nftables
    }
}
