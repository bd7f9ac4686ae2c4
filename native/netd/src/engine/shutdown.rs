// SPDX-License-Identifier: Apache-2.0
//! `shutdown`: nothing of ours is left.

use super::Engine;
use tapyard_protocol::{NetworkName, Removed};

impl Engine {
    /// Removes all networks, then what runs for the uplink, then netd's own files; goes on past
    /// every error. The caller answers and exits.
    pub fn shutdown(&mut self) -> Removed {
        let mut out = Removed::default();
        let mut merge = |other: Removed| {
            out.removed.extend(other.removed);
            out.failed.extend(other.failed);
        };
        let names: Vec<NetworkName> = self.journal.state().networks.keys().cloned().collect();
        let any = !names.is_empty();
        for name in names {
            merge(self.take_down(&name));
        }
        // Where a network did not go altogether, the rest still does.
        if any && !self.journal.state().networks.is_empty() {
            let mut rest = Removed::default();
            self.close_all(&mut rest);
            merge(rest);
        }
        self.end_captures();
        merge(self.uplink.shutdown());
        out.failed.extend(self.config.directory.clear());
        out
    }
}
