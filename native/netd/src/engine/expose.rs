// SPDX-License-Identifier: Apache-2.0
//! `expose` and `unexpose`: ports of the host's on the LAN that lead to guests', by rule.
//!
//! Each is an element of the filter's map for each address of the uplink that it is wanted at, and a
//! socket that is bound there and never listens: so the kernel says whether the port is free, and
//! whoever wants it later is told that it is not.

use super::{Engine, Stopwatch};
use crate::acts::{self, Told, deed};
use crate::journal::{Entry, State, may_expose};
use crate::nft::FilterState;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use tapyard_protocol::{
    Code, Error, Expose, ExposeReply, Exposed, Exposure, LabName, Listeners, NetworkName, Port,
    Result, Scope, Transport, Unexpose, UnexposeReply, Uplink,
};

/// Each is a socket at each address of the uplink: see [`Reserved::new`].
const EXPOSURES: usize = 256;
/// From which on everybody may listen, unless the kernel says otherwise (ip-sysctl).
const FIRST_FREE_PORT: u16 = 1024;

/// Sockets that keep the ports.
#[derive(Debug)]
pub(super) struct Reserved {
    sockets: BTreeMap<(Ipv4Addr, Transport, Port), OwnedFd>,
    at_most: usize,
}

impl Reserved {
    /// Half of the descriptors that this process may have are left for everything else.
    pub(super) fn new() -> Reserved {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        Reserved::at_most(limit.unwrap_or(usize::MAX) / 2)
    }

    fn at_most(at_most: usize) -> Reserved {
        let sockets = BTreeMap::new();
        Reserved { sockets, at_most }
    }

    /// Keeps the ports of these and lets go of all others. Returns those that could be had, sorted.
    pub(super) fn hold(&mut self, wanted: &[Exposure]) -> Vec<Exposure> {
        let keys: BTreeSet<_> = wanted.iter().map(Exposure::key).collect();
        self.sockets.retain(|key, _| keys.contains(key));
        let mut held = Vec::with_capacity(wanted.len());
        let mut listeners = Listeners::default();
        for exposure in wanted {
            match self.reserve(exposure, &mut listeners) {
                Ok(()) => held.push(*exposure),
                Err(error) => eprintln!("expose {exposure}: {error}"),
            }
        }
        held
    }

    /// `PORT_TAKEN`, `NO_SUCH_ADDRESS`, `BUSY`, `KERNEL`.
    fn reserve(&mut self, exposure: &Exposure, listeners: &mut Listeners) -> Result<()> {
        if self.sockets.contains_key(&exposure.key()) {
            return Ok(());
        }
        if self.sockets.len() >= self.at_most {
            return Err(no_room(exposure, self.at_most));
        }
        let failed = |errno| match errno {
            Errno::ADDRINUSE => {
                let owner = listeners.owner_of(exposure.port.get(), exposure.protocol);
                taken(
                    exposure,
                    &owner.unwrap_or_else(|| "another program".to_owned()),
                )
            }
            Errno::ADDRNOTAVAIL => no_such_address(exposure.address, "this computer"),
            errno => Error::kernel(format!("keep the port {exposure}"), &errno.into()),
        };
        let socket = bound(exposure).map_err(failed)?;
        self.sockets.insert(exposure.key(), socket);
        Ok(())
    }
}

