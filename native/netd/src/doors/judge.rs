// SPDX-License-Identifier: Apache-2.0
//! What a chain of somebody else's does to a packet of a lab's.
//!
//! Only what is certain counts. A drop that asks for more than is known of the packet (an address,
//! a port) is somebody's intention for those packets, and stays; an accept that asks for more lets
//! nobody through for sure.

use super::rule::{Decision, Rule, Test};
use std::collections::BTreeMap;

/// Chains call each other at most so deep (`NFT_JUMP_STACK_SIZE`).
const DEPTH: usize = 16;

/// `ct state`, as the bits of nf_tables: 1 << (`IP_CT_…` + 1).
pub(super) const ESTABLISHED: u32 = 0b10;
/// What is tracked by nobody, as neighbour discovery.
pub(super) const UNTRACKED: u32 = 0b100_0000;
/// The first packet of a connection.
pub(super) const NEW: u32 = 0b1000;

/// What is known of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    /// `NFPROTO_…`
    pub(super) family: u8,
    /// Where it comes from; none where that is not known.
    pub(super) incoming: Option<&'a str>,
    /// Where it goes; none where that is not known, or to the host itself.
    pub(super) outgoing: Option<&'a str>,
    pub(super) protocol: u8,
    /// The destination port, where that is known.
    pub(super) port: Option<u16>,
    pub(super) state: u32,
    /// Its destination was another before, as of what came to a port that leads to a guest.
    pub(super) translated: bool,
}

/// The rules of one table by chain.
pub(super) type Rules = BTreeMap<String, Vec<Rule>>;

/// Whether the base chain drops the packet, and then in which chain of its table.
pub(super) fn dropped_in(
    rules: &Rules,
    base: &str,
    policy_drops: bool,
    packet: Packet<'_>,
) -> Option<String> {
    match walk(rules, base, packet, 0, &mut BTreeMap::new()) {
        Some(Fate::Accepted) => None,
        Some(Fate::Dropped(chain)) => Some(chain),
        None => policy_drops.then(|| base.to_owned()),
    }
}

enum Fate {
    Accepted,
    Dropped(String),
}

/// None where the chain's end is reached undecided. A chain that was left undecided decides nothing
/// the next time either, unless it is nearer now and less of what it calls is too deep: each is walked
/// at most once at each depth, however many ways lead to it.
fn walk<'a>(
    rules: &'a Rules,
    chain: &'a str,
    packet: Packet<'_>,
    depth: usize,
    walked: &mut BTreeMap<&'a str, usize>,
) -> Option<Fate> {
    let before = walked.get(chain);
    if depth > DEPTH || before.is_some_and(|before| *before <= depth) {
        return None;
    }
    walked.insert(chain, depth);
    for rule in rules.get(chain)? {
        // Unknown counts as no; see the head of this page.
        if !rule
            .tests
            .iter()
            .all(|test| passes(test, packet) == Some(true))
        {
            continue;
        }
        match &rule.decision {
            None => {}
            Some(Decision::Accept) => return Some(Fate::Accepted),
            Some(Decision::Drop) => return Some(Fate::Dropped(chain.to_owned())),
            Some(Decision::Return) => return None,
            Some(Decision::Goto(other)) => {
                return walk(rules, other, packet, depth + 1, walked);
            }
            Some(Decision::Jump(other)) => {
                let fate = walk(rules, other, packet, depth + 1, walked);
                if fate.is_some() {
                    return fate;
                }
            }
        }
    }
    None
}

/// None where that cannot be known.
fn passes(test: &Test, packet: Packet<'_>) -> Option<bool> {
    match test {
        Test::Incoming(name) => packet.incoming.map(|incoming| name.is(incoming)),
        Test::Outgoing(name) => packet.outgoing.map(|outgoing| name.is(outgoing)),
        Test::Family(family) => Some(*family == packet.family),
        Test::Protocol(protocol) => Some(*protocol == packet.protocol),
        Test::Port(port) => packet.port.map(|known| known == *port),
        Test::State(mask) => Some(packet.state & mask != 0),
        Test::Translated => Some(packet.translated),
        Test::Any(tests) => {
            let passed: Vec<Option<bool>> = tests.iter().map(|test| passes(test, packet)).collect();
            match passed.contains(&Some(true)) {
                true => Some(true),
                false if passed.contains(&None) => None,
                false => Some(false),
            }
        }
        Test::Not(test) => passes(test, packet).map(|passes| !passes),
        Test::Unknown => None,
    }
}

