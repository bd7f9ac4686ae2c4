// SPDX-License-Identifier: Apache-2.0
//! Proxy ARP: a routed network whose subnet is a part of the LAN's. The host answers the LAN's ARP for
//! its guests, by an entry for each address on the uplink, and routes what comes to them.
//!
//! With one MAC address on the air it is what is left of a bridge where the way out is Wi-Fi. The
//! sysctl `proxy_arp` would answer for whatever the host has a route to.

use super::{Engine, label};
use crate::access;
use crate::acts::{self, deed};
use crate::arp;
use crate::journal::{Entry, Recorded};
use crate::nft;
use crate::rtnl::{AddressFamily, Counters, PROXY_PROTOCOL, Proxy};
use ipnet::{IpNet, Ipv4Net};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use tapyard_protocol::{Code, Error, LabName, NetworkName, NetworkSpec, ProxyArp, Result, Subnet};

/// The LAN that a network's subnet is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lan {
    /// The uplink.
    device: String,
    /// The host there.
    asker: arp::Asker,
    /// The LAN's own subnet.
    net: Ipv4Net,
}

/// What is known of networks with proxy ARP besides the journal.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    asked: BTreeMap<NetworkName, Asked>,
    /// Why a network has no address of the LAN.
    refused: BTreeMap<NetworkName, Error>,
    /// The uplink may have lost them.
    pub(super) doubtful: bool,
}

/// What a LAN answered when it was asked for a network's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    lan: Lan,
    subnet: Ipv4Net,
    answer: Result<()>,
}

impl Lan {
    /// Whether this is the LAN's own subnet, which the network's is a part of.
    pub(super) fn is(&self, net: IpNet) -> bool {
        net.trunc() == IpNet::V4(self.net)
    }
}

