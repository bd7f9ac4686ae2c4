// SPDX-License-Identifier: Apache-2.0
//! Anti-spoofing: which addresses each tap may send with, told to the guard.

use super::bridged::bridge_name;
use super::{Engine, label};
use crate::acts::deed;
use crate::dnsmasq::read_leases;
use crate::nft::{GuardNetwork, GuardPort};
use crate::rtnl::{AddressFamily, Counters, LinkChange, LinkInfo};
use ipnet::Ipv6Net;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tapyard_protocol::{Mac, Mode, NetworkName, NetworkSpec, RecipeStep, Result, Subnet6};

/// IPv6 link-local addresses (RFC 4291, 2.5.6).
const LINK_LOCAL: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);

/// A tap of a guarded network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuardedTap {
    ifindex: u32,
    network: NetworkName,
    mac: [u8; 6],
}

/// What IPv6 networks are made of (RFC 4291, RFC 4193): which of it is there is the affair of the
/// network that an administrator's bridge is in.
const UNICAST: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

/// Without DHCP nothing tells whose an address is. On an administrator's bridge that is not
/// asked.
pub(super) fn is_guarded(spec: &NetworkSpec) -> bool {
    spec.antispoof && (spec.dhcp.is_some() || spec.mode == Mode::Bridged)
}

/// The group of interfaces that a guarded network's taps are in, by which the guard knows whose
/// ports they are: the first address of its subnet, which no other network has, without its last two
/// bits, which are zero (ip(8) takes no number of 32 bits). An administrator's bridge may be in
/// any subnet, so it has a hash of its name, above all of those.
pub(super) fn group_of(spec: &NetworkSpec) -> u32 {
    match spec.subnet {
        Some(subnet) => subnet.net().network().to_bits() >> 2,
        None => 1 << 30 | fnv1a(bridge_name(spec)) >> 2,
    }
}

/// FNV-1a of 32 bits.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

impl Engine {
    /// Makes the guard say what the journal, the taps and the leases do. True when it did not.
    pub(super) fn hold_guard(&mut self) -> Result<bool> {
        self.hear_of_filters();
        // Bridged networks may share a bridge, where an address is nobody's twice.
        let networks: BTreeMap<&str, GuardNetwork> = self
            .guarded_networks()
            .map(|spec| (bridge_name(spec), guard_network(spec)))
            .collect();
        let mut networks: Vec<GuardNetwork> = networks.into_values().collect();
        if networks.is_empty() {
            self.guarded.clear();
            return self.delete_guard();
        }
        let links = self.rtnl.links(Counters::Skip)?;
        self.find_hosts(&mut networks, &links)?;
        let known: HashMap<u32, [u8; 6]> = (self.guarded.iter())
            .map(|tap| (tap.ifindex, tap.mac))
            .collect();
        let mut guarded = Vec::new();
        for link in &links {
            let Some(mut tap) = self.as_guarded(link) else {
                continue;
            };
            tap.mac = known.get(&tap.ifindex).copied().unwrap_or(tap.mac);
            self.hold_group(link, &tap.network)?;
            self.hold_address(link, tap.mac)?;
            guarded.push(tap);
        }
        self.guarded = guarded;
        let ports = self.guard_ports();
        let held = self.guard.hold(&networks, &ports);
        if matches!(held, Ok(false)) {
            return Ok(false);
        }
        let deed = deed("set up the guard against spoofing").recipe(RecipeStep::Filter);
        Ok(deed.told(held)?)
    }

    /// What nobody but the host has on an administrator's bridge, and nobody but the router by which
    /// it reaches the internet there. Of the bridges of netd's own that is known.
    fn find_hosts(&mut self, networks: &mut [GuardNetwork], links: &[LinkInfo]) -> Result<()> {
        let mut others = networks
            .iter_mut()
            .filter(|n| n.hosts.is_empty())
            .peekable();
        if others.peek().is_none() {
            return Ok(());
        }
        let addresses = self.rtnl.addresses(AddressFamily::V6)?;
        let uplink = self.uplink.state().ipv6;
        for network in others {
            let bridge = links.iter().find(|link| link.name == network.bridge);
            let own = addresses
                .iter()
                .filter(|own| bridge.is_some_and(|bridge| bridge.ifindex == own.ifindex))
                .map(|own| own.net.addr());
            let router = uplink.gateway.filter(|_| {
                let device = uplink.device.as_ref();
                device.is_some_and(|device| *device == network.bridge)
            });
            let hosts: BTreeSet<Ipv6Addr> = own
                .chain(router)
                .filter_map(|address| match address {
                    IpAddr::V6(address) => Some(address),
                    IpAddr::V4(_) => None,
                })
                .collect();
            network.hosts = hosts.into_iter().collect();
        }
        Ok(())
    }

