// SPDX-License-Identifier: Apache-2.0
//! How much of the host's network a user may fill, whatever directories and journals they use. In
//! namespaces in which the test is a user, 1000, with capabilities and an /etc of its own.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod kernel;

use kernel::{NETD, inside_of, netd_directory, sh, start_copy};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use tapyard_protocol::{
    ApplyNetwork, Client, ClientKind, Code, Error, OpenTap, RemoveNetwork, Result, SetShape,
    Shutdown,
};

const PATIENCE: Duration = Duration::from_secs(20);
const CONF: &str = "/etc/tapyard/netd.conf";
/// linux/if_tun.h: _IOW('T', 203, int).
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;

/// A copy of netd where nobody but the test can write.
const COPY: &str = "/tapyard-netd";
/// Whoever owns `/` is root to netd (`confine::check_root_owned`), so `/` is a disk of the test's own
/// with everything but /etc in it.
const HOST: &str = "mount -t tmpfs none /mnt
    for dir in /*; do case $dir in
        /etc|/mnt) ;;
        *) if [ -L $dir ]; then cp -a $dir /mnt; elif [ -d $dir ]; then mkdir /mnt$dir; mount --rbind $dir /mnt$dir; fi
    esac; done
    mkdir -p /mnt/etc/tapyard
    cp $NETD /mnt/tapyard-netd
    ip link set lo up
    exec chroot /mnt \"$0\" \"$@\"";

fn inside(test: &str) -> bool {
    let flags = "-Unm --map-user=1000 --map-group=1000 --keep-caps";
    inside_of(test, flags, &format!("NETD={NETD}\n{HOST}"))
}

struct Netd {
    directory: PathBuf,
    netd: Child,
    client: Client,
}

impl Netd {
    /// On a directory of its own, with this journal in it.
    fn start(name: &str, journal: &[Value]) -> Netd {
        let directory = netd_directory(&format!("quota-{name}"));
        if !journal.is_empty() {
            let lines: String = journal.iter().map(|line| format!("{line}\n")).collect();
            fs::write(directory.join("journal"), lines).unwrap();
        }
        let (netd, client) = serve(&directory);
        Netd {
            directory,
            netd,
            client,
        }
    }

    /// Another takes over from this one, which is killed.
    fn follow(&mut self) {
        self.netd.kill().unwrap();
        self.netd.wait().unwrap();
        (self.netd, self.client) = serve(&self.directory);
    }

    fn apply(&mut self, n: usize) -> Result<()> {
        self.apply_spec(spec(n))
    }

    fn apply_spec(&mut self, spec: Value) -> Result<()> {
        let args = json!({"lab": "seed", "network": spec});
        let args: ApplyNetwork = serde_json::from_value(args).unwrap();
        self.client.call(&args, PATIENCE).map(drop)
    }

    fn remove(&mut self, n: usize) {
        let args = json!({"lab": "seed", "network": format!("br{n}")});
        let args: RemoveNetwork = serde_json::from_value(args).unwrap();
        assert_eq!(self.client.call(&args, PATIENCE).unwrap().0.failed, []);
    }

    /// A tap on br0 for as long as the answer lives.
    fn open(&mut self, guest: &str) -> Result<OwnedFd> {
        self.open_on("br0", guest)
    }

    fn open_on(&mut self, network: &str, guest: &str) -> Result<OwnedFd> {
        let args = json!({"lab": "seed", "network": network, "guest": guest, "nic": 0,
            "mac": "52:54:00:00:00:07", "tap": "tap0"});
        let args: OpenTap = serde_json::from_value(args).unwrap();
        self.client
            .call(&args, PATIENCE)
            .map(|(_, mut fds)| fds.remove(0))
    }
}

impl Drop for Netd {
    fn drop(&mut self) {
        let _ = self.netd.kill();
        let _ = self.netd.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn serve(directory: &Path) -> (Child, Client) {
    let (netd, said) = start_copy(COPY, &["--scope", "host"], directory);
    assert_eq!(said["ready"], true, "{said}");
    let socket = directory.join("netd.sock");
    let client = Client::connect(&socket, ClientKind::Test, PATIENCE).unwrap();
    (netd, client)
}

fn spec(n: usize) -> Value {
    json!({"name": format!("br{n}"), "mode": "isolated", "subnet": format!("10.0.{n}.0/24"),
        "address": format!("10.0.{n}.1"), "mac": format!("52:54:00:00:01:{n:02x}"), "mtu": 1500,
        "nat": false, "domain": "lab", "dhcp": null})
}

fn bridges() -> usize {
    sh("ip -o link show type bridge").lines().count()
}

fn taps() -> usize {
    sh("ip -o link show type tun").lines().count()
}

/// It says which is too much, and the line by which there would be room.
fn assert_reached(error: &Error, subject: &str, line: &str) {
    assert_eq!(error.code, Code::QuotaReached, "{error}");
    assert_eq!(error.subject.as_deref(), Some(subject));
    let hint = error.hint.as_deref().unwrap();
    assert!(hint.ends_with(&format!("{CONF}: {line}")), "{hint}");
}

#[test]
fn networks_have_a_limit_in_whatever_directory() {
    if !inside("networks_have_a_limit_in_whatever_directory") {
        return;
    }
    fs::write(CONF, "limit-networks * 2\n").unwrap();
    let mut netd = Netd::start("first", &[]);
    netd.apply(0).unwrap();
    netd.apply(1).unwrap();
    let refused = netd.apply(2).unwrap_err();
    assert_reached(&refused, "br2", "limit-networks 1000 4");
    assert_eq!(bridges(), 2);
    assert!(!sh("nft list ruleset").contains("br2"));
    netd.apply(1).expect("what is there may be adjusted");
    netd.remove(1);
    netd.apply(2).expect("what went made room");

    // A helper that was killed leaves its bridges, and a journal that nobody reads any more.
    drop(netd);
    let mut netd = Netd::start("second", &[]);
    assert_reached(&netd.apply(3).unwrap_err(), "br3", "limit-networks 1000 4");
    assert_eq!(bridges(), 2);
    fs::write(CONF, "limit-networks 1000 3\n").unwrap();
    netd.apply(3).expect("the line holds at once");
    // What is lower than what there is takes nothing away, and gives nothing back.
    fs::write(CONF, "limit-networks 1000 1\n").unwrap();
    netd.apply(3).unwrap();
    netd.remove(3);
    assert_reached(&netd.apply(3).unwrap_err(), "br3", "limit-networks 1000 3");
    // One that makes all of the file void is no way around it.
    fs::write(CONF, "limit-networks 1000 300\nlimit nothing\n").unwrap();
    sh("for n in $(seq 254); do
            echo link add o$n type bridge
            echo link set o$n alias tapyard:1000:seed:o$n
        done | ip -batch -");
    assert_reached(
        &netd.apply(3).unwrap_err(),
        "br3",
        "limit-networks 1000 512",
    );
    assert_eq!(
        bridges(),
        256,
        "what there may be where the file does not say"
    );
}

#[test]
fn a_journal_makes_no_more_networks_than_its_user_may_have() {
    if !inside("a_journal_makes_no_more_networks_than_its_user_may_have") {
        return;
    }
    fs::write(CONF, "limit-networks 1000 2\n").unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mut journal = vec![json!({"begin": {"version": 1, "boot": boot.trim()}})];
    journal.extend((0..5).map(|n| json!({"network": {"lab": "seed", "network": spec(n)}})));
    let mut netd = Netd::start("forged", &journal);
    assert_eq!(bridges(), 2);
    let (removed, _) = netd.client.call(&Shutdown {}, PATIENCE).unwrap();
    assert_eq!(removed.failed, []);
    assert_eq!(bridges(), 0);
}

#[test]
fn a_limit_that_was_lowered_takes_nothing_from_the_next_helper() {
    if !inside("a_limit_that_was_lowered_takes_nothing_from_the_next_helper") {
        return;
    }
    fs::write(CONF, "allow-bridge * br-lan\n").unwrap();
    sh("ip link add br-lan up type bridge");
    let lan = |name: &str| {
        json!({"name": name, "mode": "bridged", "uplink": "br-lan", "mac": "52:54:00:00:01:ff",
            "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null})
    };
    let mut netd = Netd::start("lowered", &[]);
    netd.apply(0).unwrap();
    netd.apply_spec(lan("lan")).unwrap();
    let on_br0 = netd.open("one").unwrap();
    let on_lan = netd.open_on("lan", "two").unwrap();
    let ports = || {
        sh(r"ip -o link show type tun | sed 's/^[0-9]*: \(.*\): .* master \([^ ]*\) .*/\1: \2/'")
    };
    let before = ports();
    assert_eq!(before, "tap0: br0\ntap1: br-lan\n");

    let lowered = "allow-bridge * br-lan\nlimit-networks * 0\nlimit-taps * 0\n";
    fs::write(CONF, lowered).unwrap();
    netd.follow();
    assert_eq!(ports(), before);
    netd.apply(0).unwrap();
    netd.apply_spec(lan("lan")).unwrap();
    assert_eq!(ports(), before);
    let refused = netd.apply_spec(lan("other")).unwrap_err();
    assert_reached(&refused, "other", "limit-networks 1000 3");
    assert_reached(
        &netd.open_on("lan", "three").unwrap_err(),
        "tap0",
        "limit-taps 1000 3",
    );
    drop((on_br0, on_lan));
}

