// SPDX-License-Identifier: Apache-2.0
//! A network as it is wanted, and what several of its fields have to agree upon.

use crate::{Code, Error, GuestName, Mac, Mode, Mtu, NetworkName, Subnet, Subnet6, TapName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The shortest prefix of a subnet that the LAN gets answers for: 256 addresses.
const PROXIED_PREFIX: u8 = 24;

/// A network as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its name and its bridge's.
    pub name: NetworkName,
    /// Its subnet; none where it is bridged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Subnet>,
    /// The host's address in it: the guests' gateway and DNS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 subnet; none for no IPv6. The bridge is the host of its own number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Subnet6>,
    /// The administrator's bridge that a bridged network's guests become ports of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<TapName>,
    /// The host's interface that becomes a port of a bridged network's own bridge, where it has no
    /// `uplink`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<TapName>,
    /// The bridge's hardware address.
    pub mac: Mac,
    /// Bytes.
    pub mtu: Mtu,
    /// What the guests reach.
    #[serde(default)]
    pub mode: Mode,
    /// Its subnet is a part of the LAN's, and the host answers the LAN's ARP for its guests. Of a routed
    /// network only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_arp: bool,
    /// The switch of a network with NAT: whether the guests reach the uplink. False in other modes.
    pub nat: bool,
    /// Whether each guest may send with its own addresses only. Without DHCP nothing tells which
    /// those are, so it is off then; where the network is bridged it is about the MAC address.
    #[serde(default = "on")]
    pub antispoof: bool,
    /// DHCP and DNS; null for none.
    pub dhcp: Option<Dhcp>,
    /// The domain of the guests' names.
    pub domain: Domain,
}

fn on() -> bool {
    true
}

/// The domain of the guests' names; one for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// `.lab`
    Lab,
}

/// DHCP of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dhcp {
    /// First address of the range.
    pub from: Ipv4Addr,
    /// Last address of the range.
    pub to: Ipv4Addr,
    /// Addresses that are known before the guest boots.
    pub reservations: Vec<Reservation>,
}

/// An address kept for a NIC; it may lie outside the range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The NIC.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its guest's name, also in DNS.
    pub guest: GuestName,
}

impl NetworkSpec {
    /// The IPv6 address of the host that has this IPv4 address: the same number in its subnet.
    pub fn ipv6_of(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let number = u32::from(address).checked_sub(self.subnet?.net().network().into())?;
        Some(self.ipv6?.host(number.into()))
    }

    /// The addresses that a guest of a network with proxy ARP can have; none of another one.
    pub fn proxied(&self) -> BTreeSet<Ipv4Addr> {
        let (Some(subnet), true) = (self.subnet, self.proxy_arp) else {
            return BTreeSet::new();
        };
        let all = |from, to| (u32::from(from)..=u32::from(to)).map(Ipv4Addr::from);
        let mut addresses: BTreeSet<Ipv4Addr> = match &self.dhcp {
            Some(dhcp) => {
                let reserved = dhcp.reservations.iter().map(|r| r.address);
                all(dhcp.from, dhcp.to).chain(reserved).collect()
            }
            None => {
                let net = subnet.net();
                let hosts = all(net.network(), net.broadcast());
                hosts.filter(|address| subnet.is_host(*address)).collect()
            }
        };
        addresses.retain(|address| Some(*address) != self.address);
        addresses
    }

    /// Whether netd makes its bridge. Else that is an administrator's.
    pub fn has_own_bridge(&self) -> bool {
        self.uplink.is_none()
    }

    /// Whether the guests have a way out as things are now.
    pub fn reaches_out(&self) -> bool {
        match self.mode {
            Mode::Nat => self.nat,
            Mode::Routed | Mode::Bridged => true,
            Mode::Isolated => false,
        }
    }

