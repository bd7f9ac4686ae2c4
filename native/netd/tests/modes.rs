// SPDX-License-Identifier: Apache-2.0
//! What each mode of a network lets through, with real packets in the host scope: a guest on a
//! bridge, a neighbour on the LAN beyond the uplink, and another interface that is nobody's
//! business, in namespaces of the test's own (`unshare -Urnm`).

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "modes/host.rs"]
mod host;
mod kernel;
#[path = "modes/router6.rs"]
mod router6;

use host::{Host, NOTHING, PATIENCE, Peer, apply, guest, spec, until};
use kernel::{inside_of, sh};
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use tapyard_protocol::{Code, Mode, Observe, OpenTap, RemoveNetwork, SetNat, Shutdown};

/// In namespaces with mounts of their own.
fn inside(test: &str) -> bool {
    inside_of(test, "-Urnm", "")
}

fn forwarding(device: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{device}/forwarding");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn each_mode_lets_through_what_it_says() {
    if !inside("each_mode_lets_through_what_it_says") {
        return;
    }
    let host = Host::start("modes");
    let mut client = host.client();
    let (wan, other) = (&host.wan, &host.other);

    // Isolated alone: no interface forwards, not even where the machine's default says so.
    sh("echo 1 > /proc/sys/net/ipv4/conf/default/forwarding");
    let isolated = apply(&mut client, spec(3, "isolated")).unwrap();
    assert_eq!((isolated.mode, isolated.nat), (Mode::Isolated, false));
    assert!(isolated.filter && !isolated.forwarding);
    assert_eq!(
        (forwarding("br3"), forwarding("eth0")),
        ("0".into(), "0".into())
    );
    sh("echo 0 > /proc/sys/net/ipv4/conf/default/forwarding");

    assert!(apply(&mut client, spec(1, "nat")).unwrap().nat);
    let routed = apply(&mut client, spec(2, "routed")).unwrap();
    assert!(routed.filter && routed.forwarding && !routed.nat);
    let (natted, routed, isolated) = (guest(1), guest(2), guest(3));

    // Out: masqueraded, as themselves, not at all.
    assert!(natted.pings("203.0.113.1") && natted.reaches("203.0.113.1"));
    assert!(routed.pings("203.0.113.1") && routed.reaches("203.0.113.1"));
    assert_eq!(isolated.reached(&["203.0.113.1"]), NOTHING);
    let flows = sh("cat /proc/net/nf_conntrack");
    let of = |source: &str| {
        let lines = flows.lines().filter(|line| line.contains("dport=80"));
        let line = lines
            .into_iter()
            .find(|l| l.contains(&format!("src={source} ")));
        line.unwrap_or_else(|| panic!("no flow of {source}: {flows}"))
    };
    assert!(of("10.0.1.2").contains("dst=203.0.113.2 "), "masqueraded");
    assert!(
        of("10.0.2.2").contains("src=203.0.113.1 dst=10.0.2.2 "),
        "as itself"
    );

    // In: only to the routed ones.
    assert!(wan.pings("10.0.2.2") && wan.reaches("10.0.2.2"));
    assert_eq!(
        wan.reached(&["10.0.1.2", "10.0.3.2", "198.51.100.1"]),
        NOTHING
    );
    // By the uplink alone, and to no other interface.
    assert_eq!(other.reached(&["10.0.2.2", "203.0.113.1"]), NOTHING);
    for guest in [&natted, &routed] {
        assert_eq!(guest.reached(&["198.51.100.1"]), NOTHING);
    }
    // From the subnet alone.
    routed.sh("ip addr add 10.0.9.9/32 dev eth0");
    let forged = routed.sh("busybox ping -c1 -W1 -I 10.0.9.9 203.0.113.1");
    assert!(!forged.contains("1 packets received"), "{forged}");

    // Between networks nothing passes, in no direction.
    assert_eq!(natted.reached(&["10.0.2.2", "10.0.3.2"]), NOTHING);
    assert_eq!(routed.reached(&["10.0.1.2", "10.0.3.2"]), NOTHING);
    assert_eq!(isolated.reached(&["10.0.1.2", "10.0.2.2"]), NOTHING);
    // Each has its host still: ping and DNS.
    for (n, guest) in [(1, &natted), (2, &routed), (3, &isolated)] {
        assert!(guest.pings(&format!("10.0.{n}.1")), "the gateway of br{n}");
        let dns = guest.sh(&format!(
            "busybox nc -w 5 10.0.{n}.1 53 </dev/null && echo yes"
        ));
        assert_eq!(dns, "yes\n", "DNS of br{n}");
    }

    // What the host itself serves at another address is not theirs: by its DNS, names would leave a
    // network that is cut off.
    const KNOCK: &str = "busybox nc -w 2 203.0.113.2 53 </dev/null && echo yes";
    let dns = TcpListener::bind("203.0.113.2:53").unwrap();
    std::thread::spawn(move || dns.incoming().for_each(drop));
    assert_eq!(wan.sh(KNOCK), "yes\n");
    for guest in [&natted, &routed, &isolated] {
        assert_eq!(guest.sh(KNOCK), "");
    }

    // A switch is NAT's alone.
    let set_nat = |network: &str| -> SetNat {
        serde_json::from_value(json!({"lab": "seed", "network": network, "nat": false})).unwrap()
    };
    for network in ["br2", "br3"] {
        let refused = client.call(&set_nat(network), PATIENCE).unwrap_err();
        assert_eq!(refused.code, Code::NoNatSwitch);
        assert_eq!(refused.subject.as_deref(), Some(network));
    }
    assert!(client.call(&set_nat("br1"), PATIENCE).unwrap().0.changed);
    assert_eq!(natted.reached(&["203.0.113.1"]), NOTHING);
    assert!(routed.reaches("203.0.113.1"));

    // A network can change its mode as it stands, from off as well.
    assert!(apply(&mut client, spec(1, "routed")).unwrap().filter);
    assert!(natted.reaches("203.0.113.1") && wan.reaches("10.0.1.2"));
    assert!(!apply(&mut client, spec(1, "isolated")).unwrap().forwarding);
    assert_eq!(natted.reached(&["203.0.113.1"]), NOTHING);
    assert_eq!(wan.reached(&["10.0.1.2"]), NOTHING);
    assert!(apply(&mut client, spec(1, "nat")).unwrap().nat);
    assert!(natted.reaches("203.0.113.1"));
    assert_eq!(wan.reached(&["10.0.1.2"]), NOTHING);

    // The uplink is closed with the last network that needs it.
    assert_eq!(forwarding("eth0"), "1");
    for network in ["br1", "br2"] {
        let args: RemoveNetwork =
            serde_json::from_value(json!({"lab": "seed", "network": network})).unwrap();
        assert_eq!(client.call(&args, PATIENCE).unwrap().0.failed, []);
    }
    assert_eq!(forwarding("eth0"), "0");
    let (removed, _) = client.call(&Shutdown {}, PATIENCE).unwrap();
    assert_eq!(removed.failed, []);
    assert_eq!(sh("nft list tables"), "");
}

