// SPDX-License-Identifier: Apache-2.0
//! The filters of other uids' netds in the same network namespace, of which each has its own table.

use super::element::{Element, decode_elements};
use super::message::{Table, table_name};
use super::ruleset::{OPENED, OPENED6, ROUTER, SetKind};
use super::{Filter, Result};

/// What the names of netds' tables begin with; the owner's uid follows.
pub const PREFIX: &str = "tapyard_";

impl Filter {
    /// Whether another netd says too that a netd switched IPv4 forwarding of this interface on.
    pub fn others_opened(&mut self, device: &str) -> Result<bool> {
        let element = Element::Interface(device.to_owned());
        self.others_have(OPENED, SetKind::Interfaces, &element)
    }

    /// The same for IPv6.
    pub fn others_opened6(&mut self, device: &str) -> Result<bool> {
        let element = Element::Interface(device.to_owned());
        self.others_have(OPENED6, SetKind::Interfaces, &element)
    }

    /// Whether another netd says too that a netd made the machine an IPv6 router.
    pub fn others_router6(&mut self) -> Result<bool> {
        let ipv6 = Element::Family(libc::NFPROTO_IPV6 as u8);
        self.others_have(ROUTER, SetKind::Families, &ipv6)
    }

    fn others_have(&mut self, set: &str, kind: SetKind, element: &Element) -> Result<bool> {
        let dump = self.socket.dump(&self.table.dump())?;
        let names = dump.iter().filter_map(|attrs| table_name(attrs));
        for name in names.filter(|name| is_netds(name) && *name != self.table.name) {
            let table = Table {
                family: self.table.family,
                name: name.to_owned(),
            };
            let found = self.socket.get(&table.get_element(set, element))?;
            let found: Vec<Vec<u8>> = found.into_iter().collect();
            if decode_elements(&found, kind).contains(element) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a table is a netd's by its name, this one's or another's.
pub fn is_netds(table: &str) -> bool {
    table
        .strip_prefix(PREFIX)
        .is_some_and(|uid| !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::is_netds;

    #[test]
    fn tables_of_netds() {
        assert!(is_netds("tapyard_0") && is_netds("tapyard_1000"));
        for name in ["tapyard", "tapyard_", "tapyard_x", "filter"] {
            assert!(!is_netds(name), "{name}");
        }
    }
}
