// SPDX-License-Identifier: Apache-2.0
//! `capture`: the packets of the lab's own interfaces, and of no others; nobody gets the socket.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod kernel;

use kernel::{inside, netd_directory, run, sh, start_netd};
use rustix::net::{AddressFamily, Shutdown as Sides, shutdown, sockopt};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};
use tapyard_protocol::capture::{FOOT, counted};
use tapyard_protocol::{ApplyNetwork, Capture, Client, ClientKind, Code, OpenTap, Shutdown};

const TEST: &str = "only_the_labs_own_interfaces_are_captured";
const SOON: Duration = Duration::from_secs(20);
const ENHANCED_PACKET: u32 = 6;
const IN: u32 = 1;
const OUT: u32 = 2;
/// Frames sent at once.
const BURST: usize = 300;
/// What precedes a frame in a tap with IFF_VNET_HDR.
const VNET_HEADER: usize = 10;

fn capture(lab: &str, interface: &str) -> Capture {
    Capture {
        lab: lab.parse().unwrap(),
        interface: interface.parse().unwrap(),
    }
}

fn apply() -> ApplyNetwork {
    serde_json::from_value(json!({
        "lab": "seed",
        "network": {
            "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1",
            "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "domain": "lab", "dhcp": null,
        },
    }))
    .unwrap()
}

/// Ended with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stream of pcapng, read block by block.
struct Blocks(UnixStream);

impl Blocks {
    fn of(fd: OwnedFd) -> Blocks {
        // Nothing but a plain socket of a pair, whatever is behind it.
        assert_eq!(sockopt::socket_domain(&fd).unwrap(), AddressFamily::UNIX);
        let stream = UnixStream::from(fd);
        stream.set_read_timeout(Some(SOON)).unwrap();
        Blocks(stream)
    }

    fn next(&mut self) -> (u32, Vec<u8>) {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).unwrap();
        let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
        let mut body = vec![0; word(4) as usize - 8];
        self.0.read_exact(&mut body).unwrap();
        (word(0), body)
    }

    /// The next packet that `wanted` says yes to: its bytes and its direction.
    fn packet(&mut self, wanted: impl Fn(&[u8]) -> bool) -> (Vec<u8>, u32) {
        loop {
            let (kind, body) = self.next();
            if kind != ENHANCED_PACKET {
                continue;
            }
            let word = |at: usize| u32::from_ne_bytes(body[at..at + 4].try_into().unwrap());
            let kept = word(12) as usize;
            let packet = body[20..20 + kept].to_vec();
            if wanted(&packet) {
                return (packet, word(20 + kept.next_multiple_of(4) + 4));
            }
        }
    }

    fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

