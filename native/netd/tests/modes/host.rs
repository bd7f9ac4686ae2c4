// SPDX-License-Identifier: Apache-2.0
//! A host with two interfaces, a netd on it, and guests.

#![allow(dead_code)] // each test file uses what it needs

use crate::kernel::{netd_directory, sh, start_netd};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tapyard_protocol::{ApplyNetwork, Client, ClientKind, Error, Network};

/// What nobody reaches.
pub const NOTHING: [&str; 0] = [];
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A network namespace of its own, as long as this lives.
pub struct Peer(Child);

impl Peer {
    pub fn new() -> Peer {
        let child = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo ready; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Peer(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn sh(&self, script: &str) -> String {
        let out = Command::new("nsenter")
            .args(["-n", "-t", &self.pid().to_string(), "sh", "-c", script])
            .output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    }

    pub fn pings(&self, address: &str) -> bool {
        self.sh(&format!("busybox ping -c1 -W5 {address}"))
            .contains("1 packets received")
    }

    /// Which of these addresses take a ping or a connection to TCP port 80 within a second. All
    /// are tried at the same time: what is dropped has to be waited for.
    pub fn reached(&self, addresses: &[&str]) -> Vec<String> {
        let tries = addresses.iter().map(|to| {
            format!(
                "(busybox ping -c1 -W1 {to} >/dev/null && echo ping {to}) &
                 (busybox nc -w 1 {to} 80 </dev/null >/dev/null 2>&1 && echo tcp {to}) &\n"
            )
        });
        let script: String = tries.chain(["wait".to_owned()]).collect();
        self.sh(&script).lines().map(str::to_owned).collect()
    }

    /// Serves the caller's address on TCP port 80 until the peer ends.
    pub fn serve(&self) {
        self.sh(
            "busybox nc -ll -p 80 -e sh -c 'echo $NCREMOTEADDR' >/dev/null 2>&1 </dev/null & \
             sleep 0.2",
        );
    }

    /// Whether TCP port 80 there takes a connection.
    pub fn reaches(&self, address: &str) -> bool {
        self.sh(&format!(
            "busybox nc -w 5 {address} 80 </dev/null >/dev/null && echo yes"
        )) == "yes\n"
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The host: eth0 leads to the LAN with `wan` on it, eth1 to `other`. Nothing forwards.
pub struct Host {
    directory: PathBuf,
    netd: Child,
    pub wan: Peer,
    pub other: Peer,
}

impl Host {
    pub fn start(test: &str) -> Host {
        let (wan, other) = (Peer::new(), Peer::new());
        sh(&format!(
            "echo 0 > /proc/sys/net/ipv4/ip_forward
             ip link set lo up
             ip link add eth0 type veth peer name eth0 netns {}
             ip addr add 203.0.113.2/24 dev eth0; ip link set eth0 up
             ip link add eth1 type veth peer name eth0 netns {}
             ip addr add 198.51.100.2/24 dev eth1; ip link set eth1 up
             ip route add default via 203.0.113.1",
            wan.pid(),
            other.pid()
        ));
        wan.sh("ip link set lo up; ip addr add 203.0.113.1/24 dev eth0; ip link set eth0 up
                ip route add 10.0.0.0/8 via 203.0.113.2; ip route add 198.51.100.0/24 via 203.0.113.2");
        other.sh("ip addr add 198.51.100.1/24 dev eth0; ip link set eth0 up
                  ip route add default via 198.51.100.2");
        wan.serve();
        other.serve();
        let directory = netd_directory(&format!("modes-{test}"));
        let netd = netd_on(&directory);
        Host {
            directory,
            netd,
            wan,
            other,
        }
    }

    pub fn client(&self) -> Client {
        let socket = self.directory.join("netd.sock");
        Client::connect(&socket, ClientKind::Test, PATIENCE).unwrap()
    }
}

fn netd_on(directory: &Path) -> Child {
    let (netd, said) = start_netd(&["--scope", "host"], directory);
    assert_eq!(said["ready"], true, "{said}");
    netd
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.netd.kill();
        let _ = self.netd.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// 10.0.N.0/24 on the bridge `brN`.
pub fn spec(n: u8, mode: &str) -> Value {
    json!({
        "name": format!("br{n}"), "mode": mode, "subnet": format!("10.0.{n}.0/24"),
        "address": format!("10.0.{n}.1"), "mac": format!("52:54:00:00:00:0{n}"),
        "mtu": 1500, "nat": mode == "nat", "domain": "lab",
        "dhcp": {"from": format!("10.0.{n}.100"), "to": format!("10.0.{n}.199"), "reservations": []},
    })
}

pub fn apply(client: &mut Client, network: Value) -> Result<Network, Error> {
    let args: ApplyNetwork =
        serde_json::from_value(json!({"lab": "seed", "network": network})).unwrap();
    client.call(&args, PATIENCE).map(|(reply, _)| reply.network)
}

/// A guest of `brN` at 10.0.N.2.
pub fn guest(n: u8) -> Peer {
    let guest = Peer::new();
    sh(&format!(
        "ip link add p{n} master br{n} up type veth peer name eth0 netns {}",
        guest.pid()
    ));
    guest.sh(&format!(
        "ip link set lo up; ip addr add 10.0.{n}.2/24 dev eth0; ip link set eth0 up
         ip route add default via 10.0.{n}.1"
    ));
    guest.serve();
    guest
}

/// Waits for it.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
