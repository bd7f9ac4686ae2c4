// SPDX-License-Identifier: Apache-2.0
//! The guard: the bridge table that lets each tap send with its own addresses only.
//!
//! Ports are known by interface number, which the kernel gives to no other interface: an element
//! that is left over, whoever takes the tap's name, lets nobody pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::element::{encode_element, raw_elements};
use super::expr::Verdict;
use super::guard_ruleset::{base_chains, network_chains, source_chain, target_chain};
use super::guard_sets::{
    ADDRESSES, BRIDGED, CHADDRS, GUARDED, MACS, NEWCOMERS, SOURCE, SOURCES, TARGET, TARGETS,
    host_sources_set, host_targets_set, network_sets, sets, source_prefixes_set, sources_set,
    target_prefixes_set, targets_set,
};
use super::message::{BRIDGE, Table};
use super::ruleset::Chain;
use super::socket::{Message, Socket};
use super::table::{delete_table, plan_rules, read_chains, read_rules, rules_of};
use super::{Error, Result};

/// Elements in one message: its length is a number of 16 bits.
const AT_ONCE: usize = 500;
/// What a packet took may run out in the moment in which it is deleted.
const TRIES: usize = 3;

/// A network whose ports are guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardNetwork {
    /// The bridge's interface name.
    pub bridge: String,
    /// The group of interfaces that its ports are in, and no other network's.
    pub group: u32,
    /// What its guests' IPv6 addresses lie in, the link-local prefix included.
    pub prefixes: Vec<Ipv6Net>,
    /// Addresses that no guest has: the host's there, and its router's.
    pub hosts: Vec<Ipv6Addr>,
}

/// A guarded port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardPort {
    /// The tap's interface number.
    pub ifindex: u32,
    /// The bridge that it is a port of.
    pub bridge: String,
    /// The bridge is an administrator's, and IPv4 addresses the affair of the network there.
    pub bridged: bool,
    /// The NIC's address.
    pub mac: [u8; 6],
    /// Its IPv4 addresses, reserved or leased.
    pub addresses: Vec<Ipv4Addr>,
}

/// An element: its key, and whether it ends an interval, and the chain that a map has for it.
type Key = (Vec<u8>, bool, Option<String>);

/// What the table holds, but for what packets put into it.
#[derive(Debug, Default)]
struct Held {
    /// The table is there.
    made: bool,
    networks: Vec<GuardNetwork>,
    /// The bridge of each port.
    ports: BTreeMap<u32, String>,
    elements: Elements,
}

/// The elements of each set.
type Elements = BTreeMap<&'static str, Vec<Key>>;

