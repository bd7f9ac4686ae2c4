// SPDX-License-Identifier: Apache-2.0
//! The guard against the kernel, seen through `nft -j`.
//!
//! Each test runs again inside a user and network namespace of its own (`unshare -Urn`); where
//! that cannot be made, the test fails and says so.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod kernel;

use kernel::{inside, normalised, run, sh};
use serde_json::Value;
use tapyard_netd::nft::{Guard, GuardNetwork, GuardPort};

fn ours() -> Value {
    normalised(&run("nft", &["-j", "list", "ruleset"]))
}

/// The same of a ruleset that nft itself loaded, in a network namespace where tap0 has the same
/// number.
fn theirs(ruleset: &str) -> Value {
    let file = format!("/tmp/tapyard-guard-{}.nft", std::process::id());
    std::fs::write(&file, ruleset).unwrap();
    let script = format!("{TAPS}\nnft -f {file}\nnft -j list ruleset");
    let json = run("unshare", &["-n", "sh", "-ec", &script]);
    std::fs::remove_file(&file).unwrap();
    normalised(&json)
}

const TAPS: &str = "ip tuntap add tap0 mode tap; ip tuntap add tap1 mode tap";

fn documented() -> String {
    let page = include_str!("../../../docs/netd-protocol.md");
    let section = page.split("### Anti-spoofing").nth(1).unwrap();
    section.split("```").nth(1).unwrap().to_owned()
}

