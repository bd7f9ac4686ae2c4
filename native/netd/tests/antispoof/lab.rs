// SPDX-License-Identifier: Apache-2.0
//! A netd in the host scope of a namespace, and guests on real taps of it.

#![allow(dead_code)] // each test file uses what it needs

use super::frames::Mac;
use crate::kernel::{self, sh};
use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::{Value, json};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tapyard_protocol::{
    ApplyNetwork, ApplyNetworkReply, Client, ClientKind, OpenTap, Result, Scope, Shutdown,
};

pub const PATIENCE: Duration = Duration::from_secs(20);
/// `struct virtio_net_hdr`, before each frame of a tap.
const HEADER: usize = 10;

pub struct Lab {
    directory: PathBuf,
    scope: Scope,
    netd: Child,
    pub client: Client,
}

impl Lab {
    pub fn start(test: &str) -> Lab {
        Lab::in_scope(test, Scope::Host)
    }

    /// In the private scope it serves the lab `seed` only.
    pub fn in_scope(test: &str, scope: Scope) -> Lab {
        let directory = kernel::netd_directory(test);
        sh("ip link set lo up; sysctl -qw net.ipv6.conf.default.accept_dad=0");
        let (netd, client) = start_netd(&directory, scope);
        Lab {
            directory,
            scope,
            netd,
            client,
        }
    }

    /// Runs a script where the networks are: a private lab has namespaces of its own.
    pub fn sh(&self, script: &str) -> String {
        if self.scope != Scope::Private {
            return sh(script);
        }
        let record = std::fs::read(self.directory.join("anchor.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        let keeper = record["keeper"]["pid"].to_string();
        let enter = ["-U", "--preserve-credentials", "-n", "-t", &keeper];
        kernel::run("nsenter", &[&enter[..], &["sh", "-ec", script]].concat())
    }

    /// kill -9, and another one on the same directory.
    pub fn restart_netd(&mut self) {
        self.netd.kill().unwrap();
        self.netd.wait().unwrap();
        (self.netd, self.client) = start_netd(&self.directory, self.scope);
    }

    /// The same with one more line in its journal.
    pub fn forge(&mut self, line: &Value) {
        self.netd.kill().unwrap();
        self.netd.wait().unwrap();
        let journal = self.directory.join("journal");
        let before = std::fs::read_to_string(&journal).unwrap();
        std::fs::write(&journal, format!("{before}{line}\n")).unwrap();
        self.restart_netd();
    }

    /// It mends nothing from now on.
    pub fn pause_netd(&self) {
        self.signal("STOP");
    }

    /// To netd and its children: in the private scope the engine is one of them.
    fn signal(&self, signal: &str) {
        let pid = self.netd.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &pid.to_string()])
            .args(children.unwrap_or_default().split_whitespace())
            .status();
    }

    /// 10.N.0.0/24 with the host at .1, a range from .100 on, and what is reserved.
    pub fn network(&mut self, name: &str, n: u8, antispoof: bool, reserved: &[(Mac, u8)]) {
        let reservations: Vec<_> = reserved
            .iter()
            .map(|(mac, last)| json!({"mac": words(*mac), "address": format!("10.{n}.0.{last}"), "guest": format!("g{last}")}))
            .collect();
        let reply = self.apply(
            "seed",
            json!({
                "name": name, "subnet": format!("10.{n}.0.0/24"), "address": format!("10.{n}.0.1"),
                "mac": words(host_mac(n)), "mtu": 1500, "nat": false, "domain": "lab",
                "antispoof": antispoof,
                "dhcp": {"from": format!("10.{n}.0.100"), "to": format!("10.{n}.0.199"), "reservations": reservations},
            }),
        );
        assert_eq!(reply.network.antispoof, antispoof);
    }

    /// The same with the host at PREFIX::1.
    pub fn network6(&mut self, name: &str, n: u8, ipv6: &str) {
        self.apply(
            "seed",
            json!({
                "name": name, "subnet": format!("10.{n}.0.0/24"), "address": format!("10.{n}.0.1"),
                "ipv6": ipv6, "mac": words(host_mac(n)), "mtu": 1500, "nat": false,
                "domain": "lab", "antispoof": true,
                "dhcp": {"from": format!("10.{n}.0.100"), "to": format!("10.{n}.0.199"), "reservations": []},
            }),
        );
    }

