// SPDX-License-Identifier: Apache-2.0
//! A guest as small as can be: it holds a tap's fd as QEMU does, answers ARP, and pings.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// struct virtio_net_hdr, all zeroes: no offload.
const VNET: usize = 10;
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const AGAIN: Duration = Duration::from_millis(50);

/// The holder of a tap.
pub struct Guest {
    tap: File,
    mac: [u8; 6],
    address: Ipv4Addr,
    gateway: [u8; 6],
}

impl Guest {
    /// A guest with this address behind the tap; `gateway` is the bridge's MAC.
    pub fn new(tap: OwnedFd, mac: [u8; 6], address: Ipv4Addr, gateway: [u8; 6]) -> Guest {
        rustix::io::ioctl_fionbio(&tap, true).unwrap();
        Guest {
            tap: tap.into(),
            mac,
            address,
            gateway,
        }
    }

    /// Whether `to` answers a ping within `wait`.
    pub fn pings(&mut self, to: Ipv4Addr, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let mut sequence = 0;
        while Instant::now() < deadline {
            sequence += 1;
            self.send(self.gateway, IPV4, &echo(self.address, to, sequence));
            let next = Instant::now() + AGAIN;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                match self.receive(left) {
                    Some(frame) if self.is_answer(&frame, to) => return true,
                    Some(frame) => self.answer_arp(&frame),
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
    fn is_answer(&self, frame: &[u8], to: Ipv4Addr) -> bool {
        frame.get(12..14) == Some(&IPV4)
            && frame.get(ETHERNET + 9) == Some(&1)
            && frame.get(ETHERNET + 12..ETHERNET + 16) == Some(&to.octets())
            && frame.get(ETHERNET + 20) == Some(&0)
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