    /// A tap is in its network's group from its start, but for one that an older netd made, or that
    /// somebody put elsewhere; and a network may get another subnet.
    fn hold_group(&mut self, link: &LinkInfo, network: &NetworkName) -> Result<()> {
        let recorded = self.journal.state().networks.get(network);
        let group = recorded.map(|recorded| group_of(&recorded.spec));
        let Some(group) = group.filter(|group| *group != link.group) else {
            return Ok(());
        };
        let name = &link.name;
        let change = LinkChange {
            group: Some(group),
            ..LinkChange::default()
        };
        let put = self.rtnl.change_link(link.ifindex, name, &change);
        if matches!(&put, Err(error) if error.errno == Errno::NODEV) {
            return Ok(());
        }
        deed(format!("put {name} into the group of {network}"))
            .command(format!("ip link set {name} group {group}"))
            .told(put)?;
        Ok(())
    }

    /// Whoever holds a tap's descriptor can give the tap another address: the kernel asks for no
    /// capability (SIOCSIFHWADDR on it). On its bridge that would be taken from its owner, and may
    /// become the bridge's own; and the NIC's is known by it.
    fn hold_address(&mut self, link: &LinkInfo, nic: [u8; 6]) -> Result<()> {
        let mac = tap_mac(nic);
        if link.mac == mac {
            return Ok(());
        }
        let name = &link.name;
        let change = LinkChange {
            mac: Some(mac),
            ..LinkChange::default()
        };
        let put = self.rtnl.change_link(link.ifindex, name, &change);
        if matches!(&put, Err(error) if error.errno == Errno::NODEV) {
            return Ok(());
        }
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        deed(format!("gave {name} its own address back"))
            .command(format!("ip link set {name} address {mac}"))
            .told(put)?;
        Ok(())
    }

    /// True when there was one.
    pub(super) fn delete_guard(&mut self) -> Result<bool> {
        let deleted = self.guard.delete();
        if matches!(deleted, Ok(false)) {
            return Ok(false);
        }
        let table = format!("bridge {}", self.table);
        Ok(deed("removed the guard against spoofing")
            .command(format!("nft delete table {table}"))
            .told(deleted)?)
    }

    /// Leases came or went. Done at once: a guest uses its address as soon as it has it.
    pub(super) fn hold_guarded_addresses(&mut self) -> Result<()> {
        if !self.guarded.is_empty() {
            let ports = self.guard_ports();
            let held = self.guard.hold_addresses(&ports);
            if !matches!(held, Ok(false)) {
                deed("let guests send with the addresses that they have leased")
                    .recipe(RecipeStep::Filter)
                    .seldom()
                    .told(held)?;
            }
        }
        Ok(())
    }

    /// Guards a tap that is not up yet.
    pub(super) fn guard_tap(
        &mut self,
        spec: &NetworkSpec,
        ifindex: u32,
        name: &str,
        mac: Mac,
    ) -> Result<()> {
        if !is_guarded(spec) {
            return Ok(());
        }
        let tap = GuardedTap {
            ifindex,
            network: spec.name.clone(),
            mac: mac.bytes(),
        };
        let port = guard_port(&tap, spec, &self.leases_of(spec));
        self.guarded.push(tap);
        let added = deed(format!("let {name} send with its own addresses only"))
            .command(guard_command(&self.table, name, mac, &port))
            .told(self.guard.add_port(&port));
        if let Err(error) = added {
            // Somebody flushed the ruleset: then all of it is written.
            eprintln!(
                "guard a tap of {}: {error}; writing the guard anew",
                spec.name
            );
            self.hold_guard()?;
        }
        Ok(())
    }

    fn guarded_networks(&self) -> impl Iterator<Item = &NetworkSpec> {
        let networks = self.journal.state().networks.values();
        networks
            .filter(|n| !n.removing || self.standing.contains(&n.spec.name))
            .map(|recorded| &recorded.spec)
            .filter(|spec| is_guarded(spec))
    }

    /// A tap of ours in a guarded network.
    fn as_guarded(&self, link: &LinkInfo) -> Option<GuardedTap> {
        let owner = label::parse(self.config.identity.label_uid, &link.alias)?;
        owner.guest.as_ref()?;
        let recorded = self.journal.state().networks.get(&owner.network)?;
        let ours = link.kind == "tun" && recorded.lab == owner.lab;
        let mac = nic_mac(link)?;
        (ours && is_guarded(&recorded.spec)).then_some(GuardedTap {
            ifindex: link.ifindex,
            network: owner.network,
            mac,
        })
    }

    fn guard_ports(&self) -> Vec<GuardPort> {
        let mut ports = Vec::with_capacity(self.guarded.len());
        for spec in self.guarded_networks() {
            let leases = self.leases_of(spec);
            let taps = self.guarded.iter().filter(|tap| tap.network == spec.name);
            ports.extend(taps.map(|tap| guard_port(tap, spec, &leases)));
        }
        ports
    }

