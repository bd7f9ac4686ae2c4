// SPDX-License-Identifier: Apache-2.0
//! A network's bridge: made, adjusted, given its address, switched on, removed.

use super::bridged::bridge_name;
use super::guard::{is_guarded, nic_mac};
use super::{Engine, label};
use crate::acts::deed;
use crate::journal::{Entry, Recorded, bridge_addresses};
use crate::nft;
use crate::rtnl::{AddressFamily, BridgeOptions, Counters, LinkChange, LinkInfo, NewBridge};
use ipnet::IpNet;
use rustix::io::Errno;
use tapyard_protocol::{Code, Error, LabName, Mode, NetworkSpec, Result};

/// Numbers for new bridges come from here, by chance. The kernel counts from 1, so that nobody else
/// gets one of these: making and labelling travel in one message (see [`Rtnl::add_bridge`]), and
/// where the number is somebody else's by then, the label would be as well.
const NUMBERS: std::ops::Range<u32> = 1 << 20..1 << 28;
/// So many are tried.
const NUMBER_TRIES: u32 = 8;

impl Engine {
    /// Its number, and whether anything changed.
    pub(super) fn make_bridge(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        there: Option<LinkInfo>,
    ) -> Result<(u32, bool)> {
        let name = spec.name.as_str();
        let mtu = self.mtu_of(spec, there.as_ref())?;
        let Some(link) = there else {
            let ifindex = self.add_bridge(lab, spec, mtu)?;
            self.hold_ports(lab, spec, ifindex, mtu)?;
            return Ok((ifindex, true));
        };
        let options = options_of(spec);
        let change = LinkChange {
            mac: (link.mac != spec.mac.bytes()).then(|| spec.mac.bytes()),
            mtu: (link.mtu != mtu).then_some(mtu),
            bridge: (link.bridge != Some(options)).then_some(options),
            ..LinkChange::default()
        };
        let changed = change.mac.is_some() || change.mtu.is_some() || change.bridge.is_some();
        if changed {
            let mac = change.mac.map(|_| format!(" address {}", spec.mac));
            let mtu = change.mtu.map(|mtu| format!(" mtu {mtu}"));
            let bridge = change
                .bridge
                .map(|options| format!(" type bridge {}", options.words()));
            let words = [mac, mtu, bridge].map(Option::unwrap_or_default).concat();
            deed(format!("set up bridge {name} anew"))
                .command(format!("ip link set {name}{words}"))
                .told(self.rtnl.change_link(link.ifindex, name, &change))?;
        }
        let held = self.hold_ports(lab, spec, link.ifindex, mtu)?;
        Ok((link.ifindex, changed || held))
    }

    /// Where an interface of the host's is a port, its network there says how long a frame may be.
    fn mtu_of(&mut self, spec: &NetworkSpec, there: Option<&LinkInfo>) -> Result<u32> {
        let Some(interface) = &spec.interface else {
            return Ok(spec.mtu.get());
        };
        let link = self.rtnl.link_named(interface)?;
        let mtu = link.as_ref().or(there).map(|link| link.mtu);
        Ok(mtu.unwrap_or_else(|| spec.mtu.get()))
    }

