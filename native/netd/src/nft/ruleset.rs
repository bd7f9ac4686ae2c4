// SPDX-License-Identifier: Apache-2.0
//! What the filter says: the ruleset of `docs/netd-protocol.md`, "The filter", as data.

use tapyard_protocol::Mode;

use super::NetworkRules;
use super::addresses::{
    destination_address, destination_address6, destination_in, destination_not_multicast6,
    destination6_in, source_address, source_address6, source_in, source6_in,
};
use super::expr::{
    Expr, META_IIF, META_IIFGROUP, META_IIFNAME, META_L4PROTO, META_NFPROTO, META_OIFGROUP,
    META_OIFNAME, PAYLOAD_TRANSPORT, REG_AFTER_4, REG_AFTER_8, REG_AFTER_16, TCP_WINDOW, Verdict,
};
use crate::private::pasta::DEVICE;

/// Bridges of labs.
pub(crate) const BRIDGES: &str = "bridges";
/// Those with an address of the host's. Behind the others, an interface, other machines may have its
/// addresses.
pub(crate) const ADDRESSED: &str = "addressed";
/// Bridges with themselves: what goes from port to port, which comes here where br_netfilter is.
pub(crate) const SWITCHED: &str = "switched";
/// Interfaces that lead out.
pub(crate) const UPLINKS: &str = "uplinks";
/// Interfaces that lead out for IPv6.
pub(crate) const UPLINKS6: &str = "uplinks6";
/// Bridges whose way out is shut.
pub(crate) const NAT_OFF: &str = "nat_off";
/// Of those, the ones that were shut just now: what is under way to them still arrives.
pub(crate) const DRAINING: &str = "draining";
/// Interfaces whose IPv4 forwarding netd switched on.
pub(crate) const OPENED: &str = "opened";
/// Interfaces whose IPv6 forwarding netd switched on.
pub(crate) const OPENED6: &str = "opened6";
/// Families of which netd made the whole machine a router.
pub(crate) const ROUTER: &str = "router";
/// The bridges' own addresses.
pub(crate) const BRIDGE_ADDRESSES: &str = "bridge_addresses";
/// The same of IPv6.
pub(crate) const BRIDGE_ADDRESSES6: &str = "bridge_addresses6";
/// Subnets to masquerade.
pub(crate) const NAT_SOURCES: &str = "nat_sources";
/// IPv6 subnets to masquerade.
pub(crate) const NAT_SOURCES6: &str = "nat_sources6";
/// From an address and port of the host's to a guest's.
pub(crate) const EXPOSED: &str = "exposed";
/// From the bridge a packet came by to its network's chain.
pub(crate) const OUT: &str = "out";
/// From the bridge a packet leaves by to its network's chain.
pub(crate) const IN: &str = "in";

/// The group of interfaces (`ip link set … group`) in which a lab's bridge is once a netd's table holds
/// it, this uid's or another's: "tapy". What goes to such a bridge is that table's to decide.
pub const HELD: u32 = u32::from_be_bytes(*b"tapy");

/// Behind the usual -100 (`NF_IP_PRI_NAT_DST`): a port that somebody else's rules send elsewhere
/// stays theirs. At the same priority the table that was made last would have it.
const EXPOSED_PRIORITY: i32 = -90;

/// The kernel gives `lo` this number in every namespace.
const LOOPBACK: u32 = 1;

/// What the keys (and values) of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetKind {
    /// `type ifname`
    Interfaces,
    /// `type ifname; flags timeout`
    Timed,
    /// `type ifname . ifname`, the same twice
    Pairs,
    /// `type nf_proto`
    Families,
    /// `type ipv4_addr; flags interval`
    Subnets,
    /// `type ipv6_addr; flags interval`
    Subnets6,
    /// `type ipv4_addr`
    Addresses,
    /// `type ipv6_addr`
    Addresses6,
    /// `type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service`
    Services,
    /// `type ifname : verdict`
    Verdicts,
}

