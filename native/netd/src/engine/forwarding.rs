// SPDX-License-Identifier: Apache-2.0
//! The filter and forwarding, held as the journal wants them.
//!
//! The filter always comes first: no interface forwards before the drops are in place, and it
//! stops forwarding before they go.

use super::Engine;
use super::expose::wanted_exposed;
use super::opened::{switch, switch6};
use crate::acts::deed;
use crate::journal::{Recorded, State, bridge_addresses};
use crate::nft::{FilterState, NetworkRules};
use crate::rtnl::{Counters, LinkInfo};
use crate::sysctl;
use std::io;
use std::net::IpAddr;
use tapyard_protocol::{Error, NetworkSpec, Result, Scope, Subnet, Subnet6};

impl Engine {
    /// Lets the lab's own namespace tell each packet of a stream by a shut way out that it has no route,
    /// and not one a second: what is not told waits longer. The host's limit is the host's.
    pub(super) fn lift_icmp_limits(&self) {
        for limit in sysctl::ICMP_LIMITS {
            match sysctl::set_limit(limit, 0) {
                Ok(false) => {}
                Ok(true) => deed("lifted a limit of ICMP errors in the lab's namespace")
                    .command(format!("echo 0 > {limit}"))
                    .done(),
                Err(error) => eprintln!("write {limit}: {error}"),
            }
        }
    }

    /// Whether a network sends IPv6 out.
    pub(super) fn sends_ipv6(&self) -> bool {
        let mut networks = self.journal.state().networks.values();
        networks.any(|n| !n.removing && n.spec.ipv6.is_some() && n.spec.mode.forwards())
    }

    /// The bridges that are not ours and of which the filter would drop what one port sends another:
    /// br_netfilter shows it that as forwarded, by interfaces that netd made forward.
    fn foreign_switches(&mut self) -> Result<Vec<String>> {
        if !sysctl::bridged_are_shown() {
            return Ok(Vec::new());
        }
        let state = self.journal.state();
        if state.router6 {
            return Ok(bridges(&self.rtnl.links(Counters::Skip)?));
        }
        let opened = state.opened.iter().chain(&state.opened6);
        let mut foreign = Vec::new();
        for device in opened {
            foreign.extend(self.rtnl.link_named(device)?);
        }
        Ok(bridges(&foreign))
    }

    /// Makes the filter say what the journal does. True when it did not. Networks in our table
    /// that the journal does not know are left alone.
    pub(super) fn hold_filter(&mut self) -> Result<bool> {
        let foreign = self.foreign_switches()?;
        let state = self.journal.state();
        let networks = state.networks.values().filter(|n| !n.removing);
        let networks: Vec<_> = networks.filter_map(|n| rules_of(&n.spec)).collect();
        if networks.is_empty() {
            return Ok(false);
        }
        let uplinks: Vec<String> = self.uplink.state().device.into_iter().collect();
        let uplinks6: Vec<String> = self.uplink6().device.into_iter().collect();
        let found = self.filter.read()?;
        let wrong: Vec<_> = networks
            .iter()
            .filter(|rules| !found.holds(rules) || found.nat(rules.bridge) == rules.is_off())
            .collect();
        let uplinks_right = found.uplinks() == uplinks;
        let uplinks6_right = found.uplinks6() == uplinks6;
        let opened_right = found.opened() == state.opened;
        let opened6_right = found.opened6() == state.opened6;
        let router6_right = found.router6() == state.router6;
        let addresses = bridge_addresses_of(state);
        let addresses_right = found.bridge_addresses() == addresses;
        let exposed = self
            .reserved
            .hold(&wanted_exposed(state, &self.uplink.state()));
        let exposed_right = found.exposed() == exposed;
        let sets_right = uplinks_right && uplinks6_right && opened_right && opened6_right;
        let own = networks.iter().map(|rules| rules.bridge);
        let mut switched: Vec<String> = (own.chain(found.bridges()).map(str::to_owned))
            .chain(foreign)
            .collect();
        switched.sort();
        switched.dedup();
        let switched_right = found.switched() == switched;
        let sets_right = sets_right && router6_right && switched_right;
        let base_right = found.has_base();
        if base_right && wrong.is_empty() && sets_right && addresses_right && exposed_right {
            return Ok(false);
        }
        self.filter.ensure()?;
        // Before `opened`, which drops what is not let be.
        if !switched_right {
            self.filter.set_switched(&switched)?;
        }
        if !uplinks_right {
            self.filter.set_uplinks(&uplinks)?;
        }
        if !uplinks6_right {
            self.filter.set_uplinks6(&uplinks6)?;
        }
        if !opened_right {
            self.filter.set_opened(&state.opened)?;
        }
        if !opened6_right {
            self.filter.set_opened6(&state.opened6)?;
        }
        if !addresses_right {
            self.filter.set_bridge_addresses(&addresses)?;
        }
        for rules in wrong {
            self.filter.add_network(rules)?;
        }
        if !router6_right {
            self.filter.set_router6(state.router6)?;
        }
        if !exposed_right {
            self.set_exposed(&found, &exposed)?;
        }
        Ok(true)
    }

    /// Switches forwarding as each mode has it: of our bridges (a new one has the machine's
    /// default), and of the uplink where it is `opened`. True when something was otherwise. A
    /// bridge that is not there is no error; that is told elsewhere.
    pub(super) fn hold_forwarding(&mut self) -> Result<bool> {
        let mut changed = self.hold_forwarding6()?;
        for (device, wanted) in self.forwards() {
            match sysctl::forwarding(device) {
                Ok(on) if on == wanted => {}
                Ok(_) => {
                    switch(device, wanted).map_err(|e| {
                        let to = if wanted { "on" } else { "off" };
                        Error::kernel(format!("switch forwarding of {device} {to}"), &e)
                            .subject(device)
                    })?;
                    changed = true;
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    let what = format!("read forwarding of {device}");
                    return Err(Error::kernel(what, &e).subject(device));
                }
            }
        }
        Ok(changed)
    }

