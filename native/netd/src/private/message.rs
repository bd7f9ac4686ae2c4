// SPDX-License-Identifier: Apache-2.0
//! What the two halves of a private netd tell each other.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tapyard_protocol::{Act, Error, HostSubnet, Removed};

/// From the outer half to the inner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToInner {
    /// The host's side of the uplink changed.
    Outside(Outside),
    /// What the outer half did.
    Acts(Vec<Act>),
    /// The answer to [`ToOuter::End`].
    Ended(Removed),
}

/// From the inner half to the outer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToOuter {
    /// netd serves; from now on its end leaves the lab as it is.
    Ready,
    /// Whether a network of the lab's sends IPv6 out.
    Ipv6(bool),
    /// Whether pasta is stopped: the lab's ways out are shut.
    Pause(bool),
    /// `shutdown`: end pasta and the anchor, and forget them.
    End,
}

/// The host's side of the uplink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outside {
    /// The interface of the host's default route.
    pub(super) device: Option<String>,
    /// Its addresses.
    pub(super) addresses: Vec<IpNet>,
    /// The route's gateway.
    pub(super) gateway: Option<IpAddr>,
    /// The interface of the host's IPv6 default route.
    pub(super) device6: Option<String>,
    /// That route's gateway.
    pub(super) gateway6: Option<IpAddr>,
    /// What the host's addresses and routes use.
    pub(super) host_subnets: Vec<HostSubnet>,
    /// pasta was started to carry IPv6.
    pub(super) ipv6: bool,
    /// Where dnsmasq asks, as reachable from the lab.
    pub(super) servers: Vec<IpAddr>,
    /// pasta, where it runs.
    pub(super) pasta: Option<u32>,
    /// Why there is no way out.
    pub(super) reason: Option<Error>,
}
