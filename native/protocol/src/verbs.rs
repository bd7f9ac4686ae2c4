// SPDX-License-Identifier: Apache-2.0
//! The verbs: their arguments and replies ("Verbs" in the protocol page).

use crate::{
    Code, Error, Exposure, GuestName, LabName, Mac, Mode, Mtu, Network, NetworkName, Nic, Port,
    Scope, Shape, Snapshot, Step, Subnet, Subnet6, TapName, Transport,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The arguments of a verb know the verb's name and the type of its answer.
pub trait Verb: Serialize {
    /// As on the wire.
    const NAME: &'static str;
    /// What `ok` holds.
    type Reply: Serialize + DeserializeOwned;
}

macro_rules! verb {
    ($args:ty, $name:literal, $reply:ty) => {
        impl Verb for $args {
            const NAME: &'static str = $name;
            type Reply = $reply;
        }
    };
}

verb!(Hello, "hello", HelloReply);
verb!(ApplyNetwork, "apply_network", ApplyNetworkReply);
verb!(RemoveNetwork, "remove_network", Removed);
verb!(OpenTap, "open_tap", OpenTapReply);
verb!(SetNat, "set_nat", SetNatReply);
verb!(Expose, "expose", ExposeReply);
verb!(Unexpose, "unexpose", UnexposeReply);
verb!(SetShape, "set_shape", SetShapeReply);
verb!(Dial, "dial", DialReply);
verb!(Observe, "observe", Snapshot);
verb!(Counters, "counters", CountersReply);
verb!(Shutdown, "shutdown", Removed);

/// A request's outer shape; `args` is read by the verb.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request<A> {
    /// Chosen by the client, repeated in the reply.
    pub id: u32,
    /// The verb.
    pub verb: String,
    /// Its arguments, an object.
    pub args: A,
}

/// A reply's outer shape: exactly one of `ok` and `error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Reply<T> {
    /// It was done.
    Ok {
        /// Of the request.
        id: u32,
        /// What the verb answers.
        ok: T,
    },
    /// It was not done, and what it had begun is undone.
    Error {
        /// Of the request; null where none could be read.
        id: Option<u32>,
        /// Why.
        error: Error,
    },
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    /// The core.
    Core,
    /// `tapyard-tap`.
    Tap,
    /// A test.
    Test,
}

/// `hello`: the first request of a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Who speaks.
    pub client: ClientKind,
}

/// What `hello` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloReply {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// netd's version.
    pub version: String,
    /// Where netd works.
    pub scope: Scope,
    /// The lab of a private netd.
    pub lab: Option<LabName>,
    /// The owner's uid outside any user namespace, as in labels.
    pub uid: u32,
    /// netd's process as the caller sees it.
    pub pid: u32,
    /// A random hex string for each start.
    pub instance: String,
}

/// `apply_network`: make or adjust a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyNetwork {
    /// The lab it belongs to.
    pub lab: LabName,
    /// What is wanted.
    pub network: NetworkSpec,
}

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
    /// The bridge's hardware address.
    pub mac: Mac,
    /// Bytes.
    pub mtu: Mtu,
    /// What the guests reach.
    #[serde(default)]
    pub mode: Mode,
    /// The switch of a network with NAT: whether the guests reach the uplink. False in other modes.
    pub nat: bool,
    /// Whether each guest may send with its own addresses only. Without DHCP nothing tells which
    /// those are, so it is off then.
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
        if bridged != self.uplink.is_some() {
            let why = "a bridged network has it, and no other".to_owned();
            return Err(bad("network.uplink", why));
        }
        Ok(self.subnet.zip(self.address))
    }

    /// What one field's rule cannot see. `BAD_ARGS`, subject: the field.
    pub fn check(&self) -> Result<(), Error> {
        if self.nat && self.mode != Mode::Nat {
            let why = format!("a network of mode {} has no NAT to switch on", self.mode);
            return Err(bad("network.nat", why));
        }
        let Some((subnet, own)) = self.ipv4()? else {
            return Ok(());
        };
        let host = |address: Ipv4Addr, field: &str| {
            if subnet.is_host(address) {
                Ok(())
            } else {
                Err(bad(
                    field,
                    format!("{address} is not a host's address in {subnet}"),
                ))
            }
        };
        host(own, "network.address")?;
        let Some(dhcp) = &self.dhcp else {
            return Ok(());
        };
        host(dhcp.from, "network.dhcp.from")?;
        host(dhcp.to, "network.dhcp.to")?;
        if dhcp.from > dhcp.to {
            return Err(bad(
                "network.dhcp.to",
                format!(
                    "the range ends at {} before it begins at {}",
                    dhcp.to, dhcp.from
                ),
            ));
        }
        let (mut macs, mut addresses) = (HashSet::new(), HashSet::from([own]));
        for (i, reservation) in dhcp.reservations.iter().enumerate() {
            let address = reservation.address;
            host(address, &format!("network.dhcp.reservations[{i}].address"))?;
            if !addresses.insert(address) {
                return Err(bad(
                    &format!("network.dhcp.reservations[{i}].address"),
                    format!("{address} is the host's or reserved twice"),
                ));
            }
            if !macs.insert(reservation.mac) {
                return Err(bad(
                    &format!("network.dhcp.reservations[{i}].mac"),
                    format!("{} has two reservations", reservation.mac),
                ));
            }
        }
        Ok(())
    }
}

