// SPDX-License-Identifier: Apache-2.0
//! Guests on an administrator's bridge: the network there says whose an address is, but nobody is
//! another than himself, gives out addresses or routes.

use super::*;
use tapyard_protocol::Code;

/// What is a lie only where netd knows whose an address is. In a tag it is one all the same.
const NOT_NETDS_AFFAIR: [&str; 10] = [
    "another's IPv4",
    "another's IPv4 in a fragment",
    "the gateway's IPv4",
    "an IPv4 of elsewhere",
    "no IPv4",
    "an ARP answer for the gateway",
    "an ARP request of the gateway's",
    "an ARP answer for another",
    "an ARP answer from nobody",
    "an IPv6 of elsewhere",
];

const CARD: Mac = [0x52, 0x54, 0, 0, 0, 5];

/// A tap of nobody's in the place of the network card.
fn card() -> Tap {
    let (_, fd) = tapyard_netd::tun::open("card").unwrap().unwrap();
    rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::NONBLOCK).unwrap();
    sh("ip link set card master br-lan up");
    Tap { fd, mac: CARD }
}

#[test]
fn bridged_guests_are_nobody_else() {
    if !inside("bridged::bridged_guests_are_nobody_else") {
        return;
    }
    let mut lab = Lab::start("bridged");
    no_bridge_nf();
    let mac = words(host_mac(1));
    sh(&format!(
        "ip link add br-lan address {mac} type bridge forward_delay 0 mcast_snooping 0
         ip link set br-lan up"
    ));
    let card = card();
    until("the host's own address on the link", || {
        sh("ip -6 addr show dev br-lan").contains(&GATEWAY6.to_string())
    });
    lab.bridged("lan", "br-lan", true);
    let victim = lab.tap("lan", "g2", VICTIM, "tap0");
    let liar = lab.tap("lan", "g3", LIAR, "tap1");
    settle(&victim);
    let (passing, lies): (Vec<_>, Vec<_>) = lies()
        .into_iter()
        .partition(|(name, _)| NOT_NETDS_AFFAIR.contains(&name.as_str()));
    let truths: Vec<_> = truths().into_iter().chain(passing).collect();
    println!("{} lies, {} truths", lies.len(), truths.len());
    let guarded = || {
        for listener in [&victim, &card] {
            assert_eq!(heard(listener, &liar, &truths), names(&truths));
            assert_eq!(heard(listener, &liar, &lies), [""; 0]);
        }
    };
    guarded();

    // Whatever comes from the network there is the affair of the network there.
    let all: Vec<_> = lies.iter().chain(&truths).cloned().collect();
    assert_eq!(heard(&victim, &card, &all), names(&all));

    // The bridge believes no guest about where somebody is, not even in what comes to no rule, and
    // nobody about where a guest is: all of these were the card's by now.
    card.send(&ether(BROADCAST, CARD, 0x88cc, &[0; 50]));
    for last in 0..16 {
        let to = [1, 0x80, 0xc2, 0, 0, last];
        liar.send(&ether(to, CARD, 0x88cc, &[0; 50]));
        liar.send(&ether(to, VICTIM, 0x88cc, &[0; 50]));
    }
    let places = || [CARD, VICTIM, LIAR].map(places);
    let own = [&["card"][..], &["tap0"], &["tap1"]];
    assert_eq!(places(), own);

    // The router by which the host reaches the internet is no guest; of others there netd does not
    // know.
    sh("ip -6 route add default via fe80::9 dev br-lan");
    until("netd knows the router", || {
        let set = sh("nft list table bridge tapyard_0");
        set.contains("fe80::9") && set.contains("0xfe800000000000000000000000000009")
    });
    let claims = |last| {
        let advert = ipv6(LIAR, link_local(3), ICMPV6, &icmpv6(136, link_local(last)));
        victim.hears(&liar, &advert)
    };
    assert!(!claims(9));
    assert!(claims(8));

    // Another network on the same bridge: whose an IPv6 address is there holds in it as well.
    lab.bridged("lan2", "br-lan", true);
    let other = lab.tap("lan2", "g4", ROAMER, "tap2");
    assert!(!victim.hears(&other, &ipv6(ROAMER, link_local(3), UDP, &udp(1, 2, b"x"))));
    assert!(victim.hears(&other, &ipv6(ROAMER, link_local(4), UDP, &udp(1, 2, b"x"))));
    drop(other);

    // Killing netd opens nothing, and the next one finds all as it should be.
    let before = handles();
    lab.restart_netd();
    guarded();
    assert_eq!(handles(), before, "nothing was made anew");
    assert_eq!(places(), own);

    // Somebody flushes everything: it is back in a moment.
    sh("nft flush ruleset");
    until("the guard is back", || {
        heard(&victim, &liar, &lies[..1]).is_empty()
    });
    settle(&victim);
    guarded();

    // Switched off, everything passes: so these frames would have been heard.
    lab.bridged("lan2", "br-lan", false);
    lab.bridged("lan", "br-lan", false);
    assert_eq!(heard(&victim, &liar, &lies), names(&lies));
    assert!(!sh("nft list tables").contains("bridge"));
    card.send(&ether(BROADCAST, VICTIM, 0x88cc, &[0; 50]));
    assert_eq!(places()[1], ["card"]);
    // It is not taken from whoever has it: the guest has to speak first.
    let told = lab.ask_bridged("lan", "br-lan", true).unwrap_err();
    assert_eq!(told.code, Code::MacTaken, "{told}");
    victim.send(&ether(BROADCAST, VICTIM, 0x88cc, &[0; 50]));
    assert_eq!(places()[1], ["tap0"]);
    lab.bridged("lan", "br-lan", true);
    settle(&victim);
    guarded();
    assert_eq!(places(), own);
}

