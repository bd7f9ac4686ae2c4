// SPDX-License-Identifier: Apache-2.0
//! The filter and conntrack against the kernel, seen through `nft -j` and `conntrack -L`.
//!
//! Each test runs again inside a user and network namespace of its own (`unshare -Urn`); where
//! that cannot be made, the test fails and says so.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod kernel;

use kernel::{inside, normalised, run, sh};
use serde_json::Value;
use tapyard_netd::conntrack::{Conntrack, Which};
use tapyard_netd::nft::{Filter, FilterState, NetworkRules};
use tapyard_protocol::{Exposure, Mode};

const TABLE: &str = "tapyard_1000";
fn ours() -> Value {
    normalised(&run("nft", &["-j", "list", "ruleset"]))
}

/// The same of a ruleset that nft itself loaded, in a network namespace of its own.
fn theirs(ruleset: &str) -> Value {
    let file = format!("/tmp/tapyard-filter-{}.nft", std::process::id());
    std::fs::write(&file, ruleset).unwrap();
    let json = run(
        "unshare",
        &[
            "-n",
            "sh",
            "-ec",
            &format!("nft -f {file}; nft -j list ruleset"),
        ],
    );
    std::fs::remove_file(&file).unwrap();
    normalised(&json)
}

/// Waits until the network whose way out was shut is no longer in `draining`: the kernel takes it out by itself.
fn drained() {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while run("nft", &["list", "set", "inet", TABLE, "draining"]).contains("elements") {
        assert!(std::time::Instant::now() < deadline, "br0 still drains");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The ruleset in the protocol's page.
fn documented() -> String {
    let page = include_str!("../../../docs/netd-protocol.md");
    let section = page.split("## The filter").nth(1).unwrap();
    section.split("```").nth(1).unwrap().to_owned()
}

fn br0(nat: bool) -> NetworkRules<'static> {
    NetworkRules {
        bridge: "br0",
        subnet: Some("192.168.57.0/24".parse().unwrap()),
        subnet6: None,
        mode: Mode::Nat,
        nat,
    }
}

/// Whether the kernel has it as it is wanted, the switch included.
fn holds(state: &FilterState, rules: NetworkRules<'_>) -> bool {
    state.holds(&rules) && state.nat(rules.bridge) == rules.nat
}

fn numbered(i: u32, bridge: &str) -> NetworkRules<'_> {
    NetworkRules {
        bridge,
        subnet: Some(format!("10.{i}.0.0/16").parse().unwrap()),
        subnet6: None,
        mode: Mode::Nat,
        nat: i.is_multiple_of(2),
    }
}

fn tutorial() -> Filter {
    let mut filter = Filter::open(TABLE).unwrap();
    filter.ensure().unwrap();
    filter.set_uplinks(&["eth0".into()]).unwrap();
    filter.set_uplinks6(&["eth0".into()]).unwrap();
    filter.set_opened(&["eth0".into()]).unwrap();
    filter
        .set_bridge_addresses(&["192.168.57.1".parse().unwrap()])
        .unwrap();
    filter.add_network(&br0(true)).unwrap();
    filter
}

