// SPDX-License-Identifier: Apache-2.0
//! Names of guests on the host.

use super::Engine;
use crate::resolved::Wanted;
use tapyard_protocol::{NetworkName, Scope};

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
            let bridge = bridge.map(|link| link.ifindex);
            match (bridge, self.server_of(&name)) {
                (Some(ifindex), Some(server)) => self.resolved.set(Wanted {
                    name,
                    ifindex,
                    server,
                }),
                (bridge, _) => self.resolved.forget(&name, bridge),
            }
            self.dirty = true;
        }
    }

    fn server_of(&self, name: &NetworkName) -> Option<std::net::Ipv4Addr> {
        let recorded = self.journal.state().networks.get(name)?;
        let serves = !recorded.removing && recorded.spec.dhcp.is_some();
        recorded.spec.address.filter(|_| serves)
    }
}