    fn hold_forwarding6(&mut self) -> Result<bool> {
        // The lab's own namespace, in which nobody else can be made a router, and of any kernel.
        if self.config.identity.scope == Scope::Private {
            let wanted = self.sends_ipv6();
            if sysctl::is_router6() == wanted {
                return Ok(false);
            }
            return match router6(wanted) {
                // A kernel without IPv6.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
                Err(e) => Err(Error::kernel(
                    "switch IPv6 forwarding of the lab's namespace",
                    &e,
                )),
                Ok(()) => Ok(true),
            };
        }
        let mut changed = self.hold_router6()?;
        let state = self.journal.state();
        let networks = state.networks.values().filter(|n| !n.removing);
        let ours = networks.filter(|network| network.spec.has_own_bridge());
        let bridges = ours.map(|Recorded { spec, .. }| {
            let on = spec.ipv6.is_some() && spec.mode.forwards();
            (&*spec.name, on)
        });
        let opened = state.opened6.iter().map(|device| (device.as_str(), true));
        for (device, wanted) in bridges.chain(opened) {
            // An older kernel has no such file, a bridge may be gone: neither is told here.
            if sysctl::forwarding6(device).is_ok_and(|on| on != wanted) {
                switch6(device, wanted).map_err(|e| {
                    Error::kernel(format!("switch IPv6 forwarding of {device}"), &e).subject(device)
                })?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// The interfaces whose IPv4 forwarding is as netd wants it, with what it wants.
    fn forwards(&self) -> impl Iterator<Item = (&str, bool)> {
        let state = self.journal.state();
        let networks = state.networks.values().filter(|n| !n.removing);
        let ours = networks.filter(|network| network.spec.has_own_bridge());
        let bridges = ours.map(|Recorded { spec, .. }| (&*spec.name, spec.mode.forwards()));
        let opened = state.opened.iter().map(|device| (device.as_str(), true));
        bridges.chain(opened)
    }

    /// Holds everything after somebody switched IPv4 forwarding. Most often it was netd, or an interface
    /// came: then what forwards is as it should be, and no table is read.
    pub(super) fn hold_forwards(&mut self) -> Result<bool> {
        let plan = |state: &State| (state.opened.clone(), state.opened6.clone(), state.router6);
        let before = plan(self.journal.state());
        self.plan_uplink()?;
        let as_planned = before == plan(self.journal.state());
        let held = self
            .forwards()
            .all(|(device, wanted)| match sysctl::forwarding(device) {
                Ok(on) => on == wanted,
                // It went; that is told elsewhere.
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            });
        if as_planned && held {
            return Ok(false);
        }
        self.hold_all()
    }

    /// Holds everything after something changed it, the uplink or somebody else. True when
    /// something was not as it should be.
    pub(super) fn hold_all(&mut self) -> Result<bool> {
        self.plan_uplink()?;
        let rules = self.hold_rules()?;
        let forwarding = self.hold_forwarding()?;
        let doors = self.hold_doors(None);
        let shapes = self.hold_shapes()?;
        let proxies = self.hold_proxies()?;
        Ok(rules || forwarding || doors || shapes || proxies)
    }

    /// Holds both of our tables.
    pub(super) fn hold_rules(&mut self) -> Result<bool> {
        let filter = self.hold_filter()?;
        self.pause_unused();
        let guard = self.hold_guard()?;
        Ok(filter || guard)
    }

    /// What our table holds; nothing where it cannot be read, which is logged.
    pub(super) fn read_filter(&mut self) -> FilterState {
        self.filter.read().unwrap_or_else(|e| {
            eprintln!("read the filter: {e}");
            FilterState::default()
        })
    }
}

fn router6(on: bool) -> io::Result<()> {
    let (state, value) = if on { ("on", 1) } else { ("off", 0) };
    deed(format!(
        "switched IPv6 forwarding of the lab's namespace {state}"
    ))
    .command(format!(
        "echo {value} > /proc/sys/net/ipv6/conf/all/forwarding"
    ))
    .told(sysctl::set_router6(on))
}

/// The names of all bridges of the machine.
fn bridges(links: &[LinkInfo]) -> Vec<String> {
    let bridges = links.iter().filter(|link| link.kind == "bridge");
    bridges.map(|link| link.name.clone()).collect()
}

/// The addresses of all bridges, sorted.
fn bridge_addresses_of(state: &State) -> Vec<IpAddr> {
    let networks = state.networks.values().filter(|n| !n.removing);
    let addresses = networks.flat_map(|network| bridge_addresses(&network.spec));
    let mut addresses: Vec<IpAddr> = addresses.map(|net| net.addr()).collect();
    addresses.sort();
    addresses
}

/// What the filter is to let pass of a network; none where it has no bridge of its own: what goes
/// over somebody else's is theirs to filter.
pub(super) fn rules_of(spec: &NetworkSpec) -> Option<NetworkRules<'_>> {
    spec.has_own_bridge().then(|| NetworkRules {
        bridge: &spec.name,
        subnet: spec.subnet.map(Subnet::net),
        subnet6: spec.ipv6.map(Subnet6::net),
        mode: spec.mode,
        nat: spec.nat,
    })
}
