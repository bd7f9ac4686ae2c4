// SPDX-License-Identifier: Apache-2.0
//! Networks on an interface of the host's: one that is of no use to the host becomes a port of a
//! bridge of the lab's, guests are on the network behind it, the host is not, and it is given back
//! as it was. Namespaces of the test's own (`unshare -Urnm`).

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "antispoof/frames.rs"]
mod frames;
mod kernel;
#[path = "antispoof/lab.rs"]
mod lab;

use frames::Mac;
use kernel::{inside_of, run, sh};
use lab::{Guest, Lab, PATIENCE, host_mac, until, words};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tapyard_protocol::{
    ApplyNetwork, ApplyNetworkReply, Code, Observe, RemoveNetwork, Result, Shutdown, Snapshot,
};

const GUEST: Mac = [0x52, 0x54, 0, 0, 0, 2];
const OTHER: Mac = [0x52, 0x54, 0, 0, 0, 3];

fn inside(test: &str) -> bool {
    inside_of(test, "-Urnm", "")
}

/// What is behind eth1: a namespace with the other end of the cable.
struct Wire(Child);

impl Wire {
    /// A namespace with nothing in it.
    fn empty() -> Wire {
        let child = Command::new("unshare")
            .args(["-n", "sleep", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let wire = Wire(child);
        let of = |path: &str| std::fs::read_link(path).unwrap();
        let there = format!("/proc/{}/ns/net", wire.0.id());
        until("a namespace", || of(&there) != of("/proc/self/ns/net"));
        wire
    }

    /// eth1 is there, down, with this MTU.
    fn plug(mtu: u32) -> Wire {
        let wire = Wire::empty();
        let pid = wire.0.id();
        sh(&format!(
            "ip link add eth1 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {pid}"
        ));
        wire.sh("ip link set lo up; ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up");
        wire
    }

    fn sh(&self, script: &str) -> String {
        let pid = self.0.id().to_string();
        run("nsenter", &["-n", "-t", &pid, "sh", "-ec", script])
    }

    /// Whether the script succeeds there.
    fn can(&self, script: &str) -> bool {
        self.sh(&format!("({script}) >&2 && echo yes || echo no")) == "yes\n"
    }

    /// A DHCP server for as long as this lives.
    fn serve_dhcp(&self) -> Server {
        let pid = self.0.id().to_string();
        let server = Command::new("nsenter")
            .args([
                "-n",
                "-t",
                &pid,
                "dnsmasq",
                "--keep-in-foreground",
                "--port=0",
            ])
            .args([
                "--conf-file=/dev/null",
                "--dhcp-leasefile=/dev/null",
                "--user=",
            ])
            .args([
                "--dhcp-range=192.0.2.100,192.0.2.150",
                "--interface=eth0",
                "--no-ping",
            ])
            .args(["--bind-interfaces", "--pid-file=", "--group="])
            .spawn();
        Server(server.unwrap())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spec(name: &str, interface: &str) -> Value {
    json!({
        "name": name, "mode": "bridged", "interface": interface, "mac": words(host_mac(1)),
        "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null,
    })
}

fn ask(lab: &mut Lab, of: &str, network: Value) -> Result<ApplyNetworkReply> {
    let args: ApplyNetwork =
        serde_json::from_value(json!({"lab": of, "network": network})).unwrap();
    lab.client.call(&args, PATIENCE).map(|(reply, _)| reply)
}

fn remove(lab: &mut Lab, network: &str) -> Vec<String> {
    let args: RemoveNetwork =
        serde_json::from_value(json!({"lab": "seed", "network": network})).unwrap();
    let (removed, _) = lab.client.call(&args, PATIENCE).unwrap();
    assert_eq!(removed.failed, []);
    removed.removed
}

fn snapshot(lab: &mut Lab) -> Snapshot {
    lab.client.call(&Observe {}, PATIENCE).unwrap().0
}

/// What the kernel has of interfaces, addresses, routes and eth1's switches.
fn picture() -> String {
    // A device that was up once keeps its queue.
    let links = sh(r#"ip -j link | sed -E 's/"qdisc": *"[a-z_]*",//g'"#);
    let rest = sh(
        "ip -j addr | sed -E 's/\"qdisc\": *\"[a-z_]*\",//g'; ip -j route show table all
                   ip -j -6 route show table all; nft list ruleset
                   cat /proc/sys/net/ipv6/conf/eth1/disable_ipv6",
    );
    format!("{links}{rest}")
}

/// The same once the kernel is done with what was asked of it: addresses of IPv6 come by and by.
fn settled() -> String {
    let mut seen = picture();
    until("all is as it stays", || {
        std::thread::sleep(Duration::from_millis(50));
        let before = std::mem::replace(&mut seen, picture());
        before == seen && !seen.contains("tentative")
    });
    seen
}

/// The kernel gives an interface its link-local address a moment after IPv6 is on.
fn is_again(before: &str) {
    let end = Instant::now() + PATIENCE;
    while picture() != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(picture(), before);
}

fn link(name: &str) -> Value {
    let listed: Value = serde_json::from_str(&sh(&format!("ip -j -d addr show {name}"))).unwrap();
    listed[0].clone()
}

/// Its link-local address is there and settled.
fn wait_for_link_local() {
    until("a link-local address", || {
        let listed = sh("ip -6 addr show dev eth1");
        listed.contains("fe80::") && !listed.contains("tentative")
    });
}

#[test]
fn guests_are_on_the_network_behind_it() {
    if !inside("guests_are_on_the_network_behind_it") {
        return;
    }
    let mut lab = Lab::start("interface");
    let wire = Wire::plug(1400);
    let _server = wire.serve_dhcp();
    // What the host has elsewhere, and would answer for by any interface that asks.
    sh("ip addr add 192.0.2.77/32 dev lo; ip link set eth1 alias 'to the test bench'");
    for up in [false, true] {
        if up {
            sh("ip link set eth1 up");
            wait_for_link_local();
        }
        let before = settled();
        let reply = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
        let ids: Vec<_> = reply.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids.last(), Some(&"dns"));
        assert!(ids.contains(&"bridge_port"), "{ids:?}");
        let network = reply.network;
        assert_eq!(network.interface.as_deref(), Some("eth1"));
        assert!(network.filter && network.antispoof && !network.forwarding);
        assert_eq!(network.mtu, 1400);
        let port = link("eth1");
        assert_eq!(port["master"], "lan");
        assert_eq!(port["ifalias"], "tapyard:0:seed:lan");
        assert_eq!(port["addr_info"], json!([]));
        let bridge = link("lan");
        assert_eq!(bridge["addr_info"], json!([]));
        assert!(bridge["flags"].to_string().contains("NOARP"), "{bridge}");

        let tap = lab.tap("lan", "g2", GUEST, "tap0");
        assert_eq!(link("tap0")["mtu"], 1400);
        let guest = Guest::on(tap);
        assert!(guest.takes_lease().starts_with("192.0.2.1"));
        assert!(guest.pings("192.0.2.1"));

        // The host is not there, whoever asks in whichever way; only its switch-off is why.
        assert!(!wire.can("busybox arping -c 1 -w 1 -I eth0 192.0.2.77"));
        assert!(!guest.run("busybox arping -c 1 -w 1 -I eth0 192.0.2.77").0);
        let to_bridge = format!(
            "ip neigh replace 192.0.2.77 lladdr {} dev eth0",
            words(host_mac(1))
        );
        wire.sh(&to_bridge);
        assert!(!wire.can("busybox ping -c1 -W1 192.0.2.77"));
        wire.sh("ip neigh del 192.0.2.77 dev eth0");
        sh("ip link set lan arp on");
        assert!(wire.can("busybox arping -c 2 -w 5 -I eth0 192.0.2.77"));
        ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
        assert!(!wire.can("busybox arping -c 1 -w 1 -I eth0 192.0.2.77"));

        // The guard is about guests.
        let guard = sh("nft list table bridge tapyard_0");
        assert!(guard.contains("tap0") && !guard.contains("eth1"), "{guard}");

        // A netd that comes after this one has it all; what is right stays.
        lab.restart_netd();
        assert!(guest.pings("192.0.2.1"));
        let again = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
        let changed: Vec<_> = again.steps.iter().filter(|step| step.changed).collect();
        assert!(changed.is_empty(), "{changed:?}");

        drop(guest);
        until("the tap is gone", || !sh("ip -br link").contains("tap0"));
        assert!(remove(&mut lab, "lan").contains(&"eth1 from bridge lan".to_owned()));
        is_again(&before);
    }
}

#[test]
fn what_the_host_uses_is_refused() {
    if !inside("what_the_host_uses_is_refused") {
        return;
    }
    let mut lab = Lab::start("interface-used");
    let _wire = Wire::plug(1500);
    sh(
        "ip link add br-lan type bridge; ip link add ifb7 type ifb; ip tuntap add tun9 mode tap
        ip link set eth1 up",
    );
    wait_for_link_local();
    let refusals = [
        ("none", "true", "true", "there is no such interface"),
        ("ifb7", "true", "true", "no network card"),
        ("tun9", "true", "true", "a program's tap"),
        ("br-lan", "true", "true", "it is a bridge itself"),
        (
            "eth1",
            "ip addr add 10.1.0.1/24 dev eth1",
            "ip addr del 10.1.0.1/24 dev eth1",
            "10.1.0.1/24",
        ),
        (
            "eth1",
            "ip addr add 2001:db8::7/64 dev eth1",
            "ip addr del 2001:db8::7/64 dev eth1",
            "2001:db8::7/64",
        ),
        (
            "eth1",
            "ip route add 10.2.0.0/16 dev eth1",
            "ip route del 10.2.0.0/16 dev eth1",
            "route to 10.2.0.0/16",
        ),
        (
            "eth1",
            "ip link set br-lan up; ip route add 10.2.0.0/16 nexthop dev br-lan nexthop dev eth1",
            "ip route del 10.2.0.0/16; ip link set br-lan down",
            "route to 10.2.0.0/16",
        ),
        (
            "eth1",
            "ip link set eth1 master br-lan",
            "ip link set eth1 nomaster",
            "a port of br-lan",
        ),
        (
            "eth1",
            "ip link add link eth1 name mac7 type macvlan",
            "ip link del mac7",
            "mac7 is on top",
        ),
        (
            "eth1",
            "ip link set eth1 alias tapyard:7:x:lan",
            "ip link set eth1 alias ''",
            "a lab has it",
        ),
    ];
    for (interface, use_it, leave_it, why) in refusals {
        sh(use_it);
        let before = settled();
        let error = ask(&mut lab, "seed", spec("lan", interface)).unwrap_err();
        let code = match interface {
            "none" => Code::NoSuchInterface,
            _ => Code::InterfaceInUse,
        };
        assert_eq!(error.code, code, "{error}");
        assert_eq!(error.subject.as_deref(), Some(interface));
        assert!(error.message.contains(why), "{why}: {error}");
        assert!(error.hint.is_some(), "{error}");
        assert_eq!(picture(), before, "{why}");
        sh(leave_it);
    }
    // A DHCP client that waits for a server has no address yet.
    let mut client = Command::new("busybox")
        .args(["udhcpc", "-f", "-i", "eth1", "-t", "100", "-s", "/bin/true"])
        .spawn()
        .unwrap();
    // A socket is there before it is the interface's: the fifth column says whose.
    let index = link("eth1")["ifindex"].to_string();
    until("it listens", || {
        let sockets = std::fs::read_to_string("/proc/net/packet").unwrap();
        sockets
            .lines()
            .any(|line| line.split_whitespace().nth(4) == Some(&*index))
    });
    let error = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap_err();
    assert!(error.message.contains("a program listens"), "{error}");
    client.kill().unwrap();
    client.wait().unwrap();

    // A container's macvlan is in a namespace that netd does not see.
    let container = Wire::empty();
    let pid = container.0.id();
    sh(&format!(
        "ip link add link eth1 name mac7 type macvlan; ip link set mac7 netns {pid}"
    ));
    let before = settled();
    let error = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap_err();
    assert_eq!(error.code, Code::InterfaceInUse, "{error}");
    is_again(&before);
    drop(container);
    until("the macvlan is gone", || {
        ask(&mut lab, "seed", spec("lan", "eth1")).is_ok()
    });
    remove(&mut lab, "lan");

    // As the kernel tells of Wi-Fi.
    sh("mount -t tmpfs none /sys/class/net && mkdir -p /sys/class/net/eth1/wireless");
    let error = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap_err();
    assert_eq!(error.code, Code::WifiCannotBridge, "{error}");
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("mode: nat") && hint.contains("proxyArp: true"),
        "{hint}"
    );
    sh("umount /sys/class/net");

    // One network at a time.
    ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
    for (of, name) in [("seed", "lan2"), ("other", "lan3")] {
        let error = ask(&mut lab, of, spec(name, "eth1")).unwrap_err();
        assert_eq!(error.code, Code::InterfaceInUse);
        assert!(error.message.contains("a port of lan already"), "{error}");
    }
}

/// The user may write the journal.
#[test]
fn a_forged_journal_gives_nothing_back_but_what_was_taken() {
    if !inside("a_forged_journal_gives_nothing_back_but_what_was_taken") {
        return;
    }
    let mut lab = Lab::start("interface-forged");
    let _wire = Wire::plug(1500);
    let taken = |network: &str, name: &str| {
        let found = json!({"ifindex": link(name)["ifindex"], "up": true, "ipv6": false,
            "alias": "tapyard:0:seed:other"});
        json!({"taken": {"network": network, "found": found}})
    };
    lab.network("br0", 7, true, &[]);
    lab.forge(&taken("br0", "br0"));
    assert_eq!(link("br0")["ifalias"], "tapyard:0:seed:br0");
    remove(&mut lab, "br0");
    assert!(!sh("ip -br link").contains("br0"));

    ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
    lab.forge(&taken("lan", "lan"));
    assert_eq!(link("lan")["ifalias"], "tapyard:0:seed:lan");
    lab.forge(&taken("lan", "eth1"));
    remove(&mut lab, "lan");
    assert!(!sh("ip -br link").contains("lan@"));
    assert!(link("eth1")["ifalias"].is_null(), "{}", link("eth1"));
}

/// Whose label somebody wrote over is nobody's to delete, but guests may be on it still.
#[test]
fn a_bridge_that_stays_keeps_its_filter_and_its_guard() {
    if !inside("a_bridge_that_stays_keeps_its_filter_and_its_guard") {
        return;
    }
    let mut lab = Lab::start("interface-stays");
    lab.network("br0", 7, true, &[]);
    lab.network("br1", 8, true, &[]);
    let _tap = lab.tap("br0", "g2", GUEST, "tap0");
    let filtered = || {
        let rules = sh("nft list ruleset");
        rules.contains("chain in_br0") && rules.contains("tap0")
    };
    assert!(filtered());
    sh("ip link set br0 alias mine");
    let fails = |lab: &mut Lab| {
        let args = json!({"lab": "seed", "network": "br0"});
        let args: RemoveNetwork = serde_json::from_value(args).unwrap();
        let (removed, _) = lab.client.call(&args, PATIENCE).unwrap();
        let codes: Vec<_> = removed.failed.iter().map(|error| error.code).collect();
        assert_eq!(codes, [Code::NameTaken]);
        assert!(filtered(), "{}", sh("nft list ruleset"));
    };
    fails(&mut lab);
    remove(&mut lab, "br1");
    assert!(filtered());
    lab.restart_netd();
    fails(&mut lab);
    lab.client.call(&Shutdown {}, PATIENCE).unwrap();
    assert!(filtered(), "after shutdown");
    lab.restart_netd();
    fails(&mut lab);
    sh("ip link set br0 alias '' down");
    lab.client.call(&Shutdown {}, PATIENCE).unwrap();
    assert_eq!(sh("nft list ruleset"), "");
    lab.restart_netd();
}

/// The host gets an address there between the question and the act.
#[test]
fn what_the_host_begins_to_use_just_then_is_given_back() {
    if !inside("what_the_host_begins_to_use_just_then_is_given_back") {
        return;
    }
    let mut lab = Lab::start("interface-race");
    let _wire = Wire::plug(1500);
    sh("ip link set eth1 alias bench");
    // netd reads this once it has asked, and waits for as long as nobody writes.
    let gate = "/proc/sys/net/ipv6/conf/eth1/disable_ipv6";
    sh(&format!(
        "mount -t tmpfs none /mnt; mkfifo /mnt/gate; mount --bind /mnt/gate {gate}"
    ));
    let other = std::thread::spawn(move || {
        let mut writer = std::fs::OpenOptions::new().write(true).open(gate).unwrap();
        sh(&format!(
            "ip addr add 10.1.0.1/24 dev eth1; ip link set eth1 up; umount -l {gate}"
        ));
        std::io::Write::write_all(&mut writer, b"0\n").unwrap();
    });
    let error = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap_err();
    other.join().unwrap();
    assert_eq!(error.code, Code::InterfaceInUse, "{error}");
    assert!(error.message.contains("10.1.0.1/24"), "{error}");
    let port = link("eth1");
    assert!(port["master"].is_null(), "{port}");
    assert_eq!(port["ifalias"], "bench");
    assert!(port["flags"].to_string().contains("\"UP\""), "{port}");
    assert_eq!(sh(&format!("cat {gate}")), "0\n");
    assert!(!sh("ip -br link").contains("lan"));
}

#[test]
fn what_others_do_with_it_meanwhile_is_theirs() {
    if !inside("what_others_do_with_it_meanwhile_is_theirs") {
        return;
    }
    let mut lab = Lab::start("interface-meddled");
    let wire = Wire::plug(1500);
    ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
    let tap = lab.tap("lan", "g2", GUEST, "tap0");
    let other = lab.tap("lan", "g3", OTHER, "tap1");
    let master = |lab: &mut Lab| {
        let links = snapshot(lab).links;
        links
            .iter()
            .find(|link| link.name == "eth1")
            .unwrap()
            .master
    };
    assert!(master(&mut lab).is_some());

    // Taken out and used: it stays so, and the guests have each other.
    sh("ip link set eth1 nomaster; ip addr add 10.1.0.1/24 dev eth1");
    assert_eq!(master(&mut lab), None);
    lab.restart_netd();
    assert_eq!(master(&mut lab), None);
    let network = snapshot(&mut lab).networks.remove(0);
    assert!(network.bridge.is_some() && network.filter, "{network:?}");
    let error = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap_err();
    assert_eq!(error.code, Code::InterfaceInUse, "{error}");
    let request = frames::arp(OTHER, 1, OTHER, [10, 0, 0, 3].into(), [10, 0, 0, 2].into());
    assert!(tap.hears(&other, &request));
    remove(&mut lab, "lan");
    let port = link("eth1");
    assert!(port["flags"].to_string().contains("\"UP\""), "{port}");
    assert!(port["ifalias"].is_null(), "{port}");
    assert!(port["addr_info"].to_string().contains("10.1.0.1"), "{port}");
    assert_eq!(sh("cat /proc/sys/net/ipv6/conf/eth1/disable_ipv6"), "0\n");
    sh("ip addr del 10.1.0.1/24 dev eth1");

    // Unplugged, and plugged in again.
    ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
    sh("ip link del eth1");
    let error = ask(&mut lab, "seed", spec("lan", "eth1")).unwrap_err();
    assert_eq!(error.code, Code::NoSuchInterface, "{error}");
    lab.restart_netd();
    let seen = snapshot(&mut lab);
    assert!(seen.networks[0].bridge.is_some(), "{seen:?}");
    assert!(tap.hears(&other, &request));
    drop(wire);
    let _wire = Wire::plug(1500);
    ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
    assert!(master(&mut lab).is_some());

    // To another interface, to an administrator's bridge, and back.
    sh("ip link add eth2 type veth peer name cable; ip link add br-lan type bridge");
    let before = sh("ip -j link show eth1");
    ask(&mut lab, "seed", spec("lan", "eth2")).unwrap();
    assert_eq!(master(&mut lab), None);
    assert!(link("tap0")["master"] == "lan" && link("eth2")["master"] == "lan");
    assert!(!link("eth1")["flags"].to_string().contains("\"UP\""));
    lab.bridged("lan", "br-lan", true);
    assert!(link("tap0")["master"] == "br-lan" && link("eth2")["master"].is_null());
    assert!(!sh("ip -br link").contains("lan@") && !sh("nft list tables").contains("inet"));
    ask(&mut lab, "seed", spec("lan", "eth1")).unwrap();
    assert_eq!(sh("ip -j link show eth1"), before);
}
