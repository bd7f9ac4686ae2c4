// SPDX-License-Identifier: Apache-2.0
//! Guests that lie about who they are, on real taps with real frames, and guests that do not.
//!
//! Each test runs again inside a user and network namespace of its own (`unshare -Urn`); where
//! that cannot be made, the test fails and says so.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "antispoof/bridged.rs"]
mod bridged;
#[path = "antispoof/frames.rs"]
mod frames;
mod kernel;
#[path = "antispoof/lab.rs"]
mod lab;

use frames::{
    BROADCAST, ICMPV6, Mac, UDP, arp, dhcp, ether, hidden, icmpv6, ipv4, ipv6, later_fragment,
    router_advert, udp, wrapped,
};
use kernel::{inside, sh};
use lab::{Guest, Lab, Tap, host_mac, until, words};
use std::net::{Ipv4Addr, Ipv6Addr};

const VICTIM: Mac = [0x52, 0x54, 0, 0, 0, 2];
const LIAR: Mac = [0x52, 0x54, 0, 0, 0, 3];
const ROAMER: Mac = [0x52, 0x54, 0, 0, 0, 4];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfeff, 1);
const VICTIMS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const LIARS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn link_local(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

/// What the liar may send: the same kinds of frames that are lies below.
fn truths() -> Vec<(String, Vec<u8>)> {
    let own = link_local(3);
    let udp6 = |source, next, payload: &[u8]| ipv6(LIAR, source, next, payload);
    let list = vec![
        ("its ARP request", arp(LIAR, 1, LIAR, LIARS, VICTIMS)),
        ("its ARP reply", arp(LIAR, 2, LIAR, LIARS, VICTIMS)),
        ("an ARP probe", arp(LIAR, 1, LIAR, NOBODY, LIARS)),
        (
            "its IPv4",
            ipv4(LIAR, LIARS, UDP, 0, &udp(5000, 53, b"hello")),
        ),
        (
            "its IPv4 fragment",
            ipv4(LIAR, LIARS, UDP, 9, b"the rest of it"),
        ),
        (
            "a protocol of its own",
            ipv4(LIAR, LIARS, 253, 0, b"whatever"),
        ),
        (
            "a DHCP request",
            ipv4(LIAR, NOBODY, UDP, 0, &udp(68, 67, &dhcp(1, LIAR))),
        ),
        (
            "a DHCP renewal",
            ipv4(LIAR, LIARS, UDP, 0, &udp(68, 67, &dhcp(1, LIAR))),
        ),
        (
            "duplicate address detection",
            ipv6(LIAR, Ipv6Addr::UNSPECIFIED, ICMPV6, &icmpv6(135, own)),
        ),
        (
            "its neighbour solicitation",
            udp6(own, ICMPV6, &icmpv6(135, link_local(2))),
        ),
        (
            "its neighbour advertisement",
            udp6(own, ICMPV6, &icmpv6(136, own)),
        ),
        (
            "a router solicitation",
            udp6(own, ICMPV6, &[133, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("its IPv6", udp6(own, UDP, &udp(5000, 53, b"hello"))),
        (
            "a DHCPv6 request",
            udp6(own, UDP, &udp(546, 547, b"\x01\0\0\x01")),
        ),
    ];
    let list = list
        .into_iter()
        .map(|(name, frame)| (name.to_owned(), frame));
    let (next, fragment) = later_fragment(b"the rest of it");
    let list = list.chain([(
        "its IPv6 fragment".to_owned(),
        ipv6(LIAR, own, next, &fragment),
    )]);
    let behind = hidden(UDP, &udp(5000, 53, b"hello")).into_iter().take(6);
    let behind = behind.map(|(how, next, payload)| {
        (
            format!("its IPv6 behind {how}"),
            ipv6(LIAR, own, next, &payload),
        )
    });
    list.chain(behind).collect()
}

fn lies() -> Vec<(String, Vec<u8>)> {
    let own = link_local(3);
    let list = vec![
        ("another's MAC", arp(VICTIM, 1, VICTIM, VICTIMS, GATEWAY)),
        (
            "another's MAC before its own IPv4",
            ipv4(VICTIM, LIARS, UDP, 0, &udp(1, 2, b"x")),
        ),
        (
            "another's IPv4",
            ipv4(LIAR, VICTIMS, UDP, 0, &udp(5000, 53, b"hello")),
        ),
        (
            "another's IPv4 in a fragment",
            ipv4(LIAR, VICTIMS, UDP, 9, b"the rest of it"),
        ),
        (
            "the gateway's IPv4",
            ipv4(LIAR, GATEWAY, UDP, 0, &udp(53, 5000, b"hello")),
        ),
        (
            "an IPv4 of elsewhere",
            ipv4(
                LIAR,
                Ipv4Addr::new(8, 8, 8, 8),
                UDP,
                0,
                &udp(53, 5000, b"hello"),
            ),
        ),
        (
            "no IPv4",
            ipv4(LIAR, NOBODY, UDP, 0, &udp(68, 5000, b"hello")),
        ),
        (
            "an ARP answer for the gateway",
            arp(LIAR, 2, LIAR, GATEWAY, VICTIMS),
        ),
        (
            "an ARP request of the gateway's",
            arp(LIAR, 1, LIAR, GATEWAY, VICTIMS),
        ),
        (
            "an ARP answer for another",
            arp(LIAR, 2, LIAR, VICTIMS, GATEWAY),
        ),
        (
            "another's MAC within its own ARP",
            arp(LIAR, 2, VICTIM, LIARS, GATEWAY),
        ),
        (
            "an ARP answer from nobody",
            arp(LIAR, 2, LIAR, NOBODY, VICTIMS),
        ),
        (
            "a DHCP offer",
            ipv4(LIAR, LIARS, UDP, 0, &udp(67, 68, &dhcp(2, VICTIM))),
        ),
        (
            "a DHCP offer in the gateway's name",
            ipv4(LIAR, GATEWAY, UDP, 0, &udp(67, 68, &dhcp(2, VICTIM))),
        ),
        (
            "a DHCP offer's first fragment",
            ipv4(LIAR, LIARS, UDP, 0x2000, &udp(67, 68, b"")),
        ),
        (
            "another's DHCP request",
            ipv4(LIAR, NOBODY, UDP, 0, &udp(68, 67, &dhcp(1, VICTIM))),
        ),
        (
            "another's DHCP release",
            ipv4(LIAR, LIARS, UDP, 0, &udp(68, 67, &dhcp(1, VICTIM))),
        ),
        (
            "a DHCP request's first fragment",
            ipv4(LIAR, NOBODY, UDP, 0x2000, &udp(68, 67, b"")),
        ),
        (
            "a router advertisement",
            ipv6(LIAR, own, ICMPV6, &router_advert()),
        ),
        (
            "a redirect",
            ipv6(LIAR, own, ICMPV6, &icmpv6(137, link_local(1))),
        ),
        (
            "a DHCPv6 advertisement",
            ipv6(LIAR, own, UDP, &udp(547, 546, b"\x02\0\0\x01")),
        ),
        (
            "another's neighbour advertisement",
            ipv6(LIAR, own, ICMPV6, &icmpv6(136, link_local(2))),
        ),
        (
            "a neighbour advertisement for the gateway",
            ipv6(LIAR, own, ICMPV6, &icmpv6(136, GATEWAY6)),
        ),
        (
            "the gateway's IPv6",
            ipv6(LIAR, GATEWAY6, UDP, &udp(53, 5000, b"hello")),
        ),
        (
            "another's IPv6",
            ipv6(LIAR, link_local(2), UDP, &udp(5000, 53, b"hello")),
        ),
        (
            "another's neighbour solicitation",
            ipv6(LIAR, link_local(2), ICMPV6, &icmpv6(135, link_local(1))),
        ),
        (
            "an IPv6 of elsewhere",
            ipv6(
                LIAR,
                "2001:db8::3".parse().unwrap(),
                UDP,
                &udp(5000, 53, b"hello"),
            ),
        ),
        (
            "no IPv6",
            ipv6(LIAR, Ipv6Addr::UNSPECIFIED, UDP, &udp(5000, 53, b"hello")),
        ),
        (
            "a frame of another protocol",
            ether(
                BROADCAST,
                LIAR,
                0x88cc,
                b"whatever it may be, it is long enough for a frame",
            ),
        ),
    ];
    let mut lies: Vec<_> = list
        .into_iter()
        .map(|(name, frame)| (name.to_owned(), frame))
        .collect();
    let messages = [
        ("a router advertisement", ICMPV6, router_advert()),
        ("a redirect", ICMPV6, icmpv6(137, link_local(1))),
        (
            "another's neighbour advertisement",
            ICMPV6,
            icmpv6(136, link_local(2)),
        ),
        (
            "a DHCPv6 advertisement",
            UDP,
            udp(547, 546, b"\x02\0\0\x01"),
        ),
    ];
    for (name, next, message) in messages {
        let behind = hidden(next, &message).into_iter();
        lies.extend(behind.map(|(how, next, payload)| {
            (
                format!("{name} behind {how}"),
                ipv6(LIAR, own, next, &payload),
            )
        }));
    }
    let tagged: Vec<_> = lies
        .iter()
        .chain(&truths())
        .flat_map(|(name, frame)| {
            wrapped(frame)
                .into_iter()
                .map(move |(how, frame)| (format!("{name} in {how}"), frame))
        })
        .collect();
    lies.extend(tagged);
    lies
}

/// The victim says who it is; later comers cannot.
fn settle(victim: &Tap) {
    let own = link_local(2);
    victim.send(&ipv6(
        VICTIM,
        Ipv6Addr::UNSPECIFIED,
        ICMPV6,
        &icmpv6(135, own),
    ));
    victim.send(&ipv6(VICTIM, own, ICMPV6, &icmpv6(136, own)));
}

/// It would reassemble fragments and drop what has no checksum, lies and truths alike.
fn no_bridge_nf() {
    sh("cd /proc/sys/net/bridge 2>/dev/null || exit 0
        echo 0 > bridge-nf-call-iptables; echo 0 > bridge-nf-call-ip6tables");
}

/// Of all that nft lists: they tell what was made anew.
fn handles() -> Vec<String> {
    let listing = sh("nft -a list ruleset");
    let lines = listing.lines().filter(|line| line.contains("# handle"));
    lines
        .map(|line| line.rsplit("# ").next().unwrap().to_owned())
        .collect()
}

/// Names of the frames that come through.
fn heard(victim: &Tap, liar: &Tap, frames: &[(String, Vec<u8>)]) -> Vec<String> {
    let through = frames.iter().filter(|(_, frame)| victim.hears(liar, frame));
    through.map(|(name, _)| name.clone()).collect()
}

fn names(frames: &[(String, Vec<u8>)]) -> Vec<String> {
    frames.iter().map(|(name, _)| name.clone()).collect()
}

const RESERVED: [(Mac, u8); 2] = [(VICTIM, 2), (LIAR, 3)];

#[test]
fn lies_go_nowhere_and_truths_arrive() {
    if !inside("lies_go_nowhere_and_truths_arrive") {
        return;
    }
    let mut lab = Lab::start("lies");
    no_bridge_nf();
    let (lies, truths) = (lies(), truths());
    println!("{} lies, {} truths", lies.len(), truths.len());
    lab.network("br0", 1, true, &RESERVED);
    let victim = lab.tap("br0", "g2", VICTIM, "tap0");
    let liar = lab.tap("br0", "g3", LIAR, "tap1");
    settle(&victim);
    assert_eq!(heard(&victim, &liar, &truths), names(&truths));
    assert_eq!(heard(&victim, &liar, &lies), [""; 0]);
    assert_eq!(
        heard(&victim, &liar, &truths),
        names(&truths),
        "and it is not cut off"
    );

    // The bridge learns who is where from no lie, not even one that is for itself alone.
    for last in 0..16 {
        liar.send(&ether(
            [1, 0x80, 0xc2, 0, 0, last],
            VICTIM,
            0x88cc,
            &[0; 50],
        ));
    }
    let table = sh("bridge fdb show br br0");
    let learnt: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with(&words(VICTIM)))
        .collect();
    assert!(
        learnt.iter().all(|line| line.contains("dev tap0")),
        "{table}"
    );

    // Killing netd opens nothing; the next one finds all as it should be.
    let before = handles();
    lab.restart_netd();
    assert_eq!(heard(&victim, &liar, &lies), [""; 0]);
    assert_eq!(heard(&victim, &liar, &truths), names(&truths));
    assert_eq!(handles(), before, "nothing was made anew");

    // Somebody flushes everything: it is back in a moment.
    sh("nft flush ruleset");
    until("the guard is back", || {
        heard(&victim, &liar, &lies[..1]).is_empty()
    });
    until("all of it", || {
        sh("nft list ruleset").contains("chain guest_source")
    });
    settle(&victim);
    assert_eq!(heard(&victim, &liar, &lies), [""; 0]);
    assert_eq!(heard(&victim, &liar, &truths), names(&truths));

    // Switched off, everything passes: so these frames would have been heard.
    lab.network("br0", 1, false, &RESERVED);
    assert_eq!(heard(&victim, &liar, &lies), names(&lies));
    assert!(!sh("nft list tables").contains("bridge"));
    lab.network("br0", 1, true, &RESERVED);
    settle(&victim);
    assert_eq!(heard(&victim, &liar, &lies), [""; 0]);
}

#[test]
fn in_a_subnet_of_ipv6_an_address_is_its_first_ones() {
    if !inside("in_a_subnet_of_ipv6_an_address_is_its_first_ones") {
        return;
    }
    let mut lab = Lab::start("subnet6");
    no_bridge_nf();
    lab.network6("br0", 1, "fd12:3456:789a:1::/64");
    let victim = lab.tap("br0", "g2", VICTIM, "tap0");
    let liar = lab.tap("br0", "g3", LIAR, "tap1");
    let at = |last: u16| Ipv6Addr::new(0xfd12, 0x3456, 0x789a, 1, 0, 0, 0, last);
    let elsewhere = Ipv6Addr::new(0xfd12, 0x3456, 0x789a, 2, 0, 0, 0, 3);
    let hello = |mac, source| ipv6(mac, source, UDP, &udp(5000, 53, b"hello"));
    let advert = |mac, source, target| ipv6(mac, source, ICMPV6, &icmpv6(136, target));
    victim.send(&advert(VICTIM, at(2), at(2)));
    assert!(
        liar.hears(&victim, &hello(VICTIM, at(2))),
        "the victim has it"
    );

    let own = link_local(3);
    let truths = [
        ("its own", hello(LIAR, at(3))),
        ("its own, link-local", hello(LIAR, own)),
        ("an advertisement of its own", advert(LIAR, at(3), at(3))),
        ("one of its link-local one", advert(LIAR, own, own)),
    ];
    let lies = [
        ("the victim's", hello(LIAR, at(2))),
        ("the gateway's", hello(LIAR, at(1))),
        ("that of all routers in the subnet", hello(LIAR, at(0))),
        (
            "that of all routers on the link",
            hello(LIAR, link_local(0)),
        ),
        ("one of another subnet", hello(LIAR, elsewhere)),
        ("an advertisement of the victim's", advert(LIAR, own, at(2))),
        ("one of the gateway's", advert(LIAR, own, at(1))),
        (
            "one of all routers' in the subnet",
            advert(LIAR, own, at(0)),
        ),
        (
            "one of all routers' on the link",
            advert(LIAR, own, link_local(0)),
        ),
        ("one of another subnet's", advert(LIAR, own, elsewhere)),
    ];
    let [truths, lies] = [&truths[..], &lies].map(|frames| {
        let named = frames
            .iter()
            .map(|(name, frame)| ((*name).to_owned(), frame.clone()));
        named.collect::<Vec<_>>()
    });
    assert_eq!(heard(&victim, &liar, &truths), names(&truths));
    assert_eq!(heard(&victim, &liar, &lies), [""; 0]);
    assert_eq!(heard(&victim, &liar, &truths), names(&truths));
}

#[test]
fn a_tap_that_takes_a_name_takes_nothing_else() {
    if !inside("a_tap_that_takes_a_name_takes_nothing_else") {
        return;
    }
    let mut lab = Lab::start("names");
    lab.network("br0", 1, true, &RESERVED);
    let witness = lab.tap("br0", "g4", ROAMER, "tap9");
    let victim = lab.tap("br0", "g2", VICTIM, "tap0");
    settle(&victim);
    let hello = |mac, ip| arp(mac, 1, mac, ip, GATEWAY);
    assert!(witness.hears(&victim, &hello(VICTIM, VICTIMS)));
    drop(victim);
    // At once, so that what netd knows of the former tap0 may still be there.
    let liar = lab.tap("br0", "g3", LIAR, "tap0");
    assert!(!witness.hears(&liar, &hello(VICTIM, VICTIMS)));
    assert!(!witness.hears(&liar, &hello(LIAR, VICTIMS)));
    assert!(witness.hears(&liar, &hello(LIAR, LIARS)));
    until("what the former one had is gone", || {
        let listed = sh("nft list table bridge tapyard_0");
        !listed.contains(&words(VICTIM)) && !listed.contains("fe80::2")
    });
    // The guest is started again, and has its IPv6 address at once.
    let victim = lab.tap("br0", "g2", VICTIM, "tap1");
    settle(&victim);
    assert!(witness.hears(&victim, &ipv6(VICTIM, link_local(2), UDP, &udp(1, 2, b"x"))));
    assert!(!witness.hears(&liar, &ipv6(LIAR, link_local(2), UDP, &udp(1, 2, b"x"))));

    // While netd is not there a tap goes: the next netd forgets it.
    drop(liar);
    lab.restart_netd();
    until("the one that went is forgotten", || {
        !sh("nft list table bridge tapyard_0").contains(&words(LIAR))
    });
}

#[test]
fn a_tap_stays_in_the_group_of_its_network() {
    if !inside("a_tap_stays_in_the_group_of_its_network") {
        return;
    }
    let mut lab = Lab::start("group");
    lab.network("br0", 1, true, &RESERVED);
    let witness = lab.tap("br0", "g4", ROAMER, "tap9");
    let victim = lab.tap("br0", "g2", VICTIM, "tap0");
    let hello = ipv6(VICTIM, link_local(2), UDP, &udp(1, 2, b"x"));
    settle(&victim);
    assert!(witness.hears(&victim, &hello));
    let group = || sh("ip -o link show tap0 | grep -o ' group [0-9]*'");
    let own = group();

    // Outside it a guest has no IPv6: what is whose in another network is none of its business.
    lab.pause_netd();
    sh("ip link set tap0 group 7");
    assert!(!witness.hears(
        &victim,
        &ipv6(VICTIM, link_local(0x22), UDP, &udp(1, 2, b"x"))
    ));
    // The next netd puts it back, as it does what an older one made.
    lab.restart_netd();
    until("it is in its group again", || group() == own);
    sh("ip link set tap0 group 7");
    until("netd has seen it go, too", || group() == own);
    assert!(witness.hears(&victim, &hello));
}

#[test]
fn guests_that_tell_the_truth_notice_nothing() {
    if !inside("guests_that_tell_the_truth_notice_nothing") {
        return;
    }
    let mut lab = Lab::start("truth");
    lab.network("br0", 1, true, &RESERVED);
    let settled = Guest::on(lab.tap("br0", "g2", VICTIM, "tap0"));
    let roamer = Guest::on(lab.tap("br0", "g4", ROAMER, "tap1"));

    // A reservation and a lease from the range; each is used at once.
    assert_eq!(settled.takes_lease(), VICTIMS.to_string());
    assert!(settled.pings("10.1.0.1"));
    let leased = roamer.takes_lease();
    assert!(leased.starts_with("10.1.0.1"), "{leased}");
    until("the lease is told to the guard", || {
        roamer.pings("10.1.0.1")
    });
    assert!(roamer.pings("10.1.0.2"));
    assert!(settled.pings(&leased));

    // TCP between them, in packets as large as they come.
    let server = roamer.pid();
    sh(&format!(
        "nsenter -n -t {server} busybox nc -l -p 80 >/dev/null 2>&1 & sleep 0.3"
    ));
    settled.must(&format!(
        "head -c 20000000 /dev/zero | busybox nc -w 20 {leased} 80"
    ));

    // IPv6: an address of its own after duplicate address detection, and neighbours.
    settled.must("sysctl -qw net.ipv6.conf.eth0.accept_dad=1; ip addr add fe80::22/64 dev eth0");
    until("duplicate address detection is over", || {
        !settled
            .must("ip -6 -o addr show dev eth0")
            .contains("tentative")
    });
    roamer.must("ip addr add fe80::44/64 dev eth0 nodad");
    assert!(
        roamer
            .run("ping -6 -c1 -W2 fe80::22%eth0 || busybox ping6 -c1 -W2 fe80::22%eth0")
            .0
    );
    assert!(
        settled
            .run("ping -6 -c1 -W2 fe80::44%eth0 || busybox ping6 -c1 -W2 fe80::44%eth0")
            .0
    );
    // What another has is found to be a duplicate.
    roamer.must("sysctl -qw net.ipv6.conf.eth0.accept_dad=1; ip addr add fe80::22/64 dev eth0");
    until("the duplicate is found", || {
        roamer
            .must("ip -6 -o addr show dev eth0")
            .contains("dadfailed")
    });

    // An address that is set by hand and is not its own goes nowhere; its own still does.
    roamer.must("ip addr add 10.1.0.77/24 dev eth0");
    assert!(!roamer.run("busybox ping -c1 -W1 -I 10.1.0.77 10.1.0.1").0);
    assert!(roamer.pings("10.1.0.1"));
}

#[test]
fn an_address_is_free_when_its_nic_is_gone() {
    if !inside("an_address_is_free_when_its_nic_is_gone") {
        return;
    }
    let mut lab = Lab::start("freed");
    lab.network("br0", 1, true, &[(VICTIM, 2)]);
    let former = Guest::on(lab.tap("br0", "g2", VICTIM, "tap0"));
    assert_eq!(former.takes_lease(), VICTIMS.to_string());

    // As long as its NIC is there it keeps it, whoever is to have it next.
    lab.network("br0", 1, true, &[(LIAR, 2)]);
    let early = Guest::on(lab.tap("br0", "g3", LIAR, "tap1"));
    assert_ne!(early.takes_lease(), VICTIMS.to_string());
    assert!(former.pings("10.1.0.1"));

    drop((former, early));
    lab.network("br0", 1, true, &[(ROAMER, 2)]);
    let next = Guest::on(lab.tap("br0", "g4", ROAMER, "tap2"));
    assert_eq!(next.takes_lease(), VICTIMS.to_string());
    until("it may use it", || next.pings("10.1.0.1"));
}
