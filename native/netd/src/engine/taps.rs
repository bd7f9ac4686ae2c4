// SPDX-License-Identifier: Apache-2.0
//! Which NIC has which tap. The kernel finds an interface by name or number, not by label, and
//! listing a thousand of them takes longer than making one.

use super::{Engine, label};
use crate::rtnl::{Counters, LinkInfo, Rtnl};
use std::collections::HashMap;
use tapyard_protocol::Result;

/// The number of each tap, or of what shapes it, by its label. One that is gone stays until its NIC
/// wants another.
pub(super) type Taps = HashMap<String, u32>;

impl Engine {
    /// Takes notice of the taps that netds before this one opened.
    pub(super) fn adopt_taps(&mut self) -> Result<()> {
        let uid = self.config.identity.label_uid;
        let links = self.rtnl.links(Counters::Skip)?;
        if let Some(quota) = &mut self.quota {
            quota.count(uid, &links);
        }
        for link in links {
            let known = match link.kind.as_str() {
                "tun" => &mut self.taps,
                "ifb" => &mut self.ifbs,
                _ => continue,
            };
            if label::parse(uid, &link.alias).is_some_and(|owner| owner.guest.is_some()) {
                known.insert(link.alias, link.ifindex);
            }
        }
        Ok(())
    }

    /// The tap with this label, if somebody holds it still.
    pub(super) fn tap_labelled(&mut self, alias: &str) -> Result<Option<LinkInfo>> {
        labelled(&mut self.rtnl, &mut self.taps, alias)
    }
}

/// The interface with this label, if it is there still.
pub(super) fn labelled(rtnl: &mut Rtnl, known: &mut Taps, alias: &str) -> Result<Option<LinkInfo>> {
    let Some(&ifindex) = known.get(alias) else {
        return Ok(None);
    };
    // The number may be another interface's by now.
    let link = rtnl.link(ifindex)?.filter(|link| link.alias == alias);
    if link.is_none() {
        known.remove(alias);
    }
    Ok(link)
}
