// SPDX-License-Identifier: Apache-2.0
//! The engine: what the verbs do to the *current* network namespace.
//!
//! Each verb has a file of its own; what several need has one for its noun. The engine itself is
//! what netd holds (here), hears (`events.rs`) and mends (`repairs.rs`).

mod adopt;
mod apply_network;
mod bridge;
mod bridged;
mod capture;
mod check;
mod connections;
mod counters;
mod dial;
mod doors;
mod events;
mod expose;
mod forwarding;
mod guard;
mod interface;
mod label;
mod names;
mod observe;
mod open_tap;
mod opened;
mod proxy;
mod quota;
mod remove_network;
mod repairs;
mod router6;
mod set_nat;
mod shape;
mod shaper;
mod shutdown;
mod stopwatch;
mod supervise;
mod taps;
mod watch;

pub use dial::Dialling;
pub use events::Source;
pub use observe::changes;

use crate::capture::Capture;
use crate::conntrack::Conntrack;
use crate::directory::Directory;
use crate::doors::{Doors, Kept};
use crate::journal::{Journal, Recorded};
use crate::nft::{self, Filter, Guard};
use crate::process::Ends;
use crate::resolved::Resolved;
use crate::rtnl::{Monitor, Rtnl};
use crate::uplink::Uplink;
use connections::subnets_of;
use expose::Reserved;
use guard::GuardedTap;
use proxy::Proxies;
use quota::Quota;
use repairs::{DOOR_REPAIRS, REPAIRS, Repairs};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use stopwatch::Stopwatch;
use supervise::{RELOAD_DELAY, Service};
use taps::Taps;
use tapyard_protocol::{Code, Error, HelloReply, LabName, NetworkName, PROTOCOL, Result, Scope};
use watch::{FilterWatch, LeaseWatch};

/// Who netd is. Fixed for its life.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Where it works.
    pub scope: Scope,
    /// The lab of a private netd; it refuses others with `WRONG_LAB`.
    pub lab: Option<LabName>,
    /// The owner's uid outside any user namespace: goes into labels and the table's name.
    pub label_uid: u32,
    /// The owner's uid as SO_PEERCRED shows it here: 0 inside the lab's user namespace.
    pub owner_uid_here: u32,
    /// This process as the owner sees it.
    pub pid: u32,
}

impl Identity {
    /// A uid as it is outside any user namespace.
    pub fn outside(&self, uid: u32) -> u32 {
        match uid == self.owner_uid_here {
            true => self.label_uid,
            false => uid,
        }
    }
}

/// What [`Engine::start`] wants.
pub struct Config {
    /// Who netd is.
    pub identity: Identity,
    /// Its directory, checked and locked.
    pub directory: Directory,
    /// The way out.
    pub uplink: Box<dyn Uplink>,
    /// The namespace was made just now: a journal that is there tells of another one and is
    /// thrown away.
    pub fresh_namespace: bool,
    /// What was opened while netd was root's.
    pub kept: Kept,
}

/// Config without what the engine moves elsewhere.
struct Fixed {
    identity: Identity,
    directory: Directory,
}

/// Everything that netd knows and holds.
pub struct Engine {
    config: Fixed,
    instance: String,
    uplink: Box<dyn Uplink>,
    rtnl: Rtnl,
    monitor: Monitor,
    table: String,
    filter: Filter,
    doors: Doors,
    filter_watch: FilterWatch,
    guard: Guard,
    conntrack: Conntrack,
    /// The taps that the guard was told of last.
    guarded: Vec<GuardedTap>,
    /// Networks that are to go, but whose bridge goes on: so do its filter and its guard.
    standing: BTreeSet<NetworkName>,
    leases: LeaseWatch,
    journal: Journal,
    dns: BTreeMap<NetworkName, Service>,
    /// Tells when one of them has ended.
    dns_ends: Ends,
    /// Those whose files were written since they last read them.
    reload: BTreeSet<NetworkName>,
    /// When they are to be told.
    reload_at: Option<Instant>,
    resolved: Resolved,
    /// Those whose names on the host may have to be set.
    nameless: BTreeSet<NetworkName>,
    taps: Taps,
    reserved: Reserved,
    proxies: Proxies,
    ifbs: Taps,
    quota: Option<Quota>,
    captures: Vec<Capture>,
    repairs: Repairs,
    /// Who loads a firewall anew does it in many steps, and each may shut a door.
    door_repairs: Repairs,
    /// When to look again after repairs that were too many or failed.
    repair_at: Option<Instant>,
    /// The filter may have been changed by somebody.
    filter_doubtful: bool,
    /// Taps may have come or gone.
    taps_doubtful: bool,
    /// Somebody may have changed what a tap is held to, or a tap with a shape may have gone.
    shapes_doubtful: bool,
    /// Observers may have something to be told.
    dirty: bool,
}

