// SPDX-License-Identifier: Apache-2.0
//! IPv6 out of the host scope where the kernel cannot forward it for one interface (Linux before 6.17),
//! on a host with two more interfaces and a default route by router advertisement. A newer kernel's
//! switch is covered, so that netd takes it for an older one.

use crate::host::{Host, NOTHING, PATIENCE, Peer, apply, guest, spec, until};
use crate::inside;
use crate::kernel::sh;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tapyard_protocol::{Client, Observe, RemoveNetwork, Shutdown};

const CONF: &str = "/proc/sys/net/ipv6/conf";

/// What there is of IPv6's sysctls that netd writes, of interfaces that are not a lab's.
const SYSCTLS: &str = "cd /proc/sys/net/ipv6/conf; for i in all default lo eth0 eth1 eth2; do
    grep -s . $i/forwarding $i/accept_ra; done";

/// Has a router on the LAN advertise itself, until the host has a default route by it.
fn advertise(wan: &Peer) {
    let _router = Router::start(wan, "2001:db8");
    until("the host has its route", || route().contains("proto ra"));
}

/// dnsmasq, which advertises itself as soon as it starts, until this ends.
struct Router(Child);

impl Router {
    fn start(of: &Peer, prefix: &str) -> Router {
        let child = Command::new("nsenter")
            .args(["-n", "-t", &of.pid().to_string()])
            .args([
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
            ])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--user=",
                "--group=",
                "--pid-file=",
            ])
            .args([
                "--leasefile-ro",
                "--log-facility=-",
                "--interface=eth0",
                "--enable-ra",
            ])
            .arg(format!("--dhcp-range={prefix}::,ra-only"))
            .stderr(Stdio::null())
            .spawn();
        Router(child.unwrap())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The host's default routes, as they are told by `ip`, but for what counts down.
fn route() -> String {
    sh("ip -6 route show default | sed 's/ expires.*//'")
}

fn value(name: &str, key: &str) -> String {
    sh(&format!("cat {CONF}/{name}/{key}")).trim().to_owned()
}

/// A host as an older kernel has it: eth0 leads out by a router advertisement, eth1 to `other`, which
/// would send by it, and eth2 too, to the third.
fn older(test: &str) -> (Host, Peer) {
    sh(&format!(
        "[ ! -e {CONF}/default/force_forwarding ] ||
             mount --bind /dev/null {CONF}/default/force_forwarding"
    ));
    let host = Host::start(test);
    let (wan, other, third) = (&host.wan, &host.other, Peer::new());
    sh(&format!(
        "ip link add eth2 type veth peer name eth0 netns {}; ip link set eth2 up
         ip addr add 2001:db8:1::2/64 dev eth1 nodad; ip addr add 2001:db8:2::2/64 dev eth2 nodad",
        third.pid()
    ));
    wan.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
            ip addr add 2001:db8::1/64 dev eth0 nodad");
    other.sh("ip addr add 2001:db8:1::1/64 dev eth0 nodad; ip route add default via 2001:db8:1::2");
    third.sh(
        "ip link set lo up; ip addr add 2001:db8:2::1/64 dev eth0 nodad; ip link set eth0 up
              ip route add default via 2001:db8:2::2",
    );
    third.serve();
    advertise(wan);
    until("and an address", || {
        sh("ip -6 addr show dev eth0 scope global -tentative").contains("2001:db8:")
    });
    // The way back, to whatever address the host made.
    let own = sh("ip -6 addr show dev eth0 scope global | sed -n 's/.*inet6 \\([^/]*\\).*/\\1/p'");
    for net in ["fd00::/8", "2001:db8:1::/64", "2001:db8:2::/64"] {
        wan.sh(&format!("ip route add {net} via {}", own.trim()));
    }
    (host, third)
}

fn ipv6(n: u8, mode: &str) -> Value {
    let mut spec = spec(n, mode);
    spec["ipv6"] = format!("fd12:3456:789a:{n}::/64").into();
    spec
}

fn guest6(n: u8) -> Peer {
    let guest = guest(n);
    guest.sh(&format!(
        "ip addr add fd12:3456:789a:{n}::2/64 dev eth0 nodad
         ip route add default via fd12:3456:789a:{n}::1"
    ));
    guest
}

fn remove(client: &mut Client, network: &str) {
    let args: RemoveNetwork =
        serde_json::from_value(json!({"lab": "seed", "network": network})).unwrap();
    assert_eq!(client.call(&args, PATIENCE).unwrap().0.failed, []);
}

/// Nothing goes between the host's own interfaces, nor from them to a guest that is behind NAT.
fn nothing_between(host: &Host, third: &Peer) {
    let all = [
        "2001:db8::1",
        "2001:db8:1::1",
        "2001:db8:2::1",
        "fd12:3456:789a:1::2",
    ];
    let but = |own: usize| {
        let others = all.iter().enumerate().filter(|(at, _)| *at != own);
        others.map(|(_, to)| *to).collect::<Vec<_>>()
    };
    assert_eq!(host.wan.reached(&but(0)), NOTHING, "from eth0");
    assert_eq!(host.other.reached(&but(1)), NOTHING, "from eth1");
    assert_eq!(third.reached(&but(2)), NOTHING, "from eth2");
}