/// The sets and maps of the table, in the order in which nft shows them.
pub(crate) const SETS: [(&str, SetKind); 17] = [
    (BRIDGES, SetKind::Interfaces),
    (ADDRESSED, SetKind::Interfaces),
    (SWITCHED, SetKind::Pairs),
    (UPLINKS, SetKind::Interfaces),
    (UPLINKS6, SetKind::Interfaces),
    (NAT_OFF, SetKind::Interfaces),
    (DRAINING, SetKind::Timed),
    (OPENED, SetKind::Interfaces),
    (OPENED6, SetKind::Interfaces),
    (ROUTER, SetKind::Families),
    (BRIDGE_ADDRESSES, SetKind::Addresses),
    (BRIDGE_ADDRESSES6, SetKind::Addresses6),
    (NAT_SOURCES, SetKind::Subnets),
    (NAT_SOURCES6, SetKind::Subnets6),
    (EXPOSED, SetKind::Services),
    (OUT, SetKind::Verdicts),
    (IN, SetKind::Verdicts),
];

/// Where a base chain hangs (`enum nf_inet_hooks`, linux/netfilter_ipv4.h for the priority).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// A chain with its rules.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<Vec<Expr>>,
}

const fn filter_hook(number: u32) -> Option<Hook> {
    Some(Hook {
        kind: "filter",
        number,
        priority: 0,
    })
}

