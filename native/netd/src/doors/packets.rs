// SPDX-License-Identifier: Apache-2.0
//! The packets of a network that have to get through other firewalls.

use super::Wanted;
use super::judge::{self, ESTABLISHED, NEW, Packet};
use super::tables::{Base, Family, Hook, Table};
use tapyard_protocol::Mode;

/// Whether the base chain would drop any packet that has to get through.
pub(super) fn dropped(table: &Table, family: Family, base: &Base, network: &Wanted) -> bool {
    packets(base.hook, network).iter().any(|packet| {
        family.sees(packet.family)
            && judge::dropped_in(&table.rules, &base.name, base.policy_drops, *packet).is_some()
    })
}

/// New connections of the guests, the answers to them, and what asks for an address or a name.
fn packets(hook: Hook, network: &Wanted) -> Vec<Packet<'_>> {
    let bridge = Some(network.name.as_str());
    let uplink = network.uplink.as_deref();
    let packet = |incoming, outgoing, protocol: i32, port, state| Packet {
        family: libc::NFPROTO_IPV4 as u8,
        incoming,
        outgoing,
        protocol: protocol as u8,
        port,
        state,
        translated: false,
    };
    match hook {
        Hook::Forward => [libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMP]
            .into_iter()
            .flat_map(|protocol| {
                let out = packet(bridge, uplink, protocol, None, NEW);
                let answer = packet(uplink, bridge, protocol, None, ESTABLISHED);
                let into = packet(uplink, bridge, protocol, None, NEW);
                let bridged = packet(bridge, bridge, protocol, None, NEW);
                let redirected = Packet {
                    translated: true,
                    ..into
                };
                let beyond = match network.mode {
                    Mode::Nat if network.exposed => vec![out, answer, redirected],
                    Mode::Nat => vec![out, answer],
                    Mode::Routed => vec![out, answer, into],
                    Mode::Isolated | Mode::Bridged => Vec::new(),
                };
                beyond.into_iter().chain(network.bridged.then_some(bridged))
            })
            .collect(),
        Hook::Input => vec![
            packet(bridge, None, libc::IPPROTO_UDP, Some(67), NEW),
            packet(bridge, None, libc::IPPROTO_UDP, Some(53), NEW),
            packet(bridge, None, libc::IPPROTO_TCP, Some(53), NEW),
        ],
    }
}
