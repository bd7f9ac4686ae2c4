// SPDX-License-Identifier: Apache-2.0
//! Asks a network by ARP (RFC 826) who has an address.
//!
//! As somebody who wants to send there asks, not as a probe of RFC 5227 does: one of those has no
//! sender's address, and who answers for others (proxy ARP, as another Tapyard does) does not answer it.

use crate::packet;
use crate::wait::readable;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A frame may be lost, and who answers for others takes up to 0.8 s (proxy_delay).
const ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_millis(300);

/// An Ethernet header, and ARP of IPv4 over Ethernet.
const FRAME: usize = 14 + 28;
/// Hardware Ethernet, protocol IPv4, and the lengths of their addresses.
const IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];

/// Whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The interface, which is Ethernet.
    pub ifindex: u32,
    /// Its address.
    pub mac: [u8; 6],
    /// The host's address on it.
    pub address: Ipv4Addr,
}

/// The first of these addresses that somebody else has there, and with which MAC address; none where
/// nobody says so within 0.9 s.
pub fn owner_of(
    asker: &Asker,
    addresses: &BTreeSet<Ipv4Addr>,
) -> io::Result<Option<(Ipv4Addr, [u8; 6])>> {
    let socket = packet::socket()?;
    packet::bind(&socket, asker.ifindex, libc::ETH_P_ARP)?;
    for _ in 0..ROUNDS {
        for address in addresses {
            match send(&socket, &question(asker, *address), SendFlags::DONTWAIT) {
                // The queue is full: there is another round.
                Ok(_) | Err(Errno::NOBUFS | Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let deadline = Instant::now() + ROUND;
        if let Some(owner) = heard(&socket, asker, addresses, deadline)? {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

fn heard(
    socket: &OwnedFd,
    asker: &Asker,
    addresses: &BTreeSet<Ipv4Addr>,
    deadline: Instant,
) -> io::Result<Option<(Ipv4Addr, [u8; 6])>> {
    let mut frame = [0; FRAME];
    // On a network that is never silent there is an end, too.
    while Instant::now() < deadline && readable(socket, Some(deadline))? {
        match recv(socket, &mut frame, RecvFlags::DONTWAIT) {
            Ok((size, _)) => {
                let sender = sender(&frame[..size.min(FRAME)]);
                let owner = sender.filter(|(address, _)| addresses.contains(address));
                // What comes back to us is no other's.
                if let Some(owner) = owner.filter(|(_, mac)| *mac != asker.mac) {
                    return Ok(Some(owner));
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

/// To everybody.
fn question(asker: &Asker, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(asker.mac);
    frame.extend((libc::ETH_P_ARP as u16).to_be_bytes());
    frame.extend(IPV4_OVER_ETHERNET);
    frame.extend(REQUEST);
    frame.extend(asker.mac);
    frame.extend(asker.address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// Whose address is which, as the sender of a question or an answer says.
fn sender(frame: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let arp = frame.get(14..FRAME)?;
    if arp[..6] != IPV4_OVER_ETHERNET {
        return None;
    }
    let mac = arp[8..14].try_into().ok()?;
    let address = <[u8; 4]>::try_from(&arp[14..18]).ok()?;
    Some((address.into(), mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Asker = Asker {
        ifindex: 2,
        mac: [2, 0, 0, 0, 0, 1],
        address: Ipv4Addr::new(192, 168, 1, 50),
    };

    #[test]
    fn a_question_says_who_asks() {
        let frame = question(&ASKER, Ipv4Addr::new(192, 168, 1, 194));
        assert_eq!(frame.len(), FRAME);
        assert_eq!(sender(&frame), Some((ASKER.address, ASKER.mac)));
        assert_eq!(frame[38..], [192, 168, 1, 194]);
        assert_eq!(sender(&frame[..FRAME - 1]), None);
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("arp", sender);
    }
}
