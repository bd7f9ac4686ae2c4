// SPDX-License-Identifier: Apache-2.0
//! Interfaces: RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK.

use super::Result;
use super::port::is_fixed;
use super::socket::{Message, NLM_F_CREATE, NLM_F_EXCL, Rtnl, u16_at, u32_at, u64_at};
use crate::nft::attr::{Attrs, find, parse, string};
use rustix::io::Errno;

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

// enum in linux/if_link.h
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_CARRIER: u16 = 33;
pub(super) const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_MULTI_BOOLOPT: u16 = 46;
/// linux/if_bridge.h, BR_BOOLOPT_NO_LL_LEARN as a bit.
const NO_LINK_LOCAL_LEARN: u32 = 1 << 0;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// linux/if_link.h: no link-local address.
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// linux/rtnetlink.h
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 1 << 7;
/// linux/if_arp.h
const ARPHRD_ETHER: u16 = 1;
/// sizeof(struct ifinfomsg).
const IFINFOMSG: usize = 16;

/// Whether to read counters along with interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counters {
    /// `stats` holds them.
    Read,
    /// `stats` holds zeroes.
    Skip,
}

/// An interface as RTM_GETLINK tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// IFLA_INFO_KIND, "" where there is none.
    pub kind: String,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
    /// The interface below it, as of a VLAN; the other end of a veth.
    pub lower: Option<u32>,
    /// Its frames are Ethernet's.
    pub ethernet: bool,
    /// It answers no ARP.
    pub no_arp: bool,
    /// A bridge's port that learns no addresses: see [`Rtnl::fix_port`].
    pub fixed: bool,
    /// IFF_UP.
    pub up: bool,
    /// IFLA_CARRIER.
    pub carrier: bool,
    /// IF_OPER_…, RFC 2863.
    pub operstate: u8,
    /// Its hardware address; empty where it has none.
    pub mac: Vec<u8>,
    /// Bytes.
    pub mtu: u32,
    /// Its alias, "" where there is none.
    pub alias: String,
    /// IFLA_GROUP.
    pub group: u32,
    /// Of a bridge: how it is set up.
    pub bridge: Option<BridgeOptions>,
    /// Its counters.
    pub stats: LinkStats,
}

/// What netd sets of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeOptions {
    /// IFLA_BR_STP_STATE.
    pub stp: u32,
    /// IFLA_BR_FORWARD_DELAY, in 1/100 s.
    pub forward_delay: u32,
    /// Whether the senders of frames to 01:80:c2:00:00:0x are learnt, which no filter sees. A
    /// kernel before 5.0 does not tell and learns them.
    pub learns_link_local: bool,
    /// Whether it speaks for itself, of multicast, and is told by others who listens.
    pub mcast_snooping: bool,
}

impl BridgeOptions {
    /// As netd's bridges have them.
    pub fn new(mcast_snooping: bool) -> BridgeOptions {
        BridgeOptions {
            stp: 0,
            forward_delay: 0,
            learns_link_local: false,
            mcast_snooping,
        }
    }

    /// In the words of ip-link(8).
    pub fn words(&self) -> String {
        let snooping = match self.mcast_snooping {
            true => "",
            false => " mcast_snooping 0",
        };
        format!("stp_state 0 forward_delay 0 no_linklocal_learn 1{snooping}")
    }
}

/// IFLA_STATS64, the part that is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in struct rtnl_link_stats64
pub struct LinkStats {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

/// A bridge to be made: STP off, no forward delay.
#[derive(Debug, Clone, Copy)]
pub struct NewBridge<'a> {
    /// Its number, which must be free.
    pub ifindex: u32,
    /// Its name.
    pub name: &'a str,
    /// Its hardware address. Given explicitly, so it does not follow its ports'.
    pub mac: [u8; 6],
    /// Bytes.
    pub mtu: u32,
    /// How it is set up.
    pub options: BridgeOptions,
    /// Its alias.
    pub alias: &'a str,
}

/// What to set on an interface; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkChange<'a> {
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// IFLA_IFALIAS.
    pub alias: Option<&'a str>,
    /// IFLA_GROUP.
    pub group: Option<u32>,
    /// The bridge to join; 0 leaves the present one.
    pub master: Option<u32>,
    /// IFF_UP.
    pub up: Option<bool>,
    /// It answers no ARP from now on.
    pub no_arp: bool,
    /// No IPv6 link-local address from now on.
    pub no_link_local: bool,
    /// How a bridge is set up.
    pub bridge: Option<BridgeOptions>,
}