impl Engine {
    /// The LAN that the subnet of a network with proxy ARP is a part of, as [`Engine::lan_of`]; none
    /// where there is no way out now: it gets its addresses there when there is one.
    /// `BRIDGE_NOT_ALLOWED` besides.
    pub(super) fn check_on_lan(&mut self, spec: &NetworkSpec) -> Result<Option<Lan>> {
        if !spec.proxy_arp {
            return Ok(None);
        }
        match self.lan_of(spec) {
            Ok(lan) => {
                self.check_leave(&lan)?;
                Ok(Some(lan))
            }
            Err(error) if error.code == Code::NoDefaultRoute => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The LAN of which a network's subnet may be a part, as overlap of no other: with the
    /// administrator's leave, because the host sends to what is behind its bridge from then on.
    pub(super) fn overlapped_lan(&mut self, spec: &NetworkSpec) -> Option<Lan> {
        let lan = match spec.proxy_arp {
            true => self.lan_of(spec).ok(),
            false => None,
        };
        lan.filter(|lan| self.check_leave(lan).is_ok())
    }

    /// `BRIDGE_NOT_ALLOWED`.
    fn check_leave(&self, lan: &Lan) -> Result<()> {
        access::check_bridge(self.config.identity.label_uid, &lan.device)
    }

    /// The LAN is asked anew when a network is applied.
    pub(super) fn forget_asked(&mut self, name: &NetworkName) {
        self.proxies.asked.remove(name);
    }

    /// The LAN that its subnet is a part of as things are. `NO_DEFAULT_ROUTE`, `SUBNET_NOT_ON_LAN`,
    /// `SUBNET_OVERLAP`.
    pub(super) fn lan_of(&mut self, spec: &NetworkSpec) -> Result<Lan> {
        let subnet = spec.subnet.map(Subnet::net).unwrap_or_default();
        let uplink = self.uplink.state();
        let Some(device) = uplink.device else {
            let none = || Error::new(Code::NoDefaultRoute, "this computer has no way out");
            return Err(uplink.reason.unwrap_or_else(none));
        };
        let refuse = |code, why: String| {
            let message = format!(
                "{subnet} of {} cannot have addresses of the LAN: {why}",
                spec.name
            );
            Err(Error::new(code, message).subject(spec.name.as_str()))
        };
        let link = self.rtnl.link_named(&device)?;
        let link = link.filter(|link| link.ethernet && !link.no_arp);
        let Some((ifindex, mac)) = link.and_then(|l| Some((l.ifindex, l.mac.try_into().ok()?)))
        else {
            let why = format!(
                "{device}, by which this computer reaches the internet, speaks no ARP, as a VPN's does"
            );
            return refuse(Code::SubnetNotOnLan, why).map_err(|error| {
                error.hint("End the VPN, or use proxyArp: false and a subnet of the network's own.")
            });
        };
        let own = uplink.addresses.iter().filter_map(|net| match net {
            IpNet::V4(net) => Some(*net),
            IpNet::V6(_) => None,
        });
        let own: Vec<Ipv4Net> = own.collect();
        let part = own.iter().find(|lan| is_part(subnet, lan.trunc()));
        let Some(lan) = part else {
            let held: Vec<String> = own.iter().map(ToString::to_string).collect();
            let why = match held.as_slice() {
                [] => format!("{device} has no IPv4 address"),
                held => format!("it is no part of the LAN of {device} ({})", held.join(", ")),
            };
            return refuse(Code::SubnetNotOnLan, why).map_err(|error| {
                error.hint(
                    "Choose a part of it that neither begins nor ends with it, as 192.168.1.192/28 of \
                     192.168.1.0/24. What there is: ip -4 addr",
                )
            });
        };
        let hosts = self.rtnl.addresses(AddressFamily::V4)?;
        let bridge = self.rtnl.link_named(&spec.name)?.map(|link| link.ifindex);
        let mut taken = hosts
            .iter()
            .filter(|own| Some(own.ifindex) != bridge)
            .map(|own| own.net.addr());
        let router = uplink.gateway.map(|gateway| (gateway, "the router's"));
        let taken = taken.find(|own| IpNet::V4(subnet).contains(own));
        let taken = taken.map(|own| (own, "this computer's")).or(router);
        if let Some((address, whose)) =
            taken.filter(|(address, _)| IpNet::V4(subnet).contains(address))
        {
            return refuse(Code::SubnetOverlap, format!("{address} in it is {whose}")).map_err(|error| {
                error.hint("Choose a part of the LAN's subnet that nobody has. Who is there: ip -4 addr; ip neigh")
            });
        }
        Ok(Lan {
            asker: arp::Asker {
                ifindex,
                mac,
                address: lan.addr(),
            },
            device,
            net: lan.trunc(),
        })
    }

    /// Whether a network may have its addresses on a LAN: `BRIDGE_NOT_ALLOWED` without the
    /// administrator's leave, `ADDRESS_TAKEN` where somebody has one of them. The LAN is asked once.
    pub(super) fn ask_lan(&mut self, spec: &NetworkSpec, lan: Lan) -> Result<Lan> {
        self.check_leave(&lan)?;
        let subnet = spec.subnet.map(Subnet::net).unwrap_or_default();
        let asked = self.proxies.asked.get(&spec.name);
        let asked = asked.filter(|asked| asked.lan == lan && asked.subnet == subnet);
        let answer = match asked {
            Some(asked) => asked.answer.clone(),
            None => {
                let answer = ask(spec, subnet, &lan);
                let asked = Asked {
                    lan: lan.clone(),
                    subnet,
                    answer: answer.clone(),
                };
                self.proxies.asked.insert(spec.name.clone(), asked);
                answer
            }
        };
        answer.map(|()| lan)
    }

    /// Whether a network has a LAN's addresses, or may have them.
    fn may_proxy(&mut self, recorded: &Recorded) -> Result<Lan> {
        let lan = self.lan_of(&recorded.spec);
        if lan.is_err() {
            // One that comes after it may have the same numbers.
            self.forget_asked(&recorded.spec.name);
        }
        let lan = lan?;
        let claimed = recorded
            .proxied
            .iter()
            .any(|(at, _)| *at == lan.asker.ifindex);
        match claimed {
            true => {
                self.check_leave(&lan)?;
                Ok(lan)
            }
            false => self.ask_lan(&recorded.spec, lan),
        }
    }

    /// Lets the uplink answer for the guests' addresses, and no other interface. What somebody else
    /// lets it answer for is theirs. True when something was otherwise.
    pub(super) fn hold_proxies(&mut self) -> Result<bool> {
        let networks = self.journal.state().networks.values();
        let ours = networks.filter(|n| !n.removing && (n.spec.proxy_arp || !n.proxied.is_empty()));
        let ours: Vec<Recorded> = ours.cloned().collect();
        if ours.is_empty() {
            return Ok(false);
        }
        let mut changed = false;
        for recorded in ours {
            let _about = acts::about(&recorded.lab, &recorded.spec.name);
            changed |= self.hold_proxies_of(&recorded)?;
        }
        Ok(changed)
    }

    fn hold_proxies_of(&mut self, recorded: &Recorded) -> Result<bool> {
        let name = &recorded.spec.name;
        let lan = match recorded.spec.proxy_arp {
            true => Some(self.may_proxy(recorded)),
            false => None,
        };
        let (lan, refusal) = match lan {
            None => (None, None),
            Some(Ok(lan)) => (Some(lan), None),
            Some(Err(error)) => (None, Some(error)),
        };
        self.dirty |= self.proxies.refused.get(name) != refusal.as_ref();
        match refusal {
            Some(error) => _ = self.proxies.refused.insert(name.clone(), error),
            None => _ = self.proxies.refused.remove(name),
        }
        let found = self.rtnl.proxies()?;
        let wanted: BTreeSet<(u32, Ipv4Addr)> = lan
            .iter()
            .flat_map(|lan| {
                let addresses = recorded.spec.proxied().into_iter();
                addresses.map(|address| (lan.asker.ifindex, address))
            })
            .collect();
        let stale: BTreeSet<_> = recorded.proxied.difference(&wanted).copied().collect();
        let withdrawn = self.withdraw(recorded, &found, &stale)?;
        let at = |(ifindex, address): &(u32, Ipv4Addr)| {
            found
                .iter()
                .find(|p| (p.ifindex, p.address) == (*ifindex, *address))
        };
        // One that lost our mark is somebody else's by now.
        let lost = |key: &&(u32, Ipv4Addr)| at(key).is_some_and(|found| !found.ours);
        let lost: BTreeSet<_> = wanted
            .intersection(&recorded.proxied)
            .filter(lost)
            .copied()
            .collect();
        self.forget_proxies(name, &lost);
        let missing: Vec<_> = wanted
            .iter()
            .filter(|key| at(key).is_none())
            .copied()
            .collect();
        let Some(lan) = lan.filter(|_| !missing.is_empty()) else {
            return Ok(withdrawn);
        };
        let addresses: Vec<Ipv4Addr> = missing.iter().map(|(_, address)| *address).collect();
        let unclaimed = missing.iter().filter(|key| !recorded.proxied.contains(key));
        let unclaimed: Vec<_> = unclaimed.map(|(_, address)| *address).collect();
        if !unclaimed.is_empty() {
            self.journal.append(Entry::Proxied {
                network: name.clone(),
                ifindex: lan.asker.ifindex,
                addresses: unclaimed,
            })?;
        }
        let device = &lan.device;
        let added = self.rtnl.add_proxies(lan.asker.ifindex, &addresses);
        deed(format!(
            "lets {device} answer ARP for {}",
            words(&addresses)
        ))
        .command(commands(&addresses, |address| {
            format!("ip neigh add proxy {address} dev {device} protocol {PROXY_PROTOCOL}")
        }))
        .told(added)?;
        self.dirty = true;
        Ok(true)
    }

    /// Withdraws what the journal claims and carries our mark, but for another user's, whose netd has
    /// the same. True when there was something.
    fn withdraw(
        &mut self,
        recorded: &Recorded,
        found: &[Proxy],
        claimed: &BTreeSet<(u32, Ipv4Addr)>,
    ) -> Result<bool> {
        let ours = found
            .iter()
            .filter(|p| p.ours && claimed.contains(&(p.ifindex, p.address)));
        let mut ours: Vec<Proxy> = ours.copied().collect();
        if !ours.is_empty() {
            let others = self.nets_of_others()?;
            ours.retain(|p| {
                !others
                    .iter()
                    .any(|net| net.contains(&IpAddr::V4(p.address)))
            });
        }
        let interfaces: BTreeSet<u32> = ours.iter().map(|proxy| proxy.ifindex).collect();
        let mut changed = false;
        for ifindex in interfaces {
            let ours = ours.iter().filter(|proxy| proxy.ifindex == ifindex);
            let ours: Vec<Ipv4Addr> = ours.map(|proxy| proxy.address).collect();
            let device = self.rtnl.link(ifindex)?.map(|link| link.name);
            let device = device.unwrap_or_else(|| format!("interface {ifindex}"));
            let deleted = self.rtnl.delete_proxies(ifindex, &ours);
            deed(format!(
                "lets {device} answer ARP for {} no more",
                words(&ours)
            ))
            .command(commands(&ours, |address| {
                format!("ip neigh del proxy {address} dev {device}")
            }))
            .told(deleted)?;
            changed = true;
        }
        self.forget_proxies(&recorded.spec.name, claimed);
        self.dirty |= changed;
        Ok(changed)
    }

    /// The subnets of the bridges that other users' netds hold.
    fn nets_of_others(&mut self) -> Result<Vec<IpNet>> {
        let uid = self.config.identity.label_uid;
        let links = self.rtnl.links(Counters::Skip)?;
        let others = links
            .iter()
            .filter(|link| link.group == nft::HELD && label::parse(uid, &link.alias).is_none());
        let others: BTreeSet<u32> = others.map(|link| link.ifindex).collect();
        let mut addresses = self.rtnl.addresses(AddressFamily::V4)?;
        addresses.retain(|address| others.contains(&address.ifindex));
        Ok(addresses.iter().map(|address| address.net).collect())
    }

    fn forget_proxies(&mut self, name: &NetworkName, claimed: &BTreeSet<(u32, Ipv4Addr)>) {
        let interfaces: BTreeSet<u32> = claimed.iter().map(|(ifindex, _)| *ifindex).collect();
        for ifindex in interfaces {
            let addresses = claimed.iter().filter(|(at, _)| *at == ifindex);
            self.journal.note(Entry::Unproxied {
                network: name.clone(),
                ifindex,
                addresses: addresses.map(|(_, address)| *address).collect(),
            });
        }
    }

    /// Withdraws all of a network that goes.
    pub(super) fn remove_proxies(&mut self, recorded: &Recorded) -> Result<bool> {
        self.proxies.asked.remove(&recorded.spec.name);
        self.proxies.refused.remove(&recorded.spec.name);
        if recorded.proxied.is_empty() {
            return Ok(false);
        }
        let found = self.rtnl.proxies()?;
        self.withdraw(recorded, &found, &recorded.proxied)
    }

    /// What of a network's addresses the LAN gets an answer for, read back from the kernel; none of one
    /// without proxy ARP.
    pub(super) fn proxy_of(
        &mut self,
        lab: &LabName,
        name: &NetworkName,
    ) -> Result<Option<ProxyArp>> {
        let recorded = self.journal.state().networks.get(name);
        let recorded = recorded.filter(|recorded| recorded.lab == *lab && recorded.spec.proxy_arp);
        let Some(claimed) = recorded.map(|recorded| recorded.proxied.clone()) else {
            return Ok(None);
        };
        let found = self.rtnl.proxies()?;
        let held = found
            .iter()
            .filter(|p| p.ours && claimed.contains(&(p.ifindex, p.address)));
        let held: Vec<&Proxy> = held.collect();
        let device = match held.first() {
            Some(proxy) => self.rtnl.link(proxy.ifindex)?.map(|link| link.name),
            None => None,
        };
        Ok(Some(ProxyArp {
            device,
            addresses: held.len(),
            reason: self.proxies.refused.get(name).cloned(),
        }))
    }
}

/// Whether a subnet is a part of a LAN's. The LAN's first and last address are the LAN's, and with
/// them what begins or ends with it.
fn is_part(subnet: Ipv4Net, lan: Ipv4Net) -> bool {
    lan.contains(&subnet)
        && lan.network() != subnet.network()
        && lan.broadcast() != subnet.broadcast()
}

/// `ADDRESS_TAKEN`: all addresses of the subnet are asked for, since whoever has one of them could
/// not be reached from here any more.
fn ask(spec: &NetworkSpec, subnet: Ipv4Net, lan: &Lan) -> Result<()> {
    let (first, last) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
    let addresses = (first..=last).map(Ipv4Addr::from).collect();
    let owner = arp::owner_of(&lan.asker, &addresses);
    let failed = |e| Error::kernel(format!("ask {} who has {subnet}", lan.device), &e);
    let Some((address, mac)) = owner.map_err(failed)? else {
        return Ok(());
    };
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    Err(Error::new(
        Code::AddressTaken,
        format!(
            "{subnet} of {} cannot have addresses of the LAN: {mac} has {address} on {}",
            spec.name, lan.device
        ),
    )
    .hint(
        "Choose a part of the LAN's subnet that nobody has, and keep the DHCP of its router from giving \
         that away. Who is there: ip neigh",
    )
    .subject(address.to_string()))
}

/// As `192.168.1.194` or `13 addresses of 192.168.1.194 … 192.168.1.206`.
fn words(addresses: &[Ipv4Addr]) -> String {
    match addresses {
        [] => "nothing".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{} addresses, {first} … {last}", addresses.len()),
    }
}

/// A command for each address; a loop for those that follow one another, which differ in the last byte
/// alone.
fn commands(addresses: &[Ipv4Addr], command: impl Fn(&str) -> String) -> String {
    let number = |address: &Ipv4Addr| u32::from(*address);
    let runs =
        addresses.chunk_by(|a, b| number(b) == number(a) + 1 && a.octets()[..3] == b.octets()[..3]);
    let lines = runs.map(|run| match run {
        [first, .., last] => {
            let [a, b, c, from] = first.octets();
            let to = last.octets()[3];
            format!(
                "for n in $(seq {from} {to}); do {}; done",
                command(&format!("{a}.{b}.{c}.$n"))
            )
        }
        _ => run
            .first()
            .map(|one| command(&one.to_string()))
            .unwrap_or_default(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_lan() {
        let lan = "192.168.1.0/24".parse().unwrap();
        for (subnet, part) in [
            ("192.168.1.192/28", true),
            ("192.168.1.64/26", true),
            ("192.168.1.0/28", false),
            ("192.168.1.240/28", false),
            ("192.168.1.0/24", false),
            ("192.168.0.0/16", false),
            ("192.168.2.192/28", false),
        ] {
            assert_eq!(is_part(subnet.parse().unwrap(), lan), part, "{subnet}");
        }
    }

    #[test]
    fn commands_are_short() {
        let addresses: Vec<Ipv4Addr> = [2, 5, 6, 7, 9].map(|n| Ipv4Addr::new(10, 0, 0, n)).to_vec();
        assert_eq!(
            commands(&addresses, |address| format!("x {address}")),
            "x 10.0.0.2\nfor n in $(seq 5 7); do x 10.0.0.$n; done\nx 10.0.0.9"
        );
    }
}
