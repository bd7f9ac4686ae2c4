// SPDX-License-Identifier: Apache-2.0
//! A door of firewalld's: the bridge in a zone that lets through, for as long as firewalld runs and
//! is not reloaded. It is asked over the system bus and answers when it has done it.

use crate::acts::deed;
use crate::dbus::{Arguments, BUS, Bus, Message, Method};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Error, NetworkName, Result};

/// The name of firewalld's table, by which its chains are known.
pub(super) const TABLE: &str = "firewalld";
/// The zones that will do, the best first: libvirt's package brings the one that is meant for
/// bridges of guests. Both accept; what guests may do is decided by our own table.
const ZONES: [&str; 2] = ["libvirt", "trusted"];
const SERVICE: &str = "org.fedoraproject.FirewallD1";
const SIGNALS: [&str; 2] = [
    "type='signal',interface='org.fedoraproject.FirewallD1',member='Reloaded'",
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='org.fedoraproject.FirewallD1'",
];
/// How long firewalld may take. A reload, which it finishes first, is a matter of a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody waits for a firewalld that did not answer, unless it is heard before.
const SILENCE: Duration = Duration::from_secs(30);

/// What firewalld has been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// At this time, with the call of this serial.
    Pending(u32, Instant),
    /// It did it; whether that helps is to be seen.
    Given,
    /// It had done it before.
    There,
    /// It refused, or cannot be asked.
    Refused,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is to be asked for this zone; see [`Firewalld::ask`].
    Ask(&'static str),
    /// It has not answered yet.
    Opening,
    /// It will not.
    Refused,
}

/// The connection to firewalld.
#[derive(Debug, Default)]
pub(super) struct Firewalld {
    bus: Option<Bus>,
    asked: BTreeMap<NetworkName, Asked>,
    /// Calls that were the first for their network and zone, by serial.
    first: BTreeMap<u32, (NetworkName, String)>,
    /// Of those the ones that it refused: nothing was made, and nothing is to be taken away.
    unmade: BTreeSet<(NetworkName, String)>,
    /// Which of [`ZONES`].
    zone: usize,
    /// Since when it has not answered a removal, which everybody had to wait for.
    silent: Option<Instant>,
}

impl Firewalld {
    /// One that does not answer.
    #[cfg(test)]
    pub(super) fn silent_since(then: Instant) -> Firewalld {
        Firewalld {
            silent: Some(then),
            ..Firewalld::default()
        }
    }

    /// How it stands with a network that firewalld drops.
    pub(super) fn progress(&mut self, name: &NetworkName) -> Progress {
        match self.asked.get(name) {
            Some(Asked::Pending(..)) => Progress::Opening,
            Some(Asked::There | Asked::Refused) => {
                self.asked.insert(name.clone(), Asked::Refused);
                Progress::Refused
            }
            // It was lost since, or is of no use: then it answers that it is there.
            Some(Asked::Given) | None => Progress::Ask(ZONES[self.zone]),
        }
    }

    /// It lets the network through: when that is lost, it is asked again.
    pub(super) fn lets_through(&mut self, name: &NetworkName) {
        self.asked.remove(name);
    }

    /// Asks to have the bridge in the zone that [`Firewalld::progress`] named, for the `first` time or
    /// again. False where firewalld cannot be asked.
    pub(super) fn ask(
        &mut self,
        name: &NetworkName,
        zone: &str,
        first: bool,
        now: Instant,
    ) -> bool {
        let asked = self.call("addInterface", zone, name);
        let what = format!("asked firewalld for {name} in its zone {zone}");
        let asked = deed(what).command(add_interface(name, zone)).told(asked);
        if let Ok(serial) = asked
            && first
        {
            self.first.insert(serial, (name.clone(), zone.to_owned()));
        }
        let asked = asked.map_or(Asked::Refused, |serial| Asked::Pending(serial, now));
        self.asked.insert(name.clone(), asked);
        asked != Asked::Refused
    }

    /// What lets the network through where it refuses us.
    pub(super) fn command(&self, name: &NetworkName) -> String {
        add_interface(name, ZONES[self.zone])
    }

    /// Where it refused a first request since last asked.
    pub(super) fn take_unmade(&mut self) -> BTreeSet<(NetworkName, String)> {
        std::mem::take(&mut self.unmade)
    }

    /// Whether it refused the first request for this zone.
    pub(super) fn is_unmade(&self, name: &NetworkName, zone: &str) -> bool {
        self.unmade.contains(&(name.clone(), zone.to_owned()))
    }

