// SPDX-License-Identifier: Apache-2.0
//! What differs between the old iptables of IPv4 and of IPv6, and a network's accepts in their words.

use crate::doors::services::services;
use crate::doors::tables::{Family, Hook};
use crate::doors::{Place, Wanted};

/// The old iptables of one family.
#[derive(Debug)]
pub(in crate::doors) struct Old {
    pub(in crate::doors) family: Family,
    pub(in crate::doors) program: &'static str,
    /// Names its tables in this network namespace; readable for its root only.
    pub(super) names: &'static str,
    /// By which the kernel calls it: from Linux 5.16 on, and before.
    pub(super) functions: [&'static str; 2],
    /// That of all its tables, and the filter's.
    pub(super) modules: [&'static str; 2],
    place: fn(String) -> Place,
}

pub(in crate::doors) static IPV4: Old = Old {
    family: Family::Ip,
    program: "iptables-legacy",
    names: "/proc/net/ip_tables_names",
    functions: ["ipt_do_table", "iptable_filter_hook"],
    modules: ["ip_tables", "iptable_filter"],
    place: Place::Legacy,
};

pub(in crate::doors) static IPV6: Old = Old {
    family: Family::Ip6,
    program: "ip6tables-legacy",
    names: "/proc/net/ip6_tables_names",
    functions: ["ip6t_do_table", "ip6table_filter_hook"],
    modules: ["ip6_tables", "ip6table_filter"],
    place: Place::Legacy6,
};

pub(in crate::doors) const ALL: [&Old; 2] = [&IPV4, &IPV6];

impl Old {
    /// Where a door in one of its chains is, for the journal.
    pub(in crate::doors) fn place(&self, chain: &str) -> Place {
        (self.place)(chain.to_owned())
    }

    /// What a user would type to have the same as a door.
    pub(in crate::doors) fn command(&self, chain: &str, hook: Hook, network: &Wanted) -> String {
        let commands: Vec<String> = self
            .rules(hook, network)
            .iter()
            .map(|rule| format!("{} -I {chain} {}", self.program, rule.join(" ")))
            .collect();
        commands.join("; ")
    }

    /// The accepts of one network, in the words of iptables.
    pub(super) fn rules(&self, hook: Hook, network: &Wanted) -> Vec<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let bridge = network.name.as_str();
        let matches: Vec<Vec<String>> = match hook {
            // Between its own ports only.
            Hook::Forward if !network.mode.forwards() => {
                vec![words(&["-i", bridge, "-o", bridge])]
            }
            Hook::Forward => vec![words(&["-i", bridge]), words(&["-o", bridge])],
            Hook::Input => services(self.family, network)
                .map(|service| match service.port {
                    Some((protocol, port)) => {
                        words(&["-i", bridge, "-p", protocol, "--dport", &port.to_string()])
                    }
                    None => words(&["-i", bridge, "-p", "ipv6-icmp"]),
                })
                .collect(),
        };
        let end = ["-m", "comment", "--comment", &network.label, "-j", "ACCEPT"];
        matches
            .into_iter()
            .map(|matches| [matches, words(&end)].concat())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::parse;
    use super::*;
    use crate::doors::Ipv6;
    use crate::doors::rule::{Decision, Test};
    use tapyard_protocol::Mode;

    #[test]
    fn our_own_rules_come_back_by_their_label() {
        let label = "tapyard:0:seed:br0";
        let network = Wanted {
            lab: "seed".parse().unwrap(),
            name: "br0".parse().unwrap(),
            label: label.to_owned(),
            mode: Mode::Nat,
            bridged: false,
            ipv6: Some(Ipv6 {
                bridged: false,
                uplink: None,
            }),
            uplink: None,
            exposed: false,
        };
        let both = ALL
            .into_iter()
            .flat_map(|old| [Hook::Forward, Hook::Input].map(|hook| (old, hook)));
        for (old, hook) in both {
            let rules = old.rules(hook, &network);
            let count = match (old.family, hook) {
                (_, Hook::Forward) => 2,
                (Family::Ip6, Hook::Input) => 4,
                (_, Hook::Input) => 3,
            };
            assert_eq!(rules.len(), count);
            for rule in rules {
                let table = parse(&format!("-P FORWARD DROP\n-A FORWARD {}\n", rule.join(" ")));
                let rule = &table.rules["FORWARD"][0];
                assert_eq!(rule.comment.as_deref(), Some(label));
                assert_eq!(rule.decision, Some(Decision::Accept));
                assert!(!rule.tests.contains(&Test::Unknown));
            }
        }
    }
}