/// The table and the netlink socket that changes it.
#[derive(Debug)]
pub struct Guard {
    table: Table,
    socket: Socket,
    /// None where it has to be read.
    held: Option<Held>,
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
            held: None,
        })
    }

    /// Somebody else may have changed the table: the next look at it is one at the kernel.
    pub fn doubt(&mut self) {
        self.held = None;
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
        self.socket.commit(&plan)?;
        if let Some(held) = &mut self.held {
            held.ports.insert(port.ifindex, port.bridge.clone());
            for (set, keys) in elements_of(std::slice::from_ref(port)) {
                held.elements.entry(set).or_default().extend(keys);
            }
        }
        Ok(())
    }

    /// Makes the ports' IPv4 addresses be exactly these. True when they were not.
    pub fn hold_addresses(&mut self, ports: &[GuardPort]) -> Result<bool> {
        let wanted = elements_of(ports).remove(ADDRESSES).unwrap_or_default();
        let held = self.held.take();
        let there = self.elements(held.as_ref(), ADDRESSES)?;
        let plan = self.plan_elements(ADDRESSES, &there, &wanted);
        self.socket.commit(&plan)?;
        self.held = held;
        if let Some(held) = &mut self.held {
            held.elements.insert(ADDRESSES, wanted);
        }
        Ok(!plan.is_empty())
    }

    /// Whether the bridge's ports are guarded, its own chains read back. The others are where
    /// somebody may have changed them.
    pub fn guards(&mut self, bridge: &str) -> Result<bool> {
        if self.held.is_none() {
            return Ok(self.read()?.contains(bridge));
        }
        for chain in network_chains(bridge) {
            let rules = read_rules(&mut self.socket, &self.table, Some(&chain.name))?;
            if rules_of(&rules, &chain.name) != chain.rules {
                return Ok(false);
            }
        }
        Ok(true)
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
        self.held = None;
        delete_table(&mut self.socket, &self.table)
    }

    fn hold_once(&mut self, networks: &[GuardNetwork], ports: &[GuardPort]) -> Result<bool> {
        // Whatever fails from here on leaves a table that has to be read.
        let held = match self.held.take() {
            None if self.socket.get(&self.table.get())?.is_none() => Some(Held::default()),
            held => held,
        };
        let held = held.as_ref();
        let mut wanted: Vec<Chain> = base_chains().into();
        wanted.extend(networks.iter().flat_map(|n| network_chains(&n.bridge)));
        let (chains, right) = self.chains(held, &wanted)?;
        let mut plan = Vec::new();
        if !wanted.iter().all(|chain| right.contains(&chain.name)) {
            plan.push(self.table.add());
            let own = networks.iter().flat_map(|n| network_sets(&n.bridge));
            let all = sets().map(|(name, layout)| (name.to_owned(), layout));
            for (id, (name, layout)) in all.into_iter().chain(own).enumerate() {
                plan.push(self.table.add_set_of(&name, id as u32 + 1, &layout));
            }
            plan.extend(wanted.iter().map(|chain| self.table.add_chain(chain)));
            for chain in wanted.iter().filter(|chain| !right.contains(&chain.name)) {
                plan_rules(&self.table, chain, chains.contains(&chain.name), &mut plan);
            }
        }
        for network in networks {
            let before = held.map(|held| held.network(&network.bridge).map(known_keys));
            for (set, wanted) in known_keys(network) {
                let there = match &before {
                    Some(known) => known
                        .as_ref()
                        .and_then(|known| known.get(&set).cloned())
                        .unwrap_or_default(),
                    None => self.read_elements(&set)?,
                };
                plan.extend(self.plan_elements(&set, &there, &wanted));
            }
        }
        let mut elements = elements_of(ports);
        elements.extend(groups_of(networks));
        self.plan_forgetting(held, networks, ports, &mut plan)?;
        for set in [GUARDED, BRIDGED, MACS, CHADDRS, ADDRESSES, SOURCE, TARGET] {
            let there = self.elements(held, set)?;
            let wanted = elements.entry(set).or_default();
            plan.extend(self.plan_elements(set, &there, wanted));
        }
        // Networks that are no more: their groups' elements went just now.
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
        self.held = Some(Held {
            made: true,
            networks: networks.to_vec(),
            ports: (ports.iter())
                .map(|port| (port.ifindex, port.bridge.clone()))
                .collect(),
            elements,
        });
        Ok(!plan.is_empty())
    }

    /// The chains that are there, and which of those wanted are right.
    fn chains(
        &mut self,
        held: Option<&Held>,
        wanted: &[Chain],
    ) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        if let Some(held) = held {
            let chains = held.chains();
            return Ok((chains.clone(), chains));
        }
        let chains = read_chains(&mut self.socket, &self.table)?;
        let rules = match chains.is_empty() {
            true => BTreeMap::new(),
            false => read_rules(&mut self.socket, &self.table, None)?,
        };
        let right = wanted.iter().filter(|chain| {
            chains.contains(&chain.name) && rules_of(&rules, &chain.name) == chain.rules
        });
        let right = right.map(|chain| chain.name.clone()).collect();
        Ok((chains, right))
    }

    /// Plans to forget which IPv6 addresses ports had that are no more, so that they are free.
    fn plan_forgetting(
        &mut self,
        held: Option<&Held>,
        networks: &[GuardNetwork],
        ports: &[GuardPort],
        plan: &mut Vec<Message>,
    ) -> Result<()> {
        let bridge_of: BTreeMap<u32, &str> = ports
            .iter()
            .map(|port| (port.ifindex, port.bridge.as_str()))
            .collect();
        // Only networks that lost a port have something to forget.
        let lost = held.map(|held| held.lost(&bridge_of));
        if lost.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(());
        }
        let networks = networks.iter().filter(|n| {
            lost.as_ref()
                .is_none_or(|lost| lost.contains(n.bridge.as_str()))
        });
        // A packet writes its network's set first: read in that order, no owner is missed.
        let mut taken = Vec::new();
        for network in networks {
            for (set, of) in [
                (sources_set(&network.bridge), SOURCES),
                (targets_set(&network.bridge), TARGETS),
            ] {
                taken.push((network, of, self.read_elements(&set)?, set));
            }
        }
        let mut owned: BTreeSet<(&str, &str, Vec<u8>)> = BTreeSet::new();
        for set in [SOURCES, TARGETS, NEWCOMERS] {
            let mut stale = Vec::new();
            for (key, ..) in self.read_elements(set)? {
                match port_of(&key).and_then(|port| bridge_of.get(&port)) {
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

    fn plan_elements(&self, set: &str, there: &[Key], wanted: &[Key]) -> Vec<Message> {
        let missing = |of: &[Key], among: &[Key]| -> Vec<Key> {
            let among: BTreeSet<&Key> = among.iter().collect();
            of.iter()
                .filter(|key| !among.contains(key))
                .cloned()
                .collect()
        };
        let mut plan = self.changes(set, false, &missing(there, wanted));
        plan.extend(self.changes(set, true, &missing(wanted, there)));
        plan
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

    fn elements(&mut self, held: Option<&Held>, set: &str) -> Result<Vec<Key>> {
        match held {
            Some(held) => Ok(held.elements.get(set).cloned().unwrap_or_default()),
            None => self.read_elements(set),
        }
    }

    fn read_elements(&mut self, set: &str) -> Result<Vec<Key>> {
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

impl Held {
    fn chains(&self) -> BTreeSet<String> {
        if !self.made {
            return BTreeSet::new();
        }
        let own = self.networks.iter().flat_map(|n| network_chains(&n.bridge));
        let chains = base_chains().into_iter().chain(own);
        chains.map(|chain| chain.name).collect()
    }

    fn network(&self, bridge: &str) -> Option<&GuardNetwork> {
        self.networks.iter().find(|n| n.bridge == bridge)
    }

    /// The bridges of those ports that are not among these.
    fn lost(&self, ports: &BTreeMap<u32, &str>) -> BTreeSet<&str> {
        let held = self.ports.iter();
        held.filter(|(port, _)| !ports.contains_key(port))
            .map(|(_, bridge)| bridge.as_str())
            .collect()
    }
}

/// Keys begin with the port.
fn port_of(key: &[u8]) -> Option<u32> {
    key.first_chunk().copied().map(u32::from_ne_bytes)
}

/// What these ports are in each set. Parts of a key fill up to four bytes.
fn elements_of(ports: &[GuardPort]) -> Elements {
    let mut elements = Elements::new();
    for port in ports {
        let number = port.ifindex.to_ne_bytes();
        let with_mac = [number.as_slice(), &port.mac, &[0, 0]].concat();
        let mut put = |set, key| elements.entry(set).or_default().push((key, false, None));
        put(GUARDED, number.to_vec());
        if port.bridged {
            put(BRIDGED, number.to_vec());
        }
        put(MACS, with_mac.clone());
        put(CHADDRS, with_mac.clone());
        let addresses: BTreeSet<&Ipv4Addr> = port.addresses.iter().collect();
        for address in addresses {
            let key = [with_mac.as_slice(), &address.octets()].concat();
            put(ADDRESSES, key);
        }
    }
    elements
}

/// What these networks are in the maps.
fn groups_of(networks: &[GuardNetwork]) -> Elements {
    let map = |chain: fn(&str) -> String| {
        let elements = networks.iter().map(|network| {
            let group = network.group.to_ne_bytes().to_vec();
            (group, false, Some(chain(&network.bridge)))
        });
        elements.collect()
    };
    Elements::from([(SOURCE, map(source_chain)), (TARGET, map(target_chain))])
}

/// What a network's own sets hold, but for what packets put into them.
fn known_keys(network: &GuardNetwork) -> BTreeMap<String, Vec<Key>> {
    let hosts = network.hosts.iter();
    let hosts: Vec<Key> = hosts
        .map(|own| (own.octets().into(), false, None))
        .collect();
    let prefixes = prefix_keys(&network.prefixes);
    BTreeMap::from([
        (source_prefixes_set(&network.bridge), prefixes.clone()),
        (target_prefixes_set(&network.bridge), prefixes),
        (host_sources_set(&network.bridge), hosts.clone()),
        (host_targets_set(&network.bridge), hosts),
    ])
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
