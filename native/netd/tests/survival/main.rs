// SPDX-License-Identifier: Apache-2.0
//! The fault matrix: netd is killed before each system call that changes something, in a script
//! of everything that it does, in both scopes, and what it runs is killed at each step of its
//! journal. Then a new netd starts on the same directory where the old one ended, and the step is
//! repeated. What is there afterwards is compared with a run in which nobody died, and in the end
//! with what was there before. With a system bus, firewalld and systemd-resolved on the host (fakes:
//! `bus`), the same before and after each message to them; and in `faults` those fail.
//!
//! `TAPYARD_FAULT_EVERY=1` tries each point, as `npm test` does; without it one of ten is tried.
//! `TAPYARD_FAULT_POINT=N` tries that one only.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod bus;
mod faults;
mod guest;
mod heal;
mod kernel;
mod legacy;
mod random;
mod script;
mod trace;
mod world;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tapyard_protocol::{Code, Error};

use bus::Bus;
use script::{Act, BUS_SCRIPT, IPV6_SCRIPT, OPEN_TAP, PROXY_SCRIPT, SCRIPT, SHUT_DOWN, START};
use trace::{Kill, Moment, Point};
use world::{Lab, PATIENCE, SHARDS, Scope, on_hosts, on_roots_hosts, sh, shard};

/// One point of so many is tried where nothing else is asked for.
const SAMPLE: usize = 10;
/// Each look takes the machine's time from what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(30);
/// A single point may take so long on a busy machine; what takes longer hangs.
const POINT_DEADLINE: Duration = Duration::from_secs(120);

/// What is done, and where.
#[derive(Clone)]
struct Course {
    scope: Scope,
    script: &'static [Act],
    /// The host's system bus, where it has one.
    bus: Option<Bus>,
    /// The host drops what is forwarded in tables of the old iptables.
    legacy: bool,
    /// Root lends netd to a user.
    lent: bool,
}

impl Course {
    /// Everything that netd does, on a host without a system bus.
    fn of(scope: Scope) -> Course {
        Course {
            scope,
            script: SCRIPT,
            bus: None,
            legacy: false,
            lent: false,
        }
    }

    /// What netd says to others on the system bus.
    fn of_bus() -> Course {
        Course {
            scope: Scope::Host,
            script: BUS_SCRIPT,
            bus: Some(Bus::start()),
            ..Course::of(Scope::Host)
        }
    }

    /// What netd does to the old iptables.
    fn of_legacy() -> Course {
        legacy::load();
        Course {
            script: legacy::SCRIPT,
            legacy: true,
            ..Course::of(Scope::Host)
        }
    }

    /// The same of a netd that root lent a user.
    fn of_lent() -> Course {
        Course {
            script: legacy::LENT_SCRIPT,
            lent: true,
            ..Course::of_legacy()
        }
    }

    /// What is on the host, in words.
    fn host(&self) -> &'static str {
        match (&self.bus, self.legacy, self.lent) {
            (None, false, _) => "",
            (None, true, false) => " with old iptables",
            (None, true, true) => " with old iptables, of a netd that root lent a user",
            (Some(_), ..) => " with a system bus",
        }
    }

    fn lab(&self) -> Lab {
        let mut lab = Lab::new(self.scope);
        if self.lent {
            lab.lend();
        }
        lab.bus = self.bus.clone();
        lab.legacy = self.legacy;
        lab
    }
}

/// A run without a kill.
struct Reference {
    course: Course,
    /// Before the start.
    before: Value,
    /// After the start, and after each act.
    after: Vec<Value>,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The process that makes the call: one of netd's, or what is about to become a child.
    Actor,
    /// The process that the caller started.
    Leader,
    /// The program that changes the old iptables, which makes the call.
    Program,
    /// netd, with what it runs: dnsmasq, and pasta in a private lab.
    Together,
    Dnsmasq,
    Pasta,
    /// The guest, with its tap.
    Qemu,
    /// PID 1 of a private lab.
    Anchor,
    /// The process in the lab's own namespaces.
    Keeper,
}

impl Victim {
    /// Whether it is one of netd's two halves (or what is about to be their child).
    fn is_netd(self) -> bool {
        matches!(self, Victim::Actor | Victim::Leader | Victim::Together)
    }

