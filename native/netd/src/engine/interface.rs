// SPDX-License-Identifier: Apache-2.0
//! Bridged networks on an interface of the host's: one that the host has no use for becomes a port
//! of the network's own bridge, and is given back as it was found. The host itself is not on the
//! network behind it: the bridge has no address, no IPv6, answers no ARP and forwards nothing.

use super::bridged::{ONE_MAC, bridge_by_network_manager, is_wireless};
use super::{Engine, label};
use crate::acts::{self, deed};
use crate::journal::{Entry, Found, Recorded};
use crate::rtnl::{Address, AddressFamily, Counters, LinkChange, LinkInfo, Route};
use crate::sysctl;
use ipnet::IpNet;
use rustix::io::Errno;
use tapyard_protocol::{Code, Error, LabName, NetworkSpec, Result};

/// Kinds of interfaces that carry a network of somebody's, as a cable does; "" are the physical ones.
const KINDS: [&str; 3] = ["", "veth", "vlan"];

/// IFALIASZ without its last byte, which is zero.
const ALIAS_MOST: usize = 255;

/// What tells whether the host has a use for an interface.
struct Facts {
    links: Vec<LinkInfo>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// The interfaces that programs have packet sockets on, as DHCP clients do.
    listened: Vec<u32>,
    /// The interfaces that PPPoE sessions of the kernel's go over, by name.
    dialled: Vec<String>,
}