    /// The subnet and the host's address in it: both, but where the network is bridged neither.
    fn ipv4(&self) -> Result<Option<(Subnet, Ipv4Addr)>, Error> {
        let bridged = self.mode == Mode::Bridged;
        for (field, there) in [
            ("network.subnet", self.subnet.is_some()),
            ("network.address", self.address.is_some()),
            ("network.dhcp", self.dhcp.is_some()),
            ("network.ipv6", self.ipv6.is_some()),
        ] {
            if bridged && there {
                let why = "a bridged network has no addresses of its own".to_owned();
                return Err(bad(field, why));
            }
            if !bridged && !there && !matches!(field, "network.dhcp" | "network.ipv6") {
                return Err(bad(field, "it is missing".to_owned()));
            }
        }
        let ways = [self.uplink.is_some(), self.interface.is_some()];
        if ways.into_iter().filter(|there| *there).count() != usize::from(bridged) {
            let why = "a bridged network has either this or an interface, and no other has one";
            return Err(bad("network.uplink", why.to_owned()));
        }
        Ok(self.subnet.zip(self.address))
    }

    /// What one field's rule cannot see. `BAD_ARGS`, subject: the field.
    pub fn check(&self) -> Result<(), Error> {
        if self.nat && self.mode != Mode::Nat {
            let why = format!("a network of mode {} has no NAT to switch on", self.mode);
            return Err(bad("network.nat", why));
        }
        if self.proxy_arp && self.mode != Mode::Routed {
            let why = format!("a network of mode {} answers no ARP of the LAN", self.mode);
            return Err(bad("network.proxy_arp", why));
        }
        let Some((subnet, own)) = self.ipv4()? else {
            return Ok(());
        };
        if self.proxy_arp && subnet.net().prefix_len() < PROXIED_PREFIX {
            let why = format!("{subnet} has more than 256 addresses");
            return Err(bad("network.proxy_arp", why));
        }
        check_host(subnet, own, "network.address")?;
        match &self.dhcp {
            Some(dhcp) => dhcp.check(subnet, own),
            None => Ok(()),
        }
    }
}

impl Dhcp {
    /// In this subnet, where the host has an address of its own.
    fn check(&self, subnet: Subnet, own: Ipv4Addr) -> Result<(), Error> {
        check_host(subnet, self.from, "network.dhcp.from")?;
        check_host(subnet, self.to, "network.dhcp.to")?;
        if self.from > self.to {
            let (from, to) = (self.from, self.to);
            let why = format!("the range ends at {to} before it begins at {from}");
            return Err(bad("network.dhcp.to", why));
        }
        let (mut macs, mut addresses) = (HashSet::new(), HashSet::from([own]));
        for (i, reservation) in self.reservations.iter().enumerate() {
            let Reservation { mac, address, .. } = *reservation;
            let field = |name: &str| format!("network.dhcp.reservations[{i}].{name}");
            check_host(subnet, address, &field("address"))?;
            if !addresses.insert(address) {
                let why = format!("{address} is the host's or reserved twice");
                return Err(bad(&field("address"), why));
            }
            if !macs.insert(mac) {
                let why = format!("{mac} has two reservations");
                return Err(bad(&field("mac"), why));
            }
        }
        Ok(())
    }
}

fn check_host(subnet: Subnet, address: Ipv4Addr, field: &str) -> Result<(), Error> {
    if subnet.is_host(address) {
        return Ok(());
    }
    let why = format!("{address} is not a host's address in {subnet}");
    Err(bad(field, why))
}