    /// What to poll.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.bus.as_ref().map(Bus::fd)
    }

    /// When an answer is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pending = self.asked.values().filter_map(|asked| match asked {
            Asked::Pending(_, since) => Some(*since + PATIENCE),
            Asked::Given | Asked::There | Asked::Refused => None,
        });
        pending.min()
    }

    /// Counts an overdue answer as a refusal. Whether there was one.
    pub(super) fn give_up(&mut self, now: Instant) -> bool {
        let mut any = false;
        for (name, asked) in &mut self.asked {
            if matches!(asked, Asked::Pending(_, since) if *since + PATIENCE <= now) {
                eprintln!("firewalld does not answer about {name}");
                *asked = Asked::Refused;
                any = true;
            }
        }
        any
    }

    /// Takes what the bus has. Whether doors may stand otherwise than before.
    pub(super) fn on_readable(&mut self) -> bool {
        match self.bus.as_mut().map(Bus::read) {
            None => false,
            Some(Ok(messages)) => {
                let mut any = false;
                for message in messages {
                    any |= self.take(message);
                }
                any
            }
            Some(Err(error)) => {
                self.lost(&error);
                true
            }
        }
    }

    /// Takes the bridge out of the zone. True when it was in it.
    pub(super) fn remove(&mut self, name: &NetworkName, zone: &str) -> Result<bool> {
        self.asked.remove(name);
        let patience = self.patience();
        let mut done = self.try_remove(name, zone, patience);
        // The connection may have ended since it was last used.
        if done.as_ref().is_err_and(|error| !is_late(error)) {
            done = self.try_remove(name, zone, patience);
        }
        let deed = deed(format!("took {name} out of firewalld's zone {zone}"));
        let deed = deed.command(format!(
            "firewall-cmd --zone={zone} --remove-interface={name}"
        ));
        match done {
            Ok(Ok(_)) => {
                deed.done();
                Ok(true)
            }
            Ok(Err((error, text))) if is_gone(&error, &text) => Ok(false),
            Ok(Err((_, text))) => Err(not_removed(name, zone, &text)),
            // Without a bus there is no firewalld, and nobody holds the zone.
            Err(error) if is_no_bus(&error) => Ok(false),
            Err(error) if is_late(&error) => {
                if !patience.is_zero() {
                    self.silent = Some(Instant::now());
                }
                Err(not_removed(name, zone, "it does not answer"))
            }
            Err(error) => Err(not_removed(name, zone, &error.to_string())),
        }
    }

    /// How long to wait for an answer: not at all for one who has just let us wait in vain, since
    /// all of netd waits.
    fn patience(&mut self) -> Duration {
        if self.silent.is_some() {
            // It may have been heard by now.
            self.on_readable();
        }
        match self.silent {
            Some(since) if since.elapsed() < SILENCE => Duration::ZERO,
            _ => PATIENCE,
        }
    }

    fn try_remove(
        &mut self,
        name: &NetworkName,
        zone: &str,
        patience: Duration,
    ) -> io::Result<std::result::Result<Vec<u8>, (String, String)>> {
        if patience.is_zero() && self.bus.is_none() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let serial = self.call("removeInterface", zone, name)?;
        let mut messages = Vec::new();
        let waited = match self.bus.as_mut() {
            Some(bus) => bus.wait(serial, patience, &mut messages),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let mut answer = None;
        for message in messages {
            match message {
                Message::Answer { serial: of, result } if of == serial => answer = Some(result),
                other => _ = self.take(other),
            }
        }
        match (waited, answer) {
            (Ok(()), Some(result)) => {
                self.silent = None;
                Ok(result)
            }
            (Ok(()), None) => Err(io::ErrorKind::InvalidData.into()),
            (Err(error), _) => {
                // Who is late may still answer.
                if !is_late(&error) {
                    self.lost(&error);
                }
                Err(error)
            }
        }
    }

    fn call(&mut self, member: &str, zone: &str, name: &NetworkName) -> io::Result<u32> {
        let method = Method {
            destination: SERVICE,
            path: "/org/fedoraproject/FirewallD1",
            interface: "org.fedoraproject.FirewallD1.zone",
            member,
            may_start: false,
        };
        let bus = match self.bus.take() {
            Some(bus) => bus,
            None => Bus::open(SERVICE, &SIGNALS)?,
        };
        let bus = self.bus.insert(bus);
        let called = bus.call(method, &Arguments::strings(&[zone, name]));
        if called.is_err() {
            self.bus = None;
        }
        called
    }

    fn take(&mut self, message: Message) -> bool {
        self.silent = None;
        match message {
            Message::Answer { serial, result } => {
                if let Some(first) = self.first.remove(&serial)
                    && result
                        .as_ref()
                        .is_err_and(|(_, text)| !text.contains("ALREADY"))
                {
                    self.unmade.insert(first);
                }
                let of = |(_, asked): &(&NetworkName, &mut Asked)| matches!(asked, Asked::Pending(of, _) if *of == serial);
                let Some((name, asked)) = self.asked.iter_mut().find(of) else {
                    return false;
                };
                match result {
                    Ok(_) => *asked = Asked::Given,
                    Err((_, text)) if text.contains("ALREADY") => *asked = Asked::There,
                    Err((_, text))
                        if text.contains("INVALID_ZONE") && self.zone + 1 < ZONES.len() =>
                    {
                        self.zone += 1;
                        let name = name.clone();
                        self.asked.remove(&name);
                    }
                    Err((_, text)) => {
                        eprintln!("firewalld refuses to let {name} through: {text}");
                        *asked = Asked::Refused;
                    }
                }
                true
            }
            // It forgot what it was told; whoever refused may think otherwise now.
            Message::Signal {
                interface, member, ..
            } if (interface == SERVICE && member == "Reloaded")
                || (interface == BUS.interface && member == "NameOwnerChanged") =>
            {
                self.asked.clear();
                self.zone = 0;
                true
            }
            Message::Signal { .. } => false,
        }
    }

    fn lost(&mut self, error: &io::Error) {
        eprintln!("the system bus: {error}");
        self.bus = None;
        self.asked.clear();
        self.first.clear();
    }
}

