// SPDX-License-Identifier: Apache-2.0
//! A line of the journal: one thing that netd is about to do, or has undone.

use crate::doors::Place;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use tapyard_protocol::{
    Exposure, GuestName, LabName, NetworkName, NetworkSpec, Nic, Port, Shape, Transport,
};

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The first line: which format, and during which run of the machine.
    Begin {
        /// [`super::VERSION`].
        version: u32,
        /// /proc/sys/kernel/random/boot_id.
        boot: String,
    },
    /// A network is to be made or adjusted.
    Network {
        /// Its lab.
        lab: LabName,
        /// As wanted.
        network: Box<NetworkSpec>,
    },
    /// Its bridge may still have these addresses of earlier specs, and no others.
    Formers {
        /// Which network.
        network: NetworkName,
        /// With their subnets' lengths.
        addresses: Vec<IpNet>,
    },
    /// Its NAT is to be switched.
    Nat {
        /// Which network.
        name: NetworkName,
        /// On or off.
        nat: bool,
    },
    /// It is to be removed.
    Removing {
        /// Which network.
        name: NetworkName,
    },
    /// It is gone.
    Removed {
        /// Which network.
        name: NetworkName,
    },
    /// A door for it is to be opened in a firewall of somebody else's.
    Door {
        /// Which network.
        network: NetworkName,
        /// Where.
        place: Place,
    },
    /// There is none: it was refused.
    NoDoor {
        /// Which network.
        network: NetworkName,
        /// Where.
        place: Place,
    },
    /// systemd-resolved is to be told of its bridge.
    Named {
        /// Which network.
        network: NetworkName,
    },
    /// It has forgotten the bridge.
    Unnamed {
        /// Which network.
        network: NetworkName,
    },
    /// A port of the host's is to lead to a guest of its.
    Exposed {
        /// Which network.
        network: NetworkName,
        /// From where to where.
        exposure: Exposure,
    },
    /// It is to lead there no more.
    Unexposed {
        /// Which network.
        network: NetworkName,
        /// [`Exposure::key`]
        port: (Ipv4Addr, Transport, Port),
    },
    /// A NIC's traffic is to be held to something; to nothing where the shape is none.
    Shape {
        /// Which network it is on.
        network: NetworkName,
        /// Its guest.
        guest: GuestName,
        /// Its number.
        nic: Nic,
        /// As wanted.
        shape: Shape,
    },
    /// Nothing holds it any more.
    Unshaped {
        /// Which network it was on.
        network: NetworkName,
        /// Its guest.
        guest: GuestName,
        /// Its number.
        nic: Nic,
    },
    /// An interface of the host's is to become a port of a network's own bridge.
    Taken {
        /// Which network.
        network: NetworkName,
        /// As it was found.
        found: Found,
    },
    /// It is as it was found.
    GivenBack {
        /// Which network.
        network: NetworkName,
    },
    /// An interface is to answer ARP for addresses of a network's.
    Proxied {
        /// Which network.
        network: NetworkName,
        /// The interface's number.
        ifindex: u32,
        /// For which; it answers for none of them yet.
        addresses: Vec<Ipv4Addr>,
    },
    /// It does so no more.
    Unproxied {
        /// Which network.
        network: NetworkName,
        /// The interface's number.
        ifindex: u32,
        /// For which.
        addresses: Vec<Ipv4Addr>,
    },
    /// Forwarding of an interface that is not ours is to be switched on; it was off.
    Opened {
        /// The interface.
        device: String,
    },
    /// It is as it was found.
    Closed {
        /// The interface.
        device: String,
    },
    /// The same for IPv6.
    Opened6 {
        /// The interface.
        device: String,
    },
    /// The same for IPv6.
    Closed6 {
        /// The interface.
        device: String,
    },
    /// The machine is to be an IPv6 router for labs; it was none.
    Router6,
    /// It is none any more, or somebody else's.
    NoRouter6,
    /// IPv6 forwarding is to be written, which changes these besides.
    Disturbed6(Disturbed6),
    /// They are as they were.
    Settled6,
}

/// What is to be put back once IPv6 forwarding is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbed6 {
    /// `forwarding` of interfaces and `default`, where it is not 0.
    pub forwarding: BTreeMap<String, i32>,
    /// Interfaces whose `accept_ra` was 1, and is 2 meanwhile.
    pub raised: Vec<String>,
}

/// What netd changes of an interface of the host's, as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its number, by which it is known again.
    pub ifindex: u32,
    /// Whether it was up.
    pub up: bool,
    /// Whether it spoke IPv6.
    pub ipv6: bool,
    /// Its alias, whose place netd's label takes.
    pub alias: String,
}