fn bad(field: &str, message: String) -> Error {
    Error::new(Code::BadArgs, format!("{field}: {message}")).subject(field)
}

/// What `apply_network` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyNetworkReply {
    /// `bridge`, `bridge_address`, `bridge_up`, `forwarding`, `filter`, `dns`.
    pub steps: Vec<Step>,
    /// As the kernel has it now.
    pub network: Network,
}

/// `remove_network`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNetwork {
    /// The lab it belongs to.
    pub lab: LabName,
    /// Which.
    pub network: NetworkName,
}

/// What a removal answers: it goes on past errors and tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// What is gone, in words such as `bridge br0`.
    pub removed: Vec<String>,
    /// What is not, and why.
    pub failed: Vec<Error>,
}

/// `open_tap`: a tap for one NIC; its fd comes with the reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenTap {
    /// The lab.
    pub lab: LabName,
    /// The network whose bridge it joins.
    pub network: NetworkName,
    /// The guest behind it.
    pub guest: GuestName,
    /// Which of the guest's NICs.
    pub nic: Nic,
    /// The NIC's address; the tap's own is `fe:` and the last five bytes.
    pub mac: Mac,
    /// The preferred name; where it is taken, the lowest free `tapN`.
    pub tap: TapName,
    /// What its traffic is held to.
    #[serde(default, skip_serializing_if = "Shape::is_none")]
    pub shape: Shape,
}

/// What `open_tap` answers, with one fd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenTapReply {
    /// The name that it got.
    pub tap: TapName,
    /// The kernel's number of it.
    pub ifindex: u32,
    /// `tap`, `tap_shape` where there is one, `tap_port`.
    pub steps: Vec<Step>,
}

/// `set_nat`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetNat {
    /// The lab.
    pub lab: LabName,
    /// Which network.
    pub network: NetworkName,
    /// On or off.
    pub nat: bool,
}

/// What `set_nat` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetNatReply {
    /// As the kernel has it now.
    pub nat: bool,
    /// False where it was so already.
    pub changed: bool,
    /// Conntrack entries of the subnet that were removed.
    pub flows_removed: u64,
    /// Milliseconds in netd.
    pub ms: f64,
}

/// `set_shape`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetShape {
    /// The lab.
    pub lab: LabName,
    /// The network that the NIC is on.
    pub network: NetworkName,
    /// The guest.
    pub guest: GuestName,
    /// Which of the guest's NICs.
    pub nic: Nic,
    /// What its traffic is held to from now on; all zero for nothing.
    pub shape: Shape,
}

/// What `set_shape` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetShapeReply {
    /// As the kernel has it now.
    pub shape: Shape,
    /// False where it was so already.
    pub changed: bool,
    /// Milliseconds in netd.
    pub ms: f64,
}

/// `dial`: a TCP connection to a guest; its socket comes with the reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    /// The lab.
    pub lab: LabName,
    /// The guest's, in one of the lab's networks and none of the host's own.
    pub address: Ipv4Addr,
    /// TCP.
    pub port: Port,
}

/// What `dial` answers, with one fd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialReply {
    /// The network that it goes over.
    pub network: NetworkName,
    /// Milliseconds until the guest accepted.
    pub ms: f64,
}

/// `expose`: a port of the host's on the LAN leads to a guest's, by rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expose {
    /// The lab.
    pub lab: LabName,
    /// From where to where; in place of one of the lab's that comes from there.
    pub exposure: Exposure,
}

/// What `expose` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExposeReply {
    /// The uplink's addresses at which it is there now.
    pub at: Vec<Ipv4Addr>,
    /// Whether it was otherwise before.
    pub changed: bool,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// `unexpose`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unexpose {
    /// The lab.
    pub lab: LabName,
    /// As in [`Exposure`].
    pub address: Ipv4Addr,
    /// TCP where it is left out.
    #[serde(default)]
    pub protocol: Transport,
    /// The host's port.
    pub port: Port,
}

/// What `unexpose` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnexposeReply {
    /// Whether it was there.
    pub changed: bool,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// `observe`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {}

/// `counters`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {}

/// What `counters` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountersReply {
    /// One for each interface of the namespace.
    pub links: Vec<LinkCounters>,
    /// Conntrack entries of our subnets.
    pub flows: u64,
}

/// IFLA_STATS64 of an interface, as the kernel counts: rx is what the host's side received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // named as in struct rtnl_link_stats64
pub struct LinkCounters {
    pub ifindex: u32,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

/// `shutdown`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {}

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
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(
            with(|v| v["extra"] = 1.into())
                .unwrap_err()
                .contains("extra")
        );
        assert!(serde_json::from_str::<Observe>(r#"{"a":1}"#).is_err());
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

    #[test]
    fn replies_hold_ok_or_error() {
        let ok: Reply<Removed> = Reply::Ok {
            id: 3,
            ok: Removed::default(),
        };
        let text = serde_json::to_string(&ok).unwrap();
        assert_eq!(text, r#"{"id":3,"ok":{"removed":[],"failed":[]}}"#);
        let error: Reply<Removed> = Reply::Error {
            id: None,
            error: Error::new(Code::Busy, "m"),
        };
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, r#"{"id":null,"error":{"code":"BUSY","message":"m"}}"#);
    }
}