/// The chains that are there before any network is.
pub(crate) fn base_chains() -> [Chain; 10] {
    let drop_of_family = |family: i32, set: &str| {
        let mut rule = vec![Expr::Meta(META_NFPROTO), Expr::Equal(vec![family as u8])];
        rule.extend([Expr::Meta(META_IIFNAME), Expr::InSet(set.into())]);
        rule.extend(drop_rest());
        rule
    };
    let verdict_of = |meta, map: &str| vec![Expr::Meta(meta), Expr::VerdictOf(map.into())];
    let switched = vec![
        Expr::Meta(META_IIFNAME),
        Expr::MetaPart {
            register: REG_AFTER_16,
            key: META_OIFNAME,
        },
        Expr::InSet(SWITCHED.into()),
        Expr::Verdict(Verdict::Accept),
    ];
    let forward = vec![
        switched,
        to_another_network(),
        clamp_mss(META_IIFNAME),
        clamp_mss(META_OIFNAME),
        vec![
            Expr::Meta(META_IIFNAME),
            Expr::InSet(NAT_OFF.into()),
            Expr::Verdict(Verdict::Jump("shut".into())),
        ],
        to_shut_and_drained(),
        round_window(),
        verdict_of(META_IIFNAME, OUT),
        verdict_of(META_OIFNAME, IN),
        to_another_netds(),
        drop_of_family(libc::NFPROTO_IPV4, OPENED),
        drop_of_family(libc::NFPROTO_IPV6, OPENED6),
        routed_by_nobody(),
    ];
    let input = vec![
        to_other_bridge(destination_address(), BRIDGE_ADDRESSES),
        to_other_bridge(destination_address6(), BRIDGE_ADDRESSES6),
        vec![
            Expr::Meta(META_IIFNAME),
            Expr::InSet(BRIDGES.into()),
            Expr::Verdict(Verdict::Jump("to_host".into())),
        ],
    ];
    // The host comes to its own addresses by its loopback, and is answered where it asks from there.
    let to_bridge = vec![
        vec![
            Expr::Meta(META_IIF),
            Expr::Equal(LOOPBACK.to_ne_bytes().to_vec()),
            Expr::Verdict(Verdict::Return),
        ],
        established(Verdict::Return),
        drop_rest(),
    ];
    // The services below are the bridge's. What the host serves at another address of its own is not.
    let mut elsewhere = at_other_interface();
    elsewhere.extend(drop_rest());
    // The host would send its answer to another network.
    let mut foreign = vec![Expr::SourceRoute, Expr::Equal(vec![0; 4])];
    foreign.extend(drop_rest());
    let to_host = vec![
        foreign,
        established(Verdict::Accept),
        accept_protocol(libc::IPPROTO_ICMP),
        accept_protocol(libc::IPPROTO_ICMPV6),
        elsewhere,
        accept_port(libc::IPPROTO_UDP, 67),
        drop_dhcp6(REBIND),
        drop_dhcp6(RELAY_FORW),
        accept_port(libc::IPPROTO_UDP, 547),
        accept_port(libc::IPPROTO_UDP, 53),
        accept_port(libc::IPPROTO_TCP, 53),
        drop_rest(),
    ];
    // Where br_netfilter is, what goes from port to port makes connections as well; whoever could make one
    // of the host's would be let in as its answer.
    let prerouting = vec![
        Expr::Meta(META_IIFNAME),
        Expr::InSet(ADDRESSED.into()),
        Expr::SourceType,
        Expr::Equal(u32::from(libc::RTN_LOCAL).to_ne_bytes().to_vec()),
        Expr::Counter,
        Expr::Verdict(Verdict::Drop),
    ];
    // The bridge itself joins a group, and says so. That is no connection, and an entry for each
    // bridge would be read through whenever a way out is shut.
    let output = vec![
        Expr::Meta(META_OIFNAME),
        Expr::InSet(BRIDGES.into()),
        Expr::Meta(META_L4PROTO),
        Expr::Equal(vec![libc::IPPROTO_IGMP as u8]),
        Expr::Untracked,
    ];
    let masquerade = |uplinks: &str, source: Vec<Expr>, set: &str| {
        let mut rule = vec![Expr::Meta(META_OIFNAME), Expr::InSet(uplinks.into())];
        rule.extend(source);
        rule.extend([Expr::InSet(set.into()), Expr::Counter, Expr::Masquerade]);
        rule
    };
    let nat = |number: i32, priority| {
        Some(Hook {
            kind: "nat",
            number: number as u32,
            priority,
        })
    };
    let mut from_uplink = vec![Expr::Meta(META_IIFNAME), Expr::InSet(UPLINKS.into())];
    from_uplink.extend(to_guest());
    [
        Chain {
            name: "forward".into(),
            hook: filter_hook(libc::NF_INET_FORWARD as u32),
            rules: forward,
        },
        Chain {
            name: "shut".into(),
            hook: None,
            rules: shut(),
        },
        Chain {
            name: "input".into(),
            hook: filter_hook(libc::NF_INET_LOCAL_IN as u32),
            rules: input,
        },
        Chain {
            name: "to_bridge".into(),
            hook: None,
            rules: to_bridge,
        },
        Chain {
            name: "to_host".into(),
            hook: None,
            rules: to_host,
        },
        Chain {
            name: "prerouting".into(),
            hook: Some(Hook {
                kind: "filter",
                number: libc::NF_INET_PRE_ROUTING as u32,
                priority: libc::NF_IP_PRI_RAW,
            }),
            rules: vec![prerouting],
        },
        Chain {
            name: "output".into(),
            hook: Some(Hook {
                kind: "filter",
                number: libc::NF_INET_LOCAL_OUT as u32,
                priority: libc::NF_IP_PRI_RAW,
            }),
            rules: vec![output],
        },
        Chain {
            name: "nat_prerouting".into(),
            hook: nat(libc::NF_INET_PRE_ROUTING, EXPOSED_PRIORITY),
            rules: vec![from_uplink],
        },
        Chain {
            name: "nat_output".into(),
            hook: nat(libc::NF_INET_LOCAL_OUT, EXPOSED_PRIORITY),
            rules: vec![to_guest()],
        },
        Chain {
            name: "nat_postrouting".into(),
            hook: nat(libc::NF_INET_POST_ROUTING, 100),
            rules: vec![
                masquerade(UPLINKS, source_address(), NAT_SOURCES),
                masquerade(UPLINKS6, source_address6(), NAT_SOURCES6),
            ],
        },
    ]
}