/// The same on an administrator's bridge: what is said to be otherwise takes the place of what is.
fn documented_bridged() -> String {
    let page = include_str!("../../../docs/netd-protocol.md");
    let section = page.split("#### On somebody else's network").nth(1);
    let otherwise = section.unwrap().split("```").nth(1).unwrap();
    let begin = |line: &str| line.split('{').next().unwrap().to_owned();
    let lines = documented().replace("br0", "br-lan");
    let lines = lines.lines().map(|line| {
        let instead = otherwise
            .lines()
            .find(|other| !line.starts_with("\t\t") && begin(other) == begin(line));
        instead.unwrap_or(line).to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn br0() -> GuardNetwork {
    GuardNetwork {
        bridge: "br0".into(),
        group: 0xc0a8_3900 >> 2,
        prefixes: vec!["fe80::/64".parse().unwrap()],
        hosts: ["fe80::", "fe80::5054:ff:fe00:1"]
            .map(|own| own.parse().unwrap())
            .to_vec(),
    }
}

fn port(tap: &str, last: u8, address: &str) -> GuardPort {
    let number = std::fs::read_to_string(format!("/sys/class/net/{tap}/ifindex"));
    let number = number.unwrap_or_else(|_| {
        sh(&format!(
            "cat /proc/net/dev >&2; ip -o link show {tap} | cut -d: -f1"
        ))
    });
    GuardPort {
        ifindex: number.trim().parse().unwrap(),
        bridge: "br0".into(),
        bridged: false,
        mac: [0x52, 0x54, 0, 0x51, 0x49, last],
        addresses: vec![address.parse().unwrap()],
    }
}

#[test]
fn the_documented_guard() {
    if !inside("the_documented_guard") {
        return;
    }
    sh(TAPS);
    let port = port("tap0", 0x2f, "192.168.57.2");
    let mut guard = Guard::open("tapyard_1000").unwrap();
    assert!(guard.hold(&[br0()], &[]).unwrap());
    guard.add_port(&port).unwrap();
    assert_eq!(ours(), theirs(&documented()));
    // What nft prints is what it can read.
    assert_eq!(ours(), theirs(&run("nft", &["list", "ruleset"])));
    assert!(guard.read().unwrap().contains("br0"));

    // Twice is once: handles tell rules that were made anew.
    let before = run("nft", &["-j", "list", "ruleset"]);
    assert!(!guard.hold(&[br0()], std::slice::from_ref(&port)).unwrap());
    assert!(!guard.hold_addresses(std::slice::from_ref(&port)).unwrap());
    assert_eq!(run("nft", &["-j", "list", "ruleset"]), before);

    // What somebody else broke is seen and mended.
    sh("nft flush chain bridge tapyard_1000 guest_arp");
    guard.doubt();
    assert!(guard.read().unwrap().is_empty());
    assert!(guard.hold(&[br0()], std::slice::from_ref(&port)).unwrap());
    assert_eq!(ours(), theirs(&documented()));
    sh("nft flush ruleset");
    guard.doubt();
    assert!(guard.hold(&[br0()], std::slice::from_ref(&port)).unwrap());
    assert_eq!(ours(), theirs(&documented()));

    // All of it goes, and only it.
    sh("nft add table bridge others");
    assert!(guard.delete().unwrap());
    assert!(!guard.delete().unwrap());
    assert_eq!(
        run("nft", &["list", "ruleset"]),
        "table bridge others {\n}\n"
    );
}

#[test]
fn the_documented_guard_of_a_bridged_network() {
    if !inside("the_documented_guard_of_a_bridged_network") {
        return;
    }
    sh(TAPS);
    let network = GuardNetwork {
        bridge: "br-lan".into(),
        group: 1_616_023_334,
        prefixes: ["2000::/3", "fc00::/7", "fe80::/64"]
            .map(|prefix| prefix.parse().unwrap())
            .to_vec(),
        hosts: Vec::new(),
    };
    let port = GuardPort {
        bridge: "br-lan".into(),
        bridged: true,
        addresses: Vec::new(),
        ..port("tap0", 0x2f, "0.0.0.0")
    };
    let mut guard = Guard::open("tapyard_1000").unwrap();
    assert!(guard.hold(std::slice::from_ref(&network), &[]).unwrap());
    guard.add_port(&port).unwrap();
    assert_ne!(documented_bridged(), documented().replace("br0", "br-lan"));
    assert_eq!(ours(), theirs(&documented_bridged()));
    guard.doubt();
    assert!(!guard.hold(&[network], &[port]).unwrap());
    assert!(guard.read().unwrap().contains("br-lan"));
}

#[test]
fn ports_and_networks_come_and_go() {
    if !inside("ports_and_networks_come_and_go") {
        return;
    }
    sh(TAPS);
    let first = port("tap0", 1, "192.168.57.2");
    let mut second = port("tap1", 2, "10.0.0.2");
    second.bridge = "1.lan-b_".into();
    let other = GuardNetwork {
        bridge: "1.lan-b_".into(),
        group: 0x0a00_0000,
        prefixes: vec![
            "fe80::/64".parse().unwrap(),
            "fd00:57::/64".parse().unwrap(),
        ],
        hosts: ["fe80::1", "fd00:57::1"]
            .map(|own| own.parse().unwrap())
            .to_vec(),
    };
    let mut guard = Guard::open("tapyard_1000").unwrap();
    let both = [br0(), other];
    assert!(guard.hold(&both, &[first.clone(), second.clone()]).unwrap());
    // Such names are identifiers that nft reads back.
    assert_eq!(ours(), theirs(&run("nft", &["list", "ruleset"])));

    // A lease more, another less.
    second.addresses = vec!["10.0.0.3".parse().unwrap(), "10.0.0.4".parse().unwrap()];
    assert!(
        guard
            .hold_addresses(&[first.clone(), second.clone()])
            .unwrap()
    );
    let listed = sh("nft list set bridge tapyard_1000 addresses");
    assert!(
        listed.contains("10.0.0.3") && listed.contains("10.0.0.4"),
        "{listed}"
    );
    assert!(
        !listed.contains("10.0.0.2") && listed.contains("192.168.57.2"),
        "{listed}"
    );

    // What a packet would have taken: it stays with its port, and goes with it.
    let tap1 = second.ifindex;
    sh(&format!(
        "nft 'add element bridge tapyard_1000 sources {{ {tap1} . fe80::2 }}
         add element bridge tapyard_1000 sources_1.lan-b_ {{ fe80::2 }}
         add element bridge tapyard_1000 targets {{ {tap1} . 0xfe800000000000000000000000000002 }}
         add element bridge tapyard_1000 targets_1.lan-b_ {{ 0xfe800000000000000000000000000002 }}'"
    ));
    assert!(!guard.hold(&both, &[first.clone(), second.clone()]).unwrap());
    assert!(guard.hold(&both, std::slice::from_ref(&first)).unwrap());
    let listed = sh("nft list ruleset");
    assert!(
        !listed.contains("fe80::2") && !listed.contains("0xfe800000000000000000000000000002"),
        "{listed}"
    );
    assert!(!listed.contains("tap1"), "{listed}");

    // One network in place of another.
    let third = GuardNetwork {
        bridge: "br3".into(),
        group: 3,
        prefixes: vec!["fe80::/64".parse().unwrap()],
        hosts: Vec::new(),
    };
    assert!(guard.hold(&[br0(), third.clone()], &[]).unwrap());
    let left = ours();
    guard.delete().unwrap();
    assert!(guard.hold(&[br0(), third], &[]).unwrap());
    assert_eq!(ours(), left);

    // A network less is as if it had never been.
    assert!(guard.hold(&[br0()], std::slice::from_ref(&first)).unwrap());
    let left = ours();
    sh("nft flush ruleset");
    guard.doubt();
    assert!(guard.hold(&[br0()], std::slice::from_ref(&first)).unwrap());
    assert_eq!(ours(), left);
}

#[test]
fn a_thousand_ports() {
    if !inside("a_thousand_ports") {
        return;
    }
    let mut guard = Guard::open("tapyard_1000").unwrap();
    let ports: Vec<GuardPort> = (0..1000_u32)
        .map(|i| GuardPort {
            ifindex: 100 + i,
            bridge: "br0".into(),
            bridged: false,
            mac: [0x52, 0x54, 0, 0, (i >> 8) as u8, i as u8],
            addresses: vec![std::net::Ipv4Addr::from_bits(0x0a00_0002 + i)],
        })
        .collect();
    assert!(guard.hold(&[br0()], &ports[..999]).unwrap());
    let started = std::time::Instant::now();
    guard.add_port(&ports[999]).unwrap();
    println!("one port beside 999: {:?}", started.elapsed());
    let started = std::time::Instant::now();
    assert!(!guard.hold(&[br0()], &ports).unwrap());
    println!("1000 ports as known: {:?}", started.elapsed());
    guard.doubt();
    let started = std::time::Instant::now();
    assert!(!guard.hold(&[br0()], &ports).unwrap());
    println!("a look at 1000 ports: {:?}", started.elapsed());
}
