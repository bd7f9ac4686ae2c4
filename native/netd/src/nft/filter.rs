// SPDX-License-Identifier: Apache-2.0
//! The filter: one nf_tables table for each uid and scope, written over netlink.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use tapyard_protocol::{Exposure, Mode, RecipeStep};

use super::element::{self, Element};
use super::message::{self, Table};
use super::network::{NetworkRules, elements_of};
use super::ruleset::{
    self, ADDRESSED, BRIDGE_ADDRESSES, BRIDGE_ADDRESSES6, Chain, DRAINING, EXPOSED, NAT_OFF,
    NAT_SOURCES, NAT_SOURCES6, OPENED, OPENED6, ROUTER, SETS, SWITCHED, SetKind, UPLINKS, UPLINKS6,
};
use super::socket::{Message, Socket};
use super::state::FilterState;
use super::table::{Rules, delete_table, plan_rules, read_chains, read_rules, rules_of};
use super::{Result, addresses};
use crate::acts::deed;

/// One nf_tables table and the netlink socket that changes it.
///
/// Each changing call reads what is there, decides, and makes one netlink transaction of what is
/// missing: all of it happens or none, and doing it twice is doing it once.
#[derive(Debug)]
pub struct Filter {
    pub(super) table: Table,
    pub(super) socket: Socket,
}

impl Filter {
    /// Opens the netlink socket in the calling thread's network namespace. Changes nothing.
    pub fn open(table: &str) -> Result<Filter> {
        Ok(Filter {
            table: Table {
                family: message::INET,
                name: table.to_owned(),
            },
            socket: Socket::open()?,
        })
    }

    /// The port by which nf_tables' notifications name our own changes. The kernel gives it with
    /// the first message that is sent.
    pub fn port(&self) -> Result<u32> {
        self.socket.port()
    }

    /// Makes the table with its sets, maps and base chains, where they are missing.
    pub fn ensure(&mut self) -> Result<()> {
        let chains = self.chains()?;
        let rules = if chains.is_empty() {
            BTreeMap::new()
        } else {
            self.rules(None)?
        };
        let wanted = ruleset::base_chains();
        let right = |chain: &Chain| {
            chains.contains(&chain.name) && rules_of(&rules, &chain.name) == chain.rules
        };
        if wanted.iter().all(right) {
            return Ok(());
        }
        let mut plan = vec![self.table.add()];
        plan.extend(
            SETS.iter()
                .map(|(name, kind)| self.table.add_set(name, *kind)),
        );
        plan.extend(wanted.iter().map(|chain| self.table.add_chain(chain)));
        for chain in wanted.iter().filter(|chain| !right(chain)) {
            plan_rules(&self.table, chain, chains.contains(&chain.name), &mut plan);
        }
        self.commit("made the table of the filter", &plan)
    }

    /// Adds a network's chains and elements, or makes them as given. Needs [`Filter::ensure`].
    pub fn add_network(&mut self, network: &NetworkRules<'_>) -> Result<()> {
        let mut plan = Vec::new();
        let before = self.source_of(network.bridge)?;
        let before6 = self.source6_of(network.bridge)?;
        for chain in ruleset::network_chains(network) {
            let rules = self.rules(Some(&chain.name))?;
            if rules_of(&rules, &chain.name) != chain.rules {
                plan.push(self.table.add_chain(&chain));
                plan_rules(&self.table, &chain, true, &mut plan);
            }
        }
        if let Some(before) = before.filter(|before| Some(*before) != network.subnet) {
            self.plan_element(NAT_SOURCES, &Element::Subnet(before), false, &mut plan)?;
        }
        for (set, element) in elements_of(network.bridge) {
            self.plan_element(set, &element, true, &mut plan)?;
        }
        if let Some(before) = before6.filter(|before| Some(*before) != network.subnet6) {
            self.plan_element(NAT_SOURCES6, &Element::Subnet6(before), false, &mut plan)?;
        }
        if let Some(source) = network.subnet6.map(Element::Subnet6) {
            self.plan_element(NAT_SOURCES6, &source, network.mode == Mode::Nat, &mut plan)?;
        }
        if let Some(source) = network.subnet.map(Element::Subnet) {
            self.plan_element(NAT_SOURCES, &source, network.mode == Mode::Nat, &mut plan)?;
        }
        let own = Element::Interface(network.bridge.to_owned());
        self.plan_element(ADDRESSED, &own, network.subnet.is_some(), &mut plan)?;
        self.plan_element(NAT_OFF, &own, network.is_off(), &mut plan)?;
        self.commit(&format!("set up the filter of {}", network.bridge), &plan)
    }

