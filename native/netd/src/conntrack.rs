// SPDX-License-Identifier: Apache-2.0
//! Connection tracking entries of lab subnets, over ctnetlink (linux/netfilter/nfnetlink_conntrack.h).
//!
//! A ctnetlink dump takes a lock for each of the table's buckets, of which a usual machine has
//! 262 144: 20 to 40 ms however few entries there are. /proc/net/nf_conntrack and a filtered
//! flush skip the empty ones and take 0.2 ms together, and a NAT switch must not wait longer
//! where the kernel has both.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use tapyard_protocol::Exposure;

use crate::nft::attr::{self, Attrs};
use crate::nft::socket::{Message, NFNL_SUBSYS_CTNETLINK, Socket};
use crate::nft::{Error, Result};

const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// The listing of the thread's own network namespace. Not every kernel is built with it.
const LISTING: &str = "/proc/thread-self/net/nf_conntrack";
/// That of some hundred entries.
const LISTING_ROOM: usize = 64 << 10;
/// What each line has.
const ANY: &str = "";

/// One of the four addresses of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    /// `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY`.
    tuple: u16,
    /// `CTA_IP_V4_SRC`, `CTA_IP_V6_DST` …
    side: u16,
    address: IpAddr,
}

/// What is read of an entry.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    /// `IPPROTO_…`
    protocol: u8,
    ends: Vec<End>,
}

/// Whose entries are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Everybody's.
    All,
    /// Those of all protocols but TCP. A packet of a connection without an entry is taken for the
    /// host's own and answered by a reset, so TCP's are kept where the connection may go on.
    AllButTcp,
}

impl Which {
    fn has(self, entry: &Entry) -> bool {
        self == Which::All || i32::from(entry.protocol) != libc::IPPROTO_TCP
    }
}