#[test]
fn a_guest_keeps_its_shape_on_another_bridge() {
    if !inside("a_guest_keeps_its_shape_on_another_bridge") {
        return;
    }
    let host = Host::start("rebridged");
    let mut client = host.client();
    sh("ip link add br-one type bridge; ip link add br-two mtu 1400 type bridge");
    let bridged = |uplink: &str| {
        json!({
            "name": "lan", "mode": "bridged", "uplink": uplink, "mac": "52:54:00:00:00:01",
            "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null,
        })
    };
    apply(&mut client, bridged("br-one")).unwrap();
    let args: OpenTap = serde_json::from_value(json!({
        "lab": "seed", "network": "lan", "guest": "web", "nic": 0,
        "mac": "52:54:00:00:00:02", "tap": "tap0", "shape": {"rate": 4_000_000},
    }))
    .unwrap();
    let (_, mut fds) = client.call(&args, PATIENCE).unwrap();
    let ours = {
        let mut ours = spec(1, "nat");
        ours["name"] = "lan".into();
        ours
    };
    for (network, master) in [(bridged("br-two"), "br-two"), (ours, "lan")] {
        apply(&mut client, network).unwrap();
        let tap = sh("ip -j link show tap0");
        assert!(tap.contains(&format!("\"master\":\"{master}\"")), "{tap}");
        for device in ["tap0", "ifb-tap0"] {
            let held = sh(&format!("tc qdisc show dev {device} root"));
            assert!(held.contains("rate 4Mbit"), "{master}: {held}");
        }
        let (snapshot, _) = client.call(&Observe {}, PATIENCE).unwrap();
        let tap = snapshot.links.iter().find(|link| link.name == "tap0");
        assert_eq!(tap.unwrap().shape.rate, 4_000_000);
    }
    // With the guest goes its shape, and nothing stays of either.
    drop(fds.pop());
    assert_eq!(client.call(&Shutdown {}, PATIENCE).unwrap().0.failed, []);
    assert!(!sh("ip -br link").contains("tap0"));
}

