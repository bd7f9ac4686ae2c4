// SPDX-License-Identifier: Apache-2.0
//! Routed networks with proxy ARP: guests have addresses of the LAN behind an uplink that takes no
//! second MAC address. With real packets, in namespaces of the test's own (`unshare -Urnm`).

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "modes/host.rs"]
mod host;
mod kernel;

use host::{Host, PATIENCE, Peer, apply};
use kernel::{inside_of, sh};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tapyard_protocol::{Client, Code, Network, Observe, RemoveNetwork, Shutdown};

const HOST: &str = "192.168.1.50";
const GUEST: &str = "192.168.1.194";

fn inside(test: &str) -> bool {
    inside_of(test, "-Urnm", "")
}

/// A host whose eth0 is on the LAN 192.168.1.0/24, with a router that is also its only neighbour.
fn host_on_lan(test: &str) -> Host {
    let host = Host::start(test);
    sh(&format!(
        "ip addr flush dev eth0; ip addr add {HOST}/24 dev eth0; ip route replace default via 192.168.1.1"
    ));
    host.wan
        .sh("ip addr flush dev eth0; ip addr add 192.168.1.1/24 dev eth0");
    host
}

/// A part of the LAN's subnet on the bridge `lan`, with these two ends of what DHCP gives away.
fn spec(subnet: &str, own: &str, from: &str, to: &str) -> Value {
    json!({
        "name": "lan", "mode": "routed", "proxy_arp": true, "subnet": subnet, "address": own,
        "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": false, "domain": "lab",
        "dhcp": {"from": from, "to": to, "reservations": []},
    })
}

fn sixteen() -> Value {
    let mut spec = spec(
        "192.168.1.192/28",
        "192.168.1.193",
        "192.168.1.198",
        "192.168.1.201",
    );
    spec["dhcp"]["reservations"] =
        json!([{"mac": "52:54:00:00:00:02", "address": GUEST, "guest": "web"}]);
    spec
}

/// A guest of the network `lan`.
fn guest() -> Peer {
    let guest = Peer::new();
    sh(&format!(
        "ip link add p master lan up type veth peer name eth0 netns {}",
        guest.pid()
    ));
    guest.sh(&format!(
        "ip link set lo up; ip addr add {GUEST}/28 dev eth0; ip link set eth0 up
         ip route add default via 192.168.1.193"
    ));
    guest.serve();
    guest
}

/// The MAC address that answers for this one on the peer's LAN, within so many seconds.
fn answers(peer: &Peer, address: &str, seconds: u8) -> Option<String> {
    let heard = peer.sh(&format!("busybox arping -f -I eth0 -w {seconds} {address}"));
    let mut words = heard.split(['[', ']']);
    let mac = words.find(|word| word.matches(':').count() == 5);
    mac.map(str::to_lowercase)
}

/// Of eth0, as `ip -br link` tells it.
fn mac_in(listed: &str) -> String {
    listed.split_ascii_whitespace().nth(2).unwrap().to_owned()
}

fn proxies() -> Vec<String> {
    let listed: Vec<Value> = serde_json::from_str(&sh("ip -j neigh show proxy")).unwrap();
    let mut proxies: Vec<String> = listed
        .iter()
        .map(|entry| {
            format!(
                "{} {}",
                entry["dev"].as_str().unwrap(),
                entry["dst"].as_str().unwrap()
            )
        })
        .collect();
    proxies.sort();
    proxies
}

fn on(device: &str) -> Vec<String> {
    [194, 198, 199, 200, 201]
        .map(|n| format!("{device} 192.168.1.{n}"))
        .to_vec()
}