impl Rtnl {
    /// All interfaces, in the kernel's order. Without counters the kernel has half the work.
    pub fn links(&mut self, counters: Counters) -> Result<Vec<LinkInfo>> {
        let mut links = Vec::new();
        let mut attrs = Attrs::new();
        if counters == Counters::Skip {
            attrs.raw(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
        }
        let request = Message {
            operation: "list interfaces".into(),
            kind: RTM_GETLINK,
            flags: 0,
            body: with(header(0, 0, 0), attrs),
        };
        self.dump(&request, |kind, body| {
            if kind == RTM_NEWLINK {
                links.extend(parse_link(body));
            }
        })?;
        Ok(links)
    }

    /// One interface by number.
    pub fn link(&mut self, ifindex: u32) -> Result<Option<LinkInfo>> {
        self.one_link(header(ifindex, 0, 0))
    }

    /// One interface by name.
    pub fn link_named(&mut self, name: &str) -> Result<Option<LinkInfo>> {
        let mut attrs = Attrs::new();
        attrs.string(IFLA_IFNAME, name);
        self.one_link(with(header(0, 0, 0), attrs))
    }

    fn one_link(&mut self, body: Vec<u8>) -> Result<Option<LinkInfo>> {
        let request = Message {
            operation: "look at an interface".into(),
            kind: RTM_GETLINK,
            flags: 0,
            body,
        };
        Ok(self.get(&request)?.as_deref().and_then(parse_link))
    }

    /// Makes a bridge and puts its alias on, in one system call: no bridge of ours is ever seen
    /// without its label. The alias goes to the number, so if somebody else takes the *name*
    /// just now, theirs is not touched. EEXIST: the name is taken; EBUSY: the number is.
    pub fn add_bridge(&mut self, bridge: &NewBridge<'_>) -> Result<()> {
        let mut attrs = Attrs::new();
        attrs
            .string(IFLA_IFNAME, bridge.name)
            .raw(IFLA_ADDRESS, &bridge.mac)
            .raw(IFLA_MTU, &bridge.mtu.to_ne_bytes())
            .nest(IFLA_LINKINFO, |info| bridge_info(info, bridge.options));
        let make = Message {
            operation: format!("make bridge {}", bridge.name),
            kind: RTM_NEWLINK,
            flags: NLM_F_CREATE | NLM_F_EXCL,
            body: with(header(bridge.ifindex, 0, 0), attrs),
        };
        let mut attrs = Attrs::new();
        attrs.raw(IFLA_IFALIAS, bridge.alias.as_bytes());
        let label = Message {
            operation: format!("label bridge {}", bridge.name),
            kind: RTM_NEWLINK,
            flags: 0,
            body: with(header(bridge.ifindex, 0, 0), attrs),
        };
        self.request(&[make, label])
    }

    /// Changes an interface; `name` is for errors only. Where it gets a master or goes up, that
    /// comes after the rest.
    pub fn change_link(&mut self, ifindex: u32, name: &str, change: &LinkChange<'_>) -> Result<()> {
        let mut first = Attrs::new();
        if let Some(mac) = change.mac {
            first.raw(IFLA_ADDRESS, &mac);
        }
        if let Some(mtu) = change.mtu {
            first.raw(IFLA_MTU, &mtu.to_ne_bytes());
        }
        if let Some(alias) = change.alias {
            first.raw(IFLA_IFALIAS, alias.as_bytes());
        }
        if let Some(group) = change.group {
            first.raw(IFLA_GROUP, &group.to_ne_bytes());
        }
        if let Some(options) = change.bridge {
            first.nest(IFLA_LINKINFO, |info| bridge_info(info, options));
        }
        if change.no_link_local {
            first.nest(IFLA_AF_SPEC, |families| {
                families.nest(libc::AF_INET6 as u16, |inet6| {
                    inet6.raw(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
                });
            });
        }
        let mut second = Attrs::new();
        if let Some(master) = change.master {
            second.raw(IFLA_MASTER, &master.to_ne_bytes());
        }
        let (mut flags, mut mask) = match change.up {
            Some(true) => (IFF_UP, IFF_UP),
            Some(false) => (0, IFF_UP),
            None => (0, 0),
        };
        if change.no_arp {
            flags |= IFF_NOARP;
            mask |= IFF_NOARP;
        }
        let mut messages = Vec::new();
        let first = first.into_bytes();
        if !first.is_empty() {
            messages.push(Message {
                operation: format!("set up interface {name}"),
                kind: RTM_NEWLINK,
                flags: 0,
                body: [header(ifindex, 0, 0), first].concat(),
            });
        }
        let second = second.into_bytes();
        if !second.is_empty() || mask != 0 {
            let operation = match (change.master, change.up) {
                (Some(0), _) => format!("take {name} off its bridge"),
                (Some(_), _) => format!("put {name} on its bridge"),
                (None, Some(false)) => format!("switch {name} off"),
                (None, _) => format!("switch {name} on"),
            };
            messages.push(Message {
                operation,
                kind: RTM_NEWLINK,
                flags: 0,
                body: [header(ifindex, flags, mask), second].concat(),
            });
        }
        self.request(&messages)
    }

    /// Removes an interface; `name` is for errors only. One that is not there is fine.
    pub fn delete_link(&mut self, ifindex: u32, name: &str) -> Result<()> {
        let message = Message {
            operation: format!("remove interface {name}"),
            kind: RTM_DELLINK,
            flags: 0,
            body: header(ifindex, 0, 0),
        };
        match self.request(&[message]) {
            Err(error) if error.errno == Errno::NODEV => Ok(()),
            result => result,
        }
    }
}

fn bridge_info(info: &mut Attrs, options: BridgeOptions) {
    info.string(IFLA_INFO_KIND, "bridge")
        .nest(IFLA_INFO_DATA, |data| {
            data.raw(IFLA_BR_FORWARD_DELAY, &0u32.to_ne_bytes())
                .raw(IFLA_BR_STP_STATE, &0u32.to_ne_bytes())
                .raw(IFLA_BR_MCAST_SNOOPING, &[u8::from(options.mcast_snooping)]);
            // struct br_boolopt_multi: values, and which are meant.
            let option = NO_LINK_LOCAL_LEARN.to_ne_bytes();
            data.raw(IFLA_BR_MULTI_BOOLOPT, &[option, option].concat());
        });
}

/// struct ifinfomsg.
pub(super) fn header(ifindex: u32, flags: u32, mask: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4]; // AF_UNSPEC, padding, type
    for word in [ifindex, flags, mask] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn with(header: Vec<u8>, attrs: Attrs) -> Vec<u8> {
    [header, attrs.into_bytes()].concat()
}

/// An RTM_NEWLINK message; none where it is not one.
fn parse_link(body: &[u8]) -> Option<LinkInfo> {
    // A bridge tells its ports a second time as AF_BRIDGE.
    if *body.first()? != libc::AF_UNSPEC as u8 {
        return None;
    }
    let flags = u32_at(body, 8)?;
    let mut link = LinkInfo {
        ifindex: u32_at(body, 4)?,
        name: String::new(),
        kind: String::new(),
        master: None,
        fixed: false,
        lower: None,
        ethernet: u16_at(body, 2)? == ARPHRD_ETHER,
        no_arp: flags & IFF_NOARP != 0,
        up: flags & IFF_UP != 0,
        carrier: false,
        operstate: 0,
        mac: Vec::new(),
        mtu: 0,
        alias: String::new(),
        group: 0,
        bridge: None,
        stats: LinkStats::default(),
    };
    for (kind, value) in parse(body.get(IFINFOMSG..)?) {
        match kind {
            IFLA_IFNAME => link.name = string(value)?.to_owned(),
            IFLA_ADDRESS => link.mac = value.to_vec(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINK => link.lower = u32_at(value, 0),
            IFLA_OPERSTATE => link.operstate = *value.first()?,
            IFLA_CARRIER => link.carrier = value.first() == Some(&1),
            // Somebody else's alias may be anything.
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_GROUP => link.group = u32_at(value, 0)?,
            IFLA_STATS64 => link.stats = parse_stats(value)?,
            IFLA_LINKINFO => {
                link.kind = find(value, IFLA_INFO_KIND).map(text).unwrap_or_default();
                link.fixed = is_fixed(value);
                if link.kind == "bridge"
                    && let Some(data) = find(value, IFLA_INFO_DATA)
                {
                    let number = |kind| find(data, kind).and_then(|v| u32_at(v, 0));
                    let stp = number(IFLA_BR_STP_STATE);
                    let options = number(IFLA_BR_MULTI_BOOLOPT).unwrap_or(NO_LINK_LOCAL_LEARN);
                    let snooping = find(data, IFLA_BR_MCAST_SNOOPING);
                    link.bridge =
                        stp.zip(number(IFLA_BR_FORWARD_DELAY))
                            .map(|(stp, delay)| BridgeOptions {
                                stp,
                                forward_delay: delay,
                                learns_link_local: options & NO_LINK_LOCAL_LEARN == 0,
                                mcast_snooping: snooping != Some(&[0]),
                            });
                }
            }
            _ => {}
        }
    }
    Some(link)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&b| b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// struct rtnl_link_stats64 begins rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors,
/// tx_errors, rx_dropped, tx_dropped.
fn parse_stats(value: &[u8]) -> Option<LinkStats> {
    let word = |index: usize| u64_at(value, index * 8);
    Some(LinkStats {
        rx_packets: word(0)?,
        tx_packets: word(1)?,
        rx_bytes: word(2)?,
        tx_bytes: word(3)?,
        rx_dropped: word(6)?,
        tx_dropped: word(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_no_garbage() {
        let mut attrs = Attrs::new();
        attrs
            .string(IFLA_IFNAME, "br0")
            .raw(IFLA_MTU, &1500u32.to_ne_bytes())
            .raw(IFLA_IFALIAS, b"\xff\xfe")
            .raw(IFLA_GROUP, &7u32.to_ne_bytes())
            .nest(IFLA_LINKINFO, |info| {
                bridge_info(info, BridgeOptions::new(false));
            });
        let body = with(header(7, IFF_UP, 0), attrs);
        let link = parse_link(&body).unwrap();
        assert_eq!((link.ifindex, link.up, link.mtu), (7, true, 1500));
        assert_eq!(link.group, 7);
        assert_eq!((link.name.as_str(), link.kind.as_str()), ("br0", "bridge"));
        assert_eq!(link.bridge, Some(BridgeOptions::new(false)));
        for end in 0..body.len() {
            parse_link(&body[..end]);
            let mut wrong = body.clone();
            wrong[end] ^= 0xff;
            parse_link(&wrong);
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("link", parse_link);
    }
}
