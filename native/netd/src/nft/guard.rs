// SPDX-License-Identifier: Apache-2.0
//! The guard: the bridge table that lets each tap send with its own addresses only.
//!
//! Ports are known by interface number, which the kernel gives to no other interface: an element
//! that is left over, whoever takes the tap's name, lets nobody pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::expr::Verdict;
use super::guard_ruleset::{
    ADDRESSES, CHADDRS, GUARDED, MACS, NEWCOMERS, SOURCE, SOURCES, TARGET, TARGETS, base_chains,
    network_chains, network_sets, prefixes_set, sets, source_chain, sources_set, target_chain,
    targets_set,
};
use super::message::{BRIDGE, Table, encode_element, raw_elements};
use super::ruleset::Chain;
use super::socket::{Message, Socket};
use super::{Error, Result, delete_table, plan_rules, read_chains, read_rules, rules_of};

/// Elements in one message: its length is a number of 16 bits.
const AT_ONCE: usize = 500;
/// What a packet took may run out in the moment in which it is deleted.
const TRIES: usize = 3;

/// A network whose ports are guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardNetwork {
    /// The bridge's interface name.
    pub bridge: String,
    /// What its guests' IPv6 addresses lie in, the link-local prefix included.
    pub prefixes: Vec<Ipv6Net>,
}

/// A guarded port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardPort {
    /// The tap's interface number.
    pub ifindex: u32,
    /// The bridge that it is a port of.
    pub bridge: String,
    /// The NIC's address.
    pub mac: [u8; 6],
    /// Its IPv4 addresses, reserved or leased.
    pub addresses: Vec<Ipv4Addr>,
}

/// An element: its key, and whether it ends an interval, and the chain that a map has for it.
type Key = (Vec<u8>, bool, Option<String>);

/// The table and the netlink socket that changes it.
#[derive(Debug)]
pub struct Guard {
    table: Table,
    socket: Socket,
}

impl Guard {
    /// Opens the netlink socket in the calling thread's network namespace. Changes nothing.
    pub fn open(table: &str) -> Result<Guard> {
        Ok(Guard {
            table: Table {
                family: BRIDGE,
                name: table.to_owned(),
            },
            socket: Socket::open()?,
        })
    }

    /// The port by which nf_tables' notifications name our own changes.
    pub fn port(&self) -> Result<u32> {
        self.socket.port()
    }

    /// Makes the table hold exactly these. True when it did not.
    pub fn hold(&mut self, networks: &[GuardNetwork], ports: &[GuardPort]) -> Result<bool> {
        for _ in 1..TRIES {
            match self.hold_once(networks, ports) {
                Err(Error::Kernel { source, .. })
                    if source.raw_os_error() == Some(libc::ENOENT) => {}
                done => return done,
            }
        }
        self.hold_once(networks, ports)
    }

    /// Adds one that is new, without a look at what is there. Needs [`Guard::hold`] with its
    /// network.
    pub fn add_port(&mut self, port: &GuardPort) -> Result<()> {
        let plan: Vec<Message> = elements_of(std::slice::from_ref(port))
            .iter()
            .flat_map(|(set, keys)| self.changes(set, true, keys))
            .collect();
        self.socket.commit(&plan)
    }

    /// Makes the ports' IPv4 addresses be exactly these. True when they were not.
    pub fn hold_addresses(&mut self, ports: &[GuardPort]) -> Result<bool> {
        let wanted = elements_of(ports).remove(ADDRESSES).unwrap_or_default();
        let mut plan = Vec::new();
        self.plan_elements(ADDRESSES, &wanted, &mut plan)?;
        self.socket.commit(&plan)?;
        Ok(!plan.is_empty())
    }