    /// Removes what [`Filter::add_network`] added; fine if it is not there.
    pub fn remove_network(&mut self, bridge: &str, subnet: Option<Ipv4Net>) -> Result<()> {
        let mut plan = Vec::new();
        for (set, element) in elements_of(bridge) {
            self.plan_element(set, &element, false, &mut plan)?;
        }
        if let Some(own) = subnet.map(Element::Subnet) {
            self.plan_element(NAT_SOURCES, &own, false, &mut plan)?;
        }
        if let Some(other) = self.source6_of(bridge)? {
            self.plan_element(NAT_SOURCES6, &Element::Subnet6(other), false, &mut plan)?;
        }
        if let Some(other) = self
            .source_of(bridge)?
            .filter(|other| Some(*other) != subnet)
        {
            self.plan_element(NAT_SOURCES, &Element::Subnet(other), false, &mut plan)?;
        }
        let own = Element::Interface(bridge.to_owned());
        self.plan_element(ADDRESSED, &own, false, &mut plan)?;
        self.plan_element(NAT_OFF, &own, false, &mut plan)?;
        let chains = self.chains()?;
        for chain in [ruleset::out_chain(bridge), ruleset::in_chain(bridge)] {
            if chains.contains(&chain) {
                plan.push(self.table.flush_chain(&chain));
                plan.push(self.table.delete_chain(&chain));
            }
        }
        self.commit(&format!("removed the filter of {bridge}"), &plan)
    }

    /// Switches a network's way out; true when that changed something. What is under way to the guests
    /// when it is shut still arrives.
    pub fn set_nat(&mut self, bridge: &str, nat: bool) -> Result<bool> {
        let mut plan = Vec::new();
        self.plan_element(
            NAT_OFF,
            &Element::Interface(bridge.to_owned()),
            !nat,
            &mut plan,
        )?;
        if !nat && !plan.is_empty() {
            let draining = Element::Draining(bridge.to_owned());
            plan.insert(0, self.table.add_element(DRAINING, &draining));
        }
        let state = if nat { "on" } else { "off" };
        self.commit(&format!("switched NAT of {bridge} {state}"), &plan)?;
        Ok(!plan.is_empty())
    }

    /// Makes the set `uplinks` hold exactly these interfaces.
    pub fn set_uplinks(&mut self, names: &[String]) -> Result<()> {
        let what = match names {
            [] => "told the filter that nothing leads out".to_owned(),
            names => format!("told the filter that {} leads out", names.join(", ")),
        };
        self.set_interfaces(UPLINKS, names, &what)
    }

    /// Makes the set `uplinks6` hold exactly these interfaces.
    pub fn set_uplinks6(&mut self, names: &[String]) -> Result<()> {
        let what = match names {
            [] => "told the filter that nothing leads IPv6 out".to_owned(),
            names => format!("told the filter that {} leads IPv6 out", names.join(", ")),
        };
        self.set_interfaces(UPLINKS6, names, &what)
    }

    /// Makes the set `opened6` hold exactly these interfaces.
    pub fn set_opened6(&mut self, names: &[String]) -> Result<()> {
        self.set_interfaces(OPENED6, names, &guarding(names, "IPv6"))
    }

    /// Makes the set `router` hold IPv6, or nothing.
    pub fn set_router6(&mut self, on: bool) -> Result<()> {
        let (wanted, what) = match on {
            true => (
                vec![Element::Family(libc::NFPROTO_IPV6 as u8)],
                "told the filter to drop all IPv6 that would be forwarded and is not a lab's",
            ),
            false => (
                Vec::new(),
                "told the filter that this computer forwards no IPv6 for labs alone",
            ),
        };
        self.set_elements(ROUTER, SetKind::Families, wanted, what)
    }

    /// Makes the set `switched` hold exactly these bridges.
    pub fn set_switched(&mut self, names: &[String]) -> Result<()> {
        let wanted = names.iter().cloned().map(Element::Pair).collect();
        let what = "told the filter which bridges switch between their ports";
        self.set_elements(SWITCHED, SetKind::Pairs, wanted, what)
    }

