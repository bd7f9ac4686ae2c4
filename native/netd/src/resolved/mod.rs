// SPDX-License-Identifier: Apache-2.0
//! Names of guests on the host: where systemd-resolved runs, it asks a network's dnsmasq for names
//! of the lab's domain, and for nothing else (org.freedesktop.resolve1(5)).
//!
//! What resolved is told belongs to the bridge and goes with it; a network that loses its DNS and
//! keeps its bridge has it taken back. /etc/resolv.conf is nobody's business here.

mod permission;

use crate::acts::{Deed, deed};
use crate::dbus::{Arguments, BUS, Bus, Message, Method};
use permission::Permission;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use tapyard_protocol::{HostNames, HostNamesState, NetworkName};

const SERVICE: &str = "org.freedesktop.resolve1";
const SIGNALS: [&str; 1] = [
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='org.freedesktop.resolve1'",
];
/// Below which the guests' names are: dnsmasq's --domain.
const DOMAIN: &str = "lab";
/// How long resolved or polkit may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel tells resolved of a new bridge as it tells everybody: it may not know it yet.
const AGAIN: Duration = Duration::from_millis(100);
const TRIES: u32 = 50;
/// When to look again for a bus that has ended, does not let us in or is not there; twice as long
/// each time that it was in vain, up to the longest.
const BACK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// A bridge whose dnsmasq knows names, or does no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The network's name and its bridge's.
    pub name: NetworkName,
    /// The bridge.
    pub ifindex: u32,
    /// Where its dnsmasq listens; without one, resolved is to forget the bridge.
    pub server: Option<Ipv4Addr>,
}

/// Whether resolved is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// The bus is asked, by the call of this serial.
    Asked(u32),
    There,
    Absent,
}

/// How it stands with a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nobody was asked yet, for the so-manieth time.
    New(u32),
    /// Asked at this time, by calls that are not all answered.
    Asked(BTreeSet<u32>, Instant, u32),
    /// To be asked again at this time.
    Again(Instant, u32),
    Set,
    Refused(String),
}

/// The connection to systemd-resolved.
#[derive(Debug)]
pub struct Resolved {
    bus: Option<Bus>,
    /// When to connect again, and how long to wait before that the next time.
    back: Option<Instant>,
    delay: Duration,
    presence: Presence,
    permission: Permission,
    bridges: BTreeMap<NetworkName, (Wanted, State)>,
    /// Those that it was made to forget.
    forgotten: Vec<NetworkName>,
}

impl Default for Resolved {
    fn default() -> Self {
        Resolved {
            bus: None,
            back: None,
            delay: BACK,
            presence: Presence::Absent,
            permission: Permission::new(rustix::process::geteuid().is_root()),
            bridges: BTreeMap::new(),
            forgotten: Vec::new(),
        }
    }
}

impl Resolved {
    /// Has the names of this bridge asked for there, or no more.
    pub fn set(&mut self, wanted: Wanted) {
        let same = |(before, state): &(Wanted, State)| {
            *before == wanted && !matches!(state, State::Refused(_))
        };
        if self.bridges.get(&wanted.name).is_some_and(same) {
            return;
        }
        // Whoever manages the computer may have thought otherwise since.
        self.permission.forget_refusal();
        let entry = (wanted.clone(), State::New(0));
        self.bridges.insert(wanted.name, entry);
        if self.bus.is_none() && self.back.is_none() {
            self.connect();
        }
        self.advance();
    }

    /// The bridge is gone, and what was told of it.
    pub fn forget(&mut self, name: &NetworkName) {
        self.bridges.remove(name);
    }

    /// The networks whose bridges it has been made to forget since last asked.
    pub fn take_forgotten(&mut self) -> Vec<NetworkName> {
        std::mem::take(&mut self.forgotten)
    }

    /// What to tell of a network whose bridge has this number; nothing where resolved is not there.
    pub fn of(&self, name: &NetworkName, ifindex: u32) -> Option<HostNames> {
        let (wanted, state) = self.bridges.get(name)?;
        let server = wanted.server?;
        if self.presence != Presence::There || wanted.ifindex != ifindex {
            return None;
        }
        let state = match (state, self.permission.refusal()) {
            (State::Set, _) => (HostNamesState::Set, None),
            (State::Refused(why), _) => (HostNamesState::Refused, Some(why.clone())),
            (_, Some(why)) => (HostNamesState::Refused, Some(why.to_owned())),
            (State::New(_) | State::Asked(..) | State::Again(..), None) => {
                (HostNamesState::Asking, None)
            }
        };
        let (state, reason) = state;
        let command = reason.as_ref().map(|_| command(&wanted.name, server));
        Some(HostNames {
            state,
            command,
            reason,
        })
    }

