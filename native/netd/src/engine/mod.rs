// SPDX-License-Identifier: Apache-2.0
//! The engine: what the verbs do to the *current* network namespace. One file for each verb.

mod adopt;
mod apply_network;
mod bridge;
mod bridged;
mod capture;
mod check;
mod counters;
mod dial;
mod doors;
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
mod router6;
mod set_nat;
mod shape;
mod shaper;
mod shutdown;
mod supervise;
mod taps;
mod watch;

pub use dial::Dialling;
pub use observe::changes;

use crate::acts::{self, Told, deed};
use crate::capture::Capture;
use crate::conntrack::{Conntrack, Which};
use crate::directory::Directory;
use crate::doors::{Doors, Kept};
use crate::journal::{Journal, Recorded};
use crate::nft::{self, Filter, Guard};
use crate::process::Ends;
use crate::resolved::Resolved;
use crate::rtnl::{Monitor, Rtnl};
use crate::uplink::Uplink;
use expose::Reserved;
use forwarding::{DOOR_REPAIRS, REPAIRS, Repairs};
use guard::GuardedTap;
use ipnet::IpNet;
use proxy::Proxies;
use quota::Quota;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::time::Instant;
use supervise::{RELOAD_DELAY, Service};
use taps::Taps;
use tapyard_protocol::{
    Code, Error, HelloReply, LabName, NetworkName, NetworkSpec, PROTOCOL, Result, Scope, Step,
};
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

/// What the engine waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Interfaces, addresses, sysctls.
    Kernel,
    /// nf_tables.
    Filter,
    /// The lease files.
    Leases,
    /// Other firewalls.
    Doors,
    /// systemd-resolved.
    Names,
    /// The way out.
    Uplink,
    /// A dnsmasq that ended.
    Dns,
    /// A capture.
    Capture,
}

