// SPDX-License-Identifier: Apache-2.0
//! Whether an old filter table is there: never by a look into it, which would make it.

use super::hooks;
use super::kept::Kept;
use super::old::Old;
use crate::nft::socket::Socket;
use std::io;

/// What is known of an old filter table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    Absent,
    /// Only root can know.
    Unseen,
}

/// Looks at the names of the tables, which root may read; at the hooks, which netd may list; and
/// last at the modules, which everybody may.
pub(super) fn look(old: &Old, kept: &Kept, socket: &mut Socket) -> Presence {
    let names = match std::fs::read_to_string(old.names) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => kept.names(old),
        // Nobody has loaded what has tables.
        names => Some(names.unwrap_or_default()),
    };
    let there = names
        .map(|names| names.lines().any(|name| name == "filter"))
        .or_else(|| hooks::has_filter(socket, old));
    match there {
        Some(true) => Presence::There,
        Some(false) => Presence::Absent,
        None => {
            let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
            match may_be_there(old, &modules) {
                true => Presence::Unseen,
                false => Presence::Absent,
            }
        }
    }
}

/// Whether there can be a filter table where there are old tables at all: its module is loaded, or
/// built in, which it is only where that of the tables is.
fn may_be_there(old: &Old, modules: &str) -> bool {
    let [tables, filter] = old.modules;
    let loaded = |name: &str| {
        modules
            .lines()
            .any(|line| line.split(' ').next() == Some(name))
    };
    loaded(filter) || !loaded(tables)
}

#[cfg(test)]
mod tests {
    use super::super::old::{IPV4, IPV6};
    use super::*;

    #[test]
    fn a_filter_that_is_neither_loaded_nor_built_in_is_not_there() {
        let modules = "iptable_nat 16384 1 - Live 0x0\n\
                       ip_tables 36864 1 iptable_nat, Live 0x0\n\
                       ip6table_filter 16384 0 - Live 0x0\n\
                       ip6_tables 36864 1 ip6table_filter, Live 0x0\n";
        assert!(!may_be_there(&IPV4, modules));
        assert!(may_be_there(&IPV6, modules));
        // Built in, or a kernel without modules.
        assert!(may_be_there(&IPV4, ""));
    }
}