/// The ports by which the bridge reaches an address.
fn places(mac: Mac) -> Vec<String> {
    let table = sh("bridge fdb show br br-lan");
    let of = table.lines().filter(|line| line.starts_with(&words(mac)));
    let ports = of.filter_map(|line| line.split("dev ").nth(1)?.split(' ').next());
    ports.map(str::to_owned).collect()
}

#[test]
fn a_bridged_guest_is_not_asked_about_the_spanning_tree() {
    if !inside("bridged::a_bridged_guest_is_not_asked_about_the_spanning_tree") {
        return;
    }
    let mut lab = Lab::start("spanning");
    sh("ip link add br-lan type bridge stp_state 1 forward_delay 200; ip link set br-lan up");
    // The port by which the root is reached; none where the bridge is it.
    let is_root = || sh("ip -d link show br-lan").contains(" root_port 0 ");
    let _card = card();
    lab.bridged("lan", "br-lan", true);
    let liar = lab.tap("lan", "g3", LIAR, "tap0");
    assert!(is_root());
    // It says that it is the root, of the best priority, at no cost (IEEE 802.1D, 9.3.1).
    let who = [&[0, 0][..], &LIAR].concat();
    let message = [
        &[0x42, 0x42, 3, 0, 0, 0, 0, 0][..],
        &who,
        &[0; 4],
        &who,
        &[0x80, 1, 0, 0, 20, 0, 2, 0, 15, 0],
    ]
    .concat();
    let claim = ether(
        [1, 0x80, 0xc2, 0, 0, 0],
        LIAR,
        message.len() as u16,
        &[message.as_slice(), &[0; 8]].concat(),
    );
    let is_disabled =
        |tap: &str| sh(&format!("bridge link show dev {tap}")).contains("state disabled");
    until("the port takes part", || !is_disabled("tap0"));
    liar.send(&claim);
    until("it does no more", || is_disabled("tap0"));
    assert!(is_root());

    // So it would have been heard.
    lab.bridged("lan", "br-lan", false);
    drop(liar);
    let liar = lab.tap("lan", "g4", LIAR, "tap1");
    until("the port takes part", || !is_disabled("tap1"));
    liar.send(&claim);
    until("the guest is the root", || !is_root());
}

/// A guest's MAC is its user's choice, and the kernel would move to its tap whoever had it.
#[test]
fn a_bridged_guest_takes_nobodys_address() {
    if !inside("bridged::a_bridged_guest_takes_nobodys_address") {
        return;
    }
    const HOST: Mac = [0x52, 0x54, 0, 0, 0, 9];
    let mut lab = Lab::start("taken");
    // As in a virtual machine, where the host's own address is one of QEMU's.
    sh(&format!(
        "ip link add br-lan address {} type bridge forward_delay 0 mcast_snooping 0; ip link set br-lan up",
        words(HOST)
    ));
    let card = card();
    lab.bridged("lan", "br-lan", true);
    let victim = lab.tap("lan", "g2", VICTIM, "tap0");
    until("the card is learnt", || {
        card.send(&ether(BROADCAST, CARD, 0x88cc, &[0; 50]));
        places(CARD) == ["card"]
    });
    let table = || sh("bridge fdb show br br-lan");
    let before = table();
    for taken in [HOST, CARD, VICTIM] {
        let error = lab.ask_tap("lan", "g3", taken, "tap1").unwrap_err();
        assert_eq!(error.code, Code::MacTaken, "{error}");
        assert_eq!(error.subject, Some(words(taken)));
        assert_eq!(table(), before);
    }
    drop(victim);

    // What is learnt of a guest while nobody guards it is its own.
    lab.bridged("lan", "br-lan", false);
    let liar = lab.tap("lan", "g3", LIAR, "tap1");
    until("the guest is learnt", || {
        liar.send(&ether(BROADCAST, LIAR, 0x88cc, &[0; 50]));
        places(LIAR) == ["tap1"]
    });
    lab.bridged("lan", "br-lan", true);
    let after = table();
    let own = after.lines().filter(|line| line.starts_with(&words(LIAR)));
    let fixed = own.filter(|line| line.contains("dev tap1") && line.contains("sticky"));
    assert_eq!(fixed.count(), places(LIAR).len(), "{after}");
    assert!(!places(LIAR).is_empty());
}
