// SPDX-License-Identifier: Apache-2.0
//! Whether this netd may tell systemd-resolved what to do.
//!
//! On the bus a capability counts for nothing: resolved does what root asks, and asks polkit about
//! everybody else, in most releases with a dialogue for each call. So polkit is asked beforehand,
//! in a way that shows nobody a dialogue, and a netd that is not allowed does not ask resolved.

use super::PATIENCE;
use crate::dbus::{Arguments, Bus, Message, Method};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

const SERVICE: &str = "org.freedesktop.PolicyKit1";
/// polkit's names for the calls that [`super::Resolved`] makes.
const ACTIONS: [&str; 6] = [
    "org.freedesktop.resolve1.set-default-route",
    "org.freedesktop.resolve1.set-dnssec",
    "org.freedesktop.resolve1.set-dns-over-tls",
    "org.freedesktop.resolve1.set-domains",
    "org.freedesktop.resolve1.set-dns-servers",
    "org.freedesktop.resolve1.revert",
];
const REFUSAL: &str = "it does so for root, and for others where a rule of polkit's allows it";

/// What is known of it.
#[derive(Debug)]
pub(super) struct Permission {
    bus: Option<Bus>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Unknown,
    /// Asked for our own name on the bus, by the call of this serial.
    Naming(u32, Instant),
    /// Asked about each action.
    Asked(BTreeSet<u32>, Instant),
    Given,
    Refused,
}

impl Permission {
    pub(super) fn new(root: bool) -> Permission {
        let state = match root {
            true => State::Given,
            false => State::Unknown,
        };
        Permission { bus: None, state }
    }

    /// Whether it is given. It is asked for where that is not known.
    pub(super) fn is_given(&mut self) -> bool {
        if self.state == State::Unknown
            && let Err(error) = self.begin()
        {
            eprintln!("ask polkit: {error}");
            self.settle(State::Refused);
        }
        self.state == State::Given
    }

    /// Why not.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        (self.state == State::Refused).then_some(REFUSAL)
    }

    /// Somebody may have written a rule since.
    pub(super) fn forget_refusal(&mut self) {
        if self.state == State::Refused {
            self.state = State::Unknown;
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.bus.as_ref().map(Bus::fd)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Naming(_, since) | State::Asked(_, since) => Some(*since + PATIENCE),
            State::Unknown | State::Given | State::Refused => None,
        }
    }

    /// Counts an overdue answer as a refusal. Whether there was one.
    pub(super) fn give_up(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now);
        if due {
            eprintln!("polkit does not answer");
            self.settle(State::Refused);
        }
        due
    }

    /// Takes what polkit has. Whether it has decided.
    pub(super) fn on_readable(&mut self) -> bool {
        let read = match self.bus.as_mut().map(Bus::read) {
            None => return false,
            Some(read) => read,
        };
        let taken = read.and_then(|messages| {
            for message in messages {
                if let Message::Answer { serial, result } = message {
                    self.take(serial, result.ok())?;
                }
            }
            Ok(())
        });
        if let Err(error) = taken {
            eprintln!("ask polkit: {error}");
            self.settle(State::Refused);
        }
        matches!(self.state, State::Given | State::Refused)
    }

    fn begin(&mut self) -> io::Result<()> {
        let bus = Bus::open(SERVICE, &[])?;
        self.state = State::Naming(bus.hello(), Instant::now());
        self.bus = Some(bus);
        Ok(())
    }

    fn take(&mut self, serial: u32, body: Option<Vec<u8>>) -> io::Result<()> {
        match &mut self.state {
            State::Naming(of, _) if *of == serial => {
                let name = body.as_deref().and_then(crate::dbus::first_string);
                self.ask(name.ok_or(io::ErrorKind::InvalidData)?)
            }
            State::Asked(serials, _) => {
                if !serials.remove(&serial) {
                    return Ok(());
                }
                // (bba{ss}): is authorised, would be after a dialogue, details.
                let allowed = body.and_then(|body| body.first().copied()) == Some(1);
                if !allowed {
                    self.settle(State::Refused);
                } else if serials.is_empty() {
                    self.settle(State::Given);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn ask(&mut self, name: String) -> io::Result<()> {
        let bus = self.bus.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let method = Method {
            destination: SERVICE,
            path: "/org/freedesktop/PolicyKit1/Authority",
            interface: "org.freedesktop.PolicyKit1.Authority",
            member: "CheckAuthorization",
            // On servers it runs when it is needed only.
            may_start: true,
        };
        let mut serials = BTreeSet::new();
        for action in ACTIONS {
            let args = Arguments::default()
                .subject("system-bus-name", "name", &name)
                .string(action)
                .no_details()
                // No dialogue; nothing to cancel.
                .flags(0)
                .string("");
            serials.insert(bus.call(method, &args)?);
        }
        self.state = State::Asked(serials, Instant::now());
        Ok(())
    }

    fn settle(&mut self, state: State) {
        self.state = state;
        self.bus = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Permission {
        Permission {
            bus: None,
            state: State::Asked(BTreeSet::from([2, 3]), Instant::now()),
        }
    }

    #[test]
    fn root_is_not_asked_about() {
        let mut root = Permission::new(true);
        assert!(root.is_given() && root.refusal().is_none());
    }

    #[test]
    fn all_actions_must_be_allowed() {
        let yes = || Some(vec![1, 0, 0, 0, 0, 0, 0, 0]);
        let mut permission = asked();
        permission.take(2, yes()).unwrap();
        assert!(!permission.is_given() && permission.refusal().is_none());
        permission.take(3, yes()).unwrap();
        assert!(permission.is_given());
        // "Would be after a dialogue" is no, and so is an error.
        for no in [Some(vec![0, 0, 0, 0, 1, 0, 0, 0]), None] {
            let mut permission = asked();
            permission.take(3, no).unwrap();
            assert!(permission.refusal().is_some());
            permission.forget_refusal();
            assert_eq!(permission.state, State::Unknown);
        }
        let mut late = asked();
        assert!(late.give_up(Instant::now() + PATIENCE));
        assert!(late.refusal().is_some());
    }
}
