// SPDX-License-Identifier: Apache-2.0
//! `shutdown`: nothing of ours is left.

use super::Engine;
use tapyard_protocol::{Code, Error, NetworkName, Removed, Scope};

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
        // A namespace of the lab's own goes with all that is in it.
        let left = !self.standing.is_empty() || out.failed.iter().any(is_ours);
        let left = self.config.identity.scope == Scope::Host && left;
        let directory = &self.config.directory;
        out.failed.extend(match left {
            true => directory.clear_but_journal(),
            false => directory.clear(),
        });
        out
    }
}

/// Whether it may be something of ours that stayed, so that the next netd has to try again.
fn is_ours(error: &Error) -> bool {
    error.code != Code::NameTaken
}
