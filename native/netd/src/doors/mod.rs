// SPDX-License-Identifier: Apache-2.0
//! Doors: labelled accepts in the firewalls of others that would drop a lab's packets.
//!
//! In nf_tables an accept of ours does not undo a drop in somebody else's chain, so each chain
//! that would drop gets an accept of its own. What may pass is decided by our own table, which
//! sees every packet as well; a door takes away no drop but the other firewall's own.

mod firewalld;
mod hold_legacy;
mod judge;
mod legacy;
mod nft;
mod packets;
mod rule;
mod services;
mod tables;

pub use legacy::Kept;
pub use nft::Chain;

use crate::acts::{self, Told, deed};
use crate::journal::{Entry, Journal};
use crate::nft::socket::{Message, Socket};
use firewalld::{Firewalld, Progress};
use legacy::Legacy;
use rule::Rule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Instant;
use tables::{Base, Family, Hook, Table, Tables};
use tapyard_protocol::{Door, DoorState, Error, Firewall, LabName, Mode, NetworkName, Result};

const DOCKER_USER: &str = "DOCKER-USER";

/// Where a door is, for the journal: what is to be taken away with the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Rules in a chain of nf_tables.
    Nft(Chain),
    /// The bridge in a zone of firewalld's.
    Zone(String),
    /// Rules in a chain of the old iptables.
    Legacy(String),
    /// Rules in a chain of the old iptables of IPv6.
    Legacy6(String),
}

/// A network that is to get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its lab.
    pub lab: LabName,
    /// Its name and its bridge's.
    pub name: NetworkName,
    /// The label of its objects, which is the comment of its rules.
    pub label: String,
    /// What its guests reach.
    pub mode: Mode,
    /// What passes from port to port of its bridge goes through the firewalls of IP as well.
    pub bridged: bool,
    /// Its IPv6, where it has any.
    pub ipv6: Option<Ipv6>,
    /// The way out, where there is one.
    pub uplink: Option<String>,
    /// Ports of the host's lead to its guests.
    pub exposed: bool,
}

/// The IPv6 of a network that is to get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6 {
    /// As [`Wanted::bridged`].
    pub bridged: bool,
    /// As [`Wanted::uplink`], which may be another interface.
    pub uplink: Option<String>,
}

/// What opens doors, and which there are.
#[derive(Debug)]
pub struct Doors {
    socket: Socket,
    firewalld: Firewalld,
    legacy: Legacy,
    found: BTreeMap<NetworkName, Vec<Door>>,
}

/// A look at one network.
struct Look<'a> {
    network: &'a Wanted,
    journal: &'a mut Journal,
    now: Instant,
    changed: bool,
    /// Doors that are not open.
    closed: Vec<Door>,
}

impl Doors {
    /// Opens its sockets in the calling thread's network namespace. Changes nothing.
    pub fn open(kept: Kept) -> Result<Doors> {
        Ok(Doors {
            socket: Socket::open()?,
            firewalld: Firewalld::default(),
            legacy: Legacy::open(kept)?,
            found: BTreeMap::new(),
        })
    }

    /// The port by which nf_tables' notifications name our own changes.
    pub fn port(&self) -> crate::nft::Result<u32> {
        self.socket.port()
    }

    /// The doors of a network, as last held.
    pub fn of(&self, name: &NetworkName) -> Vec<Door> {
        self.found.get(name).cloned().unwrap_or_default()
    }