    /// The bridges whose ports are guarded by whole chains, read back.
    pub fn read(&mut self) -> Result<BTreeSet<String>> {
        let rules = read_rules(&mut self.socket, &self.table, None)?;
        let right = |chain: &Chain| rules_of(&rules, &chain.name) == chain.rules;
        if !base_chains().iter().all(right) {
            return Ok(BTreeSet::new());
        }
        let bridges = rules.keys().filter_map(|name| name.strip_prefix("source_"));
        Ok(bridges
            .filter(|bridge| network_chains(bridge).iter().all(right))
            .map(str::to_owned)
            .collect())
    }

    /// Removes the whole table; fine if it is not there. True when it was.
    pub fn delete(&mut self) -> Result<bool> {
        delete_table(&mut self.socket, &self.table)
    }

    fn hold_once(&mut self, networks: &[GuardNetwork], ports: &[GuardPort]) -> Result<bool> {
        let chains = read_chains(&mut self.socket, &self.table)?;
        let rules = match chains.is_empty() {
            true => BTreeMap::new(),
            false => read_rules(&mut self.socket, &self.table, None)?,
        };
        let mut wanted: Vec<Chain> = base_chains().into();
        wanted.extend(networks.iter().flat_map(|n| network_chains(&n.bridge)));
        let right = |chain: &Chain| {
            chains.contains(&chain.name) && rules_of(&rules, &chain.name) == chain.rules
        };
        let mut plan = Vec::new();
        if !wanted.iter().all(right) {
            plan.push(self.table.add());
            let own = networks.iter().flat_map(|n| network_sets(&n.bridge));
            let all = sets().map(|(name, layout)| (name.to_owned(), layout));
            for (id, (name, layout)) in all.into_iter().chain(own).enumerate() {
                plan.push(self.table.add_set_of(&name, id as u32 + 1, &layout));
            }
            plan.extend(wanted.iter().map(|chain| self.table.add_chain(chain)));
            for chain in wanted.iter().filter(|chain| !right(chain)) {
                plan_rules(&self.table, chain, chains.contains(&chain.name), &mut plan);
            }
        }
        for network in networks {
            let prefixes = prefix_keys(&network.prefixes);
            self.plan_elements(&prefixes_set(&network.bridge), &prefixes, &mut plan)?;
        }
        self.plan_forgetting(networks, ports, &mut plan)?;
        let wanted = elements_of(ports);
        for set in [GUARDED, MACS, CHADDRS, ADDRESSES, SOURCE, TARGET] {
            self.plan_elements(set, wanted.get(set).map_or(&[], Vec::as_slice), &mut plan)?;
        }
        // Networks that are no more: their ports' elements went just now.
        let bridges: BTreeSet<&str> = networks.iter().map(|n| n.bridge.as_str()).collect();
        let gone = chains
            .iter()
            .filter_map(|name| name.strip_prefix("source_"));
        for bridge in gone.filter(|bridge| !bridges.contains(bridge)) {
            for chain in [source_chain(bridge), target_chain(bridge)] {
                plan.push(self.table.flush_chain(&chain));
                plan.push(self.table.delete_chain(&chain));
            }
            for (set, _) in network_sets(bridge) {
                plan.push(self.table.delete_set(&set));
            }
        }
        self.socket.commit(&plan)?;
        Ok(!plan.is_empty())
    }