    /// Words of the command lines.
    fn words(self) -> &'static [&'static str] {
        const DNSMASQ: &str = "--keep-in-foreground";
        const PASTA: &str = "--config-net";
        match self {
            Victim::Together => &["tapyard-netd --scope", DNSMASQ, PASTA],
            Victim::Dnsmasq => &[DNSMASQ],
            Victim::Pasta => &[PASTA],
            Victim::Anchor => &["tapyard-netd: anchor of"],
            Victim::Keeper => &["tapyard-netd: keeper of"],
            Victim::Actor | Victim::Leader | Victim::Program | Victim::Qemu => &[],
        }
    }

    /// With it, everything ends.
    fn is_the_lab(self) -> bool {
        matches!(self, Victim::Anchor | Victim::Keeper)
    }

    fn kill(self, lab: &Lab) -> Kill {
        match self {
            Victim::Actor | Victim::Program => Kill::Actor,
            Victim::Leader => Kill::Leader,
            _ => {
                let guest = Arc::clone(&lab.guest);
                Kill::Other(Box::new(move || {
                    if self == Victim::Qemu {
                        return guest.lock().unwrap().take().is_some();
                    }
                    let there: Vec<_> = self
                        .words()
                        .iter()
                        .map(|w| kernel::processes_of(w))
                        .collect();
                    there.iter().flatten().copied().for_each(trace::kill);
                    there.iter().filter(|some| !some.is_empty()).count()
                        > usize::from(self.is_netd())
                }))
            }
        }
    }
}

/// Runs the script to its end, undisturbed but for the tracing.
fn reference(course: Course) -> Reference {
    let mut lab = course.lab();
    let before = lab.picture();
    lab.start(None).unwrap();
    let mut after = vec![settled(&mut lab)];
    for act in course.script {
        (act.run)(&mut lab).unwrap_or_else(|e| panic!("{}: {e}", act.name));
        if act.is_last() {
            after.push(before.clone());
            break;
        }
        after.push(settled(&mut lab));
        lab.check_guest(act.name);
    }
    assert_left(&lab, &before);
    Reference {
        course,
        before,
        after,
    }
}

/// The picture, once everything is there and nothing moves any more.
fn settled(lab: &mut Lab) -> Value {
    script::complete(lab).unwrap();
    let mut last = lab.picture();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_millis(300) {
        std::thread::sleep(LOOK_AGAIN);
        let next = lab.picture();
        if next != last {
            last = next;
            since = Instant::now();
        }
    }
    last
}

/// Nothing is left of the lab once its guest has ended, and nothing else is gone.
fn assert_left(lab: &Lab, before: &Value) {
    *lab.guest.lock().unwrap() = None;
    // The script may have ended in the middle.
    sh("ip route replace default via 203.0.113.1");
    converges(lab, before, "in the end");
    assert_eq!(lab.files(), [""; 0], "files");
}