/// As netd sees it once it is so.
fn seen(client: &mut Client, so: impl Fn(&Network) -> bool) -> Network {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (snapshot, _) = client.call(&Observe {}, PATIENCE).unwrap();
        let network = snapshot
            .networks
            .into_iter()
            .find(|n| n.name.as_str() == "lan")
            .unwrap();
        if so(&network) {
            return network;
        }
        assert!(
            Instant::now() < deadline,
            "netd does not come to it: {network:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_on(network: &Network, device: &str) -> bool {
    let proxy = network.proxy_arp.as_ref().unwrap();
    (proxy.device.as_deref(), proxy.addresses) == (Some(device), 5) && proxy.reason.is_none()
}

fn is_refused(network: &Network, code: Code) -> bool {
    let proxy = network.proxy_arp.as_ref().unwrap();
    let told = proxy.reason.as_ref().map(|reason| reason.code);
    (proxy.device.as_deref(), proxy.addresses, told) == (None, 0, Some(code))
}

#[test]
fn a_guest_is_reached_at_an_address_of_the_lan() {
    if !inside("a_guest_is_reached_at_an_address_of_the_lan") {
        return;
    }
    let host = host_on_lan("lan");
    let mut client = host.client();
    // An administrator's own, one of them in the network's range.
    sh("ip neigh add proxy 192.168.1.100 dev eth0; ip neigh add proxy 192.168.1.199 dev eth0");
    let before = sh("ip -j neigh show proxy");

    let network = apply(&mut client, sixteen()).unwrap();
    let proxy = network.proxy_arp.as_ref().unwrap();
    assert_eq!(
        (proxy.device.as_deref(), proxy.addresses),
        (Some("eth0"), 4)
    );
    let mut all = on("eth0");
    all.insert(0, "eth0 192.168.1.100".into());
    assert_eq!(proxies(), all);

    let guest = guest();
    let mac = mac_in(&sh("ip -br link show eth0"));
    assert_eq!(answers(&host.wan, GUEST, 20), Some(mac));
    assert!(host.wan.pings(GUEST) && host.wan.reaches(GUEST));
    assert!(guest.pings("192.168.1.1") && guest.reaches("192.168.1.1"));
    let flows = sh("cat /proc/net/nf_conntrack");
    let masqueraded = flows
        .lines()
        .any(|flow| flow.contains(&format!("dst={HOST} ")));
    assert!(
        flows.contains(&format!("src={GUEST} dst=192.168.1.1")) && !masqueraded,
        "{flows}"
    );
    // For nobody else, although the host has a route to all of the subnet.
    assert_eq!(answers(&host.wan, "192.168.1.204", 2), None);
    assert_eq!(answers(&host.other, GUEST, 2), None);

    // What is right stays untouched; a reservation that comes is answered for, one that goes is not.
    let again = apply(&mut client, sixteen()).unwrap();
    assert_eq!(again.proxy_arp, network.proxy_arp);
    let mut other = sixteen();
    other["dhcp"]["reservations"][0]["address"] = "192.168.1.196".into();
    apply(&mut client, other).unwrap();
    assert!(
        !proxies().contains(&on("eth0")[0]) && proxies().contains(&"eth0 192.168.1.196".into())
    );

    let args: RemoveNetwork =
        serde_json::from_value(json!({"lab": "seed", "network": "lan"})).unwrap();
    let (removed, _) = client.call(&args, PATIENCE).unwrap();
    assert_eq!(removed.failed, []);
    assert!(
        removed.removed.contains(&"proxy ARP for lan".to_owned()),
        "{removed:?}"
    );
    assert_eq!(sh("ip -j neigh show proxy"), before);
    assert_eq!(client.call(&Shutdown {}, PATIENCE).unwrap().0.failed, []);
    assert_eq!(sh("ip -j neigh show proxy"), before);
}

#[test]
fn what_the_lan_has_is_refused() {
    if !inside("what_the_lan_has_is_refused") {
        return;
    }
    let host = host_on_lan("refused");
    let mut client = host.client();
    let sixteen_of = |third: u8, from: u8| {
        let ip = |n: u8| format!("192.168.{third}.{}", from + n);
        spec(&format!("{}/28", ip(0)), &ip(1), &ip(2), &ip(9))
    };
    for (network, code, word) in [
        (sixteen_of(2, 192), Code::SubnetNotOnLan, "192.168.1.50/24"),
        (sixteen_of(1, 240), Code::SubnetNotOnLan, "no part of"),
        (sixteen_of(1, 48), Code::SubnetOverlap, "this computer's"),
        (
            spec("192.168.1.48/28", HOST, "192.168.1.51", "192.168.1.59"),
            Code::SubnetOverlap,
            "this computer's",
        ),
        (
            spec(
                "192.168.1.0/24",
                "192.168.1.2",
                "192.168.1.3",
                "192.168.1.4",
            ),
            Code::SubnetNotOnLan,
            "no part of",
        ),
    ] {
        let refused = apply(&mut client, network).unwrap_err();
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.message.contains(word), "{}", refused.message);
    }
    // Without proxy ARP a part of the LAN's subnet is what it was: an overlap.
    let mut plain = sixteen();
    plain["proxy_arp"] = false.into();
    assert_eq!(
        apply(&mut client, plain).unwrap_err().code,
        Code::SubnetOverlap
    );

    // Somebody has an address of it, one that no guest would get.
    host.wan.sh("ip addr add 192.168.1.203/24 dev eth0");
    let refused = apply(&mut client, sixteen()).unwrap_err();
    assert_eq!(
        (refused.code, refused.subject.as_deref()),
        (Code::AddressTaken, Some("192.168.1.203"))
    );
    let mac = mac_in(&host.wan.sh("ip -br link show eth0"));
    assert!(refused.message.contains(&mac), "{}", refused.message);
    host.wan.sh("ip addr del 192.168.1.203/24 dev eth0");

    // Somebody answers for it, as another Tapyard does.
    host.wan.sh(
        "ip link add lab type bridge; ip link set lab up; ip route add 192.168.1.196/32 dev lab
         echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding; ip neigh add proxy 192.168.1.196 dev eth0
         echo 0 > /proc/sys/net/ipv4/neigh/eth0/proxy_delay",
    );
    let refused = apply(&mut client, sixteen()).unwrap_err();
    assert_eq!(
        (refused.code, refused.subject.as_deref()),
        (Code::AddressTaken, Some("192.168.1.196"))
    );
    host.wan
        .sh("ip link del lab; ip neigh del proxy 192.168.1.196 dev eth0");
    assert_eq!(proxies(), [""; 0]);
    assert!(
        !sh("ip -br link").contains("lan"),
        "nothing is left of what was refused"
    );
    assert!(is_on(&apply(&mut client, sixteen()).unwrap(), "eth0"));
    assert_eq!(client.call(&Shutdown {}, PATIENCE).unwrap().0.failed, []);
    assert_eq!(proxies(), [""; 0]);
}

