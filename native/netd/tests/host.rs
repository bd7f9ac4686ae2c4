// SPDX-License-Identifier: Apache-2.0
//! The host scope where things go wrong, in namespaces of the test's own (`unshare -Urnm`), which
//! play the host: a full disk, and somebody who flushes the ruleset again and again.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod kernel;

use kernel::{inside_of, sh, start_netd};
use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tapyard_netd::directory::Directory;
use tapyard_netd::doors::Kept;
use tapyard_netd::engine::{Config, Engine, Identity, Source};
use tapyard_netd::uplink::KernelUplink;
use tapyard_protocol::{
    Acts, ApplyNetwork, Client, ClientKind, Code, OpenTap, Scope, SetNat, Shutdown,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// In namespaces with mounts of their own.
fn inside(test: &str) -> bool {
    inside_of(test, "-Urnm", "")
}

/// A host with an uplink that does not forward, and a netd in a directory on a small disk of its
/// own. Both go with the namespaces; netd is ended here.
struct Host {
    disk: PathBuf,
    netd: Child,
}

impl Host {
    fn start(test: &str) -> Host {
        let disk = std::env::temp_dir().join(format!("tapyard-host-{test}-{}", std::process::id()));
        fs::create_dir(&disk).unwrap();
        sh(&format!(
            "mount -t tmpfs -o size=128k none {0}
             ip link set lo up
             ip link add eth0 type veth peer name wan0
             ip link set wan0 up
             ip addr add 203.0.113.2/24 dev eth0
             ip link set eth0 up
             ip route add default via 203.0.113.1
             echo 0 > /proc/sys/net/ipv4/ip_forward",
            disk.display()
        ));
        let directory = disk.join("netd");
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        let (netd, said) = start_netd(&["--scope", "host"], &directory);
        assert_eq!(said["ready"], true, "{said}");
        Host { disk, netd }
    }

    fn client(&self) -> Client {
        let socket = self.disk.join("netd/netd.sock");
        Client::connect(&socket, ClientKind::Test, PATIENCE).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.netd.kill();
        let _ = self.netd.wait();
        let _ = Command::new("umount").arg(&self.disk).status();
        let _ = fs::remove_dir(&self.disk);
    }
}

fn apply() -> ApplyNetwork {
    serde_json::from_value(serde_json::json!({"lab": "seed", "network": {
        "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1",
        "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "domain": "lab", "dhcp": null,
    }}))
    .unwrap()
}

fn set_nat() -> SetNat {
    serde_json::from_value(serde_json::json!({"lab": "seed", "network": "br0", "nat": true}))
        .unwrap()
}

fn forwarding(device: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{device}/forwarding");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Writes until there is no room.
fn fill(disk: &Path) {
    let mut file = fs::File::create(disk.join("filler")).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    assert!(fs::write(disk.join("more"), [0; 512]).is_err());
}

/// As `tapyard up` with an edited lab file switches it, and `tapyard nat`.
#[test]
fn nat_is_switched_by_apply_network_as_by_set_nat() {
    if !inside("nat_is_switched_by_apply_network_as_by_set_nat") {
        return;
    }
    let host = Host::start("switched");
    let mut client = host.client();
    client.call(&apply(), PATIENCE).unwrap();
    for nat in [false, true] {
        let mut args = apply();
        args.network.nat = nat;
        client.call(&args, PATIENCE).unwrap();
    }
    for nat in [false, true] {
        let (done, _) = client.call(&SetNat { nat, ..set_nat() }, PATIENCE).unwrap();
        assert!(done.changed);
    }
    let told = client.call(&Acts {}, PATIENCE).unwrap().0.acts;
    let mut switched: Vec<_> = told
        .into_iter()
        .filter(|act| act.what.contains("NAT of br0"))
        .map(|act| (act.what, act.command.unwrap()))
        .collect();
    assert_eq!(switched.len(), 4, "{switched:?}");
    assert!(switched[0].1.contains("draining"), "{switched:?}");
    let by_set_nat = switched.split_off(2);
    assert_eq!(switched, by_set_nat);
}

/// The kernel asks the first of two routes to one subnet, and a bridge's new address makes a new one.
#[test]
fn no_subnet_takes_what_the_host_asks_for_names() {
    if !inside("no_subnet_takes_what_the_host_asks_for_names") {
        return;
    }
    let host = Host::start("resolver");
    let resolver = host.disk.join("resolv.conf");
    fs::write(&resolver, "nameserver 192.168.57.53\nnameserver fd00::53\n").unwrap();
    sh(&format!(
        "mount --bind {} /etc/resolv.conf",
        resolver.display()
    ));
    let to_resolver = || sh("ip -o route get 192.168.57.53 | cut -d' ' -f2-5");
    assert_eq!(to_resolver(), "via 203.0.113.1 dev eth0\n");

    let mut client = host.client();
    let refused = client.call(&apply(), PATIENCE).unwrap_err();
    assert_eq!(refused.code, Code::SubnetOverlap, "{refused}");
    assert_eq!(refused.subject.as_deref(), Some("192.168.57.53"));
    assert_eq!(to_resolver(), "via 203.0.113.1 dev eth0\n");
    assert_eq!(sh("ip -o link show type bridge"), "");

    fs::write(&resolver, "nameserver 192.168.58.53\n").unwrap();
    client.call(&apply(), PATIENCE).unwrap();
}

#[test]
fn an_address_is_not_changed_in_a_subnet_that_came_to_the_host_meanwhile() {
    if !inside("an_address_is_not_changed_in_a_subnet_that_came_to_the_host_meanwhile") {
        return;
    }
    let host = Host::start("readdressed");
    let mut client = host.client();
    let readdressed = |address: &str| {
        let mut args = apply();
        args.network.address = Some(address.parse().unwrap());
        args
    };
    let to_guests = || sh("ip -o route get 192.168.57.50 | cut -d' ' -f1-3");
    client.call(&apply(), PATIENCE).unwrap();
    client.call(&readdressed("192.168.57.2"), PATIENCE).unwrap();
    sh("ip link add vpn0 type veth peer vpn1; ip link set vpn1 up
        ip addr add 192.168.57.9/24 dev vpn0; ip link set vpn0 up");
    assert_eq!(to_guests(), "192.168.57.50 dev br0\n");

    let refused = client
        .call(&readdressed("192.168.57.3"), PATIENCE)
        .unwrap_err();
    assert_eq!(refused.code, Code::SubnetOverlap, "{refused}");
    assert_eq!(refused.subject.as_deref(), Some("192.168.57.9/24"));
    let (network, _) = client
        .call(&readdressed("192.168.57.2"), PATIENCE)
        .expect("what stands may be adjusted otherwise");
    assert_eq!(network.network.address, "192.168.57.2".parse().ok());
    assert_eq!(to_guests(), "192.168.57.50 dev br0\n");
}

#[test]
fn on_a_full_disk_shutdown_leaves_no_router_behind() {
    if !inside("on_a_full_disk_shutdown_leaves_no_router_behind") {
        return;
    }
    let mut host = Host::start("full");
    let mut client = host.client();
    client.call(&apply(), PATIENCE).unwrap();
    assert_eq!(forwarding("eth0"), "1");
    fill(&host.disk);
    // The page that the journal ends in has room for some more lines.
    let mut nat = false;
    let refused = loop {
        let args = SetNat { nat, ..set_nat() };
        match client.call(&args, PATIENCE) {
            Ok(_) => nat = !nat,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code, Code::JournalFailed);

    let (removed, _) = client.call(&Shutdown {}, PATIENCE).unwrap();
    assert_eq!(forwarding("eth0"), "0");
    assert_eq!(sh("nft list tables"), "");
    assert!(!sh("ip -br link").contains("br0"));
    assert_eq!(removed.failed, [], "all went, so nothing failed");
    host.netd.wait().unwrap();
    assert!(!host.disk.join("netd/journal").exists());
}

#[test]
fn the_filter_comes_back_when_whoever_flushes_it_rests() {
    if !inside("the_filter_comes_back_when_whoever_flushes_it_rests") {
        return;
    }
    let host = Host::start("flush");
    let mut client = host.client();
    client.call(&apply(), PATIENCE).unwrap();
    let holds = || sh("nft list tables").contains("tapyard");
    let mut repairs = 0;
    while holds() {
        sh("nft flush ruleset");
        sleep(Duration::from_millis(150));
        repairs += 1;
        assert!(repairs < 20, "netd gives up for a while");
    }
    let begin = Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < Duration::from_secs(13),
            "traffic goes unfiltered for ever"
        );
        sleep(Duration::from_millis(100));
    }
}

fn open_tap(number: usize) -> OpenTap {
    serde_json::from_value(serde_json::json!({
        "lab": "seed", "network": "br0", "guest": format!("g{}", number / 32), "nic": number % 32,
        "mac": format!("52:54:00:01:{:02x}:{:02x}", number >> 8, number & 0xff), "tap": "tap0",
    }))
    .unwrap()
}

/// The kernel's limit, met by real taps; what was refused leaves nothing, and room is used again.
/// Most ports are ends of veths: a thousand taps take half a minute to go.
#[test]
fn the_1024th_port_has_an_error_of_its_own() {
    if !inside("the_1024th_port_has_an_error_of_its_own") {
        return;
    }
    let host = Host::start("ports");
    let mut client = host.client();
    client.call(&apply(), PATIENCE).unwrap();
    sh("for n in $(seq 510); do
            echo link add v$n master br0 type veth peer name w$n
            echo link set w$n master br0
        done | ip -batch -");
    let mut taps = Vec::new();
    for number in 0..3 {
        let (reply, fds) = client.call(&open_tap(number), PATIENCE).unwrap();
        assert_eq!(reply.tap.as_str(), format!("tap{number}"));
        taps.push(fds);
    }
    let refused = client.call(&open_tap(3), PATIENCE).unwrap_err();
    assert_eq!(
        (refused.code, refused.subject.as_deref()),
        (Code::BridgeFull, Some("br0"))
    );
    let ports = sh("ip -o link show master br0 | wc -l; ip -o link show type tun | wc -l");
    assert_eq!(ports, "1023\n3\n", "the tap that was refused is gone");
    let taken = client.call(&open_tap(1), PATIENCE).unwrap_err();
    assert_eq!(taken.code, Code::NicInUse);
    drop(taps.swap_remove(1));
    let (reply, fds) = client.call(&open_tap(3), PATIENCE).unwrap();
    assert_eq!(reply.tap.as_str(), "tap1", "the lowest free name");
    drop((fds, taps));
    client.call(&Shutdown {}, PATIENCE).unwrap();
}

/// Whether a process sleeps most of the time, for half a second. One that spins runs or wants to.
fn sleeps(process: &Child) -> bool {
    let stat = format!("/proc/{}/stat", process.id());
    let asleep = || fs::read_to_string(&stat).unwrap().contains(") S ");
    let looks = (0..50).filter(|_| {
        sleep(Duration::from_millis(10));
        asleep()
    });
    looks.count() > 25
}

#[test]
fn waits_for_descriptors() {
    if !inside("waits_for_descriptors") {
        return;
    }
    let host = Host::start("descriptors");
    let limit = |below: u32| {
        let pid = host.netd.id();
        sh(&format!("prlimit --pid {pid} --nofile={below}:512"));
    };
    let taken =
        |number: &u32| Path::new(&format!("/proc/{}/fd/{number}", host.netd.id())).is_symlink();
    limit((0..).find(|number| !taken(number)).unwrap());
    let socket = host.disk.join("netd/netd.sock");
    let waiting = UnixStream::connect(&socket).unwrap();
    assert!(sleeps(&host.netd));

    limit(512);
    drop(waiting);
    let removed = host.client().call(&Shutdown {}, PATIENCE).unwrap().0;
    assert!(removed.failed.is_empty());
}

/// What netd's loop does when nothing more is told.
fn settle(engine: &mut Engine) {
    let mut rounds = 0;
    while engine.is_dirty() {
        engine.take_dirty();
        rounds += 1;
        assert!(rounds < 10, "it is never settled");
    }
}

/// An engine on a host, in this process, with the network `br0`.
fn engine() -> Engine {
    sh("ip link set lo up; mount -t tmpfs -o mode=700 none /mnt");
    let mut engine = Engine::start(Config {
        identity: Identity {
            scope: Scope::Host,
            lab: None,
            label_uid: 1000,
            owner_uid_here: 0,
            pid: std::process::id(),
        },
        directory: Directory::open(Path::new("/mnt")).unwrap(),
        uplink: Box::new(KernelUplink::open().unwrap()),
        fresh_namespace: false,
        kept: Kept::open(),
    })
    .unwrap();
    engine.apply_network(apply()).unwrap();
    for source in [Source::Kernel, Source::Filter] {
        engine.on_readable(&source);
    }
    settle(&mut engine);
    engine
}

/// The kernel's news of interfaces has netd look at the taps, and there it takes what nf_tables tells.
#[test]
fn a_filter_that_was_spoilt_while_taps_are_looked_at_is_mended() {
    if !inside("a_filter_that_was_spoilt_while_taps_are_looked_at_is_mended") {
        return;
    }
    let mut engine = engine();
    let rules = || sh("nft list ruleset");
    let whole = rules();
    sh("ip link add veth0 type veth peer name veth1; nft delete table inet tapyard_1000");
    assert_ne!(rules(), whole);
    engine.on_readable(&Source::Kernel);
    settle(&mut engine);
    assert_eq!(rules(), whole);
}

/// One that all networks share as well as a network's own. No more of them: netd rests when somebody
/// goes on spoiling its filter.
#[test]
fn a_chain_of_the_filter_that_was_flushed_is_mended() {
    if !inside("a_chain_of_the_filter_that_was_flushed_is_mended") {
        return;
    }
    let mut engine = engine();
    let rules = || sh("nft -s list ruleset"); // without what its counters have counted
    let whole = rules();
    for chain in ["forward", "to_host", "prerouting", "out_br0"] {
        sh(&format!("nft flush chain inet tapyard_1000 {chain}"));
        assert_ne!(rules(), whole, "{chain} has rules");
        engine.on_readable(&Source::Filter);
        settle(&mut engine);
        assert_eq!(rules(), whole, "{chain}");
    }
}

/// Where a kernel gave rules back otherwise than they were written, netd would write them at each event.
#[test]
fn a_filter_that_is_right_is_left_alone() {
    if !inside("a_filter_that_is_right_is_left_alone") {
        return;
    }
    let mut engine = engine();
    let handles = || sh("nft -a -s list table inet tapyard_1000");
    let whole = handles();
    sh("nft add table inet other; nft add element inet tapyard_1000 uplinks '{ other0 }'");
    engine.on_readable(&Source::Filter);
    settle(&mut engine);
    assert_eq!(handles(), whole);
}