    /// What to poll.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.firewalld.fd().into_iter().chain([self.legacy.fd()])
    }

    /// Takes what they have. Whether doors may stand otherwise than before.
    pub fn on_readable(&mut self) -> bool {
        self.firewalld.on_readable() | self.legacy.on_readable()
    }

    /// When somebody who was asked should have answered, or what failed is tried again.
    pub fn deadline(&self) -> Option<Instant> {
        let answer = self.firewalld.deadline().into_iter();
        answer.chain(self.legacy.retry_at()).min()
    }

    /// Waits no longer for those whose time is up. Whether doors are to be held again for it.
    pub fn on_deadline(&mut self, now: Instant) -> bool {
        self.firewalld.give_up(now) | self.legacy.is_retry_due(now)
    }

    /// Something failed and is tried again.
    pub fn has_failed(&self) -> bool {
        self.legacy.retry_at().is_some()
    }

    /// Opens a door wherever one is needed for these networks, or `all` of them. True when that changed
    /// something.
    pub fn hold(&mut self, wanted: &[Wanted], all: bool, journal: &mut Journal) -> Result<bool> {
        for (network, zone) in self.firewalld.take_unmade() {
            let place = Place::Zone(zone);
            journal.note(Entry::NoDoor { network, place });
        }
        let mut tables = tables::read(&mut self.socket)?;
        let mut changed = false;
        for network in wanted {
            let _about = acts::about(&network.lab, &network.name);
            let mut look = Look {
                network,
                journal,
                now: Instant::now(),
                changed: false,
                closed: Vec::new(),
            };
            self.hold_tables(&mut tables, &mut look)?;
            let mut doors = open_doors(&tables, look.network);
            for old in legacy::ALL {
                doors.extend(self.hold_legacy(old, &mut look));
            }
            if let Some(zone) = zone(&look, &tables) {
                self.firewalld.lets_through(&network.name);
                doors.push(zone);
            }
            doors.append(&mut look.closed);
            changed |= look.changed;
            self.found.insert(network.name.clone(), doors);
        }
        self.legacy.plan_retry(Instant::now(), all);
        Ok(changed)
    }

    /// Takes a network's doors away, in the places that the journal names and by its label. Whether
    /// there was one, and the places where one stayed.
    pub fn remove(
        &mut self,
        name: &NetworkName,
        label: &str,
        places: &[Place],
    ) -> (bool, Vec<Error>) {
        self.found.remove(name);
        let mut any = false;
        let mut failed = Vec::new();
        for place in places {
            let removed = match place {
                Place::Nft(at) => self.remove_rules(at, label),
                Place::Zone(zone) => match self.firewalld.remove(name, zone) {
                    // It had refused to put it there.
                    Err(_) if self.firewalld.is_unmade(name, zone) => Ok(false),
                    removed => removed,
                },
                Place::Legacy(chain) => self.remove_legacy(&legacy::IPV4, chain, name, label),
                Place::Legacy6(chain) => self.remove_legacy(&legacy::IPV6, chain, name, label),
            };
            match removed {
                Ok(there) => any |= there,
                Err(error) => failed.push(error),
            }
        }
        (any, failed)
    }

    /// The chains of nf_tables.
    fn hold_tables(&mut self, tables: &mut Tables, look: &mut Look<'_>) -> Result<()> {
        let bases: Vec<((Family, String), Base)> = tables
            .iter()
            .flat_map(|(key, table)| table.bases.iter().map(|base| (key.clone(), base.clone())))
            .collect();
        for (key, base) in bases {
            for at in candidates(tables, &key, &base) {
                let Some(table) = tables.get(&key) else { break };
                if !packets::dropped(table, key.0, &base, look.network) {
                    break;
                }
                if key.1 == firewalld::TABLE && self.ask_firewalld(&at, look) {
                    break;
                }
                match self.open_rules(&at, base.hook, table, look) {
                    Ok(()) => {
                        look.changed = true;
                        *tables = tables::read(&mut self.socket)?;
                    }
                    Err(reason) => look.closed.push(Door {
                        chain: at.to_string(),
                        firewall: firewall(table, &at),
                        state: DoorState::Shut,
                        command: Some(match key.1 == firewalld::TABLE {
                            true => self.firewalld_command(table, key.0, &base, look.network),
                            false => nft::command(&at, base.hook, look.network),
                        }),
                        reason: Some(reason),
                    }),
                }
            }
        }
        Ok(())
    }

    /// Whether firewalld is going to let the network through.
    fn ask_firewalld(&mut self, at: &Chain, look: &mut Look<'_>) -> bool {
        let name = &look.network.name;
        let opening = match self.firewalld.progress(name) {
            Progress::Refused => false,
            Progress::Opening => true,
            Progress::Ask(zone) => {
                look.changed = true;
                record(look, Place::Zone(zone.to_owned())).is_ok_and(|first| {
                    let name = &look.network.name;
                    self.firewalld.ask(name, zone, first, look.now)
                })
            }
        };
        if opening {
            look.closed.push(Door {
                chain: at.to_string(),
                firewall: Firewall::Firewalld,
                state: DoorState::Opening,
                command: None,
                reason: None,
            });
        }
        opening
    }

    /// What opens a chain of firewalld's that takes no rule: since 2.0 it may own its table, so that
    /// nobody else changes it. Where it lets all but what is led to guests through, it was told to
    /// lead nothing but its own (`StrictForwardPorts`).
    fn firewalld_command(
        &self,
        table: &Table,
        family: Family,
        base: &Base,
        network: &Wanted,
    ) -> String {
        let unexposed = Wanted {
            exposed: false,
            ..network.clone()
        };
        match packets::dropped(table, family, base, &unexposed) {
            true => self.firewalld.command(&network.name),
            false => "sed -i 's/^StrictForwardPorts=.*/StrictForwardPorts=no/' \
                      /etc/firewalld/firewalld.conf; firewall-cmd --reload"
                .to_owned(),
        }
    }

    /// Puts the accepts at the head of the chain; where they are further down, they do not hold.
    fn open_rules(
        &mut self,
        at: &Chain,
        hook: Hook,
        table: &Table,
        look: &mut Look<'_>,
    ) -> std::result::Result<(), String> {
        record(look, Place::Nft(at.clone()))?;
        let Wanted { label, .. } = look.network;
        let mut plan: Vec<Message> = labelled(table, &at.chain, label)
            .map(|rule| nft::remove(at, rule.handle))
            .collect();
        plan.extend(nft::open(at, hook, look.network));
        let done = self.socket.commit(&plan);
        deed(format!("let {} through {at}", look.network.name))
            .command(nft::command(at, hook, look.network).replace("; ", "\n"))
            .told(done)
            .map_err(|error| error.to_string())
    }

    fn remove_rules(&mut self, at: &Chain, label: &str) -> Result<bool> {
        let handles = nft::labelled(&mut self.socket, at, label)?;
        let plan: Vec<Message> = handles.iter().map(|h| nft::remove(at, *h)).collect();
        let done = self.socket.commit(&plan);
        if !plan.is_empty() {
            let commands = handles.iter();
            let commands = commands.map(|handle| format!("nft delete rule {at} handle {handle}"));
            let commands: Vec<String> = commands.collect();
            deed(format!("took the accepts out of {at}"))
                .command(commands.join("\n"))
                .told(done.as_ref().map_err(Told::told))
                .ok();
        }
        match done {
            // Somebody else was quicker.
            Err(error)
                if tables::is_gone(&error)
                    && nft::labelled(&mut self.socket, at, label)?.is_empty() => {}
            done => done?,
        }
        Ok(!plan.is_empty())
    }
}

