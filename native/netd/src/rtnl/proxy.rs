// SPDX-License-Identifier: Apache-2.0
//! Proxy ARP: the addresses of others for which an interface answers. RTM_NEWNEIGH, RTM_DELNEIGH and
//! RTM_GETNEIGH with NTF_PROXY.

use super::Result;
use super::address::parse_ip;
use super::socket::{Message, NLM_F_CREATE, Rtnl, u32_at};
use crate::nft::attr::{Attrs, find};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;

// linux/neighbour.h
const NDA_DST: u16 = 1;
const NDA_PROTOCOL: u16 = 12;
const NTF_PROXY: u8 = 0x08;
/// Else a cable that is pulled out takes the entry along (with an older kernel it does so anyway).
const NUD_PERMANENT: u16 = 0x80;
/// sizeof(struct ndmsg).
const NDMSG: usize = 12;

/// Who made an entry, as `ip neigh show proxy` tells it: "t". Nobody has registered this number.
pub const PROXY_PROTOCOL: u8 = 116;
/// The acknowledgements of more would not fit a socket's buffer.
const AT_ONCE: usize = 64;

/// An address that an interface answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Proxy {
    /// The interface.
    pub ifindex: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// A netd made it.
    pub ours: bool,
}

impl Rtnl {
    /// All of the namespace.
    pub fn proxies(&mut self) -> Result<Vec<Proxy>> {
        let mut proxies = Vec::new();
        let request = Message {
            operation: "list what is answered for".into(),
            kind: RTM_GETNEIGH,
            flags: 0,
            body: header(0),
        };
        self.dump(&request, |kind, body| {
            if kind == RTM_NEWNEIGH {
                proxies.extend(parse_proxy(body));
            }
        })?;
        Ok(proxies)
    }

    /// Lets an interface answer for these. One that is there already becomes ours: look first.
    pub fn add_proxies(&mut self, ifindex: u32, addresses: &[Ipv4Addr]) -> Result<()> {
        self.change(RTM_NEWNEIGH, NLM_F_CREATE, ifindex, addresses)
    }

    /// Lets it answer for them no more. What is not there is fine.
    pub fn delete_proxies(&mut self, ifindex: u32, addresses: &[Ipv4Addr]) -> Result<()> {
        match self.change(RTM_DELNEIGH, 0, ifindex, addresses) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NODEV) => Ok(()),
            result => result,
        }
    }

    fn change(
        &mut self,
        kind: u16,
        flags: u16,
        ifindex: u32,
        addresses: &[Ipv4Addr],
    ) -> Result<()> {
        let message = |address: &Ipv4Addr| Message {
            operation: match kind {
                RTM_NEWNEIGH => format!("answer for {address}"),
                _ => format!("answer for {address} no more"),
            },
            kind,
            flags,
            body: entry(ifindex, *address),
        };
        // Past an error: of several the first is told.
        let chunks = addresses.chunks(AT_ONCE);
        let results = chunks.map(|chunk| {
            let messages: Vec<Message> = chunk.iter().map(message).collect();
            self.request(&messages)
        });
        results.collect::<Vec<_>>().into_iter().collect()
    }
}

/// struct ndmsg.
fn header(ifindex: u32) -> Vec<u8> {
    let mut bytes = vec![libc::AF_INET as u8, 0, 0, 0];
    bytes.extend_from_slice(&ifindex.to_ne_bytes());
    bytes.extend_from_slice(&NUD_PERMANENT.to_ne_bytes());
    bytes.extend_from_slice(&[NTF_PROXY, 0]);
    bytes
}

fn entry(ifindex: u32, address: Ipv4Addr) -> Vec<u8> {
    let mut attrs = Attrs::new();
    attrs
        .raw(NDA_DST, &address.octets())
        .raw(NDA_PROTOCOL, &[PROXY_PROTOCOL]);
    [header(ifindex), attrs.into_bytes()].concat()
}

/// An RTM_NEWNEIGH message of a proxy's; none where it is not one.
fn parse_proxy(body: &[u8]) -> Option<Proxy> {
    let ifindex = u32_at(body, 4)?;
    let attrs = body.get(NDMSG..)?;
    if body.get(10)? & NTF_PROXY == 0 {
        return None;
    }
    match parse_ip(i32::from(*body.first()?), find(attrs, NDA_DST)?)? {
        IpAddr::V4(address) => Some(Proxy {
            ifindex,
            address,
            ours: find(attrs, NDA_PROTOCOL) == Some(&[PROXY_PROTOCOL]),
        }),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_no_garbage() {
        let address = Ipv4Addr::new(192, 168, 1, 194);
        let body = entry(9, address);
        let expected = Proxy {
            ifindex: 9,
            address,
            ours: true,
        };
        assert_eq!(parse_proxy(&body), Some(expected));
        let mut neighbour = body.clone();
        neighbour[10] = 0;
        assert_eq!(parse_proxy(&neighbour), None);
        for end in 0..body.len() {
            parse_proxy(&body[..end]);
            let mut wrong = body.clone();
            wrong[end] ^= 0xff;
            parse_proxy(&wrong);
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("proxy", parse_proxy);
    }
}