/// The socket that it is asked by. Closing a netfilter socket waits until nf_tables has thrown away
/// what was deleted last, some ten milliseconds, so there is one for netd's life.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Opens the netlink socket in the calling thread's network namespace.
    pub fn open() -> Result<Conntrack> {
        let socket = Socket::open()?;
        Ok(Conntrack { socket })
    }

    /// Removes those entries whose original or reply source or destination lies in `subnet`, but for
    /// multicast, which does not leave it. Returns how many there were.
    pub fn clear(&mut self, subnet: IpNet, which: Which) -> Result<usize> {
        if let IpNet::V6(_) = subnet {
            return self.clear6(subnet, which);
        }
        let mut cleared = 0;
        let mut wanted = BTreeSet::new();
        let listed = self.list(&start_of(subnet))?;
        for entry in listed.iter().filter(|e| which.has(e) && !stays(e)) {
            if let Some(end) = within(entry, &[subnet]) {
                wanted.insert((end, entry.protocol));
                cleared += 1;
            }
        }
        for (end, protocol) in wanted {
            let operation = format!("remove the connections of {}", end.address);
            let mut message = request(operation, CT_DELETE, filter(end, protocol));
            message.family = libc::AF_INET as u8;
            match self.socket.request(&message) {
                Ok(()) => {}
                Err(Error::Kernel { source, .. }) if is_without_filter(&source) => {
                    return self.clear_each(libc::AF_INET as u8, |entry| {
                        let entry = parse_entry(entry);
                        which.has(&entry) && !stays(&entry) && within(&entry, &[subnet]).is_some()
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(cleared)
    }

    /// The same of IPv6, entry by entry: the kernel compares IPv6 addresses the wrong way round in
    /// its filter, so that a filtered flush keeps what it is to remove and removes the rest of the
    /// machine's (`ctnetlink_filter_match_tuple`, seen with Linux 6.18).
    fn clear6(&mut self, subnet: IpNet, which: Which) -> Result<usize> {
        let is_wanted = |entry: &Entry| which.has(entry) && within(entry, &[subnet]).is_some();
        // Most of the time there is nothing to remove, and the listing is quick.
        if !self.list(ANY)?.iter().any(is_wanted) {
            return Ok(0);
        }
        self.clear_each(libc::AF_INET6 as u8, |entry| is_wanted(&parse_entry(entry)))
    }

    /// Removes the connections that came to this port of the host's and were sent to the guest's.
    pub fn clear_exposed(&mut self, exposure: &Exposure) -> Result<usize> {
        let listed = self.list(&format!("dport={} ", exposure.port))?;
        if !listed.iter().any(|entry| is_sent(entry, exposure)) {
            return Ok(0);
        }
        self.clear_each(libc::AF_INET as u8, |entry| {
            is_sent(&parse_entry(entry), exposure) && has_ports(entry, exposure)
        })
    }

    /// Removes the connections that came to this port of the host's and were sent nowhere else.
    pub fn clear_unexposed(&mut self, exposure: &Exposure) -> Result<usize> {
        self.clear_exposed(&Exposure {
            to: exposure.address,
            to_port: exposure.port,
            ..*exposure
        })
    }

    /// Removes the entries of a family that are wanted gone, one by one.
    fn clear_each(&mut self, family: u8, is_wanted: impl Fn(&[u8]) -> bool) -> Result<usize> {
        let mut cleared = 0;
        let mut dump = request("list connections".into(), CT_GET, Vec::new());
        dump.family = family;
        for entry in self.socket.dump(&dump)? {
            let Some(tuple) = attr::find(&entry, CTA_TUPLE_ORIG) else {
                continue;
            };
            if !is_wanted(&entry) {
                continue;
            }
            let mut attrs = Attrs::new();
            attrs.nested_raw(CTA_TUPLE_ORIG, tuple);
            let mut message = request("remove a connection".into(), CT_DELETE, attrs.into_bytes());
            message.family = family;
            match self.socket.request(&message) {
                Ok(()) => cleared += 1,
                // It ended by itself meanwhile.
                Err(Error::Kernel { source, .. })
                    if source.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(cleared)
    }

    /// Counts the entries that touch any of these subnets.
    pub fn count(&mut self, subnets: &[IpNet]) -> Result<usize> {
        let entries = self.list(ANY)?;
        Ok(entries
            .iter()
            .filter(|entry| within(entry, subnets).is_some())
            .count())
    }

    /// The entries of the namespace, by the quickest way that this kernel has. Others than those
    /// whose line has these words may be missing.
    fn list(&mut self, words: &str) -> Result<Vec<Entry>> {
        match read_listing() {
            Ok(text) => Ok(String::from_utf8_lossy(&text)
                .lines()
                .filter(|line| line.contains(words))
                .filter_map(parse_line)
                .collect()),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                let dump = request("list connections".into(), CT_GET, Vec::new());
                let entries = self.socket.dump(&dump)?;
                Ok(entries.iter().map(|e| parse_entry(e)).collect())
            }
            Err(source) => Err(Error::Kernel {
                operation: "list connections".into(),
                source,
            }),
        }
    }
}

fn read_listing() -> io::Result<Vec<u8>> {
    // Its length is not known; the kernel gives a page at a time.
    let mut text = Vec::with_capacity(LISTING_ROOM);
    File::open(LISTING)?.read_to_end(&mut text)?;
    Ok(text)
}

/// How the addresses of a subnet begin in the listing: looking for that takes a tenth of the time
/// of reading the four addresses of each line.
fn start_of(subnet: IpNet) -> String {
    match subnet {
        IpNet::V4(subnet) => {
            // No dot comes behind the last octet of an address.
            let whole = usize::from(subnet.prefix_len() / 8).min(3);
            let octets = subnet.network().octets();
            let octets = octets.iter().take(whole).map(|octet| format!("{octet}."));
            format!("={}", octets.collect::<String>())
        }
        IpNet::V6(_) => ANY.to_owned(),
    }
}

/// Whether it came to the address and was sent to the guest, as far as addresses tell.
fn is_sent(entry: &Entry, exposure: &Exposure) -> bool {
    let has = |tuple, side, address: Ipv4Addr| {
        entry.ends.contains(&End {
            tuple,
            side,
            address: address.into(),
        })
    };
    has(CTA_TUPLE_ORIG, CTA_IP_V4_DST, exposure.address)
        && has(CTA_TUPLE_REPLY, CTA_IP_V4_SRC, exposure.to)
}

/// Whether an entry of a dump has the protocol and both ports.
fn has_ports(entry: &[u8], exposure: &Exposure) -> bool {
    let port_of = |tuple, side| {
        let proto = attr::find(attr::find(entry, tuple)?, CTA_TUPLE_PROTO)?;
        let number = attr::find(proto, CTA_PROTO_NUM)?.first().copied()?;
        let port = attr::find(proto, side)?.try_into().ok()?;
        Some((number, u16::from_be_bytes(port)))
    };
    let of = |port: u16| Some((exposure.protocol.number(), port));
    port_of(CTA_TUPLE_ORIG, CTA_PROTO_DST_PORT) == of(exposure.port.get())
        && port_of(CTA_TUPLE_REPLY, CTA_PROTO_SRC_PORT) == of(exposure.to_port.get())
}

/// A line of the listing; none where it is of another family. The original direction comes first.
fn parse_line(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    let [source, destination] = match words.next()? {
        "ipv4" => [CTA_IP_V4_SRC, CTA_IP_V4_DST],
        "ipv6" => [CTA_IP_V6_SRC, CTA_IP_V6_DST],
        _ => return None,
    };
    // "2 tcp 6": both with name and number, the family's number first.
    let protocol = words.nth(2)?.parse().ok()?;
    let mut ends = Vec::with_capacity(4);
    for word in words {
        let (side, address) = match word.split_once('=') {
            Some(("src", address)) => (source, address),
            Some(("dst", address)) => (destination, address),
            _ => continue,
        };
        let tuple = match ends.len() {
            0 | 1 => CTA_TUPLE_ORIG,
            _ => CTA_TUPLE_REPLY,
        };
        ends.push(End {
            tuple,
            side,
            address: address.parse().ok()?,
        });
    }
    Some(Entry { protocol, ends })
}

/// An entry of a dump.
fn parse_entry(entry: &[u8]) -> Entry {
    let mut read = Entry::default();
    for (tuple, value) in attr::parse(entry) {
        if !matches!(tuple, CTA_TUPLE_ORIG | CTA_TUPLE_REPLY) {
            continue;
        }
        if let Some([protocol, ..]) =
            attr::find(value, CTA_TUPLE_PROTO).and_then(|proto| attr::find(proto, CTA_PROTO_NUM))
        {
            read.protocol = *protocol;
        }
        let addresses = attr::find(value, CTA_TUPLE_IP).unwrap_or_default();
        for (side, value) in attr::parse(addresses) {
            let address: Option<IpAddr> = match side {
                CTA_IP_V4_SRC | CTA_IP_V4_DST => {
                    attr::be32(value).map(|number| Ipv4Addr::from(number).into())
                }
                CTA_IP_V6_SRC | CTA_IP_V6_DST => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
                _ => None,
            };
            read.ends.extend(address.map(|address| End {
                tuple,
                side,
                address,
            }));
        }
    }
    read
}

/// Whether it is multicast, which nobody forwards: each bridge joins a group by IGMP, and the kernel
/// remembers that as a connection of its own address for ten minutes.
fn stays(entry: &Entry) -> bool {
    let mut to = entry.ends.iter().filter(|end| end.side == CTA_IP_V4_DST);
    to.any(|end| end.tuple == CTA_TUPLE_ORIG && end.address.is_multicast())
}

/// The first of an entry's addresses that lies in one of the subnets.
fn within(entry: &Entry, subnets: &[IpNet]) -> Option<End> {
    let inside = |end: &&End| subnets.iter().any(|subnet| subnet.contains(&end.address));
    entry.ends.iter().find(inside).copied()
}

/// Whether a kernel refuses a filtered flush because it knows none, as Linux 6.1 does: to it the
/// tuple is that of one entry, and lacks the rest.
fn is_without_filter(refusal: &io::Error) -> bool {
    matches!(
        refusal.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP)
    )
}

/// The attributes of a flush of all entries of a protocol with this address at this end. The flags are
/// the kernel's own (`CTA_FILTER_F_…` of its nf_conntrack_netlink.c): source, destination, zone, protocol.
fn filter(end: End, protocol: u8) -> Vec<u8> {
    const PROTOCOL: u32 = 1 << 3;
    let bit = match end.side {
        CTA_IP_V4_SRC | CTA_IP_V6_SRC => 1,
        _ => 2,
    } | PROTOCOL;
    let flags = |tuple| if end.tuple == tuple { bit } else { 0 };
    let mut attrs = Attrs::new();
    attrs
        .nest(end.tuple, |tuple| {
            tuple.nest(CTA_TUPLE_IP, |ip| {
                match end.address {
                    IpAddr::V4(address) => ip.raw(end.side, &address.octets()),
                    IpAddr::V6(address) => ip.raw(end.side, &address.octets()),
                };
            });
            tuple.nest(CTA_TUPLE_PROTO, |proto| {
                _ = proto.raw(CTA_PROTO_NUM, &[protocol])
            });
        })
        .nest(CTA_FILTER, |filter| {
            filter
                .raw(CTA_FILTER_ORIG_FLAGS, &flags(CTA_TUPLE_ORIG).to_ne_bytes())
                .raw(
                    CTA_FILTER_REPLY_FLAGS,
                    &flags(CTA_TUPLE_REPLY).to_ne_bytes(),
                );
        });
    attrs.into_bytes()
}

fn request(operation: String, kind: u16, attrs: Vec<u8>) -> Message {
    let kind = NFNL_SUBSYS_CTNETLINK << 8 | kind;
    Message {
        operation,
        kind,
        flags: 0,
        family: libc::AF_UNSPEC as u8,
        attrs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = "192.168.57.2";
    const WAN: &str = "203.0.113.1";
    const HOST: &str = "203.0.113.2";

    fn line(orig: [&str; 2], reply: [&str; 2]) -> String {
        format!(
            "ipv4     2 tcp      6 431999 ESTABLISHED src={} dst={} sport=1 dport=2 \
             src={} dst={} sport=2 dport=1 [ASSURED] mark=0 zone=0 use=2",
            orig[0], orig[1], reply[0], reply[1]
        )
    }

    fn entry(orig: [&str; 2], reply: [&str; 2]) -> Vec<u8> {
        let octets = |address: &str| address.parse::<Ipv4Addr>().unwrap().octets();
        let mut attrs = Attrs::new();
        for (kind, [src, dst]) in [(CTA_TUPLE_ORIG, orig), (CTA_TUPLE_REPLY, reply)] {
            attrs.nest(kind, |tuple| {
                tuple.nest(CTA_TUPLE_IP, |ip| {
                    ip.raw(CTA_IP_V4_SRC, &octets(src))
                        .raw(CTA_IP_V4_DST, &octets(dst));
                });
                let tcp = [libc::IPPROTO_TCP as u8];
                tuple.nest(CTA_TUPLE_PROTO, |proto| _ = proto.raw(CTA_PROTO_NUM, &tcp));
            });
        }
        attrs.be32(3, 1);
        attrs.into_bytes()
    }

    #[test]
    fn both_directions_and_both_ends_count() {
        let subnet: IpNet = "192.168.57.0/24".parse().unwrap();
        for (orig, reply, expected) in [
            (
                [LAB, WAN],
                [WAN, HOST],
                Some((CTA_TUPLE_ORIG, CTA_IP_V4_SRC)),
            ),
            (
                [WAN, HOST],
                [LAB, WAN],
                Some((CTA_TUPLE_REPLY, CTA_IP_V4_SRC)),
            ),
            ([HOST, WAN], [WAN, HOST], None),
        ] {
            let listed = parse_line(&line(orig, reply)).unwrap();
            assert!(!stays(&listed));
            assert_eq!(listed, parse_entry(&entry(orig, reply)), "both ways agree");
            let found = within(&listed, &[subnet]).map(|end| (end.tuple, end.side));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_start_of_a_subnet_is_in_each_of_its_lines() {
        for (subnet, start, other) in [
            ("192.168.57.0/24", "=192.168.57.", "192.168.5.7"),
            ("192.168.56.0/22", "=192.168.", "192.16.57.2"),
            ("192.168.57.2/32", "=192.168.57.", "193.168.57.2"),
        ] {
            let start_of = start_of(subnet.parse().unwrap());
            assert_eq!(start_of, start);
            assert!(line([LAB, WAN], [WAN, HOST]).contains(start));
            assert!(line([WAN, HOST], [LAB, WAN]).contains(start));
            assert!(!line([other, WAN], [WAN, HOST]).contains(start));
        }
        assert_eq!(start_of("fd00::/64".parse().unwrap()), ANY);
    }

    #[test]
    fn multicast_stays() {
        let joins = line([LAB, "224.0.0.22"], ["224.0.0.22", LAB]);
        assert!(stays(&parse_line(&joins).unwrap()));
    }

    #[test]
    fn garbage_touches_nothing() {
        for garbage in [
            "",
            "ipx 10 src=::1",
            "ipv6 10 src=x",
            "x",
            "ipv4 2 src=x dst=y",
        ] {
            assert!(parse_line(garbage).is_none(), "{garbage}");
        }
        assert!(parse_line("ipv4").is_none());
        assert_eq!(parse_entry(&[1, 2, 3]), Entry::default());
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("conntrack", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let listed: Vec<_> = text.lines().filter_map(parse_line).collect();
            (listed, parse_entry(bytes))
        });
    }
}