/// A network's chains: what it may send on, and what may come to it.
pub(crate) fn network_chains(network: &NetworkRules<'_>) -> [Chain; 2] {
    let (mut out, mut into) = match (network.mode, network.subnet) {
        (Mode::Nat, Some(subnet)) => (
            vec![
                drop_invalid(),
                to_uplink(UPLINKS, source_in(subnet)),
                established(Verdict::Accept),
                drop_rest(),
            ],
            vec![exposed(), established(Verdict::Accept), drop_rest()],
        ),
        (Mode::Routed, Some(subnet)) => (
            vec![
                to_uplink(UPLINKS, source_in(subnet)),
                established(Verdict::Accept),
                drop_rest(),
            ],
            vec![
                from_uplink(UPLINKS, destination_in(subnet)),
                established(Verdict::Accept),
                drop_rest(),
            ],
        ),
        // A bridged network goes from port to port; the host is none of its routers.
        _ => (vec![drop_rest()], vec![drop_rest()]),
    };
    // Behind IPv4's, ahead of "established" and the drop.
    if let Some(subnet) = network.subnet6.filter(|_| network.mode.forwards()) {
        out.insert(out.len() - 2, to_uplink(UPLINKS6, source6_in(subnet)));
        if network.mode == Mode::Routed {
            into.insert(
                into.len() - 2,
                from_uplink(UPLINKS6, destination6_in(subnet)),
            );
        }
    }
    let chain = |name, rules| Chain {
        name,
        hook: None,
        rules,
    };
    [
        chain(out_chain(network.bridge), out),
        chain(in_chain(network.bridge), into),
    ]
}

/// `… daddr @bridge_addresses fib daddr . iif type unicast jump to_bridge`: what is for a bridge and
/// came in by something else. dnsmasq would accept its connections before it looks where they come
/// from, and what listens for guests at that address may not look at all.
fn to_other_bridge(destination: Vec<Expr>, set: &str) -> Vec<Expr> {
    let mut rule = destination;
    rule.push(Expr::InSet(set.into()));
    rule.extend(at_other_interface());
    rule.push(Expr::Verdict(Verdict::Jump("to_bridge".into())));
    rule
}

/// `fib daddr . iif type unicast`: of the addresses of the host, what it came in by has not this one.
fn at_other_interface() -> Vec<Expr> {
    let unicast = u32::from(libc::RTN_UNICAST).to_ne_bytes().to_vec();
    vec![Expr::DestinationType, Expr::Equal(unicast)]
}

/// `dnat ip to ip daddr . meta l4proto . th dport map @exposed`
fn to_guest() -> Vec<Expr> {
    let mut rule = destination_address();
    rule.extend([
        Expr::MetaPart {
            register: REG_AFTER_4,
            key: META_L4PROTO,
        },
        Expr::Part {
            register: REG_AFTER_8,
            base: PAYLOAD_TRANSPORT,
            offset: 2,
            len: 2,
        },
        Expr::ValueOf(EXPOSED.into()),
        Expr::Redirect,
    ]);
    rule
}

/// `iifname @uplinks ct status dnat accept`: what [`to_guest`] sends to a guest.
fn exposed() -> Vec<Expr> {
    const DNAT: u32 = 1 << 5;
    vec![
        Expr::Meta(META_IIFNAME),
        Expr::InSet(UPLINKS.into()),
        Expr::CtStatus,
        Expr::Mask(DNAT.to_ne_bytes().to_vec()),
        Expr::NotEqual(vec![0; 4]),
        Expr::Verdict(Verdict::Accept),
    ]
}

/// `oifname @uplinks ip saddr SUBNET accept`
fn to_uplink(uplinks: &str, source: Vec<Expr>) -> Vec<Expr> {
    let mut rule = vec![Expr::Meta(META_OIFNAME), Expr::InSet(uplinks.into())];
    rule.extend(source);
    rule.push(Expr::Verdict(Verdict::Accept));
    rule
}

/// `iifname @uplinks ip daddr SUBNET accept`
fn from_uplink(uplinks: &str, destination: Vec<Expr>) -> Vec<Expr> {
    let mut rule = vec![Expr::Meta(META_IIFNAME), Expr::InSet(uplinks.into())];
    rule.extend(destination);
    rule.push(Expr::Verdict(Verdict::Accept));
    rule
}

