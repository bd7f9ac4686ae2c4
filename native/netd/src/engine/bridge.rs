// SPDX-License-Identifier: Apache-2.0
//! A network's bridge: made, adjusted, given its address, switched on, removed.

use super::{Engine, label};
use crate::journal::{Recorded, bridge_address};
use crate::rtnl::{AddressFamily, BridgeOptions, Counters, LinkChange, LinkInfo, NewBridge};
use ipnet::IpNet;
use rustix::io::Errno;
use tapyard_protocol::{Code, Error, LabName, NetworkSpec, Result};

/// Free interface numbers are tried so often: each try fails only when somebody makes an
/// interface at that very moment.
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
        let Some(link) = there else {
            let ifindex = self.add_bridge(lab, spec)?;
            self.hold_ports(lab, spec, ifindex, spec.mtu.get())?;
            return Ok((ifindex, true));
        };
        let change = LinkChange {
            mac: (link.mac != spec.mac.bytes()).then(|| spec.mac.bytes()),
            mtu: (link.mtu != spec.mtu.get()).then(|| spec.mtu.get()),
            bridge_defaults: link.bridge != Some(BridgeOptions::default()),
            ..LinkChange::default()
        };
        let changed = change.mac.is_some() || change.mtu.is_some() || change.bridge_defaults;
        if changed {
            self.rtnl.change_link(link.ifindex, name, &change)?;
        }
        let held = self.hold_ports(lab, spec, link.ifindex, spec.mtu.get())?;
        Ok((link.ifindex, changed || held))
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
                self.rtnl.change_link(tap.ifindex, &tap.name, &change)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    fn add_bridge(&mut self, lab: &LabName, spec: &NetworkSpec) -> Result<u32> {
        let alias = label::bridge(self.config.identity.label_uid, lab, &spec.name);
        let highest = self.rtnl.links(Counters::Skip)?;
        let highest = highest.iter().map(|link| link.ifindex).max().unwrap_or(0);
        let mut ifindex = highest + 1;
        loop {
            let bridge = NewBridge {
                ifindex,
                name: &spec.name,
                mac: spec.mac.bytes(),
                mtu: spec.mtu.get(),
                alias: &alias,
            };
            match self.rtnl.add_bridge(&bridge) {
                Ok(()) => break,
                // The number may have gone to somebody else meanwhile (pasta makes its interface
                // when it likes), which the kernel tells with the same words as for the name.
                Err(error)
                    if matches!(error.errno, Errno::BUSY | Errno::EXIST)
                        && ifindex - highest < NUMBER_TRIES
                        && self.rtnl.link_named(&spec.name)?.is_none() =>
                {
                    ifindex += 1;
                }
                Err(error) if error.errno == Errno::EXIST => {
                    let error = Error::from(error);
                    return Err(Error::new(Code::NameTaken, error.message)
                        .hint("Somebody made an interface of that name just now; try again.")
                        .subject(spec.name.as_str()));
                }
                Err(error) => return Err(Error::from(error).subject(spec.name.as_str())),
            }
        }
        Ok(ifindex)
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
        let Some(wanted) = bridge_address(spec) else {
            return Ok(false);
        };
        let there: Vec<IpNet> = self
            .rtnl
            .addresses(AddressFamily::V4)?
            .into_iter()
            .filter(|address| address.ifindex == ifindex)
            .map(|address| address.net)
            .collect();
        let mut changed = false;
        let recorded = self.journal.state().networks.get(&spec.name);
        for former in recorded.into_iter().flat_map(|r| &r.formers) {
            if there.contains(&(*former).into()) {
                self.rtnl.delete_address(ifindex, *former)?;
                changed = true;
            }
        }
        if !there.contains(&wanted.into()) {
            self.rtnl.add_address(ifindex, wanted)?;
            changed = true;
        }
        Ok(changed)
    }

    pub(super) fn switch_on(
        &mut self,
        ifindex: u32,
        spec: &NetworkSpec,
        made: bool,
    ) -> Result<bool> {
        // A new one is down for sure.
        if !made && self.rtnl.link(ifindex)?.is_some_and(|link| link.up) {
            return Ok(false);
        }
        let change = LinkChange {
            up: Some(true),
            ..LinkChange::default()
        };
        self.rtnl.change_link(ifindex, &spec.name, &change)?;
        Ok(true)
    }

    /// True when it was there. Journal and label must both say that it is ours.
    pub(super) fn remove_bridge(&mut self, recorded: &Recorded) -> Result<bool> {
        let name = recorded.spec.name.as_str();
        let Some(link) = self.rtnl.link_named(name)? else {
            return Ok(false);
        };
        if !self.is_our_bridge(&link, &recorded.lab, &recorded.spec) {
            return Err(Error::new(
                Code::NameTaken,
                format!("{name} does not carry our label any more, so it stays"),
            )
            .hint(format!(
                "If it is of no use to anybody: ip link delete {name}"
            ))
            .subject(name));
        }
        self.rtnl.delete_link(link.ifindex, name)?;
        Ok(true)
    }
}