#[test]
fn taps_have_a_limit_whoever_holds_them() {
    if !inside("taps_have_a_limit_whoever_holds_them") {
        return;
    }
    fs::write(CONF, "limit-taps 1000 3\n").unwrap();
    let mut netd = Netd::start("taps", &[]);
    netd.apply(0).unwrap();
    let one = netd.open("one").unwrap();
    let two = netd.open("two").unwrap();
    // A tap that outlives its holder is one still.
    // SAFETY: it takes a number.
    let done = unsafe { libc::ioctl(two.as_raw_fd(), TUNSETPERSIST, 1) };
    assert_eq!(done, 0);
    drop(two);
    let three = netd.open("three").unwrap();
    assert_reached(&netd.open("four").unwrap_err(), "tap0", "limit-taps 1000 6");
    assert_eq!(taps(), 3, "what was refused left nothing");
    drop(three);
    let three = netd.open("three").expect("what went made room");

    // What slows a tap down is an interface as well.
    let shape = json!({"lab": "seed", "network": "br0", "guest": "one", "nic": 0,
        "shape": {"rate": 1_000_000}});
    let shape: SetShape = serde_json::from_value(shape).unwrap();
    let refused = netd.client.call(&shape, PATIENCE).unwrap_err();
    assert_eq!(refused.code, Code::QuotaReached, "{refused}");
    assert_eq!(sh("tc qdisc show dev tap0 | grep -c tbf || true"), "0\n");
    drop(three);
    netd.client.call(&shape, PATIENCE).unwrap();
    assert_reached(&netd.open("four").unwrap_err(), "tap0", "limit-taps 1000 6");

    // So is what another helper of the same user makes meanwhile, and not what another user has.
    fs::write(CONF, "limit-taps 1000 5\n").unwrap();
    sh(
        "ip tuntap add dev other mode tap; ip link set other alias tapyard:1000:seed:br0:other/0
        ip tuntap add dev theirs mode tap; ip link set theirs alias tapyard:1001:seed:br0:one/0",
    );
    let four = netd.open("four").unwrap();
    assert_reached(
        &netd.open("five").unwrap_err(),
        "tap0",
        "limit-taps 1000 10",
    );
    drop((one, four));
}