fn converges(lab: &Lab, expected: &Value, when: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = lab.picture();
        if found == *expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{when}:\n{}",
            kernel::difference(expected, &found)
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Runs the script until somebody is killed, repeats what was disturbed, and ends it. None where
/// this run never came to the point.
fn run(reference: &Reference, victim: Victim, moment: Moment) -> Option<Point> {
    let script = reference.course.script;
    let mut lab = reference.course.lab();
    let mut kill = Some((moment, victim.kill(&lab)));
    let mut done = None;
    for (number, act) in std::iter::once(&START).chain(script).enumerate() {
        let result = match kill.take() {
            Some(kill) => lab.start(Some(kill)),
            None => (act.run)(&mut lab),
        };
        done = lab.point();
        if done.is_none() {
            result.unwrap_or_else(|e| panic!("{}: {e}", act.name));
            continue;
        }
        if victim.is_the_lab() {
            lab.wait_gone();
            break;
        }
        // Where all went well, netd may have been killed after it had answered.
        match result {
            Ok(()) if act.is_last() => break,
            Ok(()) => {
                if let Err(error) = still_serves(&mut lab, victim) {
                    revive(&mut lab, &error, act);
                }
            }
            Err(error) => {
                revive(&mut lab, &error, act);
                (act.run)(&mut lab).unwrap_or_else(|e| panic!("{}, again: {e}", act.name));
            }
        }
        if !act.is_last() {
            let opened = script[..number].iter().any(|act| act.name == OPEN_TAP.name);
            if opened && lab.guest.lock().unwrap().is_none() {
                (OPEN_TAP.run)(&mut lab).unwrap_or_else(|e| panic!("the guest, again: {e}"));
            }
            converges(&lab, &reference.after[number], act.name);
            lab.check_guest(act.name);
            (SHUT_DOWN.run)(&mut lab).unwrap_or_else(|e| panic!("{}: {e}", SHUT_DOWN.name));
        }
        break;
    }
    assert_left(&lab, &reference.before);
    let outlives = lab.point().is_some_and(|point| point.outlives);
    assert!(!outlives, "{done:?}: it goes on after netd was killed");
    done
}

/// Whether netd serves still. Where a half of it was killed, the other may answer once more before
/// it hears of that.
fn still_serves(lab: &mut Lab, victim: Victim) -> tapyard_protocol::Result<()> {
    if victim == Victim::Leader {
        return Err(Error::new(Code::Unreachable, "its outer half was killed"));
    }
    let until = Instant::now() + Duration::from_millis(500);
    loop {
        lab.snapshot()?;
        if !victim.is_netd() || Instant::now() > until {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// After an error: where netd has ended, or is about to, a new one starts.
fn revive(lab: &mut Lab, error: &Error, act: &Act) {
    let starting = act.name == START.name;
    if !starting && error.code != Code::Unreachable {
        return;
    }
    lab.wait_gone();
    if starting {
        return;
    }
    (START.run)(lab).unwrap_or_else(|e| panic!("a new netd does not start: {e}"));
    lab.snapshot().unwrap();
    if lab.bus.is_some() {
        // Whom it asks on the bus has to answer first.
        script::complete(lab).unwrap();
    }
    if !act.is_last() {
        lab.check_guest("after the new netd's start");
    }
}

/// Tries one moment after the other with this victim, until there are no more, and says at how
/// many there was somebody to be killed.
fn matrix(reference: &Reference, victim: Victim, moment: fn(usize) -> Moment) {
    let scope = reference.course.scope;
    let host = reference.course.host();
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|n| n.parse::<usize>().unwrap())
    };
    let only = number("TAPYARD_FAULT_POINT");
    let every = number("TAPYARD_FAULT_EVERY").unwrap_or(SAMPLE);
    let begin = Instant::now();
    let mut tried = 0;
    let first = only.unwrap_or(every * shard());
    for at in (first..).step_by(every * SHARDS) {
        let what = format!(
            "{scope:?} scope{host}, kill of {victim:?}, {:?}",
            moment(at)
        );
        let watch = Watchdog::start(what);
        let done = run(reference, victim, moment(at));
        drop(watch);
        let Some(point) = done else { break };
        tried += usize::from(point.met);
        if only.is_some() {
            break;
        }
    }
    println!(
        "fault matrix, {scope:?} scope{host}, kill -9 of {victim:?}: {tried} points (part {} of {SHARDS}, \
         one of {every} points), {} s",
        shard() + 1,
        begin.elapsed().as_secs()
    );
    // A sample of a few points may have none in this part.
    assert!(tried > 0 || every > 1 || only.is_some(), "no points");
}

/// Says which point it was when one hangs or fails.
struct Watchdog {
    what: String,
    _over: Sender<()>,
}

impl Watchdog {
    fn start(what: String) -> Watchdog {
        let (over, end) = channel::<()>();
        let copy = what.clone();
        std::thread::spawn(move || {
            if end.recv_timeout(POINT_DEADLINE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{copy}: hangs");
                std::process::exit(1);
            }
        });
        Watchdog { what, _over: over }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: failed", self.what);
        }
    }
}

#[test]
fn netd_is_killed_at_every_point_in_the_host_scope() {
    if on_hosts("netd_is_killed_at_every_point_in_the_host_scope", SHARDS) {
        let reference = reference(Course::of(Scope::Host));
        matrix(&reference, Victim::Actor, Moment::Call);
    }
}

#[test]
fn netd_is_killed_at_every_point_in_the_private_scope() {
    if on_hosts("netd_is_killed_at_every_point_in_the_private_scope", SHARDS) {
        let reference = reference(Course::of(Scope::Private));
        matrix(&reference, Victim::Actor, Moment::Call);
    }
}

#[test]
fn netd_is_killed_at_every_message_to_the_system_bus() {
    if on_hosts("netd_is_killed_at_every_message_to_the_system_bus", SHARDS) {
        let reference = reference(Course::of_bus());
        matrix(&reference, Victim::Actor, Moment::Bus);
    }
}

/// As a kernel before Linux 6.17 has it, where IPv6 takes `all.forwarding` and care of what that writes.
#[test]
fn netd_is_killed_at_every_step_of_making_an_older_kernel_a_router() {
    if on_hosts(
        "netd_is_killed_at_every_step_of_making_an_older_kernel_a_router",
        SHARDS,
    ) {
        sh("conf=/proc/sys/net/ipv6/conf
            switch=$conf/default/force_forwarding
            [ ! -e $switch ] || mount --bind /dev/null $switch
            echo 1 > $conf/eth1/forwarding; echo 2 > $conf/br00/accept_ra");
        let reference = reference(Course {
            script: IPV6_SCRIPT,
            ..Course::of(Scope::Host)
        });
        matrix(&reference, Victim::Actor, Moment::OfIpv6);
    }
}

/// Both ways out lead to the LAN.
#[test]
fn netd_is_killed_at_every_step_of_proxy_arp() {
    if on_hosts("netd_is_killed_at_every_step_of_proxy_arp", SHARDS) {
        sh(
            "for n in 0 1; do ip addr add 192.168.1.5$n/24 dev eth$n; done
            ip neigh add proxy 192.168.1.199 dev eth0",
        );
        let reference = reference(Course {
            script: PROXY_SCRIPT,
            ..Course::of(Scope::Host)
        });
        matrix(&reference, Victim::Actor, Moment::OfProxies);
    }
}

#[test]
fn netd_and_its_program_are_killed_at_every_step_of_the_old_iptables() {
    if on_hosts(
        "netd_and_its_program_are_killed_at_every_step_of_the_old_iptables",
        SHARDS,
    ) {
        let reference = reference(Course::of_legacy());
        matrix(&reference, Victim::Leader, Moment::OfLegacy);
        matrix(&reference, Victim::Program, Moment::OfProgram);
    }
}

/// It takes the lock of the old iptables itself, by a file that it has kept open.
#[test]
fn a_netd_that_root_lent_a_user_is_killed_at_every_step_of_the_old_iptables() {
    if on_roots_hosts(
        "a_netd_that_root_lent_a_user_is_killed_at_every_step_of_the_old_iptables",
        SHARDS,
    ) {
        let reference = reference(Course::of_lent());
        let rules = reference.after[1]["host"]["rules"].to_string();
        assert!(
            rules.contains(&format!("tapyard_{}", world::user())),
            "{rules}"
        );
        matrix(&reference, Victim::Leader, Moment::OfLegacy);
        matrix(&reference, Victim::Program, Moment::OfProgram);
    }
}

#[test]
fn what_netd_runs_is_killed_at_each_step_of_the_journal() {
    if on_hosts(
        "what_netd_runs_is_killed_at_each_step_of_the_journal",
        SHARDS,
    ) {
        let host = reference(Course::of(Scope::Host));
        for victim in [Victim::Together, Victim::Dnsmasq, Victim::Qemu] {
            matrix(&host, victim, Moment::AfterLine);
        }
        let private = reference(Course::of(Scope::Private));
        for victim in [
            Victim::Leader,
            Victim::Together,
            Victim::Dnsmasq,
            Victim::Pasta,
            Victim::Qemu,
            Victim::Anchor,
            Victim::Keeper,
        ] {
            matrix(&private, victim, Moment::AfterLine);
        }
    }
}

/// A verb that comes to the protocol comes to the script.
#[test]
fn the_script_has_every_verb() {
    let page = include_str!("../../../../docs/netd-protocol.md");
    let verbs = page.split("\n## Verbs\n").nth(1).unwrap();
    let verbs = verbs.split("\n## ").next().unwrap();
    let documented = verbs
        .lines()
        .filter_map(|line| line.strip_prefix("### ")?.split(' ').next());
    for verb in documented {
        assert!(
            SCRIPT.iter().any(|act| act.verb == Some(verb))
                || script::CHANGES_NOTHING.contains(&verb),
            "nobody is killed in {verb}: give it an act in tests/survival/script.rs"
        );
    }
}
