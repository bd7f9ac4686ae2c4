// SPDX-License-Identifier: Apache-2.0
//! As much of firewalld as netd asks for: bridges in zones, as its rules have them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::wire::{Answer, Call, string};
use crate::world::sh;

/// Its name on the bus.
pub const NAME: &str = "org.fedoraproject.FirewallD1";
/// Those that it has, as Debian brings them; libvirt's comes with that package.
const ZONES: [&str; 4] = ["block", "drop", "public", "trusted"];

/// Its zones' interfaces. What the administrator gave it for good outlives it.
#[derive(Debug)]
pub struct Firewalld {
    zone_of: BTreeMap<String, String>,
}

impl Firewalld {
    /// Starts it: what it was told before is forgotten.
    pub fn start() -> Firewalld {
        let permanent = ("eth0".to_owned(), "public".to_owned());
        let firewalld = Firewalld {
            zone_of: BTreeMap::from([permanent]),
        };
        firewalld.load();
        firewalld
    }

    /// What it knows.
    pub fn state(&self) -> Value {
        json!(self.zone_of)
    }

    /// Its answers and errors are those of the real one.
    pub fn call(&mut self, call: &Call) -> Answer {
        let mut at = 0;
        let zone = string(&call.body, &mut at);
        let interface = string(&call.body, &mut at);
        let fails = |code: &str, text: String| {
            let text = format!("{code}: {text}");
            Err((format!("{NAME}.Exception"), text))
        };
        if !ZONES.contains(&zone.as_str()) {
            return fails("INVALID_ZONE", zone);
        }
        let in_zone = self.zone_of.get(&interface);
        match (call.member.as_str(), in_zone) {
            ("addInterface", Some(own)) if *own == zone => fails(
                "ZONE_ALREADY_SET",
                format!("'{interface}' already bound to '{zone}'"),
            ),
            ("addInterface", Some(other)) => fails(
                "ZONE_CONFLICT",
                format!("'{interface}' already bound to '{other}'"),
            ),
            ("addInterface", None) => {
                self.zone_of.insert(interface, zone.clone());
                self.load();
                Ok(Some(zone))
            }
            ("removeInterface", None) => fails(
                "UNKNOWN_INTERFACE",
                format!("'{interface}' is not in any zone"),
            ),
            ("removeInterface", Some(other)) if *other != zone => fails(
                "ZONE_CONFLICT",
                format!("remove_interface({zone}, {interface}): zoi='{other}'"),
            ),
            ("removeInterface", Some(_)) => {
                self.zone_of.remove(&interface);
                self.load();
                Ok(Some(zone))
            }
            (other, _) => panic!("firewalld is asked for {other}"),
        }
    }

    /// Writes its rules, of which those that are others' go.
    fn load(&self) {
        let trusted = |of: &&String| self.zone_of[*of] == "trusted";
        let trusted: Vec<&String> = self.zone_of.keys().filter(trusted).collect();
        let rules = |chain: &str| -> String {
            let rule =
                |of: &&String| format!("add rule inet firewalld {chain} iifname \"{of}\" accept\n");
            trusted.iter().map(rule).collect()
        };
        sh(&format!(
            "nft -f - <<'END'
            add table inet firewalld
            delete table inet firewalld
            add table inet firewalld
            add chain inet firewalld filter_INPUT {{ type filter hook input priority 10; policy accept; }}
            add chain inet firewalld filter_INPUT_ZONES
            add rule inet firewalld filter_INPUT ct state {{ established, related }} accept
            add rule inet firewalld filter_INPUT iifname lo accept
            add rule inet firewalld filter_INPUT ip protocol icmp accept
            add rule inet firewalld filter_INPUT jump filter_INPUT_ZONES
            add rule inet firewalld filter_INPUT reject with icmpx admin-prohibited
            add chain inet firewalld filter_FORWARD {{ type filter hook forward priority 10; policy accept; }}
            add chain inet firewalld filter_FORWARD_ZONES
            add rule inet firewalld filter_FORWARD ct state {{ established, related }} accept
            add rule inet firewalld filter_FORWARD jump filter_FORWARD_ZONES
            add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited
{}{}END",
            rules("filter_INPUT_ZONES"),
            rules("filter_FORWARD_ZONES")
        ));
    }

    /// It is gone, and its rules with it.
    pub fn end() {
        sh("nft delete table inet firewalld 2>/dev/null || true");
    }
}
