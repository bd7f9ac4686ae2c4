// SPDX-License-Identifier: Apache-2.0
//! How much of the host's network a user may fill: see "What the administrator allows" in the
//! protocol page.
//!
//! Counted is what the kernel has with this user's label, whichever netd of theirs made it: the
//! journal is one directory's, and theirs to write. A look at a thousand interfaces takes longer
//! than making one, so there is one only when interfaces came that this netd did not make, and
//! before anything is refused.

use super::{Engine, Identity, label};
use crate::access::{self, Limits};
use crate::rtnl::{Counters, LinkInfo, Newcomers};
use std::collections::BTreeSet;
use tapyard_protocol::{Code, Error, NetworkName, Result, Scope};

/// What is known of a user's share.
#[derive(Debug)]
pub(super) struct Quota {
    limits: Limits,
    newcomers: Newcomers,
    /// Networks whose bridge was there when it was last looked.
    bridges: BTreeSet<NetworkName>,
    /// Taps and what shapes them: those of the last look, and what this netd made since.
    taps: usize,
}

impl Quota {
    /// None for root, and in the private scope, where a namespace of the user's own is filled.
    pub(super) fn of(identity: &Identity) -> Result<Option<Quota>> {
        let limits = match identity.scope {
            Scope::Host => access::limits(identity.label_uid),
            Scope::Private => None,
        };
        let quota = limits.map(|limits| -> Result<Quota> {
            // Asked first, or what comes during the first look would be missed.
            let newcomers = Newcomers::watch()?;
            let (bridges, taps) = (BTreeSet::new(), 0);
            Ok(Quota {
                limits,
                newcomers,
                bridges,
                taps,
            })
        });
        quota.transpose()
    }

    /// Takes a look's result for what there is.
    pub(super) fn count(&mut self, uid: u32, links: &[LinkInfo]) {
        self.bridges.clear();
        self.taps = 0;
        for link in links {
            self.newcomers.expect(link.ifindex);
            let Some(owner) = label::parse(uid, &link.alias) else {
                continue;
            };
            match (link.kind.as_str(), owner.guest) {
                ("bridge", None) => drop(self.bridges.insert(owner.network)),
                ("tun" | "ifb", Some(_)) => self.taps += 1,
                _ => {}
            }
        }
    }
}

/// How much there is with what is wanted, and how much there may be.
#[derive(Debug, Clone, Copy)]
struct Share {
    with_it: usize,
    limit: usize,
}

impl Engine {
    /// That there is room for this network, which the journal may have already. `QUOTA_REACHED`.
    pub(super) fn check_network_quota(&mut self, name: &NetworkName) -> Result<()> {
        let networks = self.journal.state().networks.values();
        let own = networks.filter(|recorded| !recorded.removing);
        let mut wanted: BTreeSet<NetworkName> =
            own.map(|recorded| recorded.spec.name.clone()).collect();
        wanted.insert(name.clone());
        let exceeded = self.exceeded(|quota| Share {
            with_it: wanted.union(&quota.bridges).count(),
            limit: quota.limits.networks,
        })?;
        // A limit that was lowered takes nothing away.
        let is_there = |quota: &Quota| quota.bridges.contains(name);
        match exceeded {
            Some(share) if !self.quota.as_ref().is_some_and(is_there) => {
                Err(self.reached(share, "networks", "limit-networks", name))
            }
            _ => Ok(()),
        }
    }

    /// That there is room for one more tap, or for what shapes one. `QUOTA_REACHED`.
    pub(super) fn check_tap_quota(&mut self, name: &str) -> Result<()> {
        let exceeded = self.exceeded(|quota| Share {
            with_it: quota.taps + 1,
            limit: quota.limits.taps,
        })?;
        match exceeded {
            Some(share) => {
                let what = "taps (one with a bandwidth, delay or loss counts twice)";
                Err(self.reached(share, what, "limit-taps", name))
            }
            None => Ok(()),
        }
    }

    /// This netd made a tap, or what shapes one.
    pub(super) fn count_tap(&mut self, ifindex: u32) {
        if let Some(quota) = &mut self.quota {
            quota.newcomers.expect(ifindex);
            quota.taps += 1;
        }
    }

    /// The share where it is too large, by what the kernel and the file say now.
    fn exceeded(&mut self, share: impl Fn(&Quota) -> Share) -> Result<Option<Share>> {
        let over = |quota: &Quota| Some(share(quota)).filter(|s| s.with_it > s.limit);
        match &mut self.quota {
            None => return Ok(None),
            Some(quota) => {
                if !quota.newcomers.came() && over(quota).is_none() {
                    return Ok(None);
                }
            }
        }
        let links = self.rtnl.links(Counters::Skip)?;
        let uid = self.config.identity.label_uid;
        Ok(self.quota.as_mut().and_then(|quota| {
            quota.count(uid, &links);
            quota.limits = access::limits(uid).unwrap_or(quota.limits);
            over(quota)
        }))
    }

    fn reached(&self, share: Share, what: &str, line: &str, name: &str) -> Error {
        let Share { with_it, limit } = share;
        let uid = self.config.identity.label_uid;
        Error::new(
            Code::QuotaReached,
            format!(
                "{name} is one too many: you have {} {what} in the host scope, and may have {limit}",
                with_it - 1
            ),
        )
        .hint(format!(
            "Take down a lab that you do not need (tapyard ls), or an administrator adds this line to {}: \
             {line} {uid} {}",
            access::FILE,
            (2 * limit).max(with_it)
        ))
        .subject(name)
    }
}
