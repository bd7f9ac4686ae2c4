// SPDX-License-Identifier: Apache-2.0
//! The private scope outlives netd and ends with its anchor.
//!
//! Each test runs again inside a user and network namespace of its own (`unshare -Urn`) that has
//! a default route; where that cannot be made, the test fails and says so.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod kernel;

use kernel::{inside_of, netd_directory, sh, start_netd};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tapyard_protocol::{
    ApplyNetwork, Client, ClientKind, Code, Observe, SetNat, Shutdown, Snapshot,
};

const SOON: Duration = Duration::from_secs(10);

/// In a namespace that has a default route.
fn inside(test: &str) -> bool {
    let route = "ip link set lo up; ip link add eth0 type veth peer name wan0
         ip addr add 203.0.113.2/24 dev eth0; ip link set wan0 up; ip link set eth0 up
         ip route add default via 203.0.113.1";
    inside_of(test, "-Urn", route)
}

/// A directory of netd's own, gone at the end.
struct Home(PathBuf);

impl Home {
    fn new(test: &str) -> Home {
        Home(netd_directory(test))
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The processes of the record: anchor, keeper, pasta.
    fn recorded(&self) -> [u64; 3] {
        let record: Value =
            serde_json::from_slice(&fs::read(self.0.join("anchor.json")).unwrap()).unwrap();
        ["anchor", "keeper", "pasta"].map(|name| record[name]["pid"].as_u64().unwrap())
    }

    fn client(&self) -> Client {
        Client::connect(&self.0.join("netd.sock"), ClientKind::Test, SOON).unwrap()
    }

    /// Waits for pasta's interface; some 30 ms after the start.
    fn with_uplink(&self) -> Snapshot {
        let mut client = self.client();
        let deadline = Instant::now() + SOON;
        loop {
            let (snapshot, _) = client.call(&Observe {}, SOON).unwrap();
            if snapshot.uplink.device.as_deref() == Some("up0") {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "{:?}", snapshot.uplink);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(directory: &Path) -> (Child, Value) {
    start_netd(&["--scope", "private", "--lab", "seed"], directory)
}

fn kill(pid: u64) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Whether a process lives; a zombie does not.
fn lives(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn apply() -> ApplyNetwork {
    serde_json::from_value(json!({
        "lab": "seed",
        "network": {
            "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1",
            "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "domain": "lab",
            "dhcp": { "from": "192.168.57.100", "to": "192.168.57.200", "reservations": [] },
        },
    }))
    .unwrap()
}

#[test]
fn killing_netd_ends_nothing_and_shutdown_everything() {
    if !inside("killing_netd_ends_nothing_and_shutdown_everything") {
        return;
    }
    let home = Home::new("private-adopt");
    let (mut netd, ready) = start(&home.0);
    assert_eq!(ready["ready"], true, "{ready}");
    assert_eq!(ready["pid"], netd.id());
    home.client().call(&apply(), SOON).unwrap();
    let before = home.with_uplink();
    let recorded = home.recorded();
    let dnsmasq = u64::from(before.networks[0].dns.as_ref().unwrap().pid.unwrap());
    let title = fs::read_to_string(format!("/proc/{}/cmdline", recorded[0])).unwrap();
    assert!(
        title.starts_with("tapyard-netd: anchor of seed (uid 0)\0"),
        "{title}"
    );

    netd.kill().unwrap();
    netd.wait().unwrap();
    let (mut netd, ready) = start(&home.0);
    assert_eq!(ready["ready"], true, "{ready}");
    assert_eq!(
        home.recorded(),
        recorded,
        "the same anchor, keeper and pasta"
    );
    let after = home.with_uplink();
    assert_eq!(
        after.networks[0].bridge, before.networks[0].bridge,
        "the same bridge"
    );
    assert_eq!(after.uplink.pid, before.uplink.pid);
    assert_eq!(
        u64::from(after.networks[0].dns.as_ref().unwrap().pid.unwrap()),
        dnsmasq
    );

    // One that is killed by itself comes back.
    kill(recorded[2]);
    wait_until("pasta runs again", || home.recorded()[2] != recorded[2]);
    home.with_uplink();
    let pasta = home.recorded()[2];

    let (removed, _) = home.client().call(&Shutdown {}, SOON).unwrap();
    assert!(removed.failed.is_empty(), "{removed:?}");
    assert!(netd.wait().unwrap().success());
    assert!(home.files().is_empty(), "{:?}", home.files());
    for pid in [recorded[0], recorded[1], pasta, dnsmasq] {
        assert!(!lives(pid), "{pid}");
    }
}

/// Whether the process is stopped (proc_pid_stat(5)).
fn is_stopped(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, state) = stat.rsplit_once(") ").unwrap();
    state.starts_with('T')
}

#[test]
fn pasta_is_paused_while_no_network_has_its_way_out() {
    if !inside("pasta_is_paused_while_no_network_has_its_way_out") {
        return;
    }
    let home = Home::new("pause");
    let (mut netd, _) = start(&home.0);
    home.with_uplink();
    let set_nat = |network: &str, nat| {
        let set: SetNat =
            serde_json::from_value(json!({"lab": "seed", "network": network, "nat": nat})).unwrap();
        home.client().call(&set, SOON).unwrap().0
    };
    let pasta = home.recorded()[2];
    let paused = |wanted| wait_until("pasta is paused or goes on", || is_stopped(pasta) == wanted);

    home.client().call(&apply(), SOON).unwrap();
    assert!(set_nat("br0", false).drains_ms > 0);
    paused(true);
    // Another network has its way out.
    let mut other = serde_json::to_value(apply()).unwrap();
    other["network"]["name"] = json!("br1");
    other["network"]["subnet"] = json!("192.168.58.0/24");
    other["network"]["address"] = json!("192.168.58.1");
    other["network"]["dhcp"] = Value::Null;
    let other: ApplyNetwork = serde_json::from_value(other).unwrap();
    home.client().call(&other, SOON).unwrap();
    paused(false);
    set_nat("br1", false);
    paused(true);
    assert_eq!(set_nat("br1", true).drains_ms, 0);
    paused(false);
    // The same where the network is applied with its NAT switched.
    for nat in [false, true] {
        let mut switched = other.clone();
        switched.network.nat = nat;
        home.client().call(&switched, SOON).unwrap();
        paused(!nat);
    }
    set_nat("br1", false);
    paused(true);

    // netd's end changes nothing, and the next one lets it go on.
    netd.kill().unwrap();
    netd.wait().unwrap();
    let (mut netd, _) = start(&home.0);
    home.with_uplink();
    assert!(is_stopped(pasta) && home.recorded()[2] == pasta);
    set_nat("br0", true);
    paused(false);
    set_nat("br0", false);
    paused(true);
    let (removed, _) = home.client().call(&Shutdown {}, SOON).unwrap();
    assert_eq!(removed.failed, []);
    netd.wait().unwrap();
    wait_until("pasta has ended", || !lives(pasta));
    assert_eq!(home.files(), Vec::<String>::new());
}

/// The computer's IPv6 leaves by another interface than its IPv4, which has none: then pasta never
/// makes what it was asked for.
#[test]
fn pasta_is_paused_where_it_finds_no_ipv6() {
    if !inside("pasta_is_paused_where_it_finds_no_ipv6") {
        return;
    }
    sh("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
        ip link add eth1 type veth peer name wan1; ip link set wan1 up; ip link set eth1 up
        ip addr add 2001:db8::2/64 dev eth1 nodad; ip -6 route add default via 2001:db8::1 dev eth1");
    let home = Home::new("pause-ipv6");
    let (mut netd, _) = start(&home.0);
    let mut network = serde_json::to_value(apply()).unwrap();
    network["network"]["ipv6"] = json!("fd12:3456:789a:1::/64");
    let network: ApplyNetwork = serde_json::from_value(network).unwrap();
    home.client().call(&network, SOON).unwrap();
    wait_until("pasta is asked for IPv6 and has none", || {
        let ipv6 = home.with_uplink().uplink.ipv6;
        ipv6.reason.is_some_and(|e| e.code == Code::NoIpv6Route) && ipv6.host_device.is_some()
    });
    let pasta = home.recorded()[2];
    for nat in [false, true, false] {
        let set: SetNat =
            serde_json::from_value(json!({"lab": "seed", "network": "br0", "nat": nat})).unwrap();
        home.client().call(&set, SOON).unwrap();
        wait_until("pasta is paused or goes on", || is_stopped(pasta) != nat);
    }
    home.client().call(&Shutdown {}, SOON).unwrap();
    netd.wait().unwrap();
}

#[test]
fn killing_the_anchor_ends_everything() {
    if !inside("killing_the_anchor_ends_everything") {
        return;
    }
    let home = Home::new("private-anchor");
    let (mut netd, _) = start(&home.0);
    home.client().call(&apply(), SOON).unwrap();
    let dns = home.with_uplink().networks[0].dns.clone();
    let [anchor, keeper, pasta] = home.recorded();
    kill(anchor);
    assert!(!netd.wait().unwrap().success());
    let dnsmasq = u64::from(dns.unwrap().pid.unwrap());
    for pid in [anchor, keeper, pasta, dnsmasq] {
        wait_until(&format!("process {pid} ends"), || !lives(pid));
    }
    assert!(home.files().is_empty(), "{:?}", home.files());
}

#[test]
fn a_first_start_that_fails_leaves_nothing() {
    if !inside("a_first_start_that_fails_leaves_nothing") {
        return;
    }
    fs::write("/proc/sys/user/max_net_namespaces", "0").unwrap();
    let home = Home::new("private-denied");
    let (mut netd, answer) = start(&home.0);
    assert_eq!(answer["error"]["code"], "NAMESPACE_DENIED", "{answer}");
    assert_eq!(answer["error"]["subject"], "user.max_net_namespaces");
    assert!(!netd.wait().unwrap().success());
    assert!(home.files().is_empty(), "{:?}", home.files());

    // And where the engine does not start: the anchor goes with it.
    fs::write("/proc/sys/user/max_net_namespaces", "100").unwrap();
    fs::create_dir(home.0.join("journal")).unwrap();
    let (mut netd, answer) = start(&home.0);
    assert_eq!(answer["error"]["code"], "JOURNAL_FAILED", "{answer}");
    assert!(!netd.wait().unwrap().success());
    assert_eq!(home.files(), ["journal"]);
}