#[test]
fn the_documented_ruleset() {
    if !inside("the_documented_ruleset") {
        return;
    }
    let mut filter = tutorial();
    assert_eq!(ours(), theirs(&documented()));
    // What nft prints is what it can read.
    assert_eq!(ours(), theirs(&run("nft", &["list", "ruleset"])));

    // Twice is once: handles tell rules that were made anew.
    let before = run("nft", &["-j", "list", "ruleset"]);
    filter.ensure().unwrap();
    filter.add_network(&br0(true)).unwrap();
    filter.set_uplinks(&["eth0".into()]).unwrap();
    filter.set_uplinks6(&["eth0".into()]).unwrap();
    assert_eq!(run("nft", &["-j", "list", "ruleset"]), before);

    // NAT off is one more element, once the network has drained.
    assert!(filter.set_nat("br0", false).unwrap());
    assert!(!filter.set_nat("br0", false).unwrap());
    drained();
    let off = documented().replace(
        "set nat_off { type ifname; }",
        "set nat_off { type ifname; elements = { \"br0\" } }",
    );
    assert_eq!(ours(), theirs(&off));
    assert!(filter.set_nat("br0", true).unwrap());
    assert_eq!(ours(), theirs(&documented()));

    // A port that leads to a guest is one more, too.
    let exposed: Vec<Exposure> = [("tcp", 8080, 80), ("udp", 53, 53)]
        .map(|(protocol, port, to_port)| {
            let exposure = serde_json::json!({"address": "203.0.113.2", "protocol": protocol,
                "port": port, "to": "192.168.57.2", "to_port": to_port});
            serde_json::from_value(exposure).unwrap()
        })
        .to_vec();
    filter.set_exposed(&exposed).unwrap();
    assert_eq!(filter.read().unwrap().exposed(), exposed);
    let types = "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;";
    let elements = "elements = { 203.0.113.2 . tcp . 8080 : 192.168.57.2 . 80, \
                    203.0.113.2 . udp . 53 : 192.168.57.2 . 53 }";
    let with_exposed = documented().replace(types, &format!("{types} {elements}"));
    assert_eq!(ours(), theirs(&with_exposed));
    assert_eq!(ours(), theirs(&run("nft", &["list", "ruleset"])));
    filter.set_exposed(&exposed[1..]).unwrap();
    assert_eq!(filter.read().unwrap().exposed(), exposed[1..]);
    filter.set_exposed(&[]).unwrap();
    assert_eq!(ours(), theirs(&documented()));

    // So are the bridges' addresses of IPv6.
    let addresses = ["192.168.57.1", "fd12::1"].map(|address| address.parse().unwrap());
    filter.set_bridge_addresses(&addresses).unwrap();
    assert_eq!(filter.read().unwrap().bridge_addresses(), addresses);
    let empty = "bridge_addresses6 { type ipv6_addr; }";
    let filled = "bridge_addresses6 { type ipv6_addr; elements = { fd12::1 } }";
    assert_eq!(ours(), theirs(&documented().replace(empty, filled)));
    filter.set_bridge_addresses(&addresses[..1]).unwrap();
    assert_eq!(ours(), theirs(&documented()));

    // Without networks the base remains, and it is the one that ensure makes.
    filter.remove_network("br0", br0(true).subnet).unwrap();
    filter.remove_network("br0", br0(true).subnet).unwrap();
    filter.set_uplinks(&[]).unwrap();
    filter.set_uplinks6(&[]).unwrap();
    filter.set_opened(&[]).unwrap();
    filter.set_bridge_addresses(&[]).unwrap();
    let bare = ours();
    filter.delete().unwrap();
    assert_eq!(run("nft", &["list", "ruleset"]), "");
    filter.delete().unwrap();
    assert_eq!(filter.read().unwrap(), FilterState::default());
    filter.ensure().unwrap();
    assert_eq!(ours(), bare);
}

/// The chains of another mode in the protocol's page.
fn documented_in(mode: Mode) -> String {
    let page = include_str!("../../../docs/netd-protocol.md");
    let section = page.split(&format!("{mode} network are these")).nth(1);
    section.unwrap().split("```").nth(1).unwrap().to_owned()
}