/// Journals a place before there is a door; whether that is new.
fn record(look: &mut Look<'_>, place: Place) -> std::result::Result<bool, String> {
    let network = look.network.name.clone();
    let known = look.journal.state().networks.get(&network);
    if known.is_some_and(|known| known.doors.contains(&place)) {
        return Ok(false);
    }
    let entry = Entry::Door { network, place };
    let done = look.journal.append(entry);
    done.map(|()| true).map_err(|error| error.message)
}

/// Where to open a door into this base chain, the best first. Docker keeps what is in
/// DOCKER-USER when it starts again.
fn candidates(tables: &Tables, key: &(Family, String), base: &Base) -> Vec<Chain> {
    let chain = |name: &str| Chain {
        family: key.0,
        table: key.1.clone(),
        chain: name.to_owned(),
    };
    let docker = tables
        .get(key)
        .is_some_and(|table| table.rules.contains_key(DOCKER_USER));
    let mut chains = Vec::new();
    if docker && base.hook == Hook::Forward {
        chains.push(chain(DOCKER_USER));
    }
    chains.push(chain(&base.name));
    chains
}

fn labelled<'a>(table: &'a Table, chain: &str, label: &'a str) -> impl Iterator<Item = &'a Rule> {
    let rules = table.rules.get(chain).map_or(&[][..], Vec::as_slice);
    rules
        .iter()
        .filter(move |rule| rule.comment.as_deref() == Some(label))
}

/// The doors of rules that are there for this network.
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

/// The door of firewalld's, where it was asked for one and lets through.
fn zone(look: &Look<'_>, tables: &Tables) -> Option<Door> {
    let firewalld = tables
        .iter()
        .find(|((_, name), _)| name == firewalld::TABLE);
    let ((family, _), table) = firewalld?;
    let recorded = look.journal.state().networks.get(&look.network.name)?;
    let zone = recorded.doors.iter().rev().find_map(|place| match place {
        Place::Zone(zone) => Some(zone),
        Place::Nft(_) | Place::Legacy(_) | Place::Legacy6(_) => None,
    })?;
    let label = &look.network.label;
    let by_rules = |base: &Base| labelled(table, &base.name, label).next().is_some();
    let open = table
        .bases
        .iter()
        .all(|base| !by_rules(base) && !packets::dropped(table, *family, base, look.network));
    open.then(|| Door {
        chain: format!("zone {zone}"),
        firewall: Firewall::Firewalld,
        state: DoorState::Open,
        command: None,
        reason: None,
    })
}

/// Whose a chain is, for people.
fn firewall(table: &Table, at: &Chain) -> Firewall {
    if at.chain == DOCKER_USER {
        Firewall::Docker
    } else if at.table == firewalld::TABLE {
        Firewall::Firewalld
    } else if table.rules.keys().any(|chain| chain.starts_with("ufw")) {
        Firewall::Ufw
    } else if nft::is_iptables(at.family, &at.chain) {
        Firewall::Iptables
    } else {
        Firewall::Nftables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_where_a_door_stays_is_told() {
        let mut doors = Doors::open(Kept::default()).unwrap();
        doors.firewalld = Firewalld::silent_since(Instant::now());
        let name = "br0".parse().unwrap();
        let places = ["libvirt", "trusted"].map(|zone| Place::Zone(zone.to_owned()));
        let (any, failed) = doors.remove(&name, "tapyard:1000:seed:br0", &places);
        assert!(!any);
        let told: Vec<&str> = failed.iter().map(|error| error.message.as_str()).collect();
        assert!(
            told[0].contains("zone libvirt") && told[1].contains("zone trusted"),
            "{told:?}"
        );
        assert_eq!(told.len(), 2);
    }
}
