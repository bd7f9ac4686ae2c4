// SPDX-License-Identifier: Apache-2.0
//! Bridged networks on an administrator's bridge: the guests' taps become ports of it, as with
//! qemu-bridge-helper. netd makes no bridge for them and changes nothing of theirs.

use super::guard::is_guarded;
use super::{Engine, Stopwatch};
use crate::access;
use crate::acts::deed;
use crate::journal::Recorded;
use crate::rtnl::{AddressFamily, LinkChange, LinkInfo};
use rustix::io::Errno;
use std::path::Path;
use tapyard_protocol::{Code, Error, LabName, NetworkSpec, Result, Step};

/// What is left where guests cannot have MAC addresses of their own on the wire.
pub(super) const ONE_MAC: &str = "Use mode: nat, or mode: routed with proxyArp: true and a part of the \
                                  LAN's subnet, by which guests have addresses of the LAN behind the one \
                                  MAC address of the card";

/// The bridge that a network's taps are ports of: an administrator's, or its own.
pub(super) fn bridge_name(spec: &NetworkSpec) -> &str {
    spec.uplink.as_deref().unwrap_or(&spec.name)
}

impl Engine {
    /// Whether this is the network's bridge: ours by label, or the administrator's by name.
    pub(super) fn is_bridge_of(&self, link: &LinkInfo, lab: &LabName, spec: &NetworkSpec) -> bool {
        match &spec.uplink {
            Some(uplink) => link.kind == "bridge" && link.name == **uplink,
            None => link.name == *spec.name && self.is_our_bridge(link, lab, spec),
        }
    }

    /// That a bridged network's bridge is there and this user may use it, or its interface:
    /// `NO_SUCH_BRIDGE`, `WIFI_CANNOT_BRIDGE`, `BRIDGE_NOT_ALLOWED`.
    pub(super) fn check_uplink(&mut self, spec: &NetworkSpec) -> Result<()> {
        if let Some(interface) = spec.interface.as_deref() {
            return access::check_bridge(self.config.identity.label_uid, interface);
        }
        let Some(uplink) = spec.uplink.as_deref() else {
            return Ok(());
        };
        let refuse = |code, why: String, hint: &str| {
            let message = format!("{} cannot be bridged to {uplink}: {why}", spec.name);
            Err(Error::new(code, message).hint(hint).subject(uplink))
        };
        let Some(link) = self.rtnl.link_named(uplink)? else {
            let why = "there is no such interface".to_owned();
            return refuse(Code::NoSuchBridge, why, "What there is: ip -br link");
        };
        if is_wireless(uplink) {
            let why = "it is Wi-Fi, and an access point takes from a station only frames with the \
                       station's own MAC address";
            return refuse(
                Code::WifiCannotBridge,
                why.to_owned(),
                &format!(
                    "{ONE_MAC}, or a bridge with a cable behind it: ip -br link show type bridge"
                ),
            );
        }
        if link.kind != "bridge" {
            let addresses = self.rtnl.addresses(AddressFamily::Any)?;
            let held: Vec<String> = addresses
                .iter()
                .filter(|address| address.ifindex == link.ifindex)
                .map(|address| address.net.to_string())
                .collect();
            let why = match held.as_slice() {
                [] => "it is no bridge".to_owned(),
                held => format!(
                    "it is no bridge, and made a port of one it would lose {}",
                    held.join(", ")
                ),
            };
            return refuse(
                Code::NoSuchBridge,
                why,
                &format!(
                    "If the host has no use for it: interface: {uplink} in place of uplink. Else make a \
                     bridge with it by the system's own means, which move its addresses, and name that: \
                     {}",
                    bridge_by_network_manager(uplink)
                ),
            );
        }
        if link.alias.starts_with("tapyard:") {
            let why = "it is the bridge of a lab's network".to_owned();
            let hint = "Give the guest a NIC on that network instead. Bridges: ip -br link show type bridge";
            return refuse(Code::NoSuchBridge, why, hint);
        }
        access::check_bridge(self.config.identity.label_uid, uplink)
    }