#[test]
fn it_follows_the_uplink_where_the_lan_is_the_same() {
    if !inside("it_follows_the_uplink_where_the_lan_is_the_same") {
        return;
    }
    let host = host_on_lan("follows");
    let mut client = host.client();
    apply(&mut client, sixteen()).unwrap();
    let guest = guest();

    // An interface that goes down forgets what it answers for.
    sh("ip link set eth0 down; ip link set eth0 up; ip route replace default via 192.168.1.1");
    seen(&mut client, |network| is_on(network, "eth0"));
    assert_eq!(proxies(), on("eth0"));
    assert!(host.wan.pings(GUEST));

    // To a LAN of which it is no part, and to none.
    sh("ip route replace default via 198.51.100.1");
    seen(&mut client, |network| {
        is_refused(network, Code::SubnetNotOnLan)
    });
    assert_eq!(proxies(), [""; 0]);
    sh("ip route del default");
    seen(&mut client, |network| {
        is_refused(network, Code::NoDefaultRoute)
    });

    // To another interface, on a LAN of the same numbers: as from Wi-Fi to a cable.
    host.other.sh("ip addr add 192.168.1.1/24 dev eth0");
    sh(
        "ip addr del 192.168.1.50/24 dev eth0; ip addr add 192.168.1.51/24 dev eth1
        ip route add default via 192.168.1.1",
    );
    seen(&mut client, |network| is_on(network, "eth1"));
    assert_eq!(proxies(), on("eth1"));
    assert!(host.other.pings(GUEST) && guest.pings("192.168.1.1"));

    // Where somebody has an address of it, none is claimed; applied again, it is asked for anew.
    sh("ip route del default");
    seen(&mut client, |network| {
        is_refused(network, Code::NoDefaultRoute)
    });
    host.other.sh("ip addr add 192.168.1.203/24 dev eth0");
    sh("ip route add default via 192.168.1.1");
    let told = seen(&mut client, |network| {
        is_refused(network, Code::AddressTaken)
    });
    assert!(told.filter && told.forwarding);
    assert_eq!(proxies(), [""; 0]);
    host.other.sh("ip addr del 192.168.1.203/24 dev eth0");
    assert!(is_on(&apply(&mut client, sixteen()).unwrap(), "eth1"));
    assert_eq!(client.call(&Shutdown {}, PATIENCE).unwrap().0.failed, []);
    assert_eq!(proxies(), [""; 0]);
}