fn add_interface(name: &NetworkName, zone: &str) -> String {
    format!("firewall-cmd --zone={zone} --add-interface={name}")
}

/// Whether the time was up, also that of a socket.
fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// Whether there is no bus, or none that lets us in.
fn is_no_bus(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::PermissionDenied
    )
}

/// Whether an error says that there is nothing to take away.
fn is_gone(error: &str, text: &str) -> bool {
    error.starts_with("org.freedesktop.DBus.Error.ServiceUnknown")
        || error.starts_with("org.freedesktop.DBus.Error.NameHasNoOwner")
        || [
            "UNKNOWN_INTERFACE",
            "INVALID_ZONE",
            "ZONE_CONFLICT",
            "NOT_ENABLED",
        ]
        .iter()
        .any(|gone| text.contains(gone))
}

fn not_removed(name: &NetworkName, zone: &str, why: &str) -> Error {
    Error::new(
        Code::Kernel,
        format!("firewalld keeps {name} in its zone {zone}: {why}"),
    )
    .hint(format!(
        "Do it yourself: firewall-cmd --zone={zone} --remove-interface={name}"
    ))
    .subject(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> NetworkName {
        "br0".parse().unwrap()
    }

    fn answer(serial: u32, result: std::result::Result<Vec<u8>, (String, String)>) -> Message {
        Message::Answer { serial, result }
    }

    #[test]
    fn from_zone_to_zone_and_no_further() {
        let mut firewalld = Firewalld::default();
        let now = Instant::now();
        assert_eq!(firewalld.progress(&name()), Progress::Ask("libvirt"));
        let refused = |text: &str| Err(("org.x".to_owned(), text.to_owned()));
        firewalld.asked.insert(name(), Asked::Pending(3, now));
        assert_eq!(firewalld.progress(&name()), Progress::Opening);
        assert!(!firewalld.take(answer(4, Ok(Vec::new()))));
        assert!(firewalld.take(answer(3, refused("INVALID_ZONE: libvirt"))));
        assert_eq!(firewalld.progress(&name()), Progress::Ask("trusted"));
        firewalld.asked.insert(name(), Asked::Pending(5, now));
        assert!(firewalld.take(answer(5, refused("INVALID_ZONE: trusted"))));
        assert_eq!(firewalld.progress(&name()), Progress::Refused);
        firewalld.take(Message::Signal {
            interface: SERVICE.to_owned(),
            member: "Reloaded".to_owned(),
            strings: Vec::new(),
        });
        assert_eq!(firewalld.progress(&name()), Progress::Ask("libvirt"));
    }

    #[test]
    fn a_zone_that_does_not_help_is_not_asked_for_again_and_again() {
        let mut firewalld = Firewalld::default();
        let now = Instant::now();
        let given = Ok(Vec::new());
        firewalld.asked.insert(name(), Asked::Pending(1, now));
        assert!(firewalld.take(answer(1, given)));
        assert_eq!(
            firewalld.progress(&name()),
            Progress::Ask("libvirt"),
            "it may have been lost since"
        );
        firewalld.asked.insert(name(), Asked::Pending(2, now));
        let there = ("org.x".to_owned(), "ZONE_ALREADY_SET: 'br0'".to_owned());
        assert!(firewalld.take(answer(2, Err(there))));
        assert_eq!(firewalld.progress(&name()), Progress::Refused);
        // What lets it through is seen before the answer is read.
        firewalld.asked.insert(name(), Asked::Pending(3, now));
        firewalld.lets_through(&name());
        assert_eq!(firewalld.deadline(), None);
        assert_eq!(firewalld.progress(&name()), Progress::Ask("libvirt"));
        firewalld.asked.insert(name(), Asked::Pending(1, now));
        assert_eq!(firewalld.deadline(), Some(now + PATIENCE));
        assert!(!firewalld.give_up(now));
        assert!(firewalld.give_up(now + PATIENCE));
        assert_eq!(firewalld.progress(&name()), Progress::Refused);
    }

    #[test]
    fn who_let_us_wait_is_not_waited_for_again_until_heard() {
        let mut firewalld = Firewalld::default();
        assert_eq!(firewalld.patience(), PATIENCE);
        firewalld.silent = Some(Instant::now());
        assert_eq!(firewalld.patience(), Duration::ZERO);
        // Without a connection it does not even try to connect.
        let error = firewalld.remove(&name(), "trusted").unwrap_err();
        assert!(error.message.contains("does not answer"), "{error:?}");
        assert!(firewalld.bus.is_none());
        firewalld.take(answer(9, Ok(Vec::new())));
        assert_eq!(firewalld.patience(), PATIENCE);
    }
}