/// A socket at the address and port that takes nothing.
fn bound(exposure: &Exposure) -> std::result::Result<OwnedFd, Errno> {
    let kind = match exposure.protocol {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    // Connections that have ended keep a port for a minute from all but those who say so. Two UDP
    // sockets may share a port by it, which this one must not.
    let ended = exposure.protocol == Transport::Tcp;
    if ended {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(
        &socket,
        &SocketAddrV4::new(exposure.address, exposure.port.get()),
    )?;
    if ended {
        sockopt::set_socket_reuseaddr(&socket, false)?;
    }
    Ok(socket)
}

/// What the filter's map is to hold: one for each address of the uplink, sorted.
pub(super) fn wanted_exposed(state: &State, uplink: &Uplink) -> Vec<Exposure> {
    let mut wanted = BTreeMap::new();
    for recorded in state.networks.values().filter(|n| !n.removing) {
        for exposure in &recorded.exposed {
            for address in addresses_of(exposure, uplink) {
                let at = Exposure {
                    address,
                    ..*exposure
                };
                // A journal that was written by hand may have two for one port.
                wanted.entry(at.key()).or_insert(at);
            }
        }
    }
    wanted.into_values().collect()
}

fn addresses_of(exposure: &Exposure, uplink: &Uplink) -> Vec<Ipv4Addr> {
    let own = uplink.addresses.iter().filter_map(|net| match net.addr() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    own.filter(|own| exposure.address.is_unspecified() || exposure.address == *own)
        .collect()
}

impl Engine {
    /// See the protocol page.
    pub fn expose(&mut self, args: &Expose) -> Result<ExposeReply> {
        let watch = Stopwatch::start();
        let Expose { lab, exposure } = args;
        let network = self.check_exposure(lab, exposure)?;
        let _about = acts::about(lab, &network);
        let uplink = self.uplink.state();
        let addresses = addresses_of(exposure, &uplink);
        if addresses.is_empty() && !exposure.address.is_unspecified() {
            let device = uplink.device.unwrap_or_else(|| "this computer".to_owned());
            return Err(no_such_address(exposure.address, &device));
        }
        let recorded = self.journal.state().networks.get(&network);
        let mut before = recorded.into_iter().flat_map(|r| r.exposed.iter().copied());
        let before = before.find(|e| e.key() == exposure.key());
        let mut listeners = Listeners::default();
        for address in &addresses {
            let at = Exposure {
                address: *address,
                ..*exposure
            };
            let reserved = self.reserved.reserve(&at, &mut listeners);
            if let Err(error) = reserved {
                self.hold_reserved();
                return Err(error);
            }
        }
        if before != Some(*exposure) {
            self.journal.append(Entry::Exposed {
                network: network.clone(),
                exposure: *exposure,
            })?;
        }
        match self.hold_exposure(&network, exposure, addresses.len()) {
            Ok((at, changed)) => Ok(ExposeReply {
                at,
                changed,
                ms: watch.ms(),
            }),
            Err(error) => {
                self.journal.note(match before {
                    Some(exposure) => Entry::Exposed { network, exposure },
                    None => Entry::Unexposed {
                        network,
                        port: exposure.key(),
                    },
                });
                if let Err(error) = self.hold_filter() {
                    eprintln!("undo of expose {exposure}: {error}");
                }
                Err(error)
            }
        }
    }

    /// See the protocol page.
    pub fn unexpose(&mut self, args: &Unexpose) -> Result<UnexposeReply> {
        let watch = Stopwatch::start();
        self.check_lab(&args.lab)?;
        let port = (args.address, args.protocol, args.port);
        let mut networks = self.journal.state().networks.iter();
        let network = networks.find_map(|(name, recorded)| {
            let own = recorded.lab == args.lab;
            let there = recorded.exposed.iter().any(|e| e.key() == port);
            (own && there).then(|| name.clone())
        });
        let changed = network.is_some();
        if let Some(network) = network {
            let _about = acts::about(&args.lab, &network);
            self.dirty = true;
            self.journal.note(Entry::Unexposed { network, port });
            self.hold_filter()?;
        }
        Ok(UnexposeReply {
            changed,
            ms: watch.ms(),
        })
    }

    /// Writes the rules and opens the doors. Where it is now, and whether something changed.
    fn hold_exposure(
        &mut self,
        network: &NetworkName,
        exposure: &Exposure,
        wanted: usize,
    ) -> Result<(Vec<Ipv4Addr>, bool)> {
        let changed = self.hold_filter()?;
        self.dirty |= changed | self.hold_doors(Some(network));
        let at = exposed_at(&self.filter.read()?, exposure);
        if at.len() < wanted {
            return Err(Error::new(
                Code::Kernel,
                format!("{exposure} was exposed, but its rule is gone again"),
            )
            .hint("Some other program changes the network at the same time; try again.")
            .subject(exposure.to_string()));
        }
        Ok((at, changed))
    }

    /// The exposures of a network as the kernel has them.
    pub(super) fn exposed_of(&self, name: &NetworkName, filter: &FilterState) -> Vec<Exposed> {
        let recorded = self.journal.state().networks.get(name);
        let exposed = recorded.map_or(&[][..], |recorded| &recorded.exposed);
        let mut exposed: Vec<Exposed> = exposed
            .iter()
            .map(|exposure| Exposed {
                exposure: *exposure,
                at: exposed_at(filter, exposure),
            })
            .collect();
        exposed.sort_by_key(|exposed| exposed.exposure);
        exposed
    }

    /// Makes the filter's map that; connections by what goes from it end. So do flows of UDP that
    /// went to the host before: one that does not pause would never come to the guest, since a
    /// connection keeps the way that it began with. One of TCP begins anew by itself.
    pub(super) fn set_exposed(&mut self, found: &FilterState, exposed: &[Exposure]) -> Result<()> {
        self.filter.set_exposed(exposed)?;
        let found = found.exposed();
        for gone in found.iter().filter(|gone| !exposed.contains(gone)) {
            let cleared = self.conntrack.clear_exposed(gone);
            tell_cleared(&format!("that came by {gone}"), gone, cleared)?;
        }
        let udp = exposed.iter().filter(|e| e.protocol == Transport::Udp);
        for new in udp.filter(|new| !found.contains(new)) {
            let cleared = self.conntrack.clear_unexposed(new);
            tell_cleared(&format!("to {new} from before"), new, cleared)?;
        }
        Ok(())
    }

    /// Takes out of the filter's map what is not wanted any more, and adds nothing.
    pub(super) fn conceal(&mut self) -> Result<()> {
        let found = self.filter.read()?;
        let wanted = wanted_exposed(self.journal.state(), &self.uplink.state());
        let mut kept = found.exposed();
        kept.retain(|exposure| wanted.contains(exposure));
        if kept.len() < found.exposed().len() {
            self.set_exposed(&found, &kept)?;
        }
        self.reserved.hold(&kept);
        Ok(())
    }

    /// What may not be exposed (any more) is forgotten before anything is made of it.
    pub(super) fn forget_unexposable(&mut self) {
        let networks = self.journal.state().networks.iter();
        let all: Vec<_> = networks
            .flat_map(|(name, recorded)| {
                let exposed = recorded.exposed.iter();
                exposed.map(|exposure| (name.clone(), recorded.lab.clone(), *exposure))
            })
            .collect();
        let uplink = self.uplink.state();
        let mut listeners = Listeners::default();
        for (network, lab, exposure) in all {
            let checked = self.check_exposure(&lab, &exposure).and_then(|_| {
                let mut at = addresses_of(&exposure, &uplink).into_iter();
                at.try_for_each(|address| {
                    let at = Exposure {
                        address,
                        ..exposure
                    };
                    self.reserved.reserve(&at, &mut listeners)
                })
            });
            if let Err(error) = checked {
                eprintln!("expose {exposure}: {error}");
                let port = exposure.key();
                self.journal.note(Entry::Unexposed { network, port });
            }
        }
    }

    /// Lets go of ports that were kept for what is not recorded.
    fn hold_reserved(&mut self) {
        let wanted = wanted_exposed(self.journal.state(), &self.uplink.state());
        self.reserved.hold(&wanted);
    }

    /// The network that it leads to. `MODE_NEEDS_HOST_SCOPE`, `NO_SUCH_NETWORK`, `BAD_ARGS`,
    /// `PORT_DENIED`, `PORT_TAKEN` by another exposure, `BUSY`.
    fn check_exposure(&mut self, lab: &LabName, exposure: &Exposure) -> Result<NetworkName> {
        self.check_lab(lab)?;
        if self.config.identity.scope != Scope::Host {
            return Err(Error::new(
                Code::ModeNeedsHostScope,
                format!("{exposure} is none of the private scope: no address of this computer is"),
            )
            .hint("Move the lab: tapyard scope host. A forward of the private scope listens on this computer: tapyard forward")
            .subject(exposure.to_string()));
        }
        let spec = self.network_of(lab, exposure.to.into())?;
        if !may_expose(&spec, exposure) {
            let to = exposure.to;
            let why = match spec.mode.forwards() {
                true => format!("{to} is no guest's address in {}", spec.name),
                false => format!("{} is {}: nothing is let in", spec.name, spec.mode),
            };
            return Err(Error::new(Code::BadArgs, why).subject("exposure.to"));
        }
        // Also one that somebody else gave to an interface: a service of the host that is not on the
        // LAN must not get there by this.
        let host = self.rtnl.addresses(crate::rtnl::AddressFamily::V4)?;
        if host.iter().any(|own| own.net.addr() == exposure.to) {
            let why = format!("{} is the host's own, not a guest's", exposure.to);
            return Err(Error::new(Code::BadArgs, why).subject("exposure.to"));
        }
        let first = first_free_port();
        let port = exposure.port.get();
        if self.config.identity.label_uid != 0 && port < first {
            return Err(Error::new(
                Code::PortDenied,
                format!("this user may not have the port {port} of this computer"),
            )
            .hint(format!(
                "Ports below {first} are root's (sysctl net.ipv4.ip_unprivileged_port_start): \
                 forward from a higher one."
            ))
            .subject(exposure.to_string()));
        }
        let all = self.journal.state().networks.values();
        let others: Vec<(&LabName, &Exposure)> = all
            .flat_map(|recorded| recorded.exposed.iter().map(|e| (&recorded.lab, e)))
            .filter(|(of, other)| *of != lab || other.key() != exposure.key())
            .collect();
        if let Some((of, other)) = others.iter().find(|(_, other)| meet(other, exposure)) {
            let owner = format!("the lab {of}, for {}:{}", other.to, other.to_port);
            return Err(taken(exposure, &owner));
        }
        if others.len() >= EXPOSURES {
            return Err(Error::new(
                Code::Busy,
                format!("{EXPOSURES} ports of this computer lead to guests already"),
            )
            .hint("Remove a forward that is not needed.")
            .subject(exposure.to_string()));
        }
        Ok(spec.name)
    }
}

/// Tells of connections that were removed.
fn tell_cleared(
    which: &str,
    exposure: &Exposure,
    cleared: crate::nft::Result<usize>,
) -> Result<()> {
    if !matches!(cleared, Ok(0)) {
        let (protocol, address, port) = (exposure.protocol, exposure.address, exposure.port);
        deed(format!("removed the connections {which}"))
            .command(format!(
                "conntrack -D -p {protocol} --orig-dst {address} --orig-port-dst {port}"
            ))
            .told(cleared.as_ref().map_err(Told::told))
            .ok();
    }
    Ok(cleared.map(drop)?)
}

/// Where an exposure is in the kernel.
fn exposed_at(filter: &FilterState, exposure: &Exposure) -> Vec<Ipv4Addr> {
    let found = filter.exposed().into_iter();
    found
        .filter(|at| {
            let wanted = Exposure {
                address: at.address,
                ..*exposure
            };
            *at == wanted && (exposure.address.is_unspecified() || exposure.address == at.address)
        })
        .map(|at| at.address)
        .collect()
}

/// Whether both want one port of one address.
fn meet(one: &Exposure, other: &Exposure) -> bool {
    let (a, b) = (one.address, other.address);
    (one.protocol, one.port) == (other.protocol, other.port)
        && (a == b || a.is_unspecified() || b.is_unspecified())
}

fn first_free_port() -> u16 {
    let read = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = read.ok().and_then(|text| text.trim().parse().ok());
    first.unwrap_or(FIRST_FREE_PORT)
}

fn taken(exposure: &Exposure, owner: &str) -> Error {
    Error::new(Code::PortTaken, format!("{exposure} is taken by {owner}"))
        .hint("End that (ss -lntup shows it), or forward from another port.")
        .subject(exposure.to_string())
}

fn no_room(exposure: &Exposure, kept: usize) -> Error {
    Error::new(
        Code::Busy,
        format!(
            "{exposure} is one port too many: netd keeps {kept} for guests already, counted at each address \
             of the uplink's, and may not open many more descriptors"
        ),
    )
    .hint("Forward from one address instead of 0.0.0.0, or remove a forward that is not needed.")
    .subject(exposure.to_string())
}

fn no_such_address(address: Ipv4Addr, of: &str) -> Error {
    Error::new(
        Code::NoSuchAddress,
        format!("{of} has no address {address}"),
    )
    .hint("Forward from an address of the uplink's, or from 0.0.0.0 for every one that it has.")
    .subject(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapyard_protocol::Provider;

    fn exposure(address: &str, port: u16, protocol: Transport) -> Exposure {
        Exposure {
            address: address.parse().unwrap(),
            protocol,
            port: u64::from(port).try_into().unwrap(),
            to: "192.168.57.2".parse().unwrap(),
            to_port: 80.try_into().unwrap(),
        }
    }

    #[test]
    fn one_for_each_address_of_the_uplink() {
        let uplink = Uplink {
            provider: Provider::Kernel,
            addresses: ["203.0.113.2/24", "198.51.100.2/24", "2001:db8::2/64"]
                .map(|net| net.parse().unwrap())
                .to_vec(),
            ..Uplink::none(Error::new(Code::NoDefaultRoute, ""))
        };
        let at = |address| addresses_of(&exposure(address, 8080, Transport::Tcp), &uplink).len();
        assert_eq!(
            (at("0.0.0.0"), at("203.0.113.2"), at("10.0.0.1")),
            (2, 1, 0)
        );
    }

    #[test]
    fn two_meet_at_one_address_and_protocol() {
        let all = exposure("0.0.0.0", 8080, Transport::Tcp);
        let one = exposure("203.0.113.2", 8080, Transport::Tcp);
        assert!(meet(&all, &one) && meet(&one, &all));
        assert!(!meet(&one, &exposure("203.0.113.3", 8080, Transport::Tcp)));
        assert!(!meet(&one, &exposure("203.0.113.2", 8081, Transport::Tcp)));
        assert!(!meet(&one, &exposure("203.0.113.2", 8080, Transport::Udp)));
    }

    #[test]
    fn a_port_that_is_kept_is_nobody_elses() {
        let mut reserved = Reserved::at_most(1);
        let mut listeners = Listeners::default();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let wanted = exposure("127.0.0.1", port, Transport::Tcp);
        let error = reserved.reserve(&wanted, &mut listeners).unwrap_err();
        assert_eq!(error.code, Code::PortTaken);
        let own = format!("(process {})", std::process::id());
        assert!(error.message.contains(&own), "{error}");
        drop(free);
        assert_eq!(reserved.hold(&[wanted]), [wanted]);
        // Also from those that take a port whose connections have just ended, as most servers do.
        assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err());
        assert!(reserved.hold(&[]).is_empty());
        assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
    }
}