/// `iifname @bridges oifgroup HELD counter drop`: not even what looks like an answer. Where br_netfilter
/// is, a guest makes a connection to anybody by a frame to another port of its bridge.
fn to_another_network() -> Vec<Expr> {
    vec![
        Expr::Meta(META_IIFNAME),
        Expr::InSet(BRIDGES.into()),
        Expr::Meta(META_OIFGROUP),
        Expr::Equal(HELD.to_ne_bytes().to_vec()),
        Expr::Counter,
        Expr::Verdict(Verdict::Drop),
    ]
}

/// `oifname @nat_off oifname != @draining jump shut`: when a way out is shut, what the guests sent last may
/// not be acknowledged yet, and who sends the acknowledgement may not do so a second time (pasta of
/// 2023). The stream would never go on.
fn to_shut_and_drained() -> Vec<Expr> {
    vec![
        Expr::Meta(META_OIFNAME),
        Expr::InSet(NAT_OFF.into()),
        Expr::Meta(META_OIFNAME),
        Expr::NotInSet(DRAINING.into()),
        Expr::Verdict(Verdict::Jump("shut".into())),
    ]
}

/// `oifname "up0" tcp window >= 64 tcp window set tcp window & 65520`: pasta takes an acknowledgement that
/// comes again for the sign of a loss only if its window is the one that it remembers, and it remembers
/// none that differs by less than a hundredth (`tcp_clamp_window`). Where another network keeps pasta
/// running, a stream through it that was cut would not go on. Of rounded windows none differs so little
/// up to 1600; of larger ones some do.
fn round_window() -> Vec<Expr> {
    const SMALLEST: u16 = 64;
    const STEP: u16 = 16;
    let window = Expr::Payload {
        base: PAYLOAD_TRANSPORT,
        offset: TCP_WINDOW,
        len: 2,
    };
    let mut device = DEVICE.as_bytes().to_vec();
    device.resize(libc::IFNAMSIZ, 0);
    vec![
        Expr::Meta(META_OIFNAME),
        Expr::Equal(device),
        Expr::Meta(META_L4PROTO),
        Expr::Equal(vec![libc::IPPROTO_TCP as u8]),
        window.clone(),
        Expr::AtLeast(SMALLEST.to_be_bytes().to_vec()),
        window,
        Expr::Mask((!(STEP - 1)).to_be_bytes().to_vec()),
        Expr::SetWindow,
    ]
}

/// What becomes of packets by a way out that is shut. Whoever hears by ICMP that a packet of a stream that
/// runs has no route tries again without waiting longer and longer (RFC 6069), and so goes on as soon as
/// it has one. Not so of one that is only being opened, which would take it for an end.
fn shut() -> Vec<Vec<Expr>> {
    let mut stream = tcp_flags(SYN).to_vec();
    stream.push(Expr::Equal(vec![0]));
    stream.extend(in_state(ESTABLISHED));
    stream.extend([Expr::Counter, Expr::NoRoute]);
    vec![stream, drop_rest()]
}

/// `oifgroup HELD accept`
fn to_another_netds() -> Vec<Expr> {
    vec![
        Expr::Meta(META_OIFGROUP),
        Expr::Equal(HELD.to_ne_bytes().to_vec()),
        Expr::Verdict(Verdict::Accept),
    ]
}

/// `meta nfproto @router iifgroup != HELD ip6 daddr != ff00::/8 counter drop`: what the machine would not
/// forward if netd had not made it a router. Multicast it forwards by another switch.
fn routed_by_nobody() -> Vec<Expr> {
    let mut rule = vec![
        Expr::Meta(META_NFPROTO),
        Expr::InSet(ROUTER.into()),
        Expr::Meta(META_IIFGROUP),
        Expr::NotEqual(HELD.to_ne_bytes().to_vec()),
    ];
    rule.extend(destination_not_multicast6());
    rule.extend(drop_rest());
    rule
}

/// A bridge's name as it is: with this prefix every name that netd allows is an identifier of nft
/// (its scanner wants a letter first, then letters, digits and `/-_.`), and no two are alike.
pub(crate) fn out_chain(bridge: &str) -> String {
    format!("out_{bridge}")
}

/// See [`out_chain`].
pub(crate) fn in_chain(bridge: &str) -> String {
    format!("in_{bridge}")
}

