// SPDX-License-Identifier: Apache-2.0
//! Guests on an administrator's bridge: the network there says whose an address is, but nobody is
//! another than himself, gives out addresses or routes.

use super::*;

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

/// A tap of nobody's in the place of the network card.
fn card() -> Tap {
    let (_, fd) = tapyard_netd::tun::open("card").unwrap().unwrap();
    rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::NONBLOCK).unwrap();
    sh("ip link set card master br-lan up");
    Tap { fd, mac: ROAMER }
}

#[test]
fn bridged_guests_are_nobody_else() {
    if !inside("bridged::bridged_guests_are_nobody_else") {
        return;
    }
    let mut lab = Lab::start("bridged");
    no_bridge_nf();
    sh("ip link add br-lan type bridge forward_delay 0 mcast_snooping 0; ip link set br-lan up");
    let card = card();
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
    lab.bridged("lan", "br-lan", true);
    settle(&victim);
    guarded();
}