    /// What to poll.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let bus = self.bus.as_ref().map(Bus::fd);
        bus.into_iter().chain(self.permission.fd())
    }

    /// Takes what there is. Whether names may stand otherwise than before.
    pub fn on_readable(&mut self) -> bool {
        let mut any = self.permission.on_readable();
        match self.bus.as_mut().map(Bus::read) {
            None => {}
            Some(Ok(messages)) => {
                for message in messages {
                    any |= self.take(message);
                }
            }
            Some(Err(error)) => {
                self.lost(&error);
                any = true;
            }
        }
        if any {
            self.advance();
        }
        any
    }

    /// When [`Resolved::on_deadline`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.bridges.values().filter_map(|(_, state)| match state {
            State::Asked(_, since, _) => Some(*since + PATIENCE),
            State::Again(at, _) => Some(*at),
            State::New(_) | State::Set | State::Refused(_) => None,
        });
        due.chain(self.permission.deadline()).chain(self.back).min()
    }

    /// Asks again, and waits no longer for those whose time is up. Whether there was one.
    pub fn on_deadline(&mut self, now: Instant) -> bool {
        let mut any = self.permission.give_up(now);
        if self.back.take_if(|at| *at <= now).is_some() && !self.bridges.is_empty() {
            self.connect();
        }
        for (wanted, state) in self.bridges.values_mut() {
            match state {
                State::Asked(_, since, _) if *since + PATIENCE <= now => {
                    eprintln!("systemd-resolved does not answer about {}", wanted.name);
                    *state = State::Refused("it does not answer".to_owned());
                    any = true;
                }
                State::Again(at, tries) if *at <= now => {
                    *state = State::New(*tries);
                    any = true;
                }
                _ => {}
            }
        }
        if any {
            self.advance();
        }
        any
    }

    fn connect(&mut self) {
        let opened = Bus::open(SERVICE, &SIGNALS).and_then(|mut bus| {
            let asked = bus.call_bus("GetNameOwner", &[SERVICE])?;
            Ok((bus, asked))
        });
        match opened {
            Ok((bus, asked)) => {
                self.presence = Presence::Asked(asked);
                self.bus = Some(bus);
            }
            Err(error) => self.lost(&error),
        }
    }

    /// Asks what can be asked now.
    fn advance(&mut self) {
        let new = |(_, state): &&(Wanted, State)| matches!(state, State::New(_));
        if self.presence != Presence::There
            || self.bridges.values().find(new).is_none()
            || !self.permission.is_given()
        {
            return;
        }
        let names: Vec<NetworkName> = self.bridges.keys().cloned().collect();
        for name in names {
            let Some((wanted, State::New(tries))) = self.bridges.get(&name).cloned() else {
                continue;
            };
            match self.ask(&wanted) {
                Ok(serials) => {
                    let asked = State::Asked(serials, Instant::now(), tries);
                    self.bridges.insert(name, (wanted, asked));
                }
                Err(error) => return self.lost(&error),
            }
        }
    }

    /// What the bridge's server may not do comes before it is named.
    fn ask(&mut self, wanted: &Wanted) -> io::Result<BTreeSet<u32>> {
        let link = || Arguments::default().number(wanted.ifindex);
        let Some(server) = wanted.server else {
            return Ok(BTreeSet::from([self.call("RevertLink", &link())?]));
        };
        let calls = [
            ("SetLinkDefaultRoute", link().boolean(false)),
            // Nobody signs the lab's names, or speaks TLS for them, whatever resolved wants of others.
            ("SetLinkDNSSEC", link().string("no")),
            ("SetLinkDNSOverTLS", link().string("no")),
            ("SetLinkDomains", link().names(&[DOMAIN], true)),
            ("SetLinkDNS", link().addresses(&[server.into()])),
        ];
        let calls = calls.iter();
        calls
            .map(|(member, args)| self.call(member, args))
            .collect()
    }

    fn call(&mut self, member: &str, args: &Arguments) -> io::Result<u32> {
        let method = Method {
            destination: SERVICE,
            path: "/org/freedesktop/resolve1",
            interface: "org.freedesktop.resolve1.Manager",
            member,
            may_start: false,
        };
        match self.bus.as_mut() {
            Some(bus) => bus.call(method, args),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Answer { serial, result } if self.presence == Presence::Asked(serial) => {
                self.presence = match result {
                    Ok(_) => Presence::There,
                    Err(_) => Presence::Absent,
                };
                self.delay = BACK;
                true
            }
            Message::Answer { serial, result } => self.answered(serial, result.map(drop)),
            // It came, went, or was restarted: the bridges are all new to it.
            Message::Signal {
                interface,
                member,
                strings,
            } if interface == BUS.interface && member == "NameOwnerChanged" => {
                self.presence = match strings.last() {
                    Some(owner) if !owner.is_empty() => Presence::There,
                    _ => Presence::Absent,
                };
                self.start_over();
                true
            }
            Message::Signal { .. } => false,
        }
    }

    fn answered(&mut self, serial: u32, result: std::result::Result<(), (String, String)>) -> bool {
        let mut bridges = self.bridges.values_mut();
        let asked = bridges.find_map(|(wanted, state)| {
            let State::Asked(serials, _, tries) = state else {
                return None;
            };
            let (ours, all, tries) = (serials.remove(&serial), serials.is_empty(), *tries);
            ours.then_some((all, tries, wanted, state))
        });
        let Some((all, tries, wanted, state)) = asked else {
            return false;
        };
        match result {
            Ok(()) if all => {
                told(wanted).done();
                *state = State::Set;
            }
            Ok(()) => {}
            Err((error, _)) if is_too_early(&error) && tries < TRIES => {
                *state = State::Again(Instant::now() + AGAIN, tries + 1);
            }
            Err((_, text)) => {
                eprintln!("systemd-resolved does not take {}: {text}", wanted.name);
                let _ = told(wanted).told::<(), _>(Err(text.clone()));
                *state = State::Refused(text);
            }
        }
        if *state == State::Set && wanted.server.is_none() {
            let name = wanted.name.clone();
            self.bridges.remove(&name);
            self.forgotten.push(name);
        }
        true
    }

    fn start_over(&mut self) {
        for (_, state) in self.bridges.values_mut() {
            *state = State::New(0);
        }
        self.permission.forget_refusal();
    }

    fn lost(&mut self, error: &io::Error) {
        // There may never be one.
        if self.delay == BACK {
            eprintln!("the system bus: {error}");
        }
        self.bus = None;
        self.back = Some(Instant::now() + self.delay);
        self.delay = (self.delay * 2).min(LONGEST);
        self.presence = Presence::Absent;
        self.start_over();
    }
}

