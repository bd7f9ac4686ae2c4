// SPDX-License-Identifier: Apache-2.0
//! Names of guests on the host.

use super::Engine;
use crate::journal::Entry;
use crate::resolved::{Resolved, Wanted};
use crate::rtnl::LinkInfo;
use tapyard_protocol::{NetworkName, Result, Scope};

impl Engine {
    /// Has systemd-resolved ask the dnsmasq of networks that were made, and forget that of others.
    /// The host has no route into a private scope.
    pub(super) fn hold_names(&mut self) {
        for name in std::mem::take(&mut self.nameless) {
            if self.config.identity.scope != Scope::Host {
                continue;
            }
            let bridge = self.rtnl.link_named(&name).unwrap_or_else(|error| {
                eprintln!("names of {name} on the host: {error}");
                None
            });
            let recorded = self.journal.state().networks.get(&name);
            let named = recorded.is_some_and(|recorded| recorded.named);
            let ours = |link: &LinkInfo| {
                recorded.is_some_and(|of| self.is_our_bridge(link, &of.lab, &of.spec))
            };
            let bridge = bridge.filter(ours).map(|link| link.ifindex);
            let server = self.server_of(&name);
            match bridge {
                // Who was killed in between has told it, or has not told it to forget.
                Some(ifindex) if server.is_some() || named => self.tell_resolved(Wanted {
                    name,
                    ifindex,
                    server,
                }),
                _ => self.resolved.forget(&name),
            }
            self.dirty = true;
        }
    }

    fn tell_resolved(&mut self, wanted: Wanted) {
        let network = wanted.name.clone();
        if let Err(error) = self.journal_named(network) {
            return eprintln!("names of {} on the host: {error}", wanted.name);
        }
        self.resolved.set(wanted);
    }

    fn journal_named(&mut self, network: NetworkName) -> Result<()> {
        let recorded = self.journal.state().networks.get(&network);
        match recorded.is_some_and(|recorded| recorded.named) {
            true => Ok(()),
            false => self.journal.append(Entry::Named { network }),
        }
    }

    /// Takes what resolved answers, or what is due to be asked of it again. Whether names may stand
    /// otherwise than before.
    pub(super) fn hear_of_names(&mut self, hear: impl FnOnce(&mut Resolved) -> bool) -> bool {
        let any = hear(&mut self.resolved);
        for network in self.resolved.take_forgotten() {
            self.journal.note(Entry::Unnamed { network });
        }
        any
    }

    fn server_of(&self, name: &NetworkName) -> Option<std::net::Ipv4Addr> {
        let recorded = self.journal.state().networks.get(name)?;
        let serves = !recorded.removing && recorded.spec.dhcp.is_some();
        recorded.spec.address.filter(|_| serves)
    }
}
