// SPDX-License-Identifier: Apache-2.0
//! Whose messages are heard.

use super::{BUS, Message};

/// Whose signals count. The bus lets every user send us any signal, but writes the sender's unique
/// name on it; and it lets nobody answer whom we did not call.
#[derive(Debug)]
pub(super) struct Trust {
    service: &'static str,
    /// The unique name of who has the service's name, once known.
    owner: Option<String>,
}

impl Trust {
    /// In who has this name, once that is known.
    pub(super) fn of(service: &'static str) -> Trust {
        Trust {
            service,
            owner: None,
        }
    }

    pub(super) fn accepts(&mut self, sender: &str, message: &Message) -> bool {
        match message {
            Message::Answer { .. } => {
                if sender.starts_with(':') {
                    self.owner = Some(sender.to_owned());
                }
                true
            }
            Message::Signal {
                interface,
                member,
                strings,
            } if sender == BUS.destination => {
                let [name, _, owner] = strings.as_slice() else {
                    return false;
                };
                let ours = interface == BUS.interface
                    && member == "NameOwnerChanged"
                    && name == self.service;
                if ours {
                    self.owner = Some(owner.clone()).filter(|owner| !owner.is_empty());
                }
                ours
            }
            Message::Signal { .. } => self.owner.as_deref() == Some(sender),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(interface: &str, member: &str, strings: &[&str]) -> Message {
        Message::Signal {
            interface: interface.to_owned(),
            member: member.to_owned(),
            strings: strings.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn only_the_bus_and_the_owner_are_heard() {
        let mut trust = Trust::of("org.s");
        let reloaded = signal("org.s", "Reloaded", &[]);
        let changed = |owner| signal(BUS.interface, "NameOwnerChanged", &["org.s", ":1.4", owner]);
        // Anybody may send these, but not in another's name.
        assert!(!trust.accepts(":1.66", &reloaded));
        assert!(!trust.accepts(":1.66", &changed(":1.66")));
        assert!(!trust.accepts("", &reloaded));
        let answer = Message::Answer {
            serial: 1,
            result: Ok(Vec::new()),
        };
        assert!(trust.accepts(":1.4", &answer));
        assert!(trust.accepts(":1.4", &reloaded));
        assert!(
            trust.accepts(BUS.destination, &answer),
            "an error of the bus"
        );
        assert!(trust.accepts(":1.4", &reloaded), "the owner is still known");
        assert!(!trust.accepts(":1.66", &reloaded));
        assert!(trust.accepts(BUS.destination, &changed(":1.5")));
        assert!(trust.accepts(":1.5", &reloaded));
        assert!(!trust.accepts(":1.4", &reloaded));
        assert!(trust.accepts(BUS.destination, &changed("")));
        assert!(!trust.accepts("", &reloaded));
        assert!(!trust.accepts(":1.5", &reloaded));
        let other = signal(
            BUS.interface,
            "NameOwnerChanged",
            &["org.other", "", ":1.7"],
        );
        assert!(!trust.accepts(BUS.destination, &other));
        assert!(!trust.accepts(
            BUS.destination,
            &signal(BUS.interface, "NameAcquired", &[":1.2"])
        ));
    }
}