#[test]
fn the_documented_modes() {
    if !inside("the_documented_modes") {
        return;
    }
    let mut filter = tutorial();
    let nat_sources = "flags interval; elements = { 192.168.57.0/24 } }";
    for mode in [Mode::Routed, Mode::Isolated, Mode::Routed] {
        let rules = NetworkRules {
            mode,
            nat: false,
            ..br0(true)
        };
        // From NAT that is off, too: its element goes with its mode.
        filter.add_network(&br0(false)).unwrap();
        filter.add_network(&rules).unwrap();
        let state = filter.read().unwrap();
        assert!(state.holds(&rules) && !state.holds(&br0(true)), "{mode}");
        let before = documented();
        let (base, _) = before.split_once("\tchain out_br0").unwrap();
        let base = base.replace(nat_sources, "flags interval; }");
        assert_eq!(ours(), theirs(&format!("{base}{}}}", documented_in(mode))));
    }
    filter.add_network(&br0(true)).unwrap();
    assert_eq!(ours(), theirs(&documented()));

    // IPv6 is one rule more in each of them.
    let subnet6 = "fd12:3456:789a:1::/64";
    let rules = NetworkRules {
        subnet6: Some(subnet6.parse().unwrap()),
        ..br0(true)
    };
    filter.add_network(&rules).unwrap();
    assert!(filter.read().unwrap().holds(&rules));
    let out = "oifname @uplinks ip saddr 192.168.57.0/24 accept\n";
    let with_ipv6 = documented()
        .replace(
            "type ipv6_addr; flags interval; }",
            &format!("type ipv6_addr; flags interval; elements = {{ {subnet6} }} }}"),
        )
        .replace(
            out,
            &format!("{out}oifname @uplinks6 ip6 saddr {subnet6} accept\n"),
        );
    assert_eq!(ours(), theirs(&with_ipv6));
    let routed = NetworkRules {
        mode: Mode::Routed,
        ..rules
    };
    filter.add_network(&routed).unwrap();
    assert!(filter.read().unwrap().holds(&routed));
    let listed = sh("nft list ruleset");
    assert!(listed.contains(&format!("iifname @uplinks6 ip6 daddr {subnet6} accept")));
    // Another subnet, and none, take the old one with them.
    filter.add_network(&rules).unwrap();
    filter.add_network(&br0(true)).unwrap();
    assert_eq!(ours(), theirs(&documented()));
}

#[test]
fn read_back_and_mend() {
    if !inside("read_back_and_mend") {
        return;
    }
    let mut filter = tutorial();
    let second = NetworkRules {
        bridge: "1.lan-b_",
        subnet: Some("10.32.0.0/11".parse().unwrap()),
        subnet6: None,
        mode: Mode::Nat,
        nat: false,
    };
    let neighbour = NetworkRules {
        bridge: "b-x",
        subnet: Some("192.168.56.0/24".parse().unwrap()),
        subnet6: None,
        mode: Mode::Nat,
        nat: true,
    };
    filter.add_network(&second).unwrap();
    filter.add_network(&neighbour).unwrap();
    filter
        .set_uplinks(&["wlan0".into(), "eth0".into()])
        .unwrap();
    let whole = filter.read().unwrap();
    assert_eq!(whole.bridges(), ["1.lan-b_", "b-x", "br0"]);
    assert_eq!(whole.uplinks(), ["eth0", "wlan0"]);
    assert_eq!(whole.opened(), ["eth0"]);
    for rules in [second, neighbour, br0(true)] {
        assert!(holds(&whole, rules), "{rules:?}");
        assert!(!holds(
            &whole,
            NetworkRules {
                nat: !rules.nat,
                ..rules
            }
        ));
    }
    // Such names are identifiers that nft reads back.
    assert_eq!(ours(), theirs(&run("nft", &["list", "ruleset"])));

    // A subnet that changes takes its old one with it.
    let moved = NetworkRules {
        subnet: Some("10.96.0.0/12".parse().unwrap()),
        ..second
    };
    filter.add_network(&moved).unwrap();
    assert!(!sh("nft list ruleset").contains("10.32.0.0"));
    assert!(!filter.read().unwrap().holds(&second));
    filter.add_network(&second).unwrap();

    // One without a subnet of its own: nothing passes between it and the rest.
    let bridged = NetworkRules {
        bridge: "lan",
        subnet: None,
        mode: Mode::Bridged,
        nat: false,
        ..second
    };
    assert!(!filter.read().unwrap().holds(&bridged));
    filter.add_network(&bridged).unwrap();
    let state = filter.read().unwrap();
    assert!(state.holds(&bridged) && state.holds(&second));
    assert!(filter.read_network(&bridged).unwrap().holds(&bridged));
    filter.remove_network("lan", None).unwrap();
    assert_eq!(filter.read().unwrap(), whole);

    // What somebody else broke is seen and mended.
    sh("nft flush chain inet tapyard_1000 out_br0; nft flush chain inet tapyard_1000 forward");
    assert!(!filter.read().unwrap().holds(&br0(true)));
    filter.ensure().unwrap();
    filter.add_network(&br0(true)).unwrap();
    assert_eq!(filter.read().unwrap(), whole);
    sh("nft flush ruleset");
    filter.ensure().unwrap();
    for rules in [br0(true), second, neighbour] {
        filter.add_network(&rules).unwrap();
    }
    for rules in [second, neighbour, br0(true)] {
        assert!(holds(&filter.read().unwrap(), rules), "{rules:?}");
    }

    // Networks go one by one, neighbours in the interval set included.
    filter
        .remove_network(neighbour.bridge, neighbour.subnet)
        .unwrap();
    filter.remove_network(second.bridge, second.subnet).unwrap();
    assert_eq!(filter.read().unwrap().bridges(), ["br0"]);
    assert!(holds(&filter.read().unwrap(), br0(true)));
    assert!(sh("nft list set inet tapyard_1000 nat_sources").contains("{ 192.168.57.0/24 }"));
}

