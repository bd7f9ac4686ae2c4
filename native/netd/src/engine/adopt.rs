// SPDX-License-Identifier: Apache-2.0
//! A netd that starts where another one was killed takes over what that one made.
//!
//! The journal lies in the user's directory, so it is asked for as much as a request: it opens
//! nothing that the user could not ask for now.

use super::Engine;
use crate::acts::{self, deed};
use crate::journal::{Entry, Recorded, bridge_addresses};
use crate::rtnl::AddressFamily;
use tapyard_protocol::{NetworkSpec, Removed, Result, Scope};

impl Engine {
    /// Takes over what a netd before this one made. What fails is logged: the core sees the
    /// difference and applies again. What may not be any more is taken down.
    pub(super) fn adopt(&mut self) {
        let _by = acts::by_itself("it takes over from a helper before it");
        self.forget_unproved();
        self.settle_routing6();
        self.sweep_dns();
        // All are asked before any is made: whatever is made holds all that is recorded.
        for recorded in self.recorded() {
            let _about = acts::about(&recorded.lab, &recorded.spec.name);
            if !recorded.removing
                && let Err(error) = self.check_recorded(&recorded)
            {
                let name = recorded.spec.name;
                eprintln!("adopt {name}: {error}");
                deed(format!(
                    "refused to go on with {name}, which the journal tells of"
                ))
                .failed(error);
                self.journal.note(Entry::Removing { name });
            }
        }
        self.forget_unexposable();
        for recorded in self.recorded() {
            let name = &recorded.spec.name;
            let _about = acts::about(&recorded.lab, name);
            if !recorded.removing {
                deed(format!("took over {name} from a helper before this one")).done();
            }
            if let Err(error) = self.adopt_dns(name) {
                eprintln!("adopt {name}: {error}");
            }
            if recorded.removing {
                for error in self.take_down(name).failed {
                    eprintln!("remove {name}: {error}");
                }
            } else if let Err(error) = self.make(&recorded.lab, &recorded.spec) {
                eprintln!("adopt {name}: {error}");
            }
        }
        if let Err(error) = self.hold_shapes() {
            eprintln!("adopt the shapes: {error}");
        }
        self.after_reply();
        let state = self.journal.state();
        let opened = !state.opened.is_empty() || !state.opened6.is_empty() || state.router6;
        if state.networks.is_empty() && opened {
            let mut out = Removed::default();
            self.close_all(&mut out);
            for error in out.failed {
                eprintln!("put the uplink back: {error}");
            }
        }
    }

    fn recorded(&self) -> Vec<Recorded> {
        self.journal.state().networks.values().cloned().collect()
    }

    /// What `apply_network` asks, but that its own bridge may have its subnets already.
    fn check_recorded(&mut self, recorded: &Recorded) -> Result<()> {
        let Recorded { lab, spec, .. } = recorded;
        spec.check()?;
        self.check_mode(spec)?;
        self.check_uplink(spec)?;
        self.check_name(lab, spec, Some(recorded))?;
        // On an administrator's bridge nothing is made for it: what there is are its taps.
        if spec.has_own_bridge() {
            self.check_network_quota(&spec.name)?;
        }
        if self.has_addresses(spec)? {
            return Ok(());
        }
        self.check_subnet(spec)
    }

    /// All of them: a journal may name others than the bridge was made with.
    fn has_addresses(&mut self, spec: &NetworkSpec) -> Result<bool> {
        let wanted = bridge_addresses(spec);
        let Some(link) = self.rtnl.link_named(&spec.name)? else {
            return Ok(false);
        };
        let mut there = self.rtnl.addresses(AddressFamily::Any)?;
        there.retain(|address| address.ifindex == link.ifindex);
        let has = |wanted| there.iter().any(|address| address.net == wanted);
        Ok(!wanted.is_empty() && wanted.into_iter().all(has))
    }

    /// In the host scope a user's word that netd switched an interface's forwarding on counts
    /// only where the filter says so too, which the user cannot write: netd switches it off again.
    fn forget_unproved(&mut self) {
        let identity = &self.config.identity;
        if identity.scope == Scope::Private || identity.label_uid == 0 {
            return;
        }
        let filter = self.read_filter();
        let state = self.journal.state();
        let opened = state.opened.iter();
        let opened = opened.filter(|device| !filter.opened().contains(&device.as_str()));
        let opened = opened.cloned().map(|device| Entry::Closed { device });
        let opened6 = state.opened6.iter();
        let opened6 = opened6.filter(|device| !filter.opened6().contains(&device.as_str()));
        let opened6 = opened6.cloned().map(|device| Entry::Closed6 { device });
        for unproved in opened.chain(opened6).collect::<Vec<_>>() {
            eprintln!("the filter does not say that netd made an interface forward: {unproved:?}");
            self.journal.note(unproved);
        }
    }
}
