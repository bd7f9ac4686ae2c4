// SPDX-License-Identifier: Apache-2.0
//! A bridge's ports: RTM_NEWLINK with what the bridge knows of one, RTM_NEWNEIGH and RTM_DELNEIGH of
//! its table of addresses.

use super::Result;
use super::link::{IFLA_LINKINFO, RTM_NEWLINK, header};
use super::proxy::{RTM_DELNEIGH, RTM_NEWNEIGH};
use super::socket::{Message, NLM_F_CREATE, NLM_F_EXCL, Rtnl};
use crate::nft::attr::{Attrs, find, string};
use rustix::io::Errno;

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
    /// the spanning tree; or learns as usual. `name` is for errors only. `Errno::EXIST` where the
    /// bridge has the address elsewhere: the kernel would move it here, the host's own as well.
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
        // What the port itself has learnt makes room.
        self.forget_address(ifindex, name, mac)?;
        // The address first: a port that is fixed has it, also where netd was killed in between.
        if fixed && let Err(error) = self.add_address_of_port(ifindex, name, mac) {
            // In one VLAN it may be there already, and in the next another's.
            self.forget_address(ifindex, name, mac)?;
            return Err(error);
        }
        self.request(&[port])
    }

    fn add_address_of_port(&mut self, ifindex: u32, name: &str, mac: [u8; 6]) -> Result<()> {
        self.request(&[Message {
            operation: format!("set the address of the port {name}"),
            kind: RTM_NEWNEIGH,
            flags: NLM_F_CREATE | NLM_F_EXCL,
            body: neighbour(ifindex, mac),
        }])
    }

    /// The bridge has the address on this port no more; elsewhere it stays.
    fn forget_address(&mut self, ifindex: u32, name: &str, mac: [u8; 6]) -> Result<()> {
        let forget = Message {
            operation: format!("forget the address of the port {name}"),
            kind: RTM_DELNEIGH,
            flags: 0,
            body: neighbour(ifindex, mac),
        };
        match self.request(&[forget]) {
            Err(error) if error.errno == Errno::NOENT => Ok(()),
            result => result,
        }
    }
}

/// Whether this IFLA_LINKINFO is that of a port that learns no addresses.
pub(super) fn is_fixed(info: &[u8]) -> bool {
    let of_bridge = find(info, IFLA_INFO_SLAVE_KIND).and_then(string) == Some("bridge");
    let data = find(info, IFLA_INFO_SLAVE_DATA);
    let learning = data.and_then(|data| find(data, IFLA_BRPORT_LEARNING));
    of_bridge && learning == Some(&[0])
}

/// struct ndmsg and the address.
fn neighbour(ifindex: u32, mac: [u8; 6]) -> Vec<u8> {
    let mut attrs = Attrs::new();
    attrs.raw(NDA_LLADDR, &mac);
    let mut bytes = vec![libc::AF_BRIDGE as u8, 0, 0, 0];
    bytes.extend_from_slice(&ifindex.to_ne_bytes());
    bytes.extend_from_slice(&(NUD_NOARP | NUD_REACHABLE).to_ne_bytes());
    bytes.extend_from_slice(&[NTF_MASTER | NTF_STICKY, 0]);
    bytes.extend(attrs.into_bytes());
    bytes
}