#[test]
fn ipv6_goes_out_of_a_machine_that_is_a_router_for_labs_alone() {
    if !inside("router6::ipv6_goes_out_of_a_machine_that_is_a_router_for_labs_alone") {
        return;
    }
    let (host, third) = older("router6");
    // Both are somebody's wish: one is a router's, one takes advertisements in any case.
    sh(&format!(
        "echo 2 > {CONF}/eth2/accept_ra; echo 1 > {CONF}/eth1/forwarding"
    ));
    // That made the kernel forget the route.
    advertise(&host.wan);
    let before = (sh(SYSCTLS), route());
    let mut client = host.client();
    apply(&mut client, ipv6(1, "nat")).unwrap();
    apply(&mut client, ipv6(2, "routed")).unwrap();
    apply(&mut client, ipv6(3, "isolated")).unwrap();
    let (natted, routed, isolated) = (guest6(1), guest6(2), guest6(3));

    // It is told, and all that differs is that the kernel forwards.
    let (snapshot, _) = client.call(&Observe {}, PATIENCE).unwrap();
    let uplink = snapshot.uplink.ipv6;
    assert_eq!(uplink.device.as_deref(), Some("eth0"));
    assert!(uplink.forwarding && uplink.router && uplink.reason.is_none());
    let during = before.0.replace("all/forwarding:0", "all/forwarding:2");
    assert_eq!((sh(SYSCTLS), route()), (during.clone(), before.1.clone()));

    assert!(natted.pings("2001:db8::1") && natted.reaches("2001:db8::1"));
    assert!(routed.pings("2001:db8::1") && routed.reaches("2001:db8::1"));
    assert!(
        host.wan.reaches("fd12:3456:789a:2::2"),
        "in, to the routed one"
    );
    assert_eq!(
        isolated.reached(&["2001:db8::1", "fd12:3456:789a:1::2"]),
        NOTHING
    );
    assert_eq!(natted.reached(&["2001:db8:1::1", "2001:db8:2::1"]), NOTHING);
    nothing_between(&host, &third);

    // An interface that comes meanwhile is a host's, and nothing is forwarded for it either.
    sh("ip link add late type bridge; ip link set late up");
    assert_eq!(
        (value("late", "forwarding"), value("late", "accept_ra")),
        ("0".into(), "1".into())
    );
    sh("ip link delete late");

    // Somebody switches it off: it comes again. Somebody makes the machine a router: it is theirs.
    sh(&format!(
        "echo 0 > {CONF}/all/forwarding; echo 1 > {CONF}/eth1/forwarding"
    ));
    until("it forwards again", || value("all", "forwarding") == "2");
    assert!(natted.reaches("2001:db8::1"));
    until("as before", || sh(SYSCTLS) == during);
    sh(&format!("echo 1 > {CONF}/all/forwarding"));
    until("nothing is guarded any more", || {
        !sh("nft list set inet tapyard_0 router").contains("ipv6")
    });
    assert!(
        host.other.reaches("2001:db8:2::1"),
        "as whoever wrote it wants"
    );
    assert!(natted.reaches("fd12:3456:789a:1::1") || natted.pings("2001:db8::1"));
    let (snapshot, _) = client.call(&Observe {}, PATIENCE).unwrap();
    assert!(snapshot.uplink.ipv6.forwarding && !snapshot.uplink.ipv6.router);
    sh(&format!(
        "echo 0 > {CONF}/all/forwarding; echo 1 > {CONF}/eth1/forwarding"
    ));
    until("it is netd's again", || value("all", "forwarding") == "2");
    until("as before", || sh(SYSCTLS) == during);
    nothing_between(&host, &third);

    // With the last network that sends IPv6 out it ends; what others set meanwhile stays.
    sh(&format!(
        "echo 0 > {CONF}/eth2/accept_ra; echo 1 > {CONF}/eth2/forwarding"
    ));
    remove(&mut client, "br1");
    assert_eq!(value("all", "forwarding"), "2");
    remove(&mut client, "br2");
    assert_eq!(value("all", "forwarding"), "0");
    assert_eq!(
        (value("eth2", "accept_ra"), value("eth2", "forwarding")),
        ("0".into(), "1".into())
    );
    assert!(!sh("nft list set inet tapyard_0 router").contains("ipv6"));
    sh(&format!(
        "echo 2 > {CONF}/eth2/accept_ra; echo 0 > {CONF}/eth2/forwarding"
    ));
    assert_eq!(sh(SYSCTLS), before.0);
    assert_eq!(client.call(&Shutdown {}, PATIENCE).unwrap().0.failed, []);
    assert_eq!(
        (sh(SYSCTLS), sh("nft list tables")),
        (before.0, String::new())
    );
}