fn bad(field: &str, message: String) -> Error {
    Error::new(Code::BadArgs, format!("{field}: {message}")).subject(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> serde_json::Value {
        serde_json::json!({
            "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1",
            "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "domain": "lab",
            "dhcp": {"from": "192.168.57.100", "to": "192.168.57.199", "reservations": [
                {"mac": "52:54:00:00:00:02", "address": "192.168.57.2", "guest": "guest"}]},
        })
    }

    fn with(change: impl Fn(&mut serde_json::Value)) -> Result<(), String> {
        let mut value = spec();
        change(&mut value);
        let spec: NetworkSpec = serde_json::from_value(value).map_err(|e| e.to_string())?;
        spec.check().map_err(|e| e.subject.unwrap())
    }

    #[test]
    fn a_good_network() {
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|v| v["dhcp"] = serde_json::Value::Null), Ok(()));
        for mode in ["routed", "isolated"] {
            let changed = with(|v| {
                v["mode"] = mode.into();
                v["nat"] = false.into();
            });
            assert_eq!(changed, Ok(()), "{mode}");
        }
        let bridged = serde_json::json!({
            "name": "lan", "mode": "bridged", "uplink": "br-lan", "mac": "52:54:00:00:00:01",
            "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null,
        });
        assert_eq!(with(|v| *v = bridged.clone()), Ok(()));
        assert_eq!(
            with(|v| {
                *v = bridged.clone();
                v["subnet"] = "10.0.0.0/24".into();
            }),
            Err("network.subnet".into())
        );
        assert_eq!(
            with(|v| {
                *v = bridged.clone();
                v["uplink"].take();
            }),
            Err("network.uplink".into())
        );
        assert_eq!(
            with(|v| {
                *v = bridged.clone();
                v["interface"] = v["uplink"].take();
            }),
            Ok(())
        );
        assert_eq!(
            with(|v| {
                *v = bridged.clone();
                v["interface"] = "eth1".into();
            }),
            Err("network.uplink".into())
        );
    }

    #[test]
    fn what_the_lan_gets_answers_for() {
        let proxied = |change: fn(&mut serde_json::Value)| {
            let mut value = spec();
            value["mode"] = "routed".into();
            value["nat"] = false.into();
            value["proxy_arp"] = true.into();
            change(&mut value);
            let spec: NetworkSpec = serde_json::from_value(value).unwrap();
            match spec.check() {
                Ok(()) => spec.proxied().iter().map(Ipv4Addr::to_string).collect(),
                Err(error) => vec![error.subject.unwrap()],
            }
        };
        let few = proxied(|v| v["dhcp"]["to"] = "192.168.57.101".into());
        assert_eq!(few, ["192.168.57.2", "192.168.57.100", "192.168.57.101"]);
        let all = proxied(|v| v["dhcp"] = serde_json::Value::Null);
        assert_eq!((all.len(), all[0].as_str()), (253, "192.168.57.2"));
        let wide = proxied(|v| v["subnet"] = "192.168.56.0/23".into());
        assert_eq!(wide, ["network.proxy_arp"]);
        let isolated = proxied(|v| v["mode"] = "isolated".into());
        assert_eq!(isolated, ["network.proxy_arp"]);
        assert_eq!(proxied(|v| v["proxy_arp"] = false.into()), [""; 0]);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let refused = with(|v| v["extra"] = 1.into());
        assert!(refused.unwrap_err().contains("extra"));
    }

    #[test]
    fn fields_that_disagree() {
        let field = |change: fn(&mut serde_json::Value)| with(change).unwrap_err();
        assert_eq!(
            field(|v| v["address"] = "192.168.57.0".into()),
            "network.address"
        );
        assert_eq!(field(|v| v["mode"] = "isolated".into()), "network.nat");
        assert_eq!(field(|v| _ = v["subnet"].take()), "network.subnet");
        assert_eq!(field(|v| v["uplink"] = "eth0".into()), "network.uplink");
        assert_eq!(field(|v| v["interface"] = "eth0".into()), "network.uplink");
        assert_eq!(
            field(|v| v["address"] = "192.168.57.255".into()),
            "network.address"
        );
        assert_eq!(
            field(|v| v["dhcp"]["to"] = "192.168.58.2".into()),
            "network.dhcp.to"
        );
        assert_eq!(
            field(|v| v["dhcp"]["to"] = "192.168.57.9".into()),
            "network.dhcp.to"
        );
        assert_eq!(
            field(|v| v["dhcp"]["reservations"][0]["address"] = "192.168.57.1".into()),
            "network.dhcp.reservations[0].address"
        );
        assert_eq!(
            field(|v| {
                let mut again = v["dhcp"]["reservations"][0].clone();
                again["address"] = "192.168.57.3".into();
                v["dhcp"]["reservations"]
                    .as_array_mut()
                    .unwrap()
                    .push(again);
            }),
            "network.dhcp.reservations[1].mac"
        );
    }
}
