// SPDX-License-Identifier: Apache-2.0
//! A netd that starts where another one was killed takes over what that one made.

use super::Engine;
use crate::journal::Recorded;
use tapyard_protocol::{Removed, Result};

impl Engine {
    /// Takes over what a netd before this one made. What fails is logged: the core sees the
    /// difference and applies again.
    pub(super) fn adopt(&mut self) {
        self.sweep_dns();
        let networks: Vec<Recorded> = self.journal.state().networks.values().cloned().collect();
        for recorded in networks {
            let name = &recorded.spec.name;
            if let Err(error) = self.adopt_dns(name) {
                eprintln!("adopt {name}: {error}");
            }
            if recorded.removing {
                for error in self.take_down(name).failed {
                    eprintln!("remove {name}: {error}");
                }
            } else if let Err(error) = self.readopt(&recorded) {
                eprintln!("adopt {name}: {error}");
            }
        }
        self.after_reply();
        if self.journal.state().networks.is_empty() && !self.journal.state().opened.is_empty() {
            let mut out = Removed::default();
            self.close_all(&mut out);
            for error in out.failed {
                eprintln!("put the uplink back: {error}");
            }
        }
    }

    fn readopt(&mut self, recorded: &Recorded) -> Result<()> {
        self.check_name(&recorded.lab, &recorded.spec, Some(recorded))?;
        self.make(&recorded.lab, &recorded.spec)?;
        Ok(())
    }
}
