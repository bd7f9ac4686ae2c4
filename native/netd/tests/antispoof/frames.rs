// SPDX-License-Identifier: Apache-2.0
//! Frames as a hostile guest would make them, byte by byte. Checksums are left out: nothing that
//! these tests ask for looks at them.

#![allow(dead_code)] // each test file uses what it needs

use std::net::{Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];
pub const BROADCAST: Mac = [0xff; 6];

pub const ICMPV6: u8 = 58;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

pub fn ether(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to, &from, &kind.to_be_bytes()[..], payload].concat()
}

pub fn arp(from: Mac, operation: u8, mac: Mac, ip: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let body = [
        &[0, 1, 8, 0, 6, 4, 0, operation][..],
        &mac,
        &ip.octets(),
        &[0; 6],
        &target.octets(),
        &[0; 18],
    ];
    ether(BROADCAST, from, 0x0806, &body.concat())
}

pub fn ipv4(from: Mac, source: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let header = [
        &[0x45, 0][..],
        &length.to_be_bytes(),
        &[0, 7],
        &fragment.to_be_bytes(),
        &[64, protocol, 0, 0],
        &source.octets(),
        &[255; 4],
        payload,
    ];
    ether(BROADCAST, from, 0x0800, &header.concat())
}

pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let header = [source, destination, length, 0].map(u16::to_be_bytes);
    [&header.concat(), payload].concat()
}

/// A DHCP message up to its options, and the magic cookie.
pub fn dhcp(operation: u8, chaddr: Mac) -> Vec<u8> {
    let mut message = vec![0; 300];
    message[..4].copy_from_slice(&[operation, 1, 6, 0]);
    message[28..34].copy_from_slice(&chaddr);
    message[236..240].copy_from_slice(&[99, 130, 83, 99]);
    message
}

pub fn ipv6(from: Mac, source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let header = [
        &[0x60, 0, 0, 0][..],
        &(payload.len() as u16).to_be_bytes(),
        &[next, 255],
        &source.octets(),
        &"ff02::1".parse::<Ipv6Addr>().unwrap().octets(),
        payload,
    ];
    // To everybody, so that no snooping of multicast has a say.
    ether(BROADCAST, from, 0x86dd, &header.concat())
}

/// An ICMPv6 message of neighbour discovery about `target`.
pub fn icmpv6(kind: u8, target: Ipv6Addr) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat()
}

pub fn router_advert() -> Vec<u8> {
    vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The ways around a guard that RFC 7113 tells of, in front of an upper-layer message.
pub fn hidden(next: u8, message: &[u8]) -> Vec<(&'static str, u8, Vec<u8>)> {
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0]; // PadN
    let fragment = |next: u8, offset: u16, more: u16| {
        let place = (offset << 3 | more).to_be_bytes();
        [next, 0, place[0], place[1], 0, 0, 0, 9]
    };
    vec![
        (
            "hop-by-hop options",
            HOP_BY_HOP,
            [&options(next)[..], message].concat(),
        ),
        (
            "destination options",
            DESTINATION,
            [&options(next)[..], message].concat(),
        ),
        (
            "two kinds of options",
            HOP_BY_HOP,
            [&options(DESTINATION)[..], &options(next), message].concat(),
        ),
        (
            "an atomic fragment",
            FRAGMENT,
            [&fragment(next, 0, 0)[..], message].concat(),
        ),
        (
            "a first fragment",
            FRAGMENT,
            [&fragment(next, 0, 1)[..], message].concat(),
        ),
        (
            "options in a fragment",
            FRAGMENT,
            [&fragment(DESTINATION, 0, 0)[..], &options(next), message].concat(),
        ),
        (
            "two fragment headers",
            FRAGMENT,
            [
                &fragment(FRAGMENT, 0, 0)[..],
                &fragment(next, 0, 0),
                message,
            ]
            .concat(),
        ),
        (
            // The options say that they are longer than the fragment is.
            "a first fragment without the message",
            FRAGMENT,
            [
                &fragment(DESTINATION, 0, 1)[..],
                &[next, 1, 1, 12, 0, 0, 0, 0],
            ]
            .concat(),
        ),
        ("a header that is cut off", DESTINATION, vec![next, 4]),
    ]
}

/// A fragment that is not the first, with its header.
pub fn later_fragment(rest: &[u8]) -> (u8, Vec<u8>) {
    (
        FRAGMENT,
        [&[ICMPV6, 0, 0, 8, 0, 0, 0, 9][..], rest].concat(),
    )
}

/// The frame with something before its type that a bridge carries along.
pub fn wrapped(frame: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (addresses, rest) = frame.split_at(12);
    let with = |what: &[u8]| [addresses, what, rest].concat();
    let body = (rest.len() + 6) as u16;
    let snap = [&body.to_be_bytes()[..], &[0xaa, 0xaa, 3, 0, 0, 0]].concat();
    vec![
        ("802.1Q", with(&[0x81, 0, 0, 5])),
        ("802.1Q number 0", with(&[0x81, 0, 0, 0])),
        ("802.1ad", with(&[0x88, 0xa8, 0, 5])),
        ("two tags", with(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 0])),
        ("LLC/SNAP", with(&snap)),
    ]
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2);
    let words =
        words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// An IPv4 packet that a host takes: with checksums, and UDP or ICMP in it.
pub fn packet4(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    if protocol == ICMP {
        let sum = checksum(&payload);
        payload[2..4].copy_from_slice(&sum);
    }
    let length = (20 + payload.len()) as u16;
    let mut header = [
        &[0x45, 0][..],
        &length.to_be_bytes(),
        &[0, 7, 0, 0, 64, protocol, 0, 0],
        &from.octets(),
        &to.octets(),
    ]
    .concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [header, payload].concat()
}

/// The same for IPv6; the checksum stands at 6 in UDP, at 2 in ICMPv6.
pub fn packet6(next: u8, from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let length = payload.len() as u16;
    let pseudo = [
        &from.octets()[..],
        &to.octets(),
        &u32::from(length).to_be_bytes(),
        &[0, 0, 0, next],
        &payload,
    ]
    .concat();
    let at = if next == UDP { 6 } else { 2 };
    payload[at..at + 2].copy_from_slice(&checksum(&pseudo));
    let header = [
        &[0x60, 0, 0, 0][..],
        &length.to_be_bytes(),
        &[next, 64],
        &from.octets(),
        &to.octets(),
    ];
    [header.concat(), payload].concat()
}