/// What becomes of a packet in each base chain, for the tests.
#[cfg(test)]
pub(super) fn verdicts<'a>(
    tables: impl Iterator<Item = &'a super::tables::Table>,
) -> Vec<Option<String>> {
    let packet = Packet {
        family: 2,
        incoming: Some("br0"),
        outgoing: Some("eth0"),
        protocol: 6,
        port: Some(80),
        state: NEW,
        translated: false,
    };
    tables
        .flat_map(|table| table.bases.iter().map(move |base| (table, base)))
        .map(|(table, base)| dropped_in(&table.rules, &base.name, base.policy_drops, packet))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Packet<'_> = Packet {
        family: 2,
        incoming: Some("br0"),
        outgoing: Some("eth0"),
        protocol: 6,
        port: None,
        state: NEW,
        translated: false,
    };

    fn rule(tests: &[Test], decision: Decision) -> Rule {
        Rule {
            handle: 1,
            comment: None,
            tests: tests.to_vec(),
            decision: Some(decision),
        }
    }

    fn table(chains: &[(&str, &[Rule])]) -> Rules {
        let chains = chains.iter();
        chains
            .map(|(name, rules)| ((*name).to_owned(), rules.to_vec()))
            .collect()
    }

    #[test]
    fn policies_and_rules_that_concern_everybody_drop() {
        let empty = table(&[("FORWARD", &[])]);
        assert_eq!(
            dropped_in(&empty, "FORWARD", true, PACKET).as_deref(),
            Some("FORWARD")
        );
        assert_eq!(dropped_in(&empty, "FORWARD", false, PACKET), None);
        let reject = table(&[
            ("f", &[rule(&[], Decision::Jump("z".into()))]),
            ("z", &[rule(&[Test::State(NEW)], Decision::Drop)]),
        ]);
        assert_eq!(
            dropped_in(&reject, "f", false, PACKET).as_deref(),
            Some("z")
        );
        let established = Packet {
            state: ESTABLISHED,
            ..PACKET
        };
        assert_eq!(dropped_in(&reject, "f", false, established), None);
    }

    #[test]
    fn what_somebody_drops_on_purpose_stays_dropped() {
        let banned = table(&[("f", &[rule(&[Test::Unknown], Decision::Drop)])]);
        assert_eq!(dropped_in(&banned, "f", false, PACKET), None);
        let port = table(&[("f", &[rule(&[Test::Port(25)], Decision::Drop)])]);
        assert_eq!(dropped_in(&port, "f", false, PACKET), None);
        let maybe = table(&[("f", &[rule(&[Test::Unknown], Decision::Accept)])]);
        assert!(dropped_in(&maybe, "f", true, PACKET).is_some());
    }

    #[test]
    fn goto_does_not_come_back_and_circles_end() {
        let goto = table(&[
            (
                "f",
                &[
                    rule(&[], Decision::Goto("a".into())),
                    rule(&[], Decision::Accept),
                ],
            ),
            ("a", &[rule(&[], Decision::Return)]),
        ]);
        assert_eq!(dropped_in(&goto, "f", true, PACKET).as_deref(), Some("f"));
        let circle = table(&[("f", &[rule(&[], Decision::Jump("f".into()))])]);
        assert_eq!(dropped_in(&circle, "f", false, PACKET), None);
    }

    #[test]
    fn a_chain_that_was_too_deep_is_walked_where_it_is_nearer() {
        let chains = (0..DEPTH).map(|n| {
            let jump = rule(&[], Decision::Jump(format!("c{}", n + 1)));
            (format!("c{n}"), vec![jump])
        });
        let mut rules: Rules = chains.collect();
        // At the limit, so that what it calls is beyond it.
        rules.insert(
            format!("c{DEPTH}"),
            vec![rule(&[], Decision::Jump("drops".into()))],
        );
        rules.insert("drops".into(), vec![rule(&[], Decision::Drop)]);
        assert_eq!(dropped_in(&rules, "c0", false, PACKET), None);
        let near = rule(&[], Decision::Jump(format!("c{DEPTH}")));
        rules.entry("c0".into()).or_default().push(near);
        assert_eq!(
            dropped_in(&rules, "c0", false, PACKET).as_deref(),
            Some("drops")
        );
    }

    /// A chain that is jumped to ten times, each time to one that is: 10^16 ways through them.
    #[test]
    fn many_ways_through_the_same_chains_are_one_walk() {
        let chains = (0..DEPTH).map(|n| {
            let jumps = vec![rule(&[], Decision::Jump(format!("c{}", n + 1))); 10];
            (format!("c{n}"), jumps)
        });
        let mut rules: Rules = chains.collect();
        rules.insert(format!("c{DEPTH}"), Vec::new());
        assert_eq!(
            dropped_in(&rules, "c0", true, PACKET).as_deref(),
            Some("c0")
        );
    }
}