    /// Gives its taps the bridge's MTU, and the bridge back to those whose guests ran on when it
    /// was taken away. A netd that was killed in the middle of either leaves it to this one. True
    /// when there was something to do.
    pub(super) fn hold_ports(
        &mut self,
        lab: &LabName,
        spec: &NetworkSpec,
        bridge: u32,
        mtu: u32,
    ) -> Result<bool> {
        let mut changed = false;
        for tap in self.taps_of(lab, spec)? {
            let change = LinkChange {
                mtu: (tap.mtu != mtu).then_some(mtu),
                master: tap.master.is_none().then_some(bridge),
                ..LinkChange::default()
            };
            if change.mtu.is_some() || change.master.is_some() {
                let (name, network) = (&tap.name, bridge_name(spec));
                let mtu = change.mtu.map(|mtu| format!(" mtu {mtu}"));
                let master = change.master.map(|_| format!(" master {network}"));
                let words = [mtu, master].map(Option::unwrap_or_default).concat();
                deed(format!("made {name} fit its bridge {network}"))
                    .command(format!("ip link set {name}{words}"))
                    .told(self.rtnl.change_link(tap.ifindex, name, &change))?;
                changed = true;
            }
            let joins = change.master.is_some();
            if spec.mode == Mode::Bridged
                && (joins || tap.master == Some(bridge))
                && is_guarded(spec) != (tap.fixed && !joins)
                && let Some(mac) = nic_mac(&tap)
            {
                self.fix_port(spec, tap.ifindex, &tap.name, mac)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    fn add_bridge(&mut self, lab: &LabName, spec: &NetworkSpec, mtu: u32) -> Result<u32> {
        let alias = label::bridge(self.config.identity.label_uid, lab, &spec.name);
        let options = options_of(spec);
        let mut tries = 0;
        loop {
            tries += 1;
            let ifindex = random_number()?;
            let bridge = NewBridge {
                ifindex,
                name: &spec.name,
                mac: spec.mac.bytes(),
                mtu,
                options,
                alias: &alias,
            };
            let made = self.rtnl.add_bridge(&bridge);
            let (name, mac, words) = (&spec.name, spec.mac, options.words());
            let deed = deed(format!("made bridge {name}")).command(format!(
                "ip link add {name} address {mac} mtu {mtu} type bridge {words}\n\
                 ip link set {name} alias {alias}"
            ));
            match made {
                Ok(()) => {
                    deed.done();
                    return Ok(ifindex);
                }
                // The kernel tells a number that is taken with the same words as a name.
                Err(error)
                    if matches!(error.errno, Errno::BUSY | Errno::EXIST)
                        && tries < NUMBER_TRIES
                        && self.rtnl.link_named(&spec.name)?.is_none() => {}
                Err(error) if error.errno == Errno::EXIST => {
                    let error = Error::from(error);
                    let error = Error::new(Code::NameTaken, error.message)
                        .hint(format!(
                            "Somebody made it just now. Look who: ip -d link show {}; then try again.",
                            spec.name
                        ))
                        .subject(spec.name.as_str());
                    return deed.told(Err(error));
                }
                Err(error) => {
                    return deed.told(Err(Error::from(error).subject(spec.name.as_str())));
                }
            }
        }
    }

    pub(super) fn taps_of(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<Vec<LinkInfo>> {
        let uid = self.config.identity.label_uid;
        let mut links = self.rtnl.links(Counters::Skip)?;
        links.retain(|link| {
            link.kind == "tun"
                && label::parse(uid, &link.alias).is_some_and(|owner| {
                    owner.lab == *lab && owner.network == spec.name && owner.guest.is_some()
                })
        });
        Ok(links)
    }

    pub(super) fn make_address(&mut self, ifindex: u32, spec: &NetworkSpec) -> Result<bool> {
        let wanted = bridge_addresses(spec);
        let there: Vec<IpNet> = self
            .rtnl
            .addresses(AddressFamily::Any)?
            .into_iter()
            .filter(|address| address.ifindex == ifindex)
            .map(|address| address.net)
            .collect();
        let mut changed = false;
        let recorded = self.journal.state().networks.get(&spec.name);
        let formers = recorded.map(|r| r.formers.clone()).unwrap_or_default();
        for former in &formers {
            if there.contains(former) {
                deed(format!("took {} from {}", former.addr(), spec.name))
                    .command(format!("ip addr del {former} dev {}", spec.name))
                    .told(self.rtnl.delete_address(ifindex, *former))?;
                changed = true;
            }
        }
        for address in wanted.iter().filter(|address| !there.contains(address)) {
            let command = match address {
                IpNet::V4(_) => format!("ip addr add {address} brd + dev {}", spec.name),
                IpNet::V6(_) => format!("ip addr add {address} dev {} nodad", spec.name),
            };
            deed(format!("gave {} the address {}", spec.name, address.addr()))
                .command(command)
                .told(self.rtnl.add_address(ifindex, *address))?;
            changed = true;
        }
        if !formers.is_empty() {
            self.journal.note(Entry::Formers {
                network: spec.name.clone(),
                addresses: Vec::new(),
            });
        }
        Ok(changed)
    }

    pub(super) fn switch_on(
        &mut self,
        ifindex: u32,
        spec: &NetworkSpec,
        made: bool,
    ) -> Result<bool> {
        // A new one is down for sure, and says what it likes.
        let there = match made {
            true => None,
            false => self.rtnl.link(ifindex)?,
        };
        let up = there.as_ref().is_some_and(|link| link.up);
        let silent = there.as_ref().is_some_and(|link| link.no_arp);
        let silence = spec.interface.is_some() && self.silence(spec, silent)?;
        if up && !silence {
            return Ok(false);
        }
        let change = LinkChange {
            up: Some(true),
            no_arp: silence,
            ..LinkChange::default()
        };
        let words = if silence { " arp off" } else { "" };
        deed(format!("switched {} on", spec.name))
            .command(format!("ip link set {}{words} up", spec.name))
            .told(self.rtnl.change_link(ifindex, &spec.name, &change))?;
        Ok(true)
    }

    /// Puts the bridge into the group by which the filters of other netds know that ours decides what
    /// goes to it: see [`nft::HELD`].
    pub(super) fn tell_others(&mut self, ifindex: u32, spec: &NetworkSpec) -> Result<()> {
        let (name, group) = (&spec.name, nft::HELD);
        let change = LinkChange {
            group: Some(group),
            ..LinkChange::default()
        };
        deed(format!("told other netds that {name} is filtered"))
            .command(format!("ip link set {name} group {group}"))
            .told(self.rtnl.change_link(ifindex, name, &change))?;
        Ok(())
    }

    /// Whether guests may still be on what has a removed network's name: it is up, and netd made it, by
    /// label or, where somebody wrote another, by its number and address.
    pub(super) fn is_standing(&mut self, recorded: &Recorded) -> bool {
        let Recorded { lab, spec, .. } = recorded;
        match self.rtnl.link_named(&spec.name) {
            Ok(None) => false,
            Ok(Some(link)) => {
                let made = NUMBERS.contains(&link.ifindex) && link.mac == spec.mac.bytes();
                link.up && link.kind == "bridge" && (made || self.is_our_bridge(&link, lab, spec))
            }
            Err(_) => true,
        }
    }

    /// True when it was there. Journal and label must both say that it is ours.
    pub(super) fn remove_bridge(&mut self, recorded: &Recorded) -> Result<bool> {
        let name = recorded.spec.name.as_str();
        let Some(link) = self.rtnl.link_named(name)? else {
            return Ok(false);
        };
        let deed = deed(format!("removed bridge {name}")).command(format!("ip link del {name}"));
        if !self.is_our_bridge(&link, &recorded.lab, &recorded.spec) {
            return deed.told(Err(Error::new(
                Code::NameTaken,
                format!("{name} does not carry our label any more, so it stays"),
            )
            .hint(format!(
                "If it is of no use to anybody: ip link delete {name}"
            ))
            .subject(name)));
        }
        deed.told(self.rtnl.delete_link(link.ifindex, name))?;
        Ok(true)
    }
}

/// How the network's bridge is set up. One with an interface of the host's on it says nothing there
/// of its own, not even which multicast it wants.
fn options_of(spec: &NetworkSpec) -> BridgeOptions {
    BridgeOptions::new(spec.interface.is_none())
}

/// A number for a new interface.
pub(super) fn random_number() -> Result<u32> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::kernel("get random bytes", &e.into()))?;
    Ok(NUMBERS.start + u32::from_ne_bytes(bytes) % (NUMBERS.end - NUMBERS.start))
}