/// `NF_CT_STATE_BIT`s: 1 << (`IP_CT_…` + 1).
const INVALID: u32 = 0b1;
const ESTABLISHED: u32 = 0b10;
const RELATED: u32 = 0b100;

/// `ct state STATES`
fn in_state(states: u32) -> [Expr; 3] {
    [
        Expr::CtState,
        Expr::Mask(states.to_ne_bytes().to_vec()),
        Expr::NotEqual(vec![0; 4]),
    ]
}

/// `ct state established,related VERDICT`
fn established(verdict: Verdict) -> Vec<Expr> {
    let mut rule = in_state(ESTABLISHED | RELATED).to_vec();
    rule.push(Expr::Verdict(verdict));
    rule
}

/// `ct state invalid counter drop`: NAT leaves such a packet as it is (the FIN of a connection that
/// was forgotten, say), and it would carry its private source onto the wire.
fn drop_invalid() -> Vec<Expr> {
    let mut rule = in_state(INVALID).to_vec();
    rule.extend(drop_rest());
    rule
}

/// `… @bridges tcp flags syn tcp option maxseg size set rt mtu`: whoever answers for the way (a tunnel,
/// PPPoE) may not be heard, and then large packets vanish.
fn clamp_mss(meta: u32) -> Vec<Expr> {
    let mut rule = vec![Expr::Meta(meta), Expr::InSet(BRIDGES.into())];
    rule.extend(tcp_flags(SYN));
    rule.extend([
        Expr::NotEqual(vec![0]),
        Expr::PathMss,
        Expr::ToNetworkOrder,
        Expr::SetMss,
    ]);
    rule
}

/// A flag of the TCP header (RFC 9293).
const SYN: u8 = 0x02;

/// `tcp flags & FLAGS`, to be compared.
fn tcp_flags(flags: u8) -> [Expr; 4] {
    const OFFSET: u32 = 13;
    [
        Expr::Meta(META_L4PROTO),
        Expr::Equal(vec![libc::IPPROTO_TCP as u8]),
        Expr::Payload {
            base: PAYLOAD_TRANSPORT,
            offset: OFFSET,
            len: 1,
        },
        Expr::Mask(vec![flags]),
    ]
}

fn accept_protocol(protocol: i32) -> Vec<Expr> {
    vec![
        Expr::Meta(META_L4PROTO),
        Expr::Equal(vec![protocol as u8]),
        Expr::Verdict(Verdict::Accept),
    ]
}

fn accept_port(protocol: i32, port: u16) -> Vec<Expr> {
    let mut rule = to_port(protocol, port);
    rule.push(Expr::Verdict(Verdict::Accept));
    rule
}

/// DHCPv6's types of messages (RFC 8415, 7.3).
const REBIND: u8 = 6;
const RELAY_FORW: u8 = 12;

/// An authoritative dnsmasq answers a REBIND of an address that nobody leased by a lease of it, whatever
/// range it is in, so one guest could use all leases up; and it takes one out of what a relay wraps. A
/// client whose RENEW is answered sends none, and one whose lease is gone asks anew (SOLICIT).
fn drop_dhcp6(message: u8) -> Vec<Expr> {
    let mut rule = to_port(libc::IPPROTO_UDP, 547);
    rule.extend([
        Expr::Payload {
            base: PAYLOAD_TRANSPORT,
            offset: 8,
            len: 1,
        },
        Expr::Equal(vec![message]),
        Expr::Counter,
        Expr::Verdict(Verdict::Drop),
    ]);
    rule
}

/// A destination port, at offset 2 of both the UDP and the TCP header.
fn to_port(protocol: i32, port: u16) -> Vec<Expr> {
    vec![
        Expr::Meta(META_L4PROTO),
        Expr::Equal(vec![protocol as u8]),
        Expr::Payload {
            base: PAYLOAD_TRANSPORT,
            offset: 2,
            len: 2,
        },
        Expr::Equal(port.to_be_bytes().to_vec()),
    ]
}

fn drop_rest() -> Vec<Expr> {
    vec![Expr::Counter, Expr::Verdict(Verdict::Drop)]
}