    /// The guests are on this bridge, which is not netd's.
    pub fn bridged(&mut self, name: &str, uplink: &str, antispoof: bool) {
        let reply = self.ask_bridged(name, uplink, antispoof).unwrap();
        assert_eq!(reply.network.antispoof, antispoof);
    }

    /// For what may be refused.
    pub fn ask_bridged(
        &mut self,
        name: &str,
        uplink: &str,
        antispoof: bool,
    ) -> Result<ApplyNetworkReply> {
        let network = json!({
            "name": name, "mode": "bridged", "uplink": uplink, "mac": words(host_mac(1)),
            "mtu": 1500, "nat": false, "antispoof": antispoof, "domain": "lab", "dhcp": null,
        });
        let args = json!({"lab": "seed", "network": network});
        let args: ApplyNetwork = serde_json::from_value(args).unwrap();
        self.client.call(&args, PATIENCE).map(|(reply, _)| reply)
    }

    pub fn apply(&mut self, lab: &str, network: Value) -> ApplyNetworkReply {
        let args = json!({"lab": lab, "network": network});
        let args: ApplyNetwork = serde_json::from_value(args).unwrap();
        self.client.call(&args, PATIENCE).unwrap().0
    }

    pub fn tap(&mut self, network: &str, guest: &str, mac: Mac, tap: &str) -> Tap {
        self.tap_of("seed", network, guest, mac, tap)
    }

    pub fn tap_of(&mut self, lab: &str, network: &str, guest: &str, mac: Mac, tap: &str) -> Tap {
        let args = tap_args(lab, network, guest, mac, tap);
        let (reply, mut fds) = self.client.call(&args, PATIENCE).unwrap();
        assert_eq!(reply.tap.as_str(), tap);
        let fd = fds.remove(0);
        fcntl_setfl(&fd, OFlags::NONBLOCK).unwrap();
        Tap { fd, mac }
    }

    /// For what may be refused.
    pub fn ask_tap(&mut self, network: &str, guest: &str, mac: Mac, tap: &str) -> Result<()> {
        let args = tap_args("seed", network, guest, mac, tap);
        self.client.call(&args, PATIENCE).map(drop)
    }
}

fn tap_args(lab: &str, network: &str, guest: &str, mac: Mac, tap: &str) -> OpenTap {
    let args = json!({"lab": lab, "network": network, "guest": guest, "nic": 0,
        "mac": words(mac), "tap": tap});
    serde_json::from_value(args).unwrap()
}

