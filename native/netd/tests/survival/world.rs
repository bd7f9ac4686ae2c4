// SPDX-License-Identifier: Apache-2.0
//! A host of the test's own, with things of other people's on it, and a lab on that host.

use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader, Read, Seek};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tapyard_protocol::{Client, ClientKind, Code, Error, Mode, Observe, Result, Snapshot, Verb};

use crate::bus::Bus;
use crate::guest::Guest;
use crate::kernel;
use crate::legacy;
use crate::trace::{Kill, Moment, Point, Traced, memory_file};

const INSIDE: &str = "TAPYARD_TEST_INSIDE";
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long what has begun may take to end.
pub const SOON: Duration = Duration::from_secs(5);
/// Long enough for a ping to come back.
const SHORT: Duration = Duration::from_millis(100);
/// Answers on both of the host's ways out.
pub const WAN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Answers on the way out of IPv6.
pub const WAN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// The host's address in the first network.
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 57, 1));
/// The guest's addresses there, the second where the network has IPv6.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 57, 2);
pub const GUEST6: Ipv6Addr = Ipv6Addr::new(0xfd12, 0x3456, 0x789a, 1, 0, 0, 0, 2);
/// The MAC of its bridge.
pub const GATEWAY_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// The host: two ways out, an interface that it has no use for, and what netd must leave as it is: bridges of similar names, one with
/// a label of ours that no journal knows, one with another user's, tables of similar names.
const HOST: &str = "
    mount -t tmpfs none /run
    ip netns add wan
    ip link set lo up
    sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.ping_group_range='0 0'
    for n in 0 1; do
        ip link add eth$n type veth peer name eth$n netns wan
        ip -n wan link set eth$n up
        ip link set eth$n up
    done
    ip -n wan link set lo up
    ip -n wan addr add 192.0.2.1/32 dev lo
    ip -n wan addr add 203.0.113.1/24 dev eth0
    ip -n wan addr add 198.51.100.1/24 dev eth1
    ip addr add 203.0.113.2/24 dev eth0
    ip addr add 198.51.100.2/24 dev eth1
    ip route add default via 203.0.113.1
    ip -n wan addr add 2001:db8::1/64 dev eth0 nodad
    ip addr add 2001:db8::2/64 dev eth0 nodad
    ip -6 route add default via 2001:db8::1
    ip link add br-lan type bridge forward_delay 0
    sysctl -qw net.ipv6.conf.br-lan.disable_ipv6=1
    ip link add cable master br-lan type veth peer name cable netns wan
    ip link set cable up; ip -n wan link set cable up
    ip link set br-lan up
    ip link add spare type veth peer name spare netns wan
    ip -n wan link set spare up; ip link set spare alias \"a spare one\" up
    timeout 10 sh -c \"until ip -6 addr show dev spare | grep -q fe80; do sleep 0.02; done\"
    timeout 10 sh -c \"until ip -br link show br-lan | grep -q ' UP '; do sleep 0.02; done\"
    sysctl -qw net.ipv4.ip_forward=0
    ip link add br00 type bridge
    ip link add name br0x type bridge
    ip link add forged type bridge
    ip link set forged alias tapyard:0:seed:forged
    ip link add name other type bridge
    ip link set dev other alias tapyard:4711:seed:other
    ip link set br00 up
    ip addr add 10.99.0.1/24 dev br00
    nft 'add table inet tapyard_00
         add chain inet tapyard_00 forward { type filter hook forward priority filter; policy accept; }
         add rule inet tapyard_00 forward iifname \"br0\" counter accept
         add table inet firewall
         add chain inet firewall forward { type filter hook forward priority filter; policy drop; }
         add rule inet firewall forward iifname \"br00\" counter accept
         add table ip filter
         add set ip filter bridges { type ifname; elements = { \"br0\" }; }
         add chain ip filter out_br0
         add rule ip filter out_br0 counter accept'
    for n in eth0 eth1 cable br00; do
        timeout 10 sh -c \"until ip -6 addr show dev $n | grep -q fe80; do sleep 0.02; done\"
    done
    sleep 0.1
    \"$0\" \"$@\"
    exit $?";

/// Which part of a test's work a run does, and of how many: waiting is most of it, so several
/// hosts at once are quicker.
const SHARD: &str = "TAPYARD_TEST_SHARD";
pub const SHARDS: usize = 3;

/// This run's part, from 0.
pub fn shard() -> usize {
    std::env::var(SHARD).map_or(0, |n| n.parse().unwrap())
}

/// Runs this test's body on such a host, in namespaces of its own: true for the inner run, which
/// does the work.
pub fn inside(test: &str) -> bool {
    on_hosts(test, 1)
}

/// The same on so many hosts, each with another [`shard`].
pub fn on_hosts(test: &str, hosts: usize) -> bool {
    on(test, hosts, "-Urnmpf", &[])
}

/// The same for a user who called sudo, for which root itself is needed; without, it is said and
/// nothing is done.
pub fn on_roots_hosts(test: &str, hosts: usize) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("{test}: not run, only root can lend netd to a user");
        return false;
    }
    on(test, hosts, "-nmpf", &[("SUDO_UID", user().to_string())])
}

