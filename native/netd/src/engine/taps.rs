// SPDX-License-Identifier: Apache-2.0
//! Which NIC has which tap. The kernel finds an interface by name or number, not by label, and
//! listing a thousand of them takes longer than making one.

use super::{Engine, label};
use crate::rtnl::{Counters, LinkInfo};
use std::collections::HashMap;
use tapyard_protocol::Result;

/// The number of each tap, by its label. One that is gone stays until its NIC wants another.
pub(super) type Taps = HashMap<String, u32>;

impl Engine {
    /// Takes notice of the taps that netds before this one opened.
    pub(super) fn adopt_taps(&mut self) -> Result<()> {
        let uid = self.config.identity.label_uid;
        let taps = self.rtnl.links(Counters::Skip)?.into_iter();
        self.taps = taps
            .filter(|link| {
                link.kind == "tun"
                    && label::parse(uid, &link.alias).is_some_and(|owner| owner.guest.is_some())
            })
            .map(|link| (link.alias, link.ifindex))
            .collect();
        Ok(())
    }

    /// The tap with this label, if somebody holds it still.
    pub(super) fn tap_labelled(&mut self, alias: &str) -> Result<Option<LinkInfo>> {
        let Some(&ifindex) = self.taps.get(alias) else {
            return Ok(None);
        };
        // The number may be another interface's by now.
        let tap = self.rtnl.link(ifindex)?.filter(|tap| tap.alias == alias);
        if tap.is_none() {
            self.taps.remove(alias);
        }
        Ok(tap)
    }
}