#[test]
fn a_refused_transaction_changes_nothing_and_says_what() {
    if !inside("a_refused_transaction_changes_nothing_and_says_what") {
        return;
    }
    let mut filter = Filter::open(TABLE).unwrap();
    let error = filter.add_network(&br0(true)).unwrap_err().to_string();
    assert_eq!(
        error,
        "add chain inet tapyard_1000 out_br0: No such file or directory (os error 2)"
    );
    assert_eq!(run("nft", &["list", "ruleset"]), "");
    // A set of ours with another type: the whole transaction is refused.
    sh("nft 'add table inet tapyard_1000; add set inet tapyard_1000 opened { type ipv6_addr; }'");
    let before = run("nft", &["list", "ruleset"]);
    let error = filter.ensure().unwrap_err().to_string();
    assert!(error.starts_with("add set opened: "), "{error}");
    assert_eq!(run("nft", &["list", "ruleset"]), before);
}

#[test]
fn many_networks() {
    if !inside("many_networks") {
        return;
    }
    let mut filter = tutorial();
    let started = std::time::Instant::now();
    for i in 0..200 {
        filter.add_network(&numbered(i, &format!("n{i}"))).unwrap();
    }
    println!("200 networks added in {:?}", started.elapsed());
    let state = filter.read().unwrap();
    assert_eq!(state.bridges().len(), 201);
    for i in 0..200 {
        assert!(holds(&state, numbered(i, &format!("n{i}"))), "n{i}");
    }
    let mut times: Vec<_> = (0..200)
        .map(|i| {
            let started = std::time::Instant::now();
            assert!(filter.set_nat("br0", i % 2 == 1).unwrap());
            started.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "set_nat beside them: p50 {:?}, p99 {:?}",
        times[100], times[197]
    );
}

/// A lab behind a veth, an uplink, and a world beyond it, all in this test's namespace.
/// The bridge asks for no multicast: its own reports (IGMP) would be entries of the subnet.
const TOPOLOGY: &str = "
    ip link set lo up
    unshare -n sleep 60 & echo $! >$D/guest
    unshare -n sleep 60 & echo $! >$D/wan
    until [ $(readlink /proc/$(cat $D/guest)/ns/net) != $(readlink /proc/self/ns/net) ]; do sleep 0.01; done
    until [ $(readlink /proc/$(cat $D/wan)/ns/net) != $(readlink /proc/self/ns/net) ]; do sleep 0.01; done
    ip link add br0 type bridge mcast_snooping 0; ip addr add 192.168.57.1/24 dev br0; ip link set br0 up
    ip link add p0 master br0 up type veth peer name eth0 netns $(cat $D/guest)
    ip link add eth0 type veth peer name eth0 netns $(cat $D/wan)
    ip addr add 203.0.113.2/24 dev eth0; ip link set eth0 up
    echo 1 >/proc/sys/net/ipv4/conf/br0/forwarding; echo 1 >/proc/sys/net/ipv4/conf/eth0/forwarding
    nsenter -n -t $(cat $D/guest) sh -ec 'ip addr add 192.168.57.2/24 dev eth0; ip link set eth0 up
        ip route add default via 192.168.57.1'
    nsenter -n -t $(cat $D/wan) sh -ec 'ip addr add 203.0.113.1/24 dev eth0; ip link set eth0 up'
";

#[test]
fn nat_off_cuts_what_runs() {
    if !inside("nat_off_cuts_what_runs") {
        return;
    }
    let dir = format!("/tmp/tapyard-conntrack-{}", std::process::id());
    std::fs::create_dir(&dir).unwrap();
    let with_dir = |script: &str| format!("D={dir}\n{script}");
    sh(&with_dir(
        &TOPOLOGY.replace("sleep 60 &", "sleep 60 >/dev/null 2>&1 &"),
    ));
    let subnet = br0(true).subnet.unwrap();
    let mut filter = tutorial();
    let guest = |script: &str| {
        sh(&with_dir(&format!(
            "nsenter -n -t $(cat $D/guest) sh -c '{script}' 2>&1 || true"
        )))
    };
    sh(&with_dir(
        "nsenter -n -t $(cat $D/wan) busybox nc -ll -p 80 -e echo hello >/dev/null 2>&1 & echo $! >$D/server; sleep 0.2",
    ));
    let pings =
        |host| guest(&format!("busybox ping -c1 -W1 {host}")).contains("1 packets received");
    assert!(pings("203.0.113.1"), "icmp goes out");
    assert_eq!(
        guest("busybox nc -w 2 203.0.113.1 80 </dev/null"),
        "hello\n"
    );
    guest("exec bash -c \"echo x >/dev/udp/203.0.113.1/53\"");
    let listed = || {
        let all = sh("conntrack -L 2>/dev/null || true");
        all.lines()
            .filter(|line| line.contains("192.168.57."))
            .count()
    };
    assert!(
        listed() >= 3,
        "icmp, tcp, udp: {}",
        sh("conntrack -L 2>/dev/null")
    );
    let subnet: ipnet::IpNet = subnet.into();
    let mut conntrack = Conntrack::open().unwrap();
    assert_eq!(conntrack.count(&[subnet]).unwrap(), listed());
    assert_eq!(
        conntrack.count(&["10.0.0.0/8".parse().unwrap()]).unwrap(),
        0
    );
    let other = "10.0.0.0/8".parse().unwrap();
    assert_eq!(conntrack.clear(other, Which::All).unwrap(), 0);

    assert!(filter.set_nat("br0", false).unwrap());
    let (before, tcp) = (
        listed(),
        sh("conntrack -L -p tcp 2>/dev/null").lines().count(),
    );
    assert!(tcp > 0 && before > tcp, "{tcp} of {before} are of TCP");
    let kept = (tcp, tcp);
    assert_eq!(
        conntrack.clear(subnet, Which::AllButTcp).unwrap(),
        before - tcp
    );
    assert_eq!((listed(), conntrack.count(&[subnet]).unwrap()), kept);
    assert_eq!(conntrack.clear(subnet, Which::All).unwrap(), tcp);
    assert_eq!((listed(), conntrack.count(&[subnet]).unwrap()), (0, 0));
    assert!(!pings("203.0.113.1"), "nat off is a drop");
    assert!(pings("192.168.57.1"), "the host still answers");
    assert!(filter.set_nat("br0", true).unwrap());
    assert!(pings("203.0.113.1"), "and on again");
    sh(&with_dir("kill $(cat $D/guest $D/wan $D/server) || true"));
    std::fs::remove_dir_all(&dir).unwrap();
}