impl Source {
    /// Why something is done when it has something, for people.
    fn cause(&self) -> &'static str {
        match self {
            Source::Kernel => "somebody changed what forwards",
            Source::Filter => "somebody changed the firewall",
            Source::Leases => "a guest got an address",
            Source::Doors => "another firewall changed",
            Source::Names => "systemd-resolved answered",
            Source::Uplink => "the way out changed",
            Source::Dns => "dnsmasq ended",
            Source::Capture => "a capture ended",
        }
    }
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

    /// What to poll for reading.
    pub fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut sources = vec![
            (Source::Kernel, self.monitor.fd()),
            (Source::Filter, self.filter_watch.fd()),
            (Source::Leases, self.leases.fd()),
        ];
        sources.extend(self.doors.fds().map(|fd| (Source::Doors, fd)));
        sources.extend(self.resolved.fds().map(|fd| (Source::Names, fd)));
        sources.extend(self.uplink.fd().map(|fd| (Source::Uplink, fd)));
        let captures = self.captures.iter().map(Capture::fd);
        sources.extend(captures.map(|fd| (Source::Capture, fd)));
        sources.push((Source::Dns, self.dns_ends.fd()));
        sources
    }

    /// Takes what a source has.
    pub fn on_readable(&mut self, source: &Source) {
        let _by = acts::by_itself(source.cause());
        match source {
            Source::Kernel => {
                let changes = self.monitor.drain();
                self.dirty |= changes.any();
                // An address of the host's is no guest's.
                self.taps_doubtful |= changes.links || changes.addresses;
                self.shapes_doubtful |= changes.links || changes.disciplines;
                // An interface that goes down forgets what it answers for.
                self.proxies.doubtful |= changes.links || changes.addresses;
                // Somebody wrote ip_forward, which reset every interface, or all.forwarding of IPv6.
                if changes.netconf6 && self.is_router6_doubtful() {
                    self.repair(Engine::hold_all);
                } else if changes.netconf {
                    self.repair(Engine::hold_forwards);
                }
                self.filter_doubtful |= changes.links && self.is_switched6_shown();
            }
            Source::Filter => self.hear_of_filters(),
            Source::Leases => {
                if !self.leases.drain() {
                    return;
                }
                self.dirty = true;
                if let Err(error) = self.hold_guarded_addresses() {
                    eprintln!("guard the leased addresses: {error}");
                    self.taps_doubtful = true;
                }
            }
            Source::Doors => {
                if self.doors.on_readable() {
                    self.filter_doubtful = true;
                    self.dirty = true;
                }
            }
            Source::Names => self.dirty |= self.hear_of_names(Resolved::on_readable),
            Source::Uplink => {
                let before = self.uplink.state().host_device;
                if self.uplink.on_readable() {
                    self.dirty = true;
                    match (before, self.uplink.state().host_device) {
                        (before, now) if before == now => {}
                        (Some(before), Some(now)) => deed(format!(
                            "follows the way out from {before} to {now}, where this computer's default \
                             route leads now"
                        ))
                        .done(),
                        (None, Some(now)) => deed(format!(
                            "follows the way out to {now}, where this computer's default route leads"
                        ))
                        .done(),
                        (Some(before), None) => {
                            deed(format!("the way out by {before} is gone")).done()
                        }
                        (None, None) => {}
                    }
                    if let Err(error) = self.hold_all() {
                        eprintln!("follow the uplink: {error}");
                    }
                    self.update_dns();
                }
            }
            Source::Capture => self.reap_captures(),
            Source::Dns => {
                self.dns_ended();
                self.dirty = true;
            }
        }
    }

    /// Whether somebody else changed nf_tables. Told with the change itself, so whoever asks before
    /// an act misses none.
    fn hear_of_filters(&mut self) {
        // An unknown port is nobody's, so everything counts as foreign.
        let ours = [self.filter.port(), self.guard.port(), self.doors.port()];
        let ours = ours.map(|port| port.unwrap_or(0));
        if self.filter_watch.foreign(&ours) {
            self.guard.doubt();
            self.filter_doubtful = true;
            self.dirty = true;
        }
    }

    /// When [`Engine::on_deadline`] has something to do by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let retries = self.dns_retry().into_iter().chain(self.repair_at);
        let others = self.doors.deadline().into_iter();
        let others = others.chain(self.resolved.deadline()).chain(self.reload_at);
        retries.chain(others).min()
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.reload_at.is_some_and(|at| at <= now) {
            self.reload_dns();
        }
        let _by = acts::by_itself("it tries again");
        self.dirty |= self.restart_dns(now);
        self.dirty |= self.hear_of_names(|resolved| resolved.on_deadline(now));
        if self.doors.on_deadline(now) {
            self.filter_doubtful = true;
            self.dirty = true;
        }
        if self.repair_at.is_some_and(|at| at <= now) {
            self.repair_at = None;
            self.dirty = true;
            self.repair(Engine::hold_all);
        }
    }

    /// Whether observers may have something to be told since last asked. Called when events
    /// have been gathered for a while; mends the filter if somebody spoilt it.
    pub fn take_dirty(&mut self) -> bool {
        if std::mem::take(&mut self.filter_doubtful) {
            let _by = acts::by_itself(Source::Filter.cause());
            self.repair(Engine::hold_rules);
            self.repair_doors();
        }
        let _by = acts::by_itself("interfaces came or went");
        if std::mem::take(&mut self.taps_doubtful)
            && let Err(error) = self.hold_guard()
        {
            eprintln!("guard the taps: {error}");
        }
        if std::mem::take(&mut self.shapes_doubtful) {
            let _by = acts::by_itself("somebody changed tc, or a guest ended");
            self.repair(Engine::hold_shapes);
        }
        if std::mem::take(&mut self.proxies.doubtful) {
            let _by = acts::by_itself("interfaces or their addresses changed");
            self.repair(Engine::hold_proxies);
        }
        std::mem::take(&mut self.dirty)
    }

    /// Whether [`Engine::take_dirty`] would have something to do.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Mends what somebody may have spoilt. `hold` says whether there was anything to mend: our
    /// own changes come back as events as well.
    fn repair(&mut self, hold: impl FnOnce(&mut Engine) -> Result<bool>) {
        let now = Instant::now();
        if self.journal.state().networks.is_empty() {
            return;
        }
        if !self.repairs.allowed(now) {
            // Nothing may tell of it again: without a filter traffic would go as it likes.
            self.repair_at = Some(self.repairs.next(now));
            return;
        }
        match hold(self) {
            Ok(false) => {}
            Ok(true) => self.repairs.count(now),
            Err(error) => {
                self.repairs.count(now);
                self.repair_at = Some(self.repairs.next(now));
                eprintln!("hold the filter and forwarding: {error}");
            }
        }
    }

    /// Mends doors that somebody may have shut.
    fn repair_doors(&mut self) {
        let now = Instant::now();
        if !self.door_repairs.allowed(now) {
            self.repair_at = Some(self.door_repairs.next(now));
        } else if self.hold_doors(None) || self.doors.has_failed() {
            self.door_repairs.count(now);
        }
    }

    /// Removes those connections of a subnet; how many there were.
    fn clear_connections(&mut self, subnet: IpNet, which: Which) -> Result<usize> {
        let cleared = self.conntrack.clear(subnet, which);
        let (family, ping) = match subnet {
            IpNet::V4(_) => ("", " -p icmp"),
            IpNet::V6(_) => (" -f ipv6", " -p icmpv6"),
        };
        let protocols = match which {
            Which::All => vec![""],
            Which::AllButTcp => vec![" -p udp", ping],
        };
        // For each end of a connection, before and behind NAT.
        let mut command = Vec::new();
        for protocol in protocols {
            let of = |end| format!("conntrack -D{family}{protocol} {end} {subnet}");
            command.extend(["-s", "-d", "-r", "-q"].map(of));
        }
        match &cleared {
            Ok(0) => {}
            Ok(_) | Err(_) => {
                let what = match &cleared {
                    Ok(1) => format!("removed a connection of {subnet}"),
                    Ok(count) => format!("removed {count} connections of {subnet}"),
                    Err(_) => format!("removed the connections of {subnet}"),
                };
                deed(what)
                    .command(command.join("\n"))
                    .told(cleared.as_ref().map_err(Told::told))
                    .ok();
            }
        }
        Ok(cleared?)
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

/// The subnets whose connections are a network's.
fn subnets_of(spec: &NetworkSpec) -> impl Iterator<Item = IpNet> + use<> {
    let ipv4 = spec.subnet.map(|subnet| subnet.net().into());
    let ipv6 = spec.ipv6.map(|subnet| subnet.net().into());
    ipv4.into_iter().chain(ipv6)
}

/// Times steps.
#[derive(Debug)]
struct Stopwatch(Instant);

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    fn ms(&self) -> f64 {
        // Microseconds are as fine as anybody wants to read.
        (self.0.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    /// The step that ends now; the next one begins.
    fn step(&mut self, id: &str, changed: bool) -> Step {
        let ms = self.ms();
        self.0 = Instant::now();
        Step {
            id: id.to_owned(),
            ms,
            changed,
        }
    }
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::kernel("get random bytes", &e.into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
