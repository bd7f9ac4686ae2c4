// SPDX-License-Identifier: Apache-2.0
//! Connection tracking entries of lab subnets, over ctnetlink (linux/netfilter/nfnetlink_conntrack.h).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::nft::attr::{self, Attrs};
use crate::nft::socket::{Message, NFNL_SUBSYS_CTNETLINK, Socket};
use crate::nft::{Error, Result};

const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_ZONE: u16 = 3;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;

/// Removes every IPv4 entry whose original or reply source or destination lies in `subnet`.
/// Returns how many went; one that vanished meanwhile is not counted and no error.
pub fn clear(subnet: Ipv4Net) -> Result<usize> {
    let mut socket = Socket::open()?;
    let mut cleared = 0;
    for entry in socket.dump(&request("list connections".into(), CT_GET, Vec::new()))? {
        if !touches(&entry, &[subnet]) {
            continue;
        }
        let operation = format!("remove a connection of {subnet}");
        match socket.request(&request(operation, CT_DELETE, identity(&entry))) {
            Ok(()) => cleared += 1,
            Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(cleared)
}

/// Counts the IPv4 entries that touch any of these subnets.
pub fn count(subnets: &[Ipv4Net]) -> Result<usize> {
    let mut socket = Socket::open()?;
    let entries = socket.dump(&request("list connections".into(), CT_GET, Vec::new()))?;
    Ok(entries
        .iter()
        .filter(|entry| touches(entry, subnets))
        .count())
}

fn request(operation: String, kind: u16, attrs: Vec<u8>) -> Message {
    let kind = NFNL_SUBSYS_CTNETLINK << 8 | kind;
    Message {
        operation,
        kind,
        flags: 0,
        family: libc::AF_INET as u8,
        attrs,
    }
}

/// The attributes that name an entry: its original tuple as the kernel told it, the zone without
/// which the tuple is another's, and the id, so that a new entry with the same tuple is spared.
fn identity(entry: &[u8]) -> Vec<u8> {
    let mut attrs = Attrs::new();
    for (kind, value) in attr::parse(entry) {
        match kind {
            CTA_TUPLE_ORIG => {
                attrs.nest(kind, |tuple| {
                    for (kind, value) in attr::parse(value) {
                        // All but the zone are nested themselves.
                        if kind == CTA_TUPLE_ZONE {
                            tuple.raw(kind, value);
                        } else {
                            tuple.nested_raw(kind, value);
                        }
                    }
                });
            }
            CTA_ID | CTA_ZONE => _ = attrs.raw(kind, value),
            _ => {}
        }
    }
    attrs.into_bytes()
}

fn touches(entry: &[u8], subnets: &[Ipv4Net]) -> bool {
    attr::parse(entry)
        .filter(|(kind, _)| matches!(*kind, CTA_TUPLE_ORIG | CTA_TUPLE_REPLY))
        .filter_map(|(_, tuple)| attr::find(tuple, CTA_TUPLE_IP))
        .flat_map(attr::parse)
        .filter(|(kind, _)| matches!(*kind, CTA_IP_V4_SRC | CTA_IP_V4_DST))
        .filter_map(|(_, value)| attr::be32(value))
        .any(|address| {
            subnets
                .iter()
                .any(|subnet| subnet.contains(&Ipv4Addr::from(address)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(orig: [[u8; 4]; 2], reply: [[u8; 4]; 2]) -> Vec<u8> {
        let mut attrs = Attrs::new();
        for (kind, [src, dst]) in [(CTA_TUPLE_ORIG, orig), (CTA_TUPLE_REPLY, reply)] {
            attrs.nest(kind, |tuple| {
                tuple.nest(CTA_TUPLE_IP, |ip| {
                    ip.raw(CTA_IP_V4_SRC, &src).raw(CTA_IP_V4_DST, &dst);
                });
            });
        }
        attrs.be32(CTA_ID, 7).be32(3, 1);
        attrs.into_bytes()
    }

    #[test]
    fn both_directions_and_both_ends_count() {
        let subnet: Ipv4Net = "192.168.57.0/24".parse().unwrap();
        let (lab, wan, host) = ([192, 168, 57, 2], [203, 0, 113, 1], [203, 0, 113, 2]);
        assert!(touches(&entry([lab, wan], [wan, host]), &[subnet]));
        assert!(
            touches(&entry([wan, host], [lab, wan]), &[subnet]),
            "a forward into the lab"
        );
        assert!(!touches(&entry([host, wan], [wan, host]), &[subnet]));
        assert!(!touches(&[1, 2, 3], &[subnet]));
    }

    #[test]
    fn an_entry_is_named_by_tuple_and_id_only() {
        let named = identity(&entry([[10, 0, 0, 1]; 2], [[10, 0, 0, 2]; 2]));
        let kinds: Vec<u16> = attr::parse(&named).map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [CTA_TUPLE_ORIG, CTA_ID]);
    }
}