fn is_too_early(error: &str) -> bool {
    error == "org.freedesktop.resolve1.NoSuchLink"
}

/// What resolved is told of the bridge, as a deed.
fn told(Wanted { name, server, .. }: &Wanted) -> Deed {
    match server {
        Some(server) => deed(format!(
            "had systemd-resolved ask dnsmasq of {name} for the guests' names"
        ))
        .command(command(name, *server).replace("; ", "\n")),
        None => deed(format!(
            "took the names of {name} away from systemd-resolved"
        ))
        .command(format!("resolvectl revert {name}")),
    }
}

/// What netd would do.
fn command(name: &NetworkName, server: Ipv4Addr) -> String {
    format!(
        "resolvectl dns {name} {server}; resolvectl domain {name} '~{DOMAIN}'; \
         resolvectl default-route {name} no"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acts;

    fn br0() -> Wanted {
        Wanted {
            name: "br0".parse().unwrap(),
            ifindex: 7,
            server: Some(Ipv4Addr::new(192, 168, 57, 1)),
        }
    }

    fn asked() -> Resolved {
        let serials = BTreeSet::from([3, 4]);
        let state = State::Asked(serials, Instant::now(), 0);
        Resolved {
            presence: Presence::There,
            permission: Permission::new(true),
            bridges: BTreeMap::from([(br0().name, (br0(), state))]),
            ..Resolved::default()
        }
    }

    fn state(resolved: &Resolved) -> HostNamesState {
        resolved.of(&br0().name, 7).unwrap().state
    }

    fn owner(new: &str) -> Message {
        Message::Signal {
            interface: BUS.interface.to_owned(),
            member: "NameOwnerChanged".to_owned(),
            strings: [SERVICE, ":1.2", new].map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn set_when_all_is_answered_and_anew_after_a_restart() {
        let mut resolved = asked();
        assert!(resolved.answered(3, Ok(())));
        assert!(!resolved.answered(3, Ok(())), "twice");
        assert_eq!(state(&resolved), HostNamesState::Asking);
        assert!(resolved.answered(4, Ok(())));
        assert_eq!(state(&resolved), HostNamesState::Set);
        assert_eq!(resolved.of(&br0().name, 8), None, "another bridge");
        assert!(resolved.take(owner("")));
        assert_eq!(resolved.of(&br0().name, 7), None);
        assert!(resolved.take(owner(":1.9")));
        assert_eq!(state(&resolved), HostNamesState::Asking);
    }

    #[test]
    fn a_bridge_that_is_too_new_is_told_of_again_but_not_for_ever() {
        let mut resolved = asked();
        let unknown = || Err(("org.freedesktop.resolve1.NoSuchLink".into(), "7".into()));
        assert!(resolved.answered(3, unknown()));
        assert!(resolved.deadline().is_some());
        assert!(!resolved.on_deadline(Instant::now() - AGAIN));
        assert_eq!(state(&resolved), HostNamesState::Asking);
        let serials = BTreeSet::from([5]);
        let last = State::Asked(serials, Instant::now(), TRIES);
        resolved.bridges.insert(br0().name, (br0(), last));
        assert!(resolved.answered(5, unknown()));
        assert_eq!(state(&resolved), HostNamesState::Refused);
    }

    #[test]
    fn what_was_told_is_taken_back_until_resolved_says_so() {
        acts::forget();
        let mut resolved = asked();
        let forget = Wanted {
            server: None,
            ..br0()
        };
        let serials = BTreeSet::from([5]);
        let reverting = State::Asked(serials, Instant::now(), 0);
        let entry = (forget, reverting);
        resolved.bridges.insert(br0().name, entry);
        assert_eq!(resolved.of(&br0().name, 7), None, "it has no names");
        // Answers to what was asked before.
        assert!(!resolved.answered(3, Ok(())));
        // It ends without an answer, and another one comes, which may know the bridge still.
        resolved.take(owner(""));
        resolved.take(owner(":1.9"));
        assert!(matches!(resolved.bridges[&br0().name].1, State::New(_)));
        let serials = BTreeSet::from([6]);
        resolved.bridges.get_mut(&br0().name).unwrap().1 = State::Asked(serials, Instant::now(), 0);
        assert_eq!(resolved.take_forgotten(), []);
        assert!(resolved.answered(6, Ok(())));
        assert_eq!(resolved.take_forgotten(), [br0().name]);
        assert_eq!(acts::all().len(), 1);
    }

    #[test]
    fn a_bus_that_ended_is_tried_again_and_ever_less_often() {
        let mut resolved = asked();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let before = Instant::now();
            resolved.lost(&io::ErrorKind::UnexpectedEof.into());
            waits.push(resolved.deadline().unwrap() - before);
        }
        assert!(waits[0] < BACK * 2, "{waits:?}");
        assert!(waits[11] > LONGEST / 2, "{waits:?}");
        resolved.presence = Presence::Asked(9);
        resolved.take(Message::Answer {
            serial: 9,
            result: Ok(Vec::new()),
        });
        assert_eq!(resolved.delay, BACK, "it let us in");
    }

    #[test]
    fn a_refusal_says_what_to_type() {
        let mut resolved = asked();
        let busy = ("org.freedesktop.resolve1.LinkBusy", "Link br0 is managed.");
        assert!(resolved.answered(4, Err((busy.0.into(), busy.1.into()))));
        let names = resolved.of(&br0().name, 7).unwrap();
        assert_eq!(names.reason.as_deref(), Some(busy.1));
        let command = names.command.unwrap();
        assert!(
            command.starts_with("resolvectl dns br0 192.168.57.1; resolvectl domain br0 '~lab'")
        );
        let mut late = asked();
        assert!(late.on_deadline(Instant::now() + PATIENCE));
        assert_eq!(state(&late), HostNamesState::Refused);
    }
}
