// SPDX-License-Identifier: Apache-2.0
//! The doors in the host's other firewalls, held as the journal wants them. What cannot be opened
//! is told with the network; it is no failure of what was asked.

use super::{Engine, label};
use crate::doors::{Doors, Ipv6, Wanted};
use crate::journal::Recorded;
use crate::sysctl;
use tapyard_protocol::{Door, Error, Mode, NetworkName, NetworkSpec, Scope};

impl Engine {
    /// Opens what is shut, for one network or for all. True when something was.
    pub(super) fn hold_doors(&mut self, only: Option<&NetworkName>) -> bool {
        // Nobody else's firewall is in a namespace of the lab's own.
        if self.config.identity.scope != Scope::Host {
            return false;
        }
        let bridged = sysctl::bridged_pass_iptables();
        let uplink = self.uplink.state().device;
        let ipv6 = Ipv6 {
            bridged: sysctl::bridged_pass_ip6tables(),
            uplink: self.uplink6().device,
        };
        let networks = self.journal.state().networks.values();
        let wanted: Vec<Wanted> = networks
            .filter(|network| !network.removing && network.spec.has_own_bridge())
            .filter(|network| only.is_none_or(|name| *name == network.spec.name))
            .map(|network| Wanted {
                lab: network.lab.clone(),
                name: network.spec.name.clone(),
                label: self.label_of(network),
                mode: network.spec.mode,
                bridged,
                ipv6: may_speak_ipv6(&network.spec).then(|| ipv6.clone()),
                uplink: uplink.clone(),
                exposed: !network.exposed.is_empty(),
            })
            .collect();
        if wanted.is_empty() {
            return false;
        }
        let found = |doors: &Doors| -> Vec<Vec<Door>> {
            wanted.iter().map(|each| doors.of(&each.name)).collect()
        };
        let before = found(&self.doors);
        let all = only.is_none();
        let held = self.doors.hold(&wanted, all, &mut self.journal);
        // Another one's doing, of which nothing else may tell.
        self.dirty |= found(&self.doors) != before;
        held.unwrap_or_else(|error| {
            eprintln!("open doors in other firewalls: {error}");
            false
        })
    }

    /// Takes a network's doors away. Whether there was one, and the places where one stayed.
    pub(super) fn remove_doors(&mut self, recorded: &Recorded) -> (bool, Vec<Error>) {
        let label = self.label_of(recorded);
        self.doors
            .remove(&recorded.spec.name, &label, &recorded.doors)
    }

    /// The doors of a network, as last held.
    pub(super) fn doors_of(&self, name: &NetworkName) -> Vec<Door> {
        self.doors.of(name)
    }

    fn label_of(&self, recorded: &Recorded) -> String {
        let uid = self.config.identity.label_uid;
        label::bridge(uid, &recorded.lab, &recorded.spec.name)
    }
}

/// Behind an interface of the host's there may be any network.
fn may_speak_ipv6(spec: &NetworkSpec) -> bool {
    spec.ipv6.is_some() || spec.mode == Mode::Bridged
}