#[test]
fn bridged_guests_are_ports_of_the_administrators_bridge() {
    if !inside("bridged_guests_are_ports_of_the_administrators_bridge") {
        return;
    }
    let host = Host::start("bridged");
    let mut client = host.client();
    sh("ip link add br-lan type bridge; ip link set br-lan up");
    let far = Peer::new();
    sh(&format!(
        "ip link add cable master br-lan up type veth peer name eth0 netns {}",
        far.pid()
    ));
    far.sh("ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up");
    let picture = "ip -j -d link show br-lan | sed 's/\"[a-z_]*timer\": *[0-9.]*,//g'";
    let before = sh(picture);
    let bridged = |uplink: &str| {
        json!({
            "name": "lan", "mode": "bridged", "uplink": uplink, "mac": "52:54:00:00:00:01",
            "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null,
        })
    };

    // What is no bridge is refused, with its reason, and stays as it is.
    for (uplink, code, word) in [
        ("eth0", Code::NoSuchBridge, "203.0.113.2/24"),
        ("nothing", Code::NoSuchBridge, "no such interface"),
    ] {
        let refused = apply(&mut client, bridged(uplink)).unwrap_err();
        assert_eq!(
            (refused.code, refused.subject.as_deref()),
            (code, Some(uplink))
        );
        assert!(refused.message.contains(word), "{}", refused.message);
    }
    sh("mount -t tmpfs none /sys/class/net && mkdir -p /sys/class/net/eth1/wireless");
    let refused = apply(&mut client, bridged("eth1")).unwrap_err();
    assert_eq!(refused.code, Code::WifiCannotBridge);
    let hint = refused.hint.unwrap();
    assert!(
        hint.contains("mode: nat") && hint.contains("proxyArp: true"),
        "{hint}"
    );
    apply(&mut client, spec(1, "nat")).unwrap();
    let refused = apply(&mut client, bridged("br1")).unwrap_err();
    assert_eq!(refused.code, Code::NoSuchBridge, "a lab's own");

    let network = apply(&mut client, bridged("br-lan")).unwrap();
    assert!(network.bridge.is_some() && network.mode == Mode::Bridged);
    assert_eq!(
        (network.subnet, network.nat, network.forwarding),
        (None, false, false)
    );
    assert!(network.antispoof);
    let args: OpenTap = serde_json::from_value(json!({
        "lab": "seed", "network": "lan", "guest": "web", "nic": 0,
        "mac": "52:54:00:00:00:02", "tap": "tap0",
    }))
    .unwrap();
    let (_, mut fds) = client.call(&args, PATIENCE).unwrap();
    let tap = || sh("ip -j link show tap0");
    assert!(tap().contains("\"master\":\"br-lan\""), "{}", tap());

    // Whoever holds a tap's descriptor can give it any address, without a capability. Neither the
    // bridge nor the guest has another for that.
    let macs = "nft list set bridge tapyard_0 macs";
    let (own, bridge, allowed) = (tap(), sh(picture), sh(macs));
    for address in ["02:00:00:00:00:01", "fe:54:00:ab:cd:ef"] {
        sh(&format!("ip link set tap0 address {address}"));
        until("tap0 has its address back", || tap() == own);
        assert_eq!((sh(picture), sh(macs)), (bridge.clone(), allowed.clone()));
    }

    // Removed, its taps are let go and the bridge is as it was.
    let args: RemoveNetwork =
        serde_json::from_value(json!({"lab": "seed", "network": "lan"})).unwrap();
    assert_eq!(client.call(&args, PATIENCE).unwrap().0.failed, []);
    assert!(!tap().contains("master"), "{}", tap());
    // A guest that runs on joins again.
    apply(&mut client, bridged("br-lan")).unwrap();
    assert!(tap().contains("\"master\":\"br-lan\""), "{}", tap());
    drop(fds.pop());
    assert_eq!(client.call(&Shutdown {}, PATIENCE).unwrap().0.failed, []);
    assert_eq!(sh(picture), before);
}