impl Engine {
    /// That an interface is there for a bridged network and the host has no use for it, or that the
    /// network has it already: `NO_SUCH_INTERFACE`, `WIFI_CANNOT_BRIDGE`, `INTERFACE_IN_USE`.
    pub(super) fn check_interface(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<()> {
        let Some(interface) = spec.interface.as_deref() else {
            return Ok(());
        };
        let link = self.interface(spec, interface)?;
        let bridge = self.rtnl.link_named(&spec.name)?;
        let bridge = bridge.filter(|bridge| self.is_our_bridge(bridge, lab, spec));
        match bridge {
            Some(bridge) if link.master == Some(bridge.ifindex) => Ok(()),
            _ => self.check_unused(lab, spec, &link),
        }
    }

    fn interface(&mut self, spec: &NetworkSpec, interface: &str) -> Result<LinkInfo> {
        let link = self.rtnl.link_named(interface)?;
        link.ok_or_else(|| {
            let why = "there is no such interface";
            cannot(Code::NoSuchInterface, spec, interface, why).hint("What there is: ip -br link")
        })
    }

    fn check_unused(&mut self, lab: &LabName, spec: &NetworkSpec, link: &LinkInfo) -> Result<()> {
        let interface = link.name.as_str();
        if is_wireless(interface) {
            let why = "it is Wi-Fi, and an access point takes from a station only frames with the \
                       station's own MAC address";
            return Err(
                cannot(Code::WifiCannotBridge, spec, interface, why).hint(format!(
                    "{ONE_MAC}, or an interface with a cable: ip -br link"
                )),
            );
        }
        let own = label::bridge(self.config.identity.label_uid, lab, &spec.name);
        let facts = Facts {
            links: self.rtnl.links(Counters::Skip)?,
            addresses: self.rtnl.addresses(AddressFamily::Any)?,
            routes: self.rtnl.routes(AddressFamily::Any)?,
            listened: listened(&table("/proc/net/packet")?),
            dialled: dialled(&table("/proc/net/pppoe")?),
        };
        match use_of(link, &own, &facts) {
            None => Ok(()),
            Some((why, hint)) => {
                Err(cannot(Code::InterfaceInUse, spec, interface, &why).hint(hint))
            }
        }
    }

    /// Makes it a port of the network's bridge. True when something changed.
    pub(super) fn take_interface(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        interface: &str,
        bridge: u32,
    ) -> Result<bool> {
        let link = self.interface(spec, interface)?;
        let joined = link.master == Some(bridge);
        if !joined {
            self.check_unused(lab, spec, &link)?;
        }
        let label = label::bridge(self.config.identity.label_uid, lab, &spec.name);
        self.record_found(lab, spec, &link, joined || link.alias == label)?;
        let mut changed = false;
        if link.alias != label {
            let change = LinkChange {
                alias: Some(&label),
                ..LinkChange::default()
            };
            deed(format!("put the label of {} on {interface}", spec.name))
                .command(alias_command(interface, &label))
                .told(self.rtnl.change_link(link.ifindex, interface, &change))?;
            changed = true;
        }
        changed |= switch_ipv6(interface, false)?;
        if !joined || !link.up {
            self.join(spec, &link, bridge)?;
            changed = true;
        }
        // Somebody may have had the same idea just now.
        match self.rtnl.link(link.ifindex)? {
            Some(link) if link.master == Some(bridge) => {
                if !joined {
                    self.check_still_unused(lab, spec, link)?;
                }
                Ok(changed)
            }
            _ => Err(cannot(
                Code::InterfaceInUse,
                spec,
                interface,
                "somebody took it from the bridge just now",
            )
            .hint(format!("Look who: ip -d link show {interface}"))),
        }
    }

    /// The host may have begun to use it between the question and the act, and would not hear any
    /// more what comes there: then it is given back.
    fn check_still_unused(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        joined: LinkInfo,
    ) -> Result<()> {
        let alone = LinkInfo {
            master: None,
            ..joined
        };
        let checked = self.check_unused(lab, spec, &alone);
        let recorded = self.journal.state().networks.get(&spec.name).cloned();
        if checked.is_err()
            && let Some(recorded) = recorded
        {
            self.give_back(&recorded)?;
        }
        checked
    }

    fn join(&mut self, spec: &NetworkSpec, link: &LinkInfo, bridge: u32) -> Result<()> {
        let (interface, name) = (&link.name, &spec.name);
        let change = LinkChange {
            master: Some(bridge),
            up: Some(true),
            ..LinkChange::default()
        };
        let joined = self.rtnl.change_link(link.ifindex, interface, &change);
        deed(format!("made {interface} a port of {name}"))
            .command(format!("ip link set {interface} master {name} up"))
            .told(joined.map_err(|e| match e.errno {
                // Of a container, which has its end in another namespace.
                Errno::BUSY => {
                    let why = "something else has its frames, as a macvlan or ipvlan does";
                    cannot(Code::InterfaceInUse, spec, interface, why)
                        .hint("Look for a container that is on it.")
                }
                _ => Error::from(e).subject(interface.as_str()),
            }))
    }

    /// What is found is written down before it is changed. One that carries our changes already
    /// (`ours`) was written down then.
    fn record_found(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        link: &LinkInfo,
        ours: bool,
    ) -> Result<()> {
        let recorded = self.journal.state().networks.get(&spec.name).cloned();
        if let Some(recorded) = recorded
            && let Some(found) = &recorded.taken
        {
            if found.ifindex == link.ifindex && ours {
                return Ok(());
            }
            if found.ifindex != link.ifindex {
                self.give_back(&recorded)?;
            }
        }
        let label = label::bridge(self.config.identity.label_uid, lab, &spec.name);
        let found = Found {
            ifindex: link.ifindex,
            up: link.up,
            ipv6: sysctl::ipv6(&link.name).map_err(|e| {
                Error::kernel(format!("read whether {} speaks IPv6", link.name), &e)
            })?,
            alias: Some(&link.alias)
                .filter(|alias| **alias != label)
                .cloned()
                .unwrap_or_default(),
        };
        self.journal.append(Entry::Taken {
            network: spec.name.clone(),
            found,
        })
    }

    /// Gives the interface back as it was found. True when there was one. It carries our label for as
    /// long as anything of it is ours; the user's journal alone is no proof, and the network's own
    /// bridge carries the same. What somebody else has begun to use meanwhile is not switched off.
    pub(super) fn give_back(&mut self, recorded: &Recorded) -> Result<bool> {
        let Some(found) = &recorded.taken else {
            return Ok(false);
        };
        let (lab, name) = (&recorded.lab, &recorded.spec.name);
        let label = label::bridge(self.config.identity.label_uid, lab, name);
        let link = self.rtnl.link(found.ifindex)?;
        // Of the network's own bridge the label is the same.
        let link = link.filter(|link| link.alias == label && KINDS.contains(&link.kind.as_str()));
        let gave = link.is_some();
        if let Some(link) = link {
            match self.restore(recorded, found, &link) {
                // It was unplugged.
                Err(_) if self.rtnl.link(found.ifindex)?.is_none() => {}
                restored => restored?,
            }
        }
        self.journal.note(Entry::GivenBack {
            network: name.clone(),
        });
        Ok(gave)
    }

    fn restore(&mut self, recorded: &Recorded, found: &Found, link: &LinkInfo) -> Result<()> {
        let interface = link.name.as_str();
        let bridge = self.rtnl.link_named(&recorded.spec.name)?;
        let bridge = bridge.filter(|b| self.is_our_bridge(b, &recorded.lab, &recorded.spec));
        let is_port = link.master.is_some() && link.master == bridge.map(|bridge| bridge.ifindex);
        let addresses = self.rtnl.addresses(AddressFamily::Any)?;
        let is_used = (link.master.is_some() && !is_port)
            || (addresses.iter()).any(|a| a.ifindex == link.ifindex && !is_link_local(a.net));
        let down = link.up && !found.up && !is_used;
        if is_port || down {
            let change = LinkChange {
                master: is_port.then_some(0),
                up: down.then_some(false),
                ..LinkChange::default()
            };
            let master = if is_port { " nomaster" } else { "" };
            let state = if down { " down" } else { "" };
            deed(format!("let {interface} go, as it was found"))
                .command(format!("ip link set {interface}{master}{state}"))
                .told(self.rtnl.change_link(link.ifindex, interface, &change))?;
        }
        if found.ipv6 {
            switch_ipv6(interface, true)?;
        }
        // The last one: until then a netd that comes after this one goes on.
        let alias = former_alias(found);
        let change = LinkChange {
            alias: Some(alias),
            ..LinkChange::default()
        };
        deed(format!(
            "took the label of {} off {interface}",
            recorded.spec.name
        ))
        .command(alias_command(interface, alias))
        .told(self.rtnl.change_link(link.ifindex, interface, &change))?;
        Ok(())
    }

    /// Keeps the host off the network behind a bridge that is to be switched on: no IPv6 of its own,
    /// and, where that is not so yet, no answer to ARP. True for the latter.
    pub(super) fn silence(&self, spec: &NetworkSpec, no_arp: bool) -> Result<bool> {
        switch_ipv6(&spec.name, false)?;
        Ok(!no_arp)
    }
}

/// True when it was otherwise.
fn switch_ipv6(interface: &str, on: bool) -> Result<bool> {
    let (state, value) = if on { ("on", 0) } else { ("off", 1) };
    let failed = |e: &std::io::Error| {
        Error::kernel(format!("switch IPv6 of {interface} {state}"), e).subject(interface)
    };
    if sysctl::ipv6(interface).map_err(|e| failed(&e))? == on {
        return Ok(false);
    }
    deed(format!("switched IPv6 of {interface} {state}"))
        .command(format!(
            "echo {value} > /proc/sys/net/ipv6/conf/{interface}/disable_ipv6"
        ))
        .told(sysctl::set_ipv6(interface, on).map_err(|e| failed(&e)))?;
    Ok(true)
}

/// None where no interface that was taken had it: a lab's label, or more than the kernel takes.
fn former_alias(found: &Found) -> &str {
    let alias = found.alias.as_str();
    match alias.len() > ALIAS_MOST || alias.starts_with("tapyard:") {
        true => "",
        false => alias,
    }
}

fn alias_command(interface: &str, alias: &str) -> String {
    format!("ip link set {interface} alias {}", acts::shell([alias]))
}

fn cannot(code: Code, spec: &NetworkSpec, interface: &str, why: &str) -> Error {
    let message = format!("{} cannot be bridged to {interface}: {why}", spec.name);
    Error::new(code, message).subject(interface)
}

/// What the host, or somebody on it, uses the interface for, and what to do about it; none where it
/// is nobody's, or carries the label `own` alone.
fn use_of(link: &LinkInfo, own: &str, facts: &Facts) -> Option<(String, String)> {
    let interface = link.name.as_str();
    let bridge_instead = || {
        format!(
            "Take an interface that the host has no use for; or make a bridge with this one by the \
             system's own means, which move what it has, and name that as the network's uplink: {}",
            bridge_by_network_manager(interface)
        )
    };
    let other = |why: String| Some((why, "What there is: ip -br link".to_owned()));
    if link.kind == "bridge" {
        return Some((
            "it is a bridge itself".to_owned(),
            format!("Guests join it as it is: uplink: {interface} in place of interface."),
        ));
    }
    if !link.ethernet || !KINDS.contains(&link.kind.as_str()) {
        let kind = match link.kind.as_str() {
            "" => "not Ethernet",
            "tun" => "a program's tap",
            kind => kind,
        };
        return other(format!("it is no network card ({kind})"));
    }
    let name_of = |ifindex: u32| {
        let link = facts.links.iter().find(|link| link.ifindex == ifindex);
        link.map_or_else(|| format!("interface {ifindex}"), |link| link.name.clone())
    };
    if let Some(master) = link.master {
        let why = format!("it is a port of {} already", name_of(master));
        let hint = "One network has it at a time. Give the guest a NIC on that network, or take another \
                    interface: ip -br link";
        return Some((why, hint.to_owned()));
    }
    if link.alias.starts_with("tapyard:") && link.alias != own {
        return other(format!("a lab has it ({})", link.alias));
    }
    // The ends of a veth are below each other.
    let above = (facts.links.iter())
        .find(|upper| upper.lower == Some(link.ifindex) && upper.kind != "veth");
    if let Some(upper) = above {
        return Some((format!("{} is on top of it", upper.name), bridge_instead()));
    }
    let held: Vec<String> = (facts.addresses.iter())
        .filter(|a| a.ifindex == link.ifindex && !is_link_local(a.net))
        .map(|a| a.net.to_string())
        .collect();
    if !held.is_empty() {
        let why = format!("the host has {} on it", held.join(", "));
        return Some((why, bridge_instead()));
    }
    let route = (facts.routes.iter())
        .find(|r| r.may_lead_to(link.ifindex) && !r.is_local() && !is_automatic(r.destination));
    if let Some(route) = route {
        let why = format!("the host's route to {} leads there", route.destination);
        return Some((why, bridge_instead()));
    }
    if facts.dialled.contains(&link.name) {
        return Some((
            "the host's PPPoE goes over it".to_owned(),
            "Take another interface, or end the connection first. What there is: ip -br link"
                .to_owned(),
        ));
    }
    if facts.listened.contains(&link.ifindex) {
        let why = "a program listens there, as a DHCP client or a capture does".to_owned();
        let hint = format!(
            "Which one: sudo ss -0 -p | grep {interface}. If it is NetworkManager's: nmcli device set \
             {interface} managed no"
        );
        return Some((why, hint));
    }
    None
}

/// fe80::/10, which every interface has that speaks IPv6.
fn is_link_local(net: IpNet) -> bool {
    match net {
        IpNet::V4(_) => false,
        IpNet::V6(net) => net.addr().segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// A route that comes with a link-local address.
fn is_automatic(destination: IpNet) -> bool {
    match destination {
        IpNet::V4(_) => false,
        IpNet::V6(net) => net.addr().is_multicast() || is_link_local(destination),
    }
}

/// A table of the kernel's; nothing where it has none of the kind, as without a module.
fn table(path: &str) -> Result<String> {
    match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|e| Error::kernel(format!("read {path}"), &e)),
    }
}

/// The interfaces in /proc/net/pppoe, by name: a session's number, whom it is with, and the device.
fn dialled(text: &str) -> Vec<String> {
    let lines = text.lines().skip(1);
    let devices = lines.filter_map(|line| line.split_ascii_whitespace().nth(2));
    devices.map(str::to_owned).collect()
}

/// The interfaces in /proc/net/packet.
fn listened(text: &str) -> Vec<u32> {
    let lines = text.lines().skip(1);
    let interfaces = lines.filter_map(|line| line.split_ascii_whitespace().nth(4)?.parse().ok());
    interfaces.filter(|ifindex| *ifindex != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_on_interfaces() {
        let text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                    0000000000000000 3      3    0003   2     1 0      0      8172\n\
                    0000000000000000 3      3    88cc   0     1 0      0      8173\n\
                    half a line\n";
        assert_eq!(listened(text), [2]);
        crate::fuzz::run("packet", |bytes| listened(&String::from_utf8_lossy(bytes)));
    }

    #[test]
    fn sessions_of_pppoe() {
        let text = "Id       Address              Device\n\
                    00000A01 52:54:00:00:00:01     eth1\n\
                    00000002 52:54:00:00:00:02 enp0s31f6.7\n\
                    00000003 half\n";
        assert_eq!(dialled(text), ["eth1", "enp0s31f6.7"]);
        crate::fuzz::run("pppoe", |bytes| dialled(&String::from_utf8_lossy(bytes)));
    }

    #[test]
    fn what_comes_by_itself_is_no_use() {
        for (net, local) in [
            ("fe80::1/64", true),
            ("febf::1/64", true),
            ("fec0::1/64", false),
            ("2001:db8::1/64", false),
            ("169.254.0.1/16", false),
        ] {
            assert_eq!(is_link_local(net.parse().unwrap()), local, "{net}");
        }
        assert!(is_automatic("ff00::/8".parse().unwrap()));
        assert!(!is_automatic("::/0".parse().unwrap()));
        assert!(!is_automatic("224.0.0.0/4".parse().unwrap()));
    }
}