fn on(test: &str, hosts: usize, namespaces: &str, more: &[(&str, String)]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let run = |shard: usize| {
        Command::new("unshare")
            .args([namespaces, "--mount-proc", "--", "sh", "-ec", HOST])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(INSIDE, "1")
            .envs(more.iter().cloned())
            .env(SHARD, shard.to_string())
            .spawn()
            .expect("unshare (util-linux) is needed for this test")
    };
    let runs: Vec<_> = (0..hosts).map(run).collect();
    for mut run in runs {
        let status = run.wait().unwrap();
        assert!(
            status.success(),
            "{test} failed inside `unshare {namespaces} --mount-proc` ({status})"
        );
    }
    false
}

/// A user to whom root lends netd: whose the program is, who may then run it, or anybody.
pub fn user() -> u32 {
    let owner = fs::metadata(env!("CARGO_BIN_EXE_tapyard-netd"))
        .unwrap()
        .uid();
    if owner == 0 { 4712 } else { owner }
}

/// Which of netd's scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Host,
    Private,
}

/// A netd and its directory; the test is its only client.
pub struct Lab {
    pub scope: Scope,
    pub directory: PathBuf,
    client: Option<Client>,
    /// The process that was started last.
    pub pid: libc::pid_t,
    traced: Option<Traced>,
    log: File,
    /// The guest, for as long as it lives.
    pub guest: Arc<Mutex<Option<Guest>>>,
    /// What the guest is to be held to, in bits a second; 0 for nothing.
    pub rate: u64,
    /// The system bus, where the host has one.
    pub bus: Option<Bus>,
    /// The host has tables of the old iptables. Looking makes them where it has none.
    pub legacy: bool,
}

impl Lab {
    /// A directory, and nothing in it.
    pub fn new(scope: Scope) -> Lab {
        let directory = PathBuf::from("/run/lab");
        let _ = fs::remove_dir_all(&directory);
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        Lab {
            scope,
            directory,
            client: None,
            pid: 0,
            traced: None,
            log: memory_file(),
            guest: Arc::default(),
            rate: 0,
            bus: None,
            legacy: false,
        }
    }

    /// Gives the directory to the user who called sudo, so that root lends them what serves it.
    pub fn lend(&self) {
        chown(&self.directory, Some(user()), Some(user())).unwrap();
    }

    /// Starts netd, or the error that it answers; `UNREACHABLE` where it ends without a word.
    pub fn start(&mut self, kill: Option<(Moment, Kill)>) -> Result<()> {
        let mut command = vec![env!("CARGO_BIN_EXE_tapyard-netd").into()];
        command.extend(match self.scope {
            Scope::Host => ["--scope", "host", "--dir"].map(Into::into).to_vec(),
            Scope::Private => ["--scope", "private", "--lab", "seed", "--dir"]
                .map(Into::into)
                .to_vec(),
        });
        command.push(self.directory.clone().into());
        let log = self.log.try_clone().unwrap();
        let stdout = match kill {
            Some((moment, kill)) => {
                let mut traced = Traced::start(command, log, moment, kill);
                self.pid = traced.pid;
                let stdout = traced.stdout.take().unwrap();
                self.traced = Some(traced);
                stdout
            }
            None => {
                #[allow(clippy::zombie_processes)] // `gone` waits
                let mut child = Command::new(&command[0])
                    .args(&command[1..])
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(log)
                    .spawn()
                    .unwrap();
                self.pid = child.id() as libc::pid_t;
                child.stdout.take().unwrap()
            }
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["ready"] == true {
            self.client = Some(Client::connect(
                &self.directory.join("netd.sock"),
                ClientKind::Test,
                PATIENCE,
            )?);
            return Ok(());
        }
        Err(serde_json::from_value(said["error"].clone())
            .unwrap_or_else(|_| Error::new(Code::Unreachable, "netd ended without a word")))
    }

    /// Asks netd.
    pub fn call<V: Verb>(&mut self, args: &V) -> Result<(V::Reply, Vec<std::os::fd::OwnedFd>)> {
        match &mut self.client {
            Some(client) => client.call(args, PATIENCE),
            None => Err(Error::new(Code::Unreachable, "netd does not run")),
        }
    }

    /// Asks netd for the verb with these arguments, which have to be right.
    pub fn ask<V: Verb + serde::de::DeserializeOwned>(
        &mut self,
        args: Value,
    ) -> Result<(V::Reply, Vec<std::os::fd::OwnedFd>)> {
        self.call(&serde_json::from_value::<V>(args).unwrap())
    }

    /// What netd sees.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(self.call(&Observe {})?.0)
    }

