// SPDX-License-Identifier: Apache-2.0
//! A bridge's ports: RTM_NEWLINK with what the bridge knows of one, RTM_NEWNEIGH and RTM_DELNEIGH of
//! its table of addresses.

use super::Result;
use super::link::{IFLA_LINKINFO, RTM_NEWLINK, header};
use super::socket::{Message, NLM_F_CREATE, NLM_F_REPLACE, Rtnl};
use crate::nft::attr::{Attrs, find, string};
use rustix::io::Errno;

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;

// linux/if_link.h
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_GUARD: u16 = 5;
const IFLA_BRPORT_LEARNING: u16 = 8;
// linux/neighbour.h
const NDA_LLADDR: u16 = 2;
const NTF_MASTER: u8 = 0x04;
const NTF_STICKY: u8 = 0x40;
const NUD_REACHABLE: u16 = 0x02;
const NUD_NOARP: u16 = 0x40;

impl Rtnl {
    /// Whether a bridge's port has this address, which it keeps, and never gets another, nor a say in
    /// the spanning tree; or learns as usual. `name` is for errors only.
    pub fn fix_port(&mut self, ifindex: u32, name: &str, mac: [u8; 6], fixed: bool) -> Result<()> {
        let mut attrs = Attrs::new();
        attrs.nest(IFLA_LINKINFO, |info| {
            info.string(IFLA_INFO_SLAVE_KIND, "bridge")
                .nest(IFLA_INFO_SLAVE_DATA, |data| {
                    data.raw(IFLA_BRPORT_LEARNING, &[u8::from(!fixed)])
                        .raw(IFLA_BRPORT_GUARD, &[u8::from(fixed)]);
                });
        });
        let port = Message {
            operation: format!("set up the port {name}"),
            kind: RTM_NEWLINK,
            flags: 0,
            body: [header(ifindex, 0, 0), attrs.into_bytes()].concat(),
        };
        let mut attrs = Attrs::new();
        attrs.raw(NDA_LLADDR, &mac);
        let address = Message {
            operation: format!("set the address of the port {name}"),
            kind: if fixed { RTM_NEWNEIGH } else { RTM_DELNEIGH },
            flags: if fixed {
                NLM_F_CREATE | NLM_F_REPLACE
            } else {
                0
            },
            body: [neighbour(ifindex), attrs.into_bytes()].concat(),
        };
        // The address first: a port that is fixed has it, also where netd was killed in between.
        match self.request(&[address]) {
            Err(error) if !fixed && error.errno == Errno::NOENT => {}
            result => result?,
        }
        self.request(&[port])
    }
}

/// Whether this IFLA_LINKINFO is that of a port that learns no addresses.
pub(super) fn is_fixed(info: &[u8]) -> bool {
    let of_bridge = find(info, IFLA_INFO_SLAVE_KIND).and_then(string) == Some("bridge");
    let data = find(info, IFLA_INFO_SLAVE_DATA);
    let learning = data.and_then(|data| find(data, IFLA_BRPORT_LEARNING));
    of_bridge && learning == Some(&[0])
}

/// struct ndmsg.
fn neighbour(ifindex: u32) -> Vec<u8> {
    let mut bytes = vec![libc::AF_BRIDGE as u8, 0, 0, 0];
    bytes.extend_from_slice(&ifindex.to_ne_bytes());
    bytes.extend_from_slice(&(NUD_NOARP | NUD_REACHABLE).to_ne_bytes());
    bytes.extend_from_slice(&[NTF_MASTER | NTF_STICKY, 0]);
    bytes
}