#[test]
fn ipv6_goes_out_by_the_uplink_alone_and_leaves_the_hosts_route() {
    if !inside("ipv6_goes_out_by_the_uplink_alone_and_leaves_the_hosts_route") {
        return;
    }
    let host = Host::start("ipv6");
    let (wan, other) = (&host.wan, &host.other);
    for (peer, device, net) in [(wan, "eth0", "2001:db8"), (other, "eth1", "2001:db8:1")] {
        sh(&format!("ip addr add {net}::2/64 dev {device} nodad"));
        peer.sh(&format!("ip addr add {net}::1/64 dev eth0 nodad"));
    }
    wan.sh("ip route add fd00::/8 via 2001:db8::2; ip route add 2001:db8:1::/64 via 2001:db8::2");
    other.sh("ip route add default via 2001:db8:1::2");
    // As from a router advertisement: it goes when the interface becomes a router's.
    sh("ip -6 route add default via 2001:db8::1 dev eth0 proto ra expires 600");
    let route = || sh("ip -6 route show default | sed 's/ expires.*//'");
    let sysctls = "cd /proc/sys/net/ipv6/conf; for i in all default eth0 eth1; do 
        grep . $i/forwarding $i/force_forwarding $i/accept_ra; done";
    let before = (sh(sysctls), route());

    let mut client = host.client();
    let ipv6 = |n: u8, mode: &str| {
        let mut spec = spec(n, mode);
        spec["ipv6"] = format!("fd12:3456:789a:{n}::/64").into();
        spec["dhcp"]["reservations"] = json!([
            {"mac": "52:54:00:00:01:02", "address": format!("10.0.{n}.2"), "guest": format!("g{n}")},
        ]);
        spec
    };
    for (n, mode) in [(1, "nat"), (2, "routed"), (3, "isolated")] {
        let network = apply(&mut client, ipv6(n, mode)).unwrap();
        assert!(network.ipv6.is_some() && network.filter, "{mode}");
        let own = sh(&format!("ip -6 addr show br{n}"));
        assert!(own.contains(&format!("fd12:3456:789a:{n}::1/64")), "{own}");
    }
    // IPv4 alone: no IPv6 passes.
    apply(&mut client, spec(4, "nat")).unwrap();
    let guests: Vec<Peer> = (1..=4).map(guest).collect();
    for (n, guest) in (1..).zip(&guests) {
        guest.sh(&format!(
            "ip addr add fd12:3456:789a:{n}::2/64 dev eth0 nodad
             ip route add default via fd12:3456:789a:{n}::1 2>/dev/null || true"
        ));
    }
    let [natted, routed, isolated, plain] = guests.as_slice() else {
        unreachable!()
    };
    assert!(natted.pings("2001:db8::1") && natted.reaches("2001:db8::1"));
    assert!(routed.pings("2001:db8::1") && routed.reaches("2001:db8::1"));
    assert_eq!(
        isolated.reached(&["2001:db8::1", "fd12:3456:789a:1::2"]),
        NOTHING
    );
    assert_eq!(plain.reached(&["2001:db8::1"]), NOTHING);
    let flows = sh("cat /proc/net/nf_conntrack");
    let masqueraded = "dst=2001:0db8:0000:0000:0000:0000:0000:0002 ";
    let of = |n| {
        flows
            .lines()
            .filter(move |line| line.contains(&format!("789a:{n:04x}:")))
    };
    assert!(
        of(1).all(|line| line.contains(masqueraded)) && of(1).count() > 0,
        "{flows}"
    );
    assert!(
        of(2).all(|line| !line.contains(masqueraded)) && of(2).count() > 0,
        "{flows}"
    );
    // In: to the routed one, by the uplink; nobody else is a router's neighbour now.
    assert!(wan.pings("fd12:3456:789a:2::2"));
    assert_eq!(
        wan.reached(&[
            "fd12:3456:789a:1::2",
            "fd12:3456:789a:3::2",
            "2001:db8:1::1"
        ]),
        NOTHING
    );
    assert_eq!(
        other.reached(&["2001:db8::1", "fd12:3456:789a:2::2", "fd12:3456:789a:3::2"]),
        NOTHING
    );
    assert_eq!(
        routed.reached(&[
            "2001:db8:1::1",
            "fd12:3456:789a:1::2",
            "fd12:3456:789a:3::2"
        ]),
        NOTHING
    );
    // It is the mode that keeps them from the isolated one: routed, it is reached the same way.
    apply(&mut client, ipv6(3, "routed")).unwrap();
    assert!(wan.pings("fd12:3456:789a:3::2") && wan.reaches("fd12:3456:789a:3::2"));
    apply(&mut client, ipv6(3, "isolated")).unwrap();
    assert_eq!(wan.reached(&["fd12:3456:789a:3::2"]), NOTHING);

    // Off is off for both, with the connections but for TCP's.
    let mut set_nat = |nat: bool| {
        let args: SetNat =
            serde_json::from_value(json!({"lab": "seed", "network": "br1", "nat": nat})).unwrap();
        client.call(&args, PATIENCE).unwrap().0
    };
    assert!(set_nat(false).flows_removed > 0);
    let left = sh("cat /proc/net/nf_conntrack");
    let mut ours = left.lines().filter(|line| line.contains("789a:0001:"));
    assert!(ours.all(|line| line.contains(" tcp ")), "{left}");
    assert_eq!(natted.reached(&["2001:db8::1"]), NOTHING);
    set_nat(true);
    assert!(natted.reaches("2001:db8::1"));

    // A guest that only listens: an address and a route by advertisement, names by DNS.
    let slaac = Peer::new();
    sh(&format!(
        "ip link add q1 master br1 up type veth peer name eth0 netns {}",
        slaac.pid()
    ));
    slaac.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=2; ip link set eth0 up");
    let begin = std::time::Instant::now();
    while !slaac.sh("ip -6 route show default").contains("fe80") {
        assert!(
            begin.elapsed() < PATIENCE,
            "{}",
            slaac.sh("ip -6 addr; ip -6 route")
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(
        slaac
            .sh("ip -6 addr show eth0")
            .contains("fd12:3456:789a:1:")
    );
    // It asks whether the gateway is there, and the answer says that it is a router still.
    slaac.sh("set -- $(ip -6 neigh show dev eth0 | grep -m1 router)
         ip -6 neigh change $1 dev eth0 lladdr $3 router nud probe");
    let begin = std::time::Instant::now();
    while slaac.sh("ip -6 neigh show dev eth0").contains("PROBE") {
        assert!(begin.elapsed() < PATIENCE, "the gateway answers");
        std::thread::sleep(Duration::from_millis(50));
    }
    let default = slaac.sh("ip -6 route show default");
    assert!(default.contains("fe80"), "it keeps its route: {default}");
    let asked = slaac.sh("busybox nslookup g1.lab fd12:3456:789a:1::1");
    assert!(asked.contains("NXDOMAIN"), "it answers by IPv6: {asked}");

    // The way out of IPv6 is followed by itself, and can be another than that of IPv4.
    sh("ip -6 route del default; ip -6 route add default via 2001:db8:1::1 dev eth1 metric 10");
    let begin = std::time::Instant::now();
    while !natted.reaches("2001:db8:1::1") {
        assert!(begin.elapsed() < PATIENCE, "it leaves by eth1 now");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (snapshot, _) = client.call(&Observe {}, PATIENCE).unwrap();
    let uplink = snapshot.uplink;
    assert_eq!(uplink.device.as_deref(), Some("eth0"));
    assert_eq!(uplink.ipv6.device.as_deref(), Some("eth1"));
    assert!(uplink.ipv6.forwarding && uplink.ipv6.reason.is_none());
    assert_eq!(natted.reached(&["2001:db8::1"]), NOTHING);
    sh(
        "ip -6 route del default; ip -6 route add default via 2001:db8::1 dev eth0 proto ra expires 600",
    );
    let begin = std::time::Instant::now();
    while !natted.reaches("2001:db8::1") {
        assert!(begin.elapsed() < PATIENCE, "it leaves by eth0 again");
        std::thread::sleep(Duration::from_millis(100));
    }

    // A subnet that is in use is refused, as IPv4's is.
    for (taken, words) in [
        (
            "fd12:3456:789a:1::/64",
            "overlaps fd12:3456:789a:1::/64 of the network br1",
        ),
        (
            "fd99:1:2:3::/64",
            "overlaps the address fd99:1:2:3::7/64 of eth1",
        ),
        (
            "fd99:1:3:3::/64",
            "overlaps the route fd99:1:3::/48 by eth1",
        ),
    ] {
        sh(
            "ip -6 addr replace fd99:1:2:3::7/64 dev eth1 nodad; ip -6 route replace fd99:1:3::/48 dev eth1",
        );
        let mut spec = ipv6(5, "nat");
        spec["ipv6"] = taken.into();
        let error = apply(&mut client, spec).unwrap_err();
        assert_eq!(error.code, Code::SubnetOverlap);
        assert!(error.message.contains(words), "{}", error.message);
    }
    sh("ip -6 addr del fd99:1:2:3::7/64 dev eth1; ip -6 route del fd99:1:3::/48 dev eth1");

    assert_eq!(route(), before.1, "the host's own route");
    assert_eq!(client.call(&Shutdown {}, PATIENCE).unwrap().0.failed, []);
    assert_eq!((sh(sysctls), route()), before);
}