impl Drop for Lab {
    fn drop(&mut self) {
        // One that stands still ends nothing, and its dnsmasq would stay.
        self.signal("CONT");
        let _ = self.client.call(&Shutdown {}, PATIENCE);
        let _ = self.netd.kill();
        let _ = self.netd.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn start_netd(directory: &std::path::Path, scope: Scope) -> (Child, Client) {
    let args = match scope {
        Scope::Host => &["--scope", "host"][..],
        Scope::Private => &["--scope", "private", "--lab", "seed"],
    };
    let (netd, said) = kernel::start_netd(args, directory);
    assert_eq!(said["ready"], true, "{said}");
    let socket = directory.join("netd.sock");
    let client = Client::connect(&socket, ClientKind::Test, PATIENCE).unwrap();
    (netd, client)
}

/// The bridge's own address in the network 10.N.0.0/24.
pub fn host_mac(n: u8) -> Mac {
    [0x52, 0x54, 0, 0xff, 0, n]
}

pub fn words(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Waits until it is so.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A tap as its QEMU holds it.
pub struct Tap {
    pub fd: OwnedFd,
    pub mac: Mac,
}

impl Tap {
    pub fn send(&self, frame: &[u8]) {
        let sent = rustix::io::write(&self.fd, &[&[0; HEADER], frame].concat()).unwrap();
        assert_eq!(sent, HEADER + frame.len());
    }

    /// Every frame that has come.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 70_000];
        let mut frames = Vec::new();
        while let Ok(size) = rustix::io::read(&self.fd, &mut buffer) {
            frames.push(buffer[HEADER.min(size)..size].to_vec());
        }
        frames
    }

    /// Whether a frame that the other sends comes here. What a tap sends goes through the kernel
    /// before the write is done, so nothing has to be waited for.
    pub fn hears(&self, other: &Tap, frame: &[u8]) -> bool {
        self.received();
        other.send(frame);
        self.received().iter().any(|got| got == frame)
    }
}

/// A guest with a kernel of its own: a namespace whose eth0 is the other end of the tap.
pub struct Guest {
    namespace: Child,
    ends: Arc<AtomicBool>,
    cable: Option<JoinHandle<()>>,
}

impl Guest {
    pub fn on(tap: Tap) -> Guest {
        let namespace = Command::new("unshare")
            .args(["-n", "sleep", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let path = format!("/proc/{}/ns/net", namespace.id());
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        until("a namespace", || {
            std::fs::read_link(&path).is_ok_and(|other| other != own)
        });
        let nic = std::thread::spawn(move || {
            let namespace = std::fs::File::open(path).unwrap();
            rustix::thread::move_into_link_name_space(
                namespace.as_fd(),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .unwrap();
            tapyard_netd::tun::open("eth0").unwrap().unwrap().1
        });
        let nic = nic.join().unwrap();
        fcntl_setfl(&nic, OFlags::NONBLOCK).unwrap();
        let mac = words(tap.mac);
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let cable = std::thread::spawn(move || carry(&tap.fd, &nic, &ended));
        let guest = Guest {
            namespace,
            ends,
            cable: Some(cable),
        };
        guest.must(&format!(
            "ip link set lo up; ip link set eth0 address {mac}; ip link set eth0 up"
        ));
        guest
    }

    /// Runs a script inside; whether it succeeded, and what it said.
    pub fn run(&self, script: &str) -> (bool, String) {
        let out = Command::new("nsenter")
            .args([
                "-n",
                "-t",
                &self.namespace.id().to_string(),
                "sh",
                "-ec",
                script,
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        (
            out.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    pub fn must(&self, script: &str) -> String {
        let (done, said) = self.run(script);
        assert!(done, "{script}: {said}");
        said
    }

    pub fn pings(&self, address: &str) -> bool {
        self.run(&format!("busybox ping -c1 -W2 {address}")).0
    }

    /// Takes a lease and uses it; answers the address.
    pub fn takes_lease(&self) -> String {
        let script = std::env::temp_dir().join(format!("tapyard-udhcpc-{}", self.pid()));
        std::fs::write(
            &script,
            "#!/bin/sh\n[ \"$1\" != bound ] || ip addr replace $ip/24 dev eth0\n",
        )
        .unwrap();
        let path = script.display();
        self.must(&format!(
            "chmod 755 {path}; busybox udhcpc -i eth0 -n -q -f -t 10 -T 1 -s {path}"
        ));
        std::fs::remove_file(&script).unwrap();
        let shown = self.must("ip -4 -o addr show dev eth0");
        let address = shown.split_whitespace().nth(3).unwrap();
        address.split('/').next().unwrap().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.namespace.id()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(cable) = self.cable.take() {
            let _ = cable.join();
        }
        let _ = self.namespace.kill();
        let _ = self.namespace.wait();
    }
}

/// Copies frames between two taps, headers and all, as QEMU does.
fn carry(a: &OwnedFd, b: &OwnedFd, ended: &AtomicBool) {
    let mut buffer = vec![0; 70_000];
    let mut fds = [a, b].map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    while !ended.load(Ordering::Relaxed) {
        // SAFETY: two pollfds that live here.
        unsafe { libc::poll(fds.as_mut_ptr(), 2, 50) };
        for (from, to) in [(a, b), (b, a)] {
            while let Ok(size) = rustix::io::read(from, &mut buffer) {
                // A side that is not up takes nothing.
                let _ = rustix::io::write(to, &buffer[..size]);
            }
        }
    }
}