    /// Where a network gets another bridge, its ports are let go first. What was before, where
    /// the network can be adjusted as it stands.
    pub(super) fn change_bridge(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        before: Option<Recorded>,
    ) -> Result<Option<Recorded>> {
        match before {
            Some(before)
                if before.lab == *lab
                    && (&before.spec.uplink, &before.spec.interface)
                        != (&spec.uplink, &spec.interface) =>
            {
                match self.take_down(&spec.name).failed.into_iter().next() {
                    Some(error) => Err(error),
                    None => Ok(None),
                }
            }
            before => Ok(before),
        }
    }

    /// All that there is to do for a bridged network: its ports are guarded, and guests that lost
    /// the bridge get it back.
    pub(super) fn join_bridge(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<Vec<Step>> {
        let mut watch = Stopwatch::start();
        let bridge = self.rtnl.link_named(bridge_name(spec))?;
        let Some(bridge) = bridge.filter(|link| self.is_bridge_of(link, lab, spec)) else {
            let why = format!("the bridge {} is gone", bridge_name(spec));
            return Err(Error::new(Code::NoSuchBridge, why).subject(bridge_name(spec)));
        };
        let changed = self.hold_guard()?;
        let filter = watch.step("filter", changed);
        let changed = self.hold_ports(lab, spec, bridge.ifindex, bridge.mtu)?;
        Ok(vec![watch.step("bridge", changed), filter])
    }

    /// A guarded tap of a bridged network has its NIC's address on the bridge, and never another:
    /// LLDP and what else goes to 01:80:c2:00:00:0x comes to no rule, and its sender would be learnt.
    /// netd's own bridges do not learn from it; somebody else's is not changed. `MAC_TAKEN` where the
    /// address is another's: it would be taken from it for as long as the tap is there, and the
    /// host's own for longer.
    pub(super) fn fix_port(
        &mut self,
        spec: &NetworkSpec,
        ifindex: u32,
        name: &str,
        mac: [u8; 6],
    ) -> Result<()> {
        let fixed = is_guarded(spec);
        let words = mac.map(|byte| format!("{byte:02x}")).join(":");
        let (what, command) = match fixed {
            true => (
                format!("let {name} have no other address than its NIC's"),
                format!(
                    "bridge fdb add {words} dev {name} master static sticky\n\
                     bridge link set dev {name} learning off guard on"
                ),
            ),
            false => (
                format!("let {name} have any address"),
                format!(
                    "bridge link set dev {name} learning on guard off\n\
                     bridge fdb del {words} dev {name} master"
                ),
            ),
        };
        let done = self.rtnl.fix_port(ifindex, name, mac, fixed);
        let bridge = bridge_name(spec);
        deed(what).command(command).told(done.map_err(|e| match e.errno {
            Errno::EXIST => Error::new(
                Code::MacTaken,
                format!("{name} cannot have {words}: on {bridge} it is the host's own, or behind another port"),
            )
            .hint(format!(
                "Give the NIC another MAC address. Who has this one: bridge fdb show br {bridge} | grep {words} \
                 (what has gone from there is forgotten in five minutes)"
            ))
            .subject(words),
            _ => Error::from(e),
        }))
    }

    /// Takes a bridged network's taps off the bridge; it stays as it is.
    pub(super) fn release_ports(&mut self, recorded: &Recorded) -> Result<()> {
        for tap in self.taps_of(&recorded.lab, &recorded.spec)? {
            let change = LinkChange {
                master: Some(0),
                ..LinkChange::default()
            };
            let (name, bridge) = (&tap.name, bridge_name(&recorded.spec));
            deed(format!("took {name} off the bridge {bridge}"))
                .command(format!("ip link set {name} nomaster"))
                .told(self.rtnl.change_link(tap.ifindex, name, &change))?;
        }
        Ok(())
    }
}

/// How an administrator makes one, where NetworkManager has the interfaces.
pub(super) fn bridge_by_network_manager(interface: &str) -> String {
    format!(
        "nmcli con add type bridge ifname br-lan con-name br-lan bridge.stp no && \
         nmcli con add type ethernet ifname {interface} con-name br-lan-port master br-lan && \
         nmcli con up br-lan-port"
    )
}

/// As the kernel's cfg80211 tells it.
pub(super) fn is_wireless(name: &str) -> bool {
    let device = Path::new("/sys/class/net").join(name);
    device.join("wireless").exists() || device.join("phy80211").exists()
}
