// SPDX-License-Identifier: Apache-2.0
//! Two networks exchange no packet, whichever way one of their guests tries: real frames on real
//! taps, IPv6 and multicast included.
//!
//! Each test runs again inside a user and network namespace of its own (`unshare -Urn`); where
//! that cannot be made, the test fails and says so.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "antispoof/frames.rs"]
mod frames;
mod kernel;
#[path = "antispoof/lab.rs"]
mod lab;

use frames::{BROADCAST, ICMP, ICMPV6, Mac, UDP, arp, ether, packet4, packet6, udp};
use kernel::{inside, sh};
use lab::{Lab, Tap, host_mac, until, words};
use serde_json::json;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tapyard_protocol::{Scope, SetNat};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Somebody made the host a router of both kinds.
const ROUTER: &str =
    "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
/// In each payload, by which a packet is known on the other side.
const MARK: &[u8] = b"from the other network";

/// A guest of the network 10.N.0.0/24, fd00:N::/64, on a tap of its own.
struct Guest {
    n: u8,
    tap: Tap,
}

impl Guest {
    fn mac(n: u8) -> Mac {
        [0x52, 0x54, 0, 0, n, 2]
    }

    fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.n, 0, 2)
    }

    fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, self.n.into(), 0, 0, 0, 0, 0, 2)
    }

    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.n, 0, 1)
    }

    /// The bridge and the host learn where it is, so that nothing would wait for that.
    fn introduce(&self, lab: &Lab) {
        let mac = self.tap.mac;
        lab.sh(&format!(
            "ip -6 neigh replace {} lladdr {} dev br{} nud permanent",
            self.ipv6(),
            words(mac),
            self.n
        ));
        self.tap
            .send(&arp(mac, 1, mac, self.ipv4(), self.gateway()));
    }

    /// What of the other can be heard here, questions of the host on its behalf included.
    fn hears(&self, other: &Guest) -> Vec<String> {
        let attempts = other.attempts(self);
        self.tap.received();
        for (_, frame) in &attempts {
            other.tap.send(frame);
        }
        // What goes by way of the host is on its way for a moment.
        std::thread::sleep(Duration::from_millis(50));
        let frames = self.tap.received();
        let heard = frames.iter().filter(|frame| is_of(frame, other));
        heard.map(|frame| name_of(frame, &attempts)).collect()
    }

    fn attempts(&self, to: &Guest) -> Vec<(String, Vec<u8>)> {
        let macs = [
            ("by the gateway", host_mac(self.n)),
            ("by the other's gateway", host_mac(to.n)),
            ("by its MAC", to.tap.mac),
            ("to everybody", BROADCAST),
            ("by multicast", [0x33, 0x33, 0, 0, 0, 1]),
        ];
        let unicast4 = [to.ipv4(), to.gateway(), Ipv4Addr::new(10, to.n, 0, 255)];
        let multicast4 = [[224, 0, 0, 1], [224, 0, 0, 251], [239, 1, 2, 3], [255; 4]];
        let link_local =
            |n: u8| Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, u16::from(n) << 8 | 2);
        let all6 = [
            to.ipv6(),
            Ipv6Addr::new(0xfd00, to.n.into(), 0, 0, 0, 0, 0, 1),
            link_local(to.n),
            "ff02::1".parse().unwrap(),
            "ff02::fb".parse().unwrap(),
            "ff05::1:3".parse().unwrap(),
            "ff0e::1234".parse().unwrap(),
        ];
        let mut list: Vec<(String, Vec<u8>)> = Vec::new();
        for (how, mac) in macs {
            let mut add = |what: String, kind, packet: &dyn Fn(&[u8]) -> Vec<u8>| {
                // The mark, and its number in the list.
                let mark = [MARK, &(list.len() as u16).to_be_bytes()].concat();
                let packet = &packet(&mark);
                list.push((
                    format!("{what} {how}"),
                    ether(mac, self.tap.mac, kind, packet),
                ));
            };
            for address in unicast4.into_iter().chain(multicast4.map(Ipv4Addr::from)) {
                add(format!("UDP to {address}"), IPV4, &|mark| {
                    packet4(UDP, self.ipv4(), address, &datagram(mark))
                });
                add(format!("ping of {address}"), IPV4, &|mark| {
                    packet4(ICMP, self.ipv4(), address, &echo(8, mark))
                });
            }
            // The host would send its answer to the other.
            let spoofed = |mark: &[u8]| packet4(ICMP, to.ipv4(), self.gateway(), &echo(8, mark));
            add(
                "ping of the host in the other's name".into(),
                IPV4,
                &spoofed,
            );
            for address in all6 {
                for source in [self.ipv6(), link_local(self.n)] {
                    add(format!("UDP {source} to {address}"), IPV6, &|mark| {
                        packet6(UDP, source, address, &datagram(mark))
                    });
                    add(format!("ping {source} of {address}"), IPV6, &|mark| {
                        packet6(ICMPV6, source, address, &echo(128, mark))
                    });
                }
            }
        }
        let question = |sender, target| arp(self.tap.mac, 1, self.tap.mac, sender, target);
        list.push(("ARP for it".into(), question(self.ipv4(), to.ipv4())));
        list.push(("ARP in its name".into(), question(to.ipv4(), to.gateway())));
        list
    }
}