    /// Leased addresses, by MAC in words.
    fn leases_of(&self, spec: &NetworkSpec) -> Vec<(String, Ipv4Addr)> {
        let directory = self.config.directory.dns_path(&spec.name);
        let leases = read_leases(&directory).into_iter();
        leases.map(|lease| (lease.mac, lease.address)).collect()
    }

    /// The bridges whose ports are guarded; none where that cannot be read, which is logged.
    pub(super) fn read_guard(&mut self) -> BTreeSet<String> {
        self.guard.read().unwrap_or_else(|e| {
            eprintln!("read the guard: {e}");
            BTreeSet::new()
        })
    }
}

/// The address of a tap's NIC, which is behind its own.
pub(super) fn nic_mac(tap: &LinkInfo) -> Option<[u8; 6]> {
    let mut mac = <[u8; 6]>::try_from(tap.mac.as_slice()).ok()?;
    mac[0] = 0x52;
    Some(mac)
}

/// As [`Mac::tap_side`].
fn tap_mac(nic: [u8; 6]) -> [u8; 6] {
    let mut mac = nic;
    mac[0] = 0xfe;
    mac
}

fn guard_network(spec: &NetworkSpec) -> GuardNetwork {
    let unicast = match spec.mode {
        Mode::Bridged => &UNICAST[..],
        _ => &[],
    };
    let known = unicast.iter().chain([&LINK_LOCAL]);
    let known = known.flat_map(|(address, length)| Ipv6Net::new(*address, *length));
    GuardNetwork {
        bridge: bridge_name(spec).to_owned(),
        group: group_of(spec),
        prefixes: (spec.ipv6.map(Subnet6::net).into_iter())
            .chain(known)
            .collect(),
        hosts: bridge_ipv6(spec),
    }
}

/// The addresses that the host has on a bridge of netd's: in its subnet, and on the link as the kernel
/// makes it of the bridge's hardware address (RFC 4291, appendix A), and the anycast address of routers
/// that there is in both (section 2.6.1).
fn bridge_ipv6(spec: &NetworkSpec) -> Vec<Ipv6Addr> {
    if spec.mode == Mode::Bridged {
        return Vec::new();
    }
    let [a, b, c, d, e, f] = spec.mac.bytes();
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let of_link = Ipv6Addr::from_bits(LINK_LOCAL.0.to_bits() | u128::from(id));
    let in_subnet = spec.address.and_then(|address| spec.ipv6_of(address));
    let of_routers = spec.ipv6.map(|subnet| subnet.net().network());
    let own = of_routers.into_iter().chain(in_subnet);
    own.chain([LINK_LOCAL.0, of_link]).collect()
}

/// [`Guard::add_port`] in nft's words.
fn guard_command(table: &str, tap: &str, mac: Mac, port: &GuardPort) -> String {
    let chaddr = mac.bytes().map(|byte| format!("{byte:02x}")).concat();
    let add = |set: &str, element: String| {
        format!(r#"nft add element bridge {table} {set} '{{ "{tap}"{element} }}'"#)
    };
    let mut lines = vec![
        add("macs", format!(" . {mac}")),
        add("chaddrs", format!(" . 0x{chaddr}")),
    ];
    let addresses = port.addresses.iter();
    lines.extend(addresses.map(|address| add("addresses", format!(" . {mac} . {address}"))));
    if port.bridged {
        lines.push(add("bridged", String::new()));
    }
    lines.push(add("guarded", String::new()));
    lines.join("\n")
}

/// The reservation, and what is leased: one that was given before the reservation was made stays
/// the guest's until it asks again. The host's own address is nobody's.
fn guard_port(tap: &GuardedTap, spec: &NetworkSpec, leases: &[(String, Ipv4Addr)]) -> GuardPort {
    let words: Vec<String> = tap.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let words = words.join(":");
    let reservations = spec.dhcp.iter().flat_map(|dhcp| &dhcp.reservations);
    let reserved = reservations
        .filter(|reservation| reservation.mac.bytes() == tap.mac)
        .map(|reservation| reservation.address);
    let leased = leases
        .iter()
        .filter(|(mac, _)| *mac == words)
        .map(|(_, address)| *address);
    GuardPort {
        ifindex: tap.ifindex,
        bridge: bridge_name(spec).to_owned(),
        bridged: spec.mode == Mode::Bridged,
        mac: tap.mac,
        addresses: reserved
            .chain(leased)
            .filter(|address| Some(*address) != spec.address)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the protocol page and the recipe have them.
    #[test]
    fn groups_are_told_apart() {
        let mut spec: NetworkSpec = serde_json::from_value(serde_json::json!({
            "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1", "mtu": 1500,
            "mac": "52:54:00:00:00:01", "nat": true, "domain": "lab", "dhcp": null,
        }))
        .unwrap();
        assert_eq!(group_of(&spec), 808_062_528);
        spec.subnet = None;
        spec.uplink = Some("br-lan".to_owned().try_into().unwrap());
        assert_eq!(group_of(&spec), 1_616_023_334);
    }
}