    /// Makes the set `opened` hold exactly these interfaces.
    pub fn set_opened(&mut self, names: &[String]) -> Result<()> {
        self.set_interfaces(OPENED, names, &guarding(names, "IPv4"))
    }

    /// Makes the sets `bridge_addresses` hold exactly these.
    pub fn set_bridge_addresses(&mut self, addresses: &[IpAddr]) -> Result<()> {
        let all: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let what = match all.as_slice() {
            [] => "told the filter that no bridge has an address".to_owned(),
            all => format!(
                "told the filter to keep {} for bridges alone",
                all.join(", ")
            ),
        };
        let of = |family: fn(&IpAddr) -> bool| {
            let addresses = addresses.iter().copied().filter(family);
            addresses.map(Element::Address).collect::<Vec<_>>()
        };
        let (ipv4, ipv6) = (of(IpAddr::is_ipv4), of(IpAddr::is_ipv6));
        let mut plan = self.plan_elements(BRIDGE_ADDRESSES, SetKind::Addresses, &ipv4)?;
        plan.extend(self.plan_elements(BRIDGE_ADDRESSES6, SetKind::Addresses6, &ipv6)?);
        self.commit(&what, &plan)
    }

    /// Makes the map `exposed` hold exactly these ports.
    pub fn set_exposed(&mut self, exposed: &[Exposure]) -> Result<()> {
        let wanted = exposed.iter().copied().map(Element::Service).collect();
        let what = match exposed {
            [] => "let no port lead to a guest".to_owned(),
            ports => format!(
                "let {} lead to guests",
                ports
                    .iter()
                    .map(Exposure::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        self.set_elements(EXPOSED, SetKind::Services, wanted, &what)
    }

    /// Removes the whole table; fine if it is not there. True when it was.
    pub fn delete(&mut self) -> Result<bool> {
        let deleted = delete_table(&mut self.socket, &self.table);
        if matches!(deleted, Ok(false)) {
            return deleted;
        }
        deed("removed the table of the filter")
            .command(format!("nft delete table inet {}", self.table.name))
            .told(deleted)
    }

    /// Reads the table back; an absent table is an empty state.
    pub fn read(&mut self) -> Result<FilterState> {
        if self.socket.get(&self.table.get())?.is_none() {
            return Ok(FilterState::default());
        }
        let rules = self.rules(None)?;
        let mut sets = BTreeMap::new();
        for (set, kind) in SETS {
            let elements = self.elements(set, kind)?;
            if !elements.is_empty() {
                sets.insert(set, elements);
            }
        }
        Ok(FilterState { sets, rules })
    }

    /// Reads one network back, and the ports that lead to guests; what the answer says of other
    /// networks has no meaning.
    pub fn read_network(&mut self, network: &NetworkRules<'_>) -> Result<FilterState> {
        let mut state = FilterState::default();
        for chain in ruleset::network_chains(network) {
            state.rules.append(&mut self.rules(Some(&chain.name))?);
        }
        let mut elements = elements_of(network.bridge).to_vec();
        let own = Element::Interface(network.bridge.to_owned());
        elements.extend([(ADDRESSED, own.clone()), (NAT_OFF, own)]);
        elements.extend(network.subnet.map(|s| (NAT_SOURCES, Element::Subnet(s))));
        elements.extend(network.subnet6.map(|s| (NAT_SOURCES6, Element::Subnet6(s))));
        for (set, element) in elements {
            if self.holds(set, &element)? {
                state.sets.entry(set).or_default().push(element);
            }
        }
        let exposed = self.elements(EXPOSED, SetKind::Services)?;
        state.sets.insert(EXPOSED, exposed);
        Ok(state)
    }

    fn set_interfaces(&mut self, set: &str, names: &[String], what: &str) -> Result<()> {
        let wanted = names.iter().cloned().map(Element::Interface).collect();
        self.set_elements(set, SetKind::Interfaces, wanted, what)
    }

    fn set_elements(
        &mut self,
        set: &str,
        kind: SetKind,
        wanted: Vec<Element>,
        what: &str,
    ) -> Result<()> {
        let plan = self.plan_elements(set, kind, &wanted)?;
        self.commit(what, &plan)
    }

    /// Plans to have exactly these elements in the set.
    fn plan_elements(
        &mut self,
        set: &str,
        kind: SetKind,
        wanted: &[Element],
    ) -> Result<Vec<Message>> {
        let there = self.elements(set, kind)?;
        let gone = there.iter().filter(|e| !wanted.contains(e));
        let new = wanted.iter().filter(|e| !there.contains(e));
        Ok(gone
            .map(|e| self.table.delete_element(set, e))
            .chain(new.map(|e| self.table.add_element(set, e)))
            .collect())
    }

    /// All of the plan or nothing, and told.
    fn commit(&mut self, what: &str, plan: &[Message]) -> Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        let done = self.socket.commit(plan);
        tell(what, plan, done)
    }

    /// Plans to have the element in the set, or not to have it.
    fn plan_element(
        &mut self,
        set: &str,
        element: &Element,
        wanted: bool,
        plan: &mut Vec<Message>,
    ) -> Result<()> {
        let there = self.holds(set, element)?;
        if wanted && !there {
            plan.push(self.table.add_element(set, element));
        } else if !wanted && there {
            plan.push(self.table.delete_element(set, element));
        }
        Ok(())
    }

    /// Asks for the one element, so that it takes no longer in a set of many networks. Of subnets
    /// it looks at all: the kernel answers for an interval with whichever surrounds it.
    fn holds(&mut self, set: &str, element: &Element) -> Result<bool> {
        let kind = SETS
            .iter()
            .find(|(name, _)| *name == set)
            .map_or(SetKind::Interfaces, |(_, kind)| *kind);
        let key = match element {
            Element::Interface(name)
            | Element::Jump {
                interface: name, ..
            } => Element::Interface(name.clone()),
            Element::Family(_)
            | Element::Draining(_)
            | Element::Subnet(_)
            | Element::Subnet6(_)
            | Element::Pair(_)
            | Element::Address(_)
            | Element::Service(_) => {
                return Ok(self.elements(set, kind)?.contains(element));
            }
        };
        let found = self.socket.get(&self.table.get_element(set, &key))?;
        let found: Vec<Vec<u8>> = found.into_iter().collect();
        Ok(element::decode_elements(&found, kind).contains(element))
    }

    fn chains(&mut self) -> Result<BTreeSet<String>> {
        read_chains(&mut self.socket, &self.table)
    }

    fn rules(&mut self, chain: Option<&str>) -> Result<Rules> {
        read_rules(&mut self.socket, &self.table, chain)
    }

    fn elements(&mut self, set: &str, kind: SetKind) -> Result<Vec<Element>> {
        let dump = self.socket.dump(&self.table.dump_elements(set))?;
        Ok(element::decode_elements(&dump, kind))
    }

    /// The IPv6 subnet that the bridge's chain lets out now.
    fn source6_of(&mut self, bridge: &str) -> Result<Option<Ipv6Net>> {
        let chain = ruleset::out_chain(bridge);
        let rules = self.rules(Some(&chain))?;
        let mut found = rules_of(&rules, &chain).iter();
        Ok(found.find_map(|rule| addresses::find_source6(rule)))
    }

    /// The subnet that the bridge's chain lets out now.
    fn source_of(&mut self, bridge: &str) -> Result<Option<Ipv4Net>> {
        let chain = ruleset::out_chain(bridge);
        let rules = self.rules(Some(&chain))?;
        let mut found = rules_of(&rules, &chain).iter();
        Ok(found.find_map(|rule| addresses::find_source(rule)))
    }
}

/// What the sets `opened` are for, for people.
fn guarding(names: &[String], family: &str) -> String {
    match names {
        [] => format!("told the filter that no interface forwards {family} for labs alone"),
        names => {
            let names = names.join(", ");
            format!("told the filter to drop what else {names} would forward of {family}")
        }
    }
}

/// Tells a transaction. One that writes rules is long, and the recipe has it.
fn tell(what: &str, plan: &[Message], done: Result<()>) -> Result<()> {
    let deed = deed(what);
    let deed = match plan.iter().any(Message::is_rule) {
        true => deed.recipe(RecipeStep::Filter),
        false => {
            let lines = plan.iter().map(|message| {
                // Braces and quotes are the shell's as well.
                match message.operation.split_once(" { ") {
                    Some((words, element)) => format!("nft {words} '{{ {element}'"),
                    None => format!("nft {}", message.operation),
                }
            });
            deed.command(lines.collect::<Vec<_>>().join("\n"))
        }
    };
    deed.told(done)
}
