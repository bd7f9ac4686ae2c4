// SPDX-License-Identifier: Apache-2.0
//! Addresses of interfaces: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR.

use super::Result;
use super::socket::{Message, NLM_F_CREATE, NLM_F_EXCL, Rtnl, u32_at};
use crate::nft::attr::{Attrs, find};
use ipnet::IpNet;
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// linux/if_addr.h: no duplicate address detection.
const IFA_F_NODAD: u8 = 0x02;
/// sizeof(struct ifaddrmsg).
const IFADDRMSG: usize = 8;

/// Which addresses to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4 and IPv6.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl AddressFamily {
    pub(super) fn number(self) -> i32 {
        match self {
            AddressFamily::Any => libc::AF_UNSPEC,
            AddressFamily::V4 => libc::AF_INET,
            AddressFamily::V6 => libc::AF_INET6,
        }
    }
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub ifindex: u32,
    /// The address itself (not its subnet) with the subnet's length.
    pub net: IpNet,
}

impl Rtnl {
    /// All addresses of the namespace.
    pub fn addresses(&mut self, family: AddressFamily) -> Result<Vec<Address>> {
        let mut addresses = Vec::new();
        let request = Message {
            operation: "list addresses".into(),
            kind: RTM_GETADDR,
            flags: 0,
            body: header(family.number() as u8, 0, 0),
        };
        self.dump(&request, |kind, body| {
            if kind == RTM_NEWADDR {
                addresses.extend(parse_address(body));
            }
        })?;
        Ok(addresses)
    }

    /// Gives an interface an address, IPv4's with the subnet's broadcast address, IPv6's ready for
    /// use at once (on a bridge of our own nobody else has it). EEXIST: it has it.
    pub fn add_address(&mut self, ifindex: u32, net: IpNet) -> Result<()> {
        let message = message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, net, "give");
        self.request(&[message])
    }

    /// Takes an address away. One that is not there is fine.
    pub fn delete_address(&mut self, ifindex: u32, net: IpNet) -> Result<()> {
        match self.request(&[message(RTM_DELADDR, 0, ifindex, net, "take away")]) {
            Err(error) if matches!(error.errno, Errno::ADDRNOTAVAIL | Errno::NODEV) => Ok(()),
            result => result,
        }
    }
}

fn message(kind: u16, flags: u16, ifindex: u32, net: IpNet, verb: &str) -> Message {
    let mut attrs = Attrs::new();
    let (family, address_flags) = match net {
        IpNet::V4(net) => {
            attrs
                .raw(IFA_LOCAL, &net.addr().octets())
                .raw(IFA_ADDRESS, &net.addr().octets())
                .raw(IFA_BROADCAST, &net.broadcast().octets());
            (libc::AF_INET, 0)
        }
        IpNet::V6(net) => {
            attrs
                .raw(IFA_LOCAL, &net.addr().octets())
                .raw(IFA_ADDRESS, &net.addr().octets());
            (libc::AF_INET6, IFA_F_NODAD)
        }
    };
    let mut body = header(family as u8, net.prefix_len(), ifindex);
    body[2] = address_flags;
    Message {
        operation: format!("{verb} address {net}"),
        kind,
        flags,
        body: [body, attrs.into_bytes()].concat(),
    }
}

/// struct ifaddrmsg: family, prefix length, flags, scope (0 is universe), index.
fn header(family: u8, prefix: u8, ifindex: u32) -> Vec<u8> {
    let mut bytes = vec![family, prefix, 0, 0];
    bytes.extend_from_slice(&ifindex.to_ne_bytes());
    bytes
}

/// An RTM_NEWADDR message; none where it is not one. On a point-to-point link IFA_ADDRESS is the
/// peer's, so IFA_LOCAL comes first.
fn parse_address(body: &[u8]) -> Option<Address> {
    let (family, prefix) = (*body.first()?, *body.get(1)?);
    let ifindex = u32_at(body, 4)?;
    let attrs = body.get(IFADDRMSG..)?;
    let value = find(attrs, IFA_LOCAL).or_else(|| find(attrs, IFA_ADDRESS))?;
    let address = parse_ip(i32::from(family), value)?;
    Some(Address {
        ifindex,
        net: IpNet::new(address, prefix).ok()?,
    })
}

/// An address as netlink holds it.
pub(super) fn parse_ip(family: i32, value: &[u8]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_no_garbage() {
        let net: IpNet = "192.168.57.1/24".parse().unwrap();
        let body = message(RTM_NEWADDR, 0, 9, net, "give").body;
        let expected = Address { ifindex: 9, net };
        assert_eq!(parse_address(&body), Some(expected));
        for end in 0..body.len() {
            parse_address(&body[..end]);
            let mut wrong = body.clone();
            wrong[end] ^= 0xff;
            parse_address(&wrong);
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("address", parse_address);
    }
}