    /// netd has ended, or ends now: waits until it is gone.
    pub fn wait_gone(&mut self) {
        self.client = None;
        // While it is traced it is the tracer's to wait for.
        wait_until("netd ends", || {
            let mut status = 0;
            // SAFETY: waits for our own child, into an integer of ours.
            !self.is_traced()
                && unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } != 0
        });
    }

    /// Where somebody was killed, once that is done.
    pub fn point(&self) -> Option<Point> {
        self.traced.as_ref()?.point()
    }

    fn is_traced(&self) -> bool {
        self.traced.as_ref().is_some_and(|traced| !traced.is_over())
    }

    /// Everything that is compared.
    pub fn picture(&self) -> Value {
        let keeper = fs::read(self.directory.join("anchor.json")).ok();
        let keeper = keeper.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let inner = keeper.map(|record| {
            let pid = record["keeper"]["pid"].as_i64().unwrap();
            kernel::namespace(Some(pid as libc::pid_t))
        });
        json!({
            "host": kernel::namespace(None),
            "lab": inner,
            "processes": kernel::processes(),
            "bus": self.bus.as_ref().map(Bus::state),
            "legacy": self.legacy.then(legacy::tables),
        })
    }

    /// What is in the directory.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// pasta is stopped where every network that is to have a way out has its NAT off, and else runs; and the
    /// guest, where there is one, reaches the host, and with NAT the world, by IPv6 too where
    /// its network has that; `when` says where it does not.
    pub fn check_guest(&mut self, when: &str) {
        let networks = self.snapshot().unwrap().networks;
        let mut forwarding = networks.iter().filter(|n| n.mode.forwards()).peekable();
        let is_shut =
            forwarding.peek().is_some() && forwarding.all(|n| n.mode == Mode::Nat && !n.nat);
        wait_until(&format!("{when}: pasta is stopped ({is_shut})"), || {
            let mut pastas = kernel::processes_of("--config-net").into_iter();
            pastas.all(|pid| kernel::is_stopped(pid) == is_shut)
        });
        let network = networks.iter().find(|n| n.name.as_str() == "br0");
        let nat = network.is_some_and(|network| network.nat);
        let ipv6 = network.is_some_and(|network| network.ipv6.is_some());
        if let Some(guest) = &mut *self.guest.lock().unwrap() {
            assert!(
                guest.pings(GATEWAY, PATIENCE),
                "{when}: the guest lost its network"
            );
            let (answers, wait) = if nat {
                (guest.pings(WAN, PATIENCE), "does not reach the world")
            } else {
                (!guest.pings(WAN, SHORT), "reaches the world without NAT")
            };
            assert!(answers, "{when}: the guest {wait}");
            if nat && ipv6 {
                let answers = guest.pings(WAN6, PATIENCE);
                assert!(
                    answers,
                    "{when}: the guest does not reach the world by IPv6"
                );
            }
        }
    }

    /// What all netds of this lab have logged.
    pub fn log(&mut self) -> String {
        let mut text = String::new();
        self.log.rewind().unwrap();
        self.log.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("killed: {:?}, and netd said:\n{}", self.point(), self.log());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Waits for something, not longer than anything may take.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a shell script; it has to succeed.
pub fn sh(script: &str) {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(
        out.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}