/// netd's captures, as /proc knows them.
fn children(netd: u32) -> Vec<String> {
    let children = format!("/proc/{netd}/task/{netd}/children");
    let all = std::fs::read_to_string(children).unwrap();
    all.split_whitespace()
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|n| n == "netd-capture\n")
        })
        .map(str::to_owned)
        .collect()
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn only_the_labs_own_interfaces_are_captured() {
    if !inside(TEST) {
        return;
    }
    sh("ip link set lo up; ip link add other type veth peer name peer; ip link set other up");
    let home = netd_directory("capture");
    let (netd, said) = start_netd(&["--scope", "host"], &home);
    assert_eq!(said["ready"], true, "{said}");
    let mut netd = Ended(netd);
    let mut client = Client::connect(&home.join("netd.sock"), ClientKind::Test, SOON).unwrap();
    client.call(&apply(), SOON).unwrap();
    let tap: OpenTap = serde_json::from_value(json!({
        "lab": "seed", "network": "br0", "guest": "guest", "nic": 0,
        "mac": "52:54:00:00:00:02", "tap": "tap0",
    }))
    .unwrap();
    let mut guest = File::from(client.call(&tap, SOON).unwrap().1.pop().unwrap());

    // Not the host's, not another lab's, and no name that is none.
    for (lab, interface) in [
        ("seed", "other"),
        ("seed", "br1"),
        ("other", "tap0"),
        ("other", "br0"),
    ] {
        let refused = client.call(&capture(lab, interface), SOON).unwrap_err();
        assert_eq!(refused.code, Code::NoSuchInterface, "{lab} {interface}");
    }

    let mut begin = |interface: &str| {
        let (reply, mut fds) = client.call(&capture("seed", interface), SOON).unwrap();
        assert_eq!(reply.interface.as_str(), interface);
        assert_eq!(fds.len(), 1);
        fds.pop().unwrap()
    };
    let mut stream = Blocks::of(begin("tap0"));
    // The reader is on before the frame is sent: its head has come.
    assert_eq!(stream.next().0, 0x0a0d_0d0a);
    assert_eq!(stream.next().0, 1);

    // From the guest, with the VLAN tag that the kernel takes out of a frame.
    let frame = [
        b"\xff\xff\xff\xff\xff\xff\x52\x54\x00\x00\x00\x02\x81\x00\x00\x07\x88\xb5".as_slice(),
        &[0x5a; 60],
    ]
    .concat();
    guest
        .write_all(&[&[0; VNET_HEADER], frame.as_slice()].concat())
        .unwrap();
    let (packet, direction) = stream.packet(|packet| packet.ends_with(&[0x5a; 60]));
    assert_eq!((packet, direction), (frame.clone(), IN));
    // To the guest: the host asks who has an address.
    let host = UdpSocket::bind("192.168.57.1:0").unwrap();
    host.send_to(b"?", "192.168.57.9:9").unwrap();
    let arp = |packet: &[u8]| packet.get(12..14) == Some(&[0x08, 0x06]);
    let (packet, direction) = stream.packet(arp);
    assert_eq!((&packet[38..42], direction), (&[192, 168, 57, 9][..], OUT));

    // Who copies has no capability and nothing but the socket and the stream.
    let captures = children(netd.0.id());
    let [pid] = &captures[..] else {
        panic!("{captures:?}")
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert!(
            status.contains(&format!("{set}:\t0000000000000000")),
            "{status}"
        );
    }
    assert_eq!(
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count(),
        3
    );

    // The reader has had enough: what was counted comes last.
    shutdown(&stream.0, Sides::Write).unwrap();
    let counts = counted(&stream.rest()).unwrap();
    assert!(counts.received >= 2, "{counts:?}");
    assert_eq!(counts.dropped, 0);
    wait_for("the capture ends", || children(netd.0.id()).is_empty());

    // A reader that goes without a word.
    drop(begin("br0"));
    wait_for("the capture ends", || children(netd.0.id()).is_empty());

    // The interface goes down, and up, and away.
    let mut stream = Blocks::of(begin("tap0"));
    assert_eq!(stream.next().0, 0x0a0d_0d0a);
    sh("ip link set tap0 down; ip link set tap0 up");
    guest
        .write_all(&[&[0; VNET_HEADER], frame.as_slice()].concat())
        .unwrap();
    stream.packet(|packet| packet.ends_with(&[0x5a; 60]));
    drop(guest);
    let rest = stream.rest();
    assert!(counted(&rest).is_some(), "{} bytes", rest.len());

    // No more than so many at once.
    wait_for("the captures end", || children(netd.0.id()).is_empty());
    let held: Vec<OwnedFd> = (0..16).map(|_| begin("br0")).collect();
    let refused = client.call(&capture("seed", "br0"), SOON).unwrap_err();
    assert_eq!(refused.code, Code::Busy);
    drop(held);
    wait_for("the captures end", || children(netd.0.id()).is_empty());

    // What had come when the reader had enough is the reader's: many packets wait for a child that
    // gets no time.
    let mut guest = File::from(client.call(&tap, SOON).unwrap().1.pop().unwrap());
    let burst = |guest: &mut File| {
        for _ in 0..BURST {
            let framed = [&[0; VNET_HEADER], frame.as_slice()].concat();
            guest.write_all(&framed).unwrap();
        }
    };
    for asked in [true, false] {
        let (_, mut fds) = client.call(&capture("seed", "tap0"), SOON).unwrap();
        let mut stream = Blocks::of(fds.pop().unwrap());
        assert_eq!(stream.next().0, 0x0a0d_0d0a);
        let captures = children(netd.0.id());
        run("kill", &["-STOP", &captures[0]]);
        burst(&mut guest);
        if asked {
            shutdown(&stream.0, Sides::Write).unwrap();
        } else {
            // The interface goes while they wait; the kernel tells that first.
            drop(std::mem::replace(
                &mut guest,
                File::open("/dev/null").unwrap(),
            ));
        }
        run("kill", &["-CONT", &captures[0]]);
        let rest = stream.rest();
        let counts = counted(&rest).unwrap();
        assert_eq!(counts.dropped, 0, "{counts:?}");
        let sent = rest
            .windows(60)
            .filter(|bytes| *bytes == [0x5a; 60])
            .count();
        assert_eq!(sent, BURST, "asked: {asked}, {counts:?}");
    }
    wait_for("the captures end", || children(netd.0.id()).is_empty());

    // netd is killed: so is what it captures with.
    let (_, mut fds) = client.call(&capture("seed", "br0"), SOON).unwrap();
    let stream = Blocks::of(fds.pop().unwrap());
    netd.0.kill().unwrap();
    netd.0.wait().unwrap();
    let rest = stream.rest();
    assert!(rest.len() < FOOT || counted(&rest).is_none());
    run("ip", &["link", "del", "br0"]);
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn a_lab_goes_down_while_it_is_captured() {
    if !inside("a_lab_goes_down_while_it_is_captured") {
        return;
    }
    let home = netd_directory("capture-down");
    let (netd, said) = start_netd(&["--scope", "private", "--lab", "seed"], &home);
    assert_eq!(said["ready"], true, "{said}");
    let mut netd = Ended(netd);
    let mut client = Client::connect(&home.join("netd.sock"), ClientKind::Test, SOON).unwrap();
    client.call(&apply(), SOON).unwrap();
    let (_, mut fds) = client.call(&capture("seed", "br0"), SOON).unwrap();
    let stream = Blocks::of(fds.pop().unwrap());
    // The lab's process namespace ends with it, and nobody waits for a capture there but netd.
    let (removed, _) = client.call(&Shutdown {}, SOON).unwrap();
    assert_eq!(removed.failed, [], "{removed:?}");
    netd.0.wait().unwrap();
    assert!(counted(&stream.rest()).is_some());
    std::fs::remove_dir(&home).unwrap();
}