fn datagram(mark: &[u8]) -> Vec<u8> {
    udp(5000, 7777, mark)
}

fn echo(kind: u8, mark: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 1, 0, 1][..], mark].concat()
}

/// Which of the attempts it comes of, by its mark.
fn name_of(frame: &[u8], attempts: &[(String, Vec<u8>)]) -> String {
    let at = frame.windows(MARK.len()).position(|part| part == MARK);
    let number = at.and_then(|at| frame.get(at + MARK.len()..at + MARK.len() + 2));
    match number {
        Some(number) => attempts[usize::from(u16::from_be_bytes([number[0], number[1]]))]
            .0
            .clone(),
        None => format!("something: {frame:02x?}"),
    }
}

/// Carries the mark, or asks for or answers somebody of the other network.
fn is_of(frame: &[u8], other: &Guest) -> bool {
    frame.windows(MARK.len()).any(|part| part == MARK)
        || frame.windows(6).any(|part| part == other.tap.mac)
        || frame.windows(4).any(|part| part == other.ipv4().octets())
        || frame.windows(16).any(|part| part == other.ipv6().octets())
}

fn network(n: u8, mode: &str, antispoof: bool) -> serde_json::Value {
    json!({
        "name": format!("br{n}"), "mode": mode, "subnet": format!("10.{n}.0.0/24"),
        "address": format!("10.{n}.0.1"), "mac": words(host_mac(n)), "mtu": 1500,
        "nat": mode == "nat", "domain": "lab", "antispoof": antispoof,
        "dhcp": {
            "from": format!("10.{n}.0.100"), "to": format!("10.{n}.0.199"),
            "reservations": [{"mac": words(Guest::mac(n)), "address": format!("10.{n}.0.2"), "guest": format!("g{n}")}],
        },
    })
}

fn guest(lab: &mut Lab, of: &str, n: u8) -> Guest {
    let guest = format!("g{n}");
    let tap = lab.tap_of(
        of,
        &format!("br{n}"),
        &guest,
        Guest::mac(n),
        &format!("tap{n}"),
    );
    Guest { n, tap }
}

fn nothing_passes(lab: &Lab, guests: &[Guest]) {
    for guest in guests {
        guest.introduce(lab);
    }
    for here in guests {
        for there in guests.iter().filter(|there| there.n != here.n) {
            assert_eq!(here.hears(there), [""; 0], "{} hears {}", here.n, there.n);
        }
    }
}

/// An IPv6 address of the host's own in the network, where netd gives it none.
fn has_ipv6(lab: &Lab, n: u8) {
    lab.sh(&format!("ip addr replace fd00:{n}::1/64 dev br{n} nodad"));
}

/// Without the filter the same frames go from one to the other.
fn all_passes_without_the_filter(lab: &Lab, guests: &[Guest]) {
    lab.pause_netd();
    lab.sh("nft flush ruleset");
    for sent in [
        "UDP to 10.1.0.2 by the gateway",
        "ping of the host in the other's name by the gateway",
        "UDP fd00:2::2 to fd00:1::2 by the gateway",
        "ping fd00:2::2 of fd00:1::2 by the gateway",
    ] {
        until(sent, || {
            guests[0].hears(&guests[1]).contains(&sent.to_owned())
        });
    }
}

#[test]
fn networks_of_the_host_scope_are_apart() {
    if !inside("networks_of_the_host_scope_are_apart") {
        return;
    }
    let mut lab = Lab::start("apart");
    // An uplink.
    sh(
        "ip link add eth0 type veth peer name wan0; ip link set eth0 up; ip link set wan0 up
        ip addr add 203.0.113.2/24 dev eth0; ip route add default via 203.0.113.1",
    );
    lab.sh(ROUTER);
    let labs = [
        ("seed", 1, "nat"),
        ("seed", 2, "nat"),
        ("seed", 3, "isolated"),
        ("other", 4, "nat"),
        ("other", 5, "routed"),
    ];
    for antispoof in [true, false] {
        let mut guests = Vec::new();
        for (of, n, mode) in labs {
            lab.apply(of, network(n, mode, antispoof));
            has_ipv6(&lab, n);
            guests.push(guest(&mut lab, of, n));
        }
        nothing_passes(&lab, &guests);
        if !antispoof {
            let args = json!({"lab": "seed", "network": "br2", "nat": false});
            let args: SetNat = serde_json::from_value(args).unwrap();
            lab.client.call(&args, lab::PATIENCE).unwrap();
            nothing_passes(&lab, &guests[..2]);
            all_passes_without_the_filter(&lab, &guests);
        }
        drop(guests);
        until("the taps are gone", || !sh("ip -br link").contains("tap"));
    }
}

#[test]
fn networks_of_a_private_lab_are_apart() {
    if !inside("networks_of_a_private_lab_are_apart") {
        return;
    }
    let mut lab = Lab::in_scope("apart", Scope::Private);
    for antispoof in [true, false] {
        let mut guests = Vec::new();
        for (n, mode) in [(1, "nat"), (2, "nat"), (3, "isolated")] {
            lab.apply("seed", network(n, mode, antispoof));
            has_ipv6(&lab, n);
            guests.push(guest(&mut lab, "seed", n));
        }
        lab.sh(ROUTER);
        nothing_passes(&lab, &guests);
        if !antispoof {
            all_passes_without_the_filter(&lab, &guests);
        }
    }
}
