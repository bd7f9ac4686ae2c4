// SPDX-License-Identifier: Apache-2.0
//! The verbs: their arguments and replies ("Verbs" in the protocol page).

use crate::{
    Error, Exposure, GuestName, InterfaceName, LabName, Mac, Network, NetworkName, NetworkSpec,
    Nic, Port, Scope, Shape, Snapshot, Step, TapName, Transport,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

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
verb!(Capture, "capture", CaptureReply);
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
    /// For so many milliseconds what is under way to the guests may still arrive; 0 for on.
    pub drains_ms: u64,
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
    pub address: IpAddr,
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

/// `capture`: the packets of one of the lab's interfaces; a stream of pcapng comes with the reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The lab.
    pub lab: LabName,
    /// A bridge of the lab's, a guest's tap, or the private scope's way out.
    pub interface: InterfaceName,
}

/// What `capture` answers, with one fd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureReply {
    /// As asked.
    pub interface: InterfaceName,
    /// Its number.
    pub ifindex: u32,
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
    use crate::Code;

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Observe>(r#"{"a":1}"#).is_err());
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
