// SPDX-License-Identifier: Apache-2.0
//! The packets of a network that have to get through other firewalls.

use super::Wanted;
use super::judge::{self, ESTABLISHED, NEW, Packet, UNTRACKED};
use super::services::services;
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
    let mut packets = match hook {
        Hook::Forward => {
            let uplink = network.uplink.as_deref();
            forwarded(network, libc::NFPROTO_IPV4, uplink, network.bridged)
        }
        Hook::Input => to_host(network, libc::NFPROTO_IPV4),
    };
    if let Some(ipv6) = &network.ipv6 {
        packets.extend(match hook {
            Hook::Forward => {
                let uplink = ipv6.uplink.as_deref();
                forwarded(network, libc::NFPROTO_IPV6, uplink, ipv6.bridged)
            }
            Hook::Input => to_host(network, libc::NFPROTO_IPV6),
        });
    }
    packets
}

fn forwarded<'a>(
    network: &'a Wanted,
    family: i32,
    uplink: Option<&'a str>,
    is_bridged: bool,
) -> Vec<Packet<'a>> {
    let bridge = Some(network.name.as_str());
    let is_ipv4 = family == libc::NFPROTO_IPV4;
    let ping = match is_ipv4 {
        true => libc::IPPROTO_ICMP,
        false => libc::IPPROTO_ICMPV6,
    };
    let protocols = [libc::IPPROTO_TCP, libc::IPPROTO_UDP, ping];
    protocols
        .into_iter()
        .flat_map(|protocol| {
            let packet = |incoming, outgoing, state| Packet {
                family: family as u8,
                incoming,
                outgoing,
                protocol: protocol as u8,
                port: None,
                state,
                translated: false,
            };
            let out = packet(bridge, uplink, NEW);
            let answer = packet(uplink, bridge, ESTABLISHED);
            let into = packet(uplink, bridge, NEW);
            let bridged = packet(bridge, bridge, NEW);
            let redirected = Packet {
                translated: true,
                ..into
            };
            let beyond = match network.mode {
                Mode::Nat if network.exposed && is_ipv4 => vec![out, answer, redirected],
                Mode::Nat => vec![out, answer],
                Mode::Routed => vec![out, answer, into],
                Mode::Isolated | Mode::Bridged => Vec::new(),
            };
            beyond.into_iter().chain(is_bridged.then_some(bridged))
        })
        .collect()
}

fn to_host(network: &Wanted, family: i32) -> Vec<Packet<'_>> {
    let table = match family {
        libc::NFPROTO_IPV4 => Family::Ip,
        _ => Family::Ip6,
    };
    services(table, network)
        .map(|service| Packet {
            family: family as u8,
            incoming: Some(network.name.as_str()),
            outgoing: None,
            protocol: service.protocol as u8,
            port: service.port.map(|(_, port)| port),
            state: match service.port {
                Some(_) => NEW,
                None => UNTRACKED,
            },
            translated: false,
        })
        .collect()
}