impl Engine {
    /// Opens its sockets in the calling thread's network namespace, reads the journal, adopts
    /// what is there and reapplies what is missing.
    pub fn start(config: Config) -> Result<Engine> {
        let Config {
            identity,
            directory,
            uplink,
            fresh_namespace,
            kept,
        } = config;
        let watched = |e| Error::kernel("watch the filter and the leases", &e);
        let table = format!("{}{}", nft::PREFIX, identity.label_uid);
        let mut engine = Engine {
            instance: random_hex()?,
            uplink,
            rtnl: Rtnl::open()?,
            monitor: Monitor::open()?,
            filter: Filter::open(&table)?,
            guard: Guard::open(&table)?,
            conntrack: Conntrack::open()?,
            guarded: Vec::new(),
            standing: BTreeSet::new(),
            doors: Doors::open(kept)?,
            table,
            filter_watch: FilterWatch::open().map_err(watched)?,
            leases: LeaseWatch::open().map_err(watched)?,
            journal: Journal::open(&directory.journal(), fresh_namespace)?,
            quota: Quota::of(&identity)?,
            config: Fixed {
                identity,
                directory,
            },
            dns: BTreeMap::new(),
            dns_ends: Ends::watch().map_err(|e| Error::kernel("watch for ends of dnsmasq", &e))?,
            reload: BTreeSet::new(),
            reload_at: None,
            resolved: Resolved::default(),
            nameless: BTreeSet::new(),
            taps: Taps::new(),
            reserved: Reserved::new(),
            proxies: Proxies::default(),
            ifbs: Taps::new(),
            captures: Vec::new(),
            repairs: Repairs::at_most(REPAIRS),
            door_repairs: Repairs::at_most(DOOR_REPAIRS),
            repair_at: None,
            filter_doubtful: false,
            taps_doubtful: false,
            shapes_doubtful: false,
            dirty: false,
        };
        if engine.config.identity.scope == Scope::Private {
            engine.lift_icmp_limits();
        }
        engine.adopt_taps()?;
        engine.adopt();
        Ok(engine)
    }

    /// Who netd is.
    pub fn identity(&self) -> &Identity {
        &self.config.identity
    }

    /// What `hello` answers.
    pub fn hello(&self) -> HelloReply {
        let identity = &self.config.identity;
        HelloReply {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scope: identity.scope,
            lab: identity.lab.clone(),
            uid: identity.label_uid,
            pid: identity.pid,
            instance: self.instance.clone(),
        }
    }

    /// Does what need not be waited for.
    pub fn after_reply(&mut self) {
        if !self.reload.is_empty() && self.reload_at.is_none() {
            self.reload_at = Some(Instant::now() + RELOAD_DELAY);
        }
        self.hold_names();
    }

    fn check_lab(&self, lab: &LabName) -> Result<()> {
        match &self.config.identity.lab {
            Some(own) if own != lab => Err(Error::new(
                Code::WrongLab,
                format!("this netd serves the lab {own}, not {lab}"),
            )
            .hint("In the private scope each lab has a netd of its own. Which labs there are: tapyard ls")
            .subject(lab.as_str())),
            _ => Ok(()),
        }
    }

    /// A network that is there and not being removed. `NO_SUCH_NETWORK`.
    fn settled(&self, lab: &LabName, name: &NetworkName) -> Result<&Recorded> {
        let recorded = self.journal.state().networks.get(name);
        recorded
            .filter(|recorded| recorded.lab == *lab && !recorded.removing)
            .ok_or_else(|| {
                Error::new(
                    Code::NoSuchNetwork,
                    format!("the lab {lab} has no network {name}"),
                )
                .hint("Bring the lab up first.")
                .subject(name.as_str())
            })
    }
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::kernel("get random bytes", &e.into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