    /// Plans to forget which IPv6 addresses ports had that are no more, so that they are free.
    fn plan_forgetting(
        &mut self,
        networks: &[GuardNetwork],
        ports: &[GuardPort],
        plan: &mut Vec<Message>,
    ) -> Result<()> {
        // A packet writes its network's set first: read in that order, no owner is missed.
        let mut taken = Vec::new();
        for network in networks {
            for (set, of) in [
                (sources_set(&network.bridge), SOURCES),
                (targets_set(&network.bridge), TARGETS),
            ] {
                taken.push((network, of, self.elements(&set)?, set));
            }
        }
        let bridge_of: BTreeMap<u32, &str> = ports
            .iter()
            .map(|port| (port.ifindex, port.bridge.as_str()))
            .collect();
        let mut owned: BTreeSet<(&str, &str, Vec<u8>)> = BTreeSet::new();
        for set in [SOURCES, TARGETS, NEWCOMERS] {
            let mut stale = Vec::new();
            for (key, ..) in self.elements(set)? {
                let port = key.first_chunk().copied().map(u32::from_ne_bytes);
                match port.and_then(|port| bridge_of.get(&port)) {
                    Some(bridge) => {
                        owned.insert((set, bridge, key.get(4..).unwrap_or_default().to_vec()));
                    }
                    None => stale.push((key, false, None)),
                }
            }
            plan.extend(self.changes(set, false, &stale));
        }
        for (network, of, elements, set) in taken {
            let stale: Vec<Key> = elements
                .into_iter()
                .filter(|(key, ..)| !owned.contains(&(of, network.bridge.as_str(), key.clone())))
                .collect();
            plan.extend(self.changes(&set, false, &stale));
        }
        Ok(())
    }

    fn plan_elements(&mut self, set: &str, wanted: &[Key], plan: &mut Vec<Message>) -> Result<()> {
        let there = self.elements(set)?;
        let missing = |of: &[Key], among: &[Key]| -> Vec<Key> {
            let among: BTreeSet<&Key> = among.iter().collect();
            of.iter()
                .filter(|key| !among.contains(key))
                .cloned()
                .collect()
        };
        plan.extend(self.changes(set, false, &missing(&there, wanted)));
        plan.extend(self.changes(set, true, &missing(wanted, &there)));
        Ok(())
    }

    fn changes(&self, set: &str, add: bool, keys: &[Key]) -> Vec<Message> {
        keys.chunks(AT_ONCE)
            .map(|keys| {
                self.table.change_elements(set, add, |list| {
                    for (key, end, chain) in keys {
                        encode_element(list, key, *end, chain.clone().map(Verdict::Jump));
                    }
                })
            })
            .collect()
    }

    fn elements(&mut self, set: &str) -> Result<Vec<Key>> {
        let dump = self.socket.dump(&self.table.dump_elements(set))?;
        let raw = dump.iter().flat_map(|attrs| raw_elements(attrs));
        Ok(raw
            .map(|(key, end, verdict)| {
                let chain = match verdict {
                    Some(Verdict::Jump(chain)) => Some(chain),
                    _ => None,
                };
                (key.to_vec(), end, chain)
            })
            .collect())
    }
}

/// What these ports are in each set. Parts of a key fill up to four bytes.
fn elements_of(ports: &[GuardPort]) -> BTreeMap<&'static str, Vec<Key>> {
    let mut elements: BTreeMap<&'static str, Vec<Key>> = BTreeMap::new();
    for port in ports {
        let number = port.ifindex.to_ne_bytes();
        let with_mac = [number.as_slice(), &port.mac, &[0, 0]].concat();
        let mut put = |set, key, chain| elements.entry(set).or_default().push((key, false, chain));
        put(GUARDED, number.to_vec(), None);
        put(MACS, with_mac.clone(), None);
        put(CHADDRS, with_mac.clone(), None);
        let addresses: BTreeSet<&Ipv4Addr> = port.addresses.iter().collect();
        for address in addresses {
            let key = [with_mac.as_slice(), &address.octets()].concat();
            put(ADDRESSES, key, None);
        }
        put(SOURCE, number.to_vec(), Some(source_chain(&port.bridge)));
        put(TARGET, number.to_vec(), Some(target_chain(&port.bridge)));
    }
    elements
}

/// Each prefix from its start to what comes after its end.
fn prefix_keys(prefixes: &[Ipv6Net]) -> Vec<Key> {
    let after = |prefix: &Ipv6Net| {
        Ipv6Addr::from_bits(prefix.broadcast().to_bits().wrapping_add(1)).octets()
    };
    prefixes
        .iter()
        .flat_map(|prefix| {
            [
                (prefix.network().octets().to_vec(), false, None),
                (after(prefix).to_vec(), true, None),
            ]
        })
        .collect()
}
