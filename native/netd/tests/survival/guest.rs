// SPDX-License-Identifier: Apache-2.0
//! A guest as small as can be: it holds a tap's fd as QEMU does, answers ARP and neighbour
//! solicitations, and pings.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// struct virtio_net_hdr, all zeroes: no offload.
const VNET: usize = 10;
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ARP: [u8; 2] = [0x08, 0x06];
/// IPv6's payload, behind its header.
const IPV6_PAYLOAD: usize = ETHERNET + 40;
const ICMPV6: u8 = 58;
/// RFC 4443 and RFC 4861.
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const AGAIN: Duration = Duration::from_millis(50);

/// The holder of a tap.
pub struct Guest {
    tap: File,
    mac: [u8; 6],
    address: Ipv4Addr,
    address6: Ipv6Addr,
    gateway: [u8; 6],
}

impl Guest {
    /// A guest with these addresses behind the tap; `gateway` is the bridge's MAC.
    pub fn new(
        tap: OwnedFd,
        mac: [u8; 6],
        (address, address6): (Ipv4Addr, Ipv6Addr),
        gateway: [u8; 6],
    ) -> Guest {
        rustix::io::ioctl_fionbio(&tap, true).unwrap();
        Guest {
            tap: tap.into(),
            mac,
            address,
            address6,
            gateway,
        }
    }

    /// Whether `to` answers a ping within `wait`.
    pub fn pings(&mut self, to: IpAddr, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let mut sequence = 0;
        while Instant::now() < deadline {
            sequence += 1;
            match to {
                IpAddr::V4(to) => self.send(self.gateway, IPV4, &echo(self.address, to, sequence)),
                IpAddr::V6(to) => {
                    let [high, low] = sequence.to_be_bytes();
                    let body = [0x7a, 0x9a, high, low];
                    let packet = icmpv6(self.address6, to, ECHO_REQUEST, &body);
                    self.send(self.gateway, IPV6, &packet);
                }
            }
            let next = Instant::now() + AGAIN;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                match self.receive(left) {
                    Some(frame) if self.is_answer(&frame, to) => return true,
                    Some(frame) => {
                        self.answer_arp(&frame);
                        self.answer_solicitation(&frame);
                    }
                    None => {}
                }
            }
        }
        false
    }

    fn send(&mut self, to: [u8; 6], kind: [u8; 2], payload: &[u8]) {
        let frame = [&[0; VNET][..], &to, &self.mac, &kind, payload].concat();
        // EIO: the tap is down, or has been taken away.
        let _ = self.tap.write(&frame);
    }

    fn receive(&mut self, wait: Duration) -> Option<Vec<u8>> {
        let timeout = Timespec::try_from(wait).unwrap();
        let _ = poll(&mut [PollFd::new(&self.tap, PollFlags::IN)], Some(&timeout));
        let mut frame = vec![0; 70_000];
        let size = self.tap.read(&mut frame).ok()?;
        frame.truncate(size);
        frame.get(VNET..).map(<[u8]>::to_vec)
    }

    /// An echo reply from `to`.
    fn is_answer(&self, frame: &[u8], to: IpAddr) -> bool {
        match to {
            IpAddr::V4(to) => {
                frame.get(12..14) == Some(&IPV4)
                    && frame.get(ETHERNET + 9) == Some(&1)
                    && frame.get(ETHERNET + 12..ETHERNET + 16) == Some(&to.octets())
                    && frame.get(ETHERNET + 20) == Some(&0)
            }
            IpAddr::V6(to) => {
                is_icmpv6(frame, ECHO_REPLY)
                    && frame.get(ETHERNET + 8..ETHERNET + 24) == Some(&to.octets())
            }
        }
    }

    /// Says whose its own address is, where that is asked (RFC 4861, 4.4).
    fn answer_solicitation(&mut self, frame: &[u8]) {
        let me = self.address6.octets();
        let target = frame.get(IPV6_PAYLOAD + 8..IPV6_PAYLOAD + 24);
        if !is_icmpv6(frame, SOLICITATION) || target != Some(&me) {
            return;
        }
        let asker: [u8; 16] = frame[ETHERNET + 8..ETHERNET + 24].try_into().unwrap();
        // Solicited, and instead of what the asker knew; the last is the option with the MAC.
        let flags = [0x60, 0, 0, 0];
        let body = [&flags[..], &me, &[2, 1], &self.mac].concat();
        let packet = icmpv6(self.address6, asker.into(), ADVERTISEMENT, &body);
        self.send(frame[6..12].try_into().unwrap(), IPV6, &packet);
    }

    fn answer_arp(&mut self, frame: &[u8]) {
        let me = self.address.octets();
        let asked = frame.get(12..14) == Some(&ARP)
            && frame.get(ETHERNET + 7) == Some(&1)
            && frame.get(ETHERNET + 24..ETHERNET + 28) == Some(&me);
        if !asked {
            return;
        }
        let mut asker = [0; 6];
        asker.copy_from_slice(&frame[ETHERNET + 8..ETHERNET + 14]);
        let head = [0, 1, 8, 0, 6, 4, 0, 2];
        let payload = [
            &head[..],
            &self.mac,
            &me,
            &frame[ETHERNET + 8..ETHERNET + 18],
        ]
        .concat();
        self.send(asker, ARP, &payload);
    }
}

/// An ICMP echo request (RFC 792) in an IPv4 header.
fn echo(from: Ipv4Addr, to: Ipv4Addr, sequence: u16) -> Vec<u8> {
    let mut icmp = [8, 0, 0, 0, 0x7a, 0x9a, 0, 0];
    icmp[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let mut header = [
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [&header[..], &icmp].concat()
}

/// A message of ICMPv6 (RFC 4443) in an IPv6 header, with the hop limit that neighbours want.
fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], body].concat();
    let size = (message.len() as u16).to_be_bytes();
    let addresses = [from.octets(), to.octets()].concat();
    let pseudo = [0, 0, size[0], size[1], 0, 0, 0, ICMPV6];
    let sum = checksum(&[&addresses[..], &pseudo, &message].concat());
    message[2..4].copy_from_slice(&sum);
    let header = [0x60, 0, 0, 0, size[0], size[1], ICMPV6, 255];
    [&header[..], &addresses, &message].concat()
}

/// Whether a frame has such a message, without extension headers.
fn is_icmpv6(frame: &[u8], kind: u8) -> bool {
    frame.get(12..14) == Some(&IPV6)
        && frame.get(ETHERNET + 6) == Some(&ICMPV6)
        && frame.get(IPV6_PAYLOAD) == Some(&kind)
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
