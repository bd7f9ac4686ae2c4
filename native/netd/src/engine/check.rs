// SPDX-License-Identifier: Apache-2.0
//! What must hold before a network is made: this scope has its mode, its name and its subnet are
//! free.

use super::proxy::Lan;
use super::{Engine, label, subnets_of};
use crate::journal::Recorded;
use crate::rtnl::{AddressFamily, Counters, LinkInfo};
use crate::uplink::system_nameservers;
use ipnet::IpNet;
use tapyard_protocol::{Code, Error, LabName, Mode, NetworkSpec, Result, Scope};

impl Engine {
    /// `MODE_NEEDS_HOST_SCOPE`.
    pub(super) fn check_mode(&self, spec: &NetworkSpec) -> Result<()> {
        let why = match (self.config.identity.scope, spec.mode) {
            (Scope::Private, Mode::Routed) => {
                "the private scope's way out is pasta: it opens connections of its own for the \
                 guests and carries no packet under another address"
            }
            (Scope::Private, Mode::Bridged) => {
                "no interface of this computer is in the private scope's namespace"
            }
            _ => return Ok(()),
        };
        Err(Error::new(
            Code::ModeNeedsHostScope,
            format!("{} is {}, but {why}", spec.name, spec.mode),
        )
        .hint("Use mode: nat, or bring the lab up in the host scope: tapyard scope host")
        .subject(spec.name.as_str()))
    }

    /// `NAME_TAKEN` unless the name is free, or its bridge ours by journal and label.
    pub(super) fn check_name(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        before: Option<&Recorded>,
    ) -> Result<()> {
        let name = spec.name.as_str();
        if !spec.has_own_bridge() && before.is_none_or(|b| b.lab == *lab) {
            return Ok(()); // it makes no interface
        }
        if let Some(other) = before.filter(|b| b.lab != *lab) {
            return Err(Error::new(
                Code::NameTaken,
                format!("the lab {} has a network {name} already", other.lab),
            )
            .hint("Give this network another name. What there is: tapyard topology")
            .subject(name));
        }
        match self.rtnl.link_named(name)? {
            Some(link) if before.is_none() || !self.is_our_bridge(&link, lab, spec) => {
                Err(Error::new(
                    Code::NameTaken,
                    format!("an interface {name} is there already and not ours; it stays as it is"),
                )
                .hint(format!(
                    "Give the network another name. Who made {name}: ip -d link show {name}"
                ))
                .subject(name))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_our_bridge(&self, link: &LinkInfo, lab: &LabName, spec: &NetworkSpec) -> bool {
        link.kind == "bridge"
            && link.alias == label::bridge(self.config.identity.label_uid, lab, &spec.name)
    }

    /// `SUBNET_OVERLAP` with another network of ours, the uplink's host, any address or route
    /// of the namespace but those of the network's own bridge, or a name server of the machine's.
    pub(super) fn check_subnet(&mut self, spec: &NetworkSpec) -> Result<()> {
        // A part of the LAN's subnet is meant to overlap it, and nothing else.
        let lan = self.overlapped_lan(spec);
        for subnet in subnets_of(spec) {
            self.check_one_subnet(spec, subnet, lan.as_ref())?;
        }
        Ok(())
    }

    fn check_one_subnet(
        &mut self,
        spec: &NetworkSpec,
        subnet: IpNet,
        lan: Option<&Lan>,
    ) -> Result<()> {
        let overlaps = |a: IpNet, b: IpNet| overlaps(a, b) && !lan.is_some_and(|lan| lan.is(b));
        let overlap = |what: String, subject: String| {
            Err(Error::new(
                Code::SubnetOverlap,
                format!("{subnet} of {} overlaps {what}", spec.name),
            )
            .hint(
                "Choose another subnet for this network, or none, and a free one is chosen. What is in \
                 use: ip route",
            )
            .subject(subject))
        };
        let networks = self.journal.state().networks.values();
        for other in networks.filter(|other| other.spec.name != spec.name) {
            if let Some(theirs) = subnets_of(&other.spec).find(|net| overlaps(subnet, *net)) {
                let name = &other.spec.name;
                return overlap(format!("{theirs} of the network {name}"), name.to_string());
            }
        }
        let uplink = self.uplink.state();
        let mut addresses = uplink.addresses.into_iter();
        if let Some(net) = addresses.find(|net| overlaps(subnet, *net)) {
            let device = uplink.host_device.unwrap_or_default();
            return overlap(format!("{net} of the uplink {device}"), net.to_string());
        }
        let links = self.rtnl.links(Counters::Skip)?;
        let own = links
            .iter()
            .find(|l| l.name == *spec.name)
            .map(|l| l.ifindex);
        let name_of = |ifindex: u32| {
            let link = links.iter().find(|link| link.ifindex == ifindex);
            link.map_or("an interface", |link| link.name.as_str())
        };
        let family = match subnet {
            IpNet::V4(_) => AddressFamily::V4,
            IpNet::V6(_) => AddressFamily::V6,
        };
        for address in self.rtnl.addresses(family)? {
            let net = address.net;
            if Some(address.ifindex) != own && overlaps(subnet, net) {
                let of = name_of(address.ifindex);
                return overlap(format!("the address {net} of {of}"), net.to_string());
            }
        }
        for route in self.rtnl.routes(family)? {
            let other = route.destination;
            if route.is_local() || route.is_way_out() || (own.is_some() && route.device == own) {
                continue;
            }
            if overlaps(subnet, other) {
                let by = route.device.map_or("nowhere", name_of);
                return overlap(format!("the route {other} by {by}"), other.to_string());
            }
        }
        // Beyond the way out, but all of this computer asks it: the lab would get what is meant for it.
        let servers = system_nameservers();
        if let Some(server) = servers.into_iter().find(|ip| subnet.contains(ip)) {
            return overlap(
                format!("the name server {server} of /etc/resolv.conf"),
                server.to_string(),
            );
        }
        Ok(())
    }
}

/// Never, where one is of IPv4 and the other of IPv6.
fn overlaps(a: IpNet, b: IpNet) -> bool {
    let (a, b) = (a.trunc(), b.trunc());
    a.contains(&b) || b.contains(&a)
}
