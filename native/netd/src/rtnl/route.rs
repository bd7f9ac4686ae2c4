// SPDX-License-Identifier: Apache-2.0
//! Routes: RTM_GETROUTE.

use super::Result;
use super::address::{AddressFamily, parse_ip};
use super::socket::{Message, Rtnl, u16_at, u32_at};
use crate::nft::attr::{find, parse};
use ipnet::IpNet;
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_MAIN: u32 = 254;
/// A route that answers for the machine's own addresses.
const RT_TABLE_LOCAL: u32 = 255;
/// RTNH_F_DEAD: its device is down.
const RTNH_F_DEAD: u32 = 1;
/// The shortest prefix of a subnet, as of 10.0.0.0/8.
const WIDEST: u8 = 8;
/// sizeof(struct rtmsg), sizeof(struct rtnexthop).
const RTMSG: usize = 12;
const RTNEXTHOP: usize = 8;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// 0.0.0.0/0 or ::/0 for a default route.
    pub destination: IpNet,
    /// RT_TABLE_…
    pub table: u32,
    /// RTN_…: 1 is unicast.
    pub kind: u8,
    /// Lower wins.
    pub metric: u32,
    /// The interface that it leads to; the first of several.
    pub device: Option<u32>,
    /// The interfaces of its further next hops.
    pub others: Vec<u32>,
    /// The next hop; none on a link that needs none.
    pub gateway: Option<IpAddr>,
    /// Its device is down.
    pub dead: bool,
}

impl Route {
    /// Whether it answers for the machine's own addresses.
    pub fn is_local(&self) -> bool {
        self.table == RT_TABLE_LOCAL
    }

    /// Whether it may lead to this interface: one of next hop objects may tell none
    /// (net.ipv4.nexthop_compat_mode 0).
    pub fn may_lead_to(&self, ifindex: u32) -> bool {
        match self.device {
            Some(device) => device == ifindex || self.others.contains(&ifindex),
            None => self.kind == RTN_UNICAST,
        }
    }

    /// Whether it leads to the internet rather than to anybody's subnet: the default route, and the
    /// two for half of all addresses each by which a VPN takes over from it.
    pub fn is_way_out(&self) -> bool {
        self.destination.prefix_len() < WIDEST
    }
}

impl Rtnl {
    /// All routes of all tables.
    pub fn routes(&mut self, family: AddressFamily) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        let mut body = vec![0; RTMSG];
        body[0] = family.number() as u8;
        let request = Message {
            operation: "list routes".into(),
            kind: RTM_GETROUTE,
            flags: 0,
            body,
        };
        self.dump(&request, |kind, body| {
            if kind == RTM_NEWROUTE {
                routes.extend(parse_route(body));
            }
        })?;
        Ok(routes)
    }
}

/// Addresses of the internet, which no route but one for everything leads to.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
const ANYWHERE6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111);

impl Rtnl {
    /// How the kernel would send to the internet, by all its rules and tables: VPNs take the traffic
    /// over by a rule, or by two routes for half of the addresses each. None where it would not.
    pub fn route_out(&mut self) -> Result<Option<Route>> {
        self.route_to(ANYWHERE.into())
    }

    /// The same for IPv6.
    pub fn route_out6(&mut self) -> Result<Option<Route>> {
        self.route_to(ANYWHERE6.into())
    }

    fn route_to(&mut self, address: IpAddr) -> Result<Option<Route>> {
        let (family, octets) = match address {
            IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
            IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
        };
        let mut body = vec![0; RTMSG];
        body[0] = family as u8;
        body[1] = octets.len() as u8 * 8;
        body.extend_from_slice(&(octets.len() as u16 + 4).to_ne_bytes());
        body.extend_from_slice(&RTA_DST.to_ne_bytes());
        body.extend_from_slice(&octets);
        let request = Message {
            operation: "look up the way out".into(),
            kind: RTM_GETROUTE,
            flags: 0,
            body,
        };
        let answer = match self.get(&request) {
            Ok(answer) => answer,
            // No route, or one that says so; or no IPv6 in this kernel.
            Err(error) if is_no_way(error.errno) => None,
            Err(error) => return Err(error),
        };
        let route = answer.as_deref().and_then(parse_route);
        Ok(route.filter(|route| route.kind == RTN_UNICAST && route.device.is_some()))
    }
}

fn is_no_way(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP
    )
}

/// The default route of the main table that the kernel takes: alive, of the lowest metric.
pub fn default_route(routes: &[Route]) -> Option<&Route> {
    routes
        .iter()
        .filter(|route| {
            route.table == RT_TABLE_MAIN
                && route.kind == RTN_UNICAST
                && route.destination.prefix_len() == 0
                && route.device.is_some()
                && !route.dead
        })
        .min_by_key(|route| route.metric)
}

/// An RTM_NEWROUTE message of IPv4 or IPv6; none where it is not one.
fn parse_route(body: &[u8]) -> Option<Route> {
    let family = i32::from(*body.first()?);
    let everything: IpAddr = match family {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = Route {
        destination: IpNet::new(everything, *body.get(1)?).ok()?,
        table: u32::from(*body.get(4)?),
        kind: *body.get(7)?,
        metric: 0,
        device: None,
        others: Vec::new(),
        gateway: None,
        dead: u32_at(body, 8)? & RTNH_F_DEAD != 0,
    };
    for (kind, value) in parse(body.get(RTMSG..)?) {
        match kind {
            RTA_DST => {
                let prefix = route.destination.prefix_len();
                route.destination = IpNet::new(parse_ip(family, value)?, prefix).ok()?;
            }
            RTA_OIF => route.device = u32_at(value, 0),
            RTA_GATEWAY => route.gateway = parse_ip(family, value),
            RTA_VIA => route.gateway = parse_via(value),
            RTA_PRIORITY => route.metric = u32_at(value, 0)?,
            RTA_TABLE => route.table = u32_at(value, 0)?,
            RTA_MULTIPATH => {
                let hops = next_hops(value);
                let mut devices = hops.iter().filter_map(|hop| u32_at(hop, 4));
                route.device = devices.next();
                route.others = devices.collect();
                let attrs = hops.first()?.get(RTNEXTHOP..)?;
                route.gateway = find(attrs, RTA_GATEWAY)
                    .and_then(|gateway| parse_ip(family, gateway))
                    .or_else(|| find(attrs, RTA_VIA).and_then(parse_via));
            }
            _ => {}
        }
    }
    Some(route)
}

/// Each a struct rtnexthop: length, flags, hops, interface; attributes.
fn next_hops(mut value: &[u8]) -> Vec<&[u8]> {
    let mut hops = Vec::new();
    while let Some(length) = u16_at(value, 0).map(usize::from)
        && length >= RTNEXTHOP
        && let Some(hop) = value.get(..length)
    {
        hops.push(hop);
        value = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// struct rtvia: a next hop of another family (RFC 5549).
fn parse_via(value: &[u8]) -> Option<IpAddr> {
    parse_ip(i32::from(u16_at(value, 0)?), value.get(2..)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::attr::Attrs;

    fn body(metric: u32, device: u32, flags: u32) -> Vec<u8> {
        let mut body = vec![libc::AF_INET as u8, 0, 0, 0, 254, 0, 0, 1];
        body.extend_from_slice(&flags.to_ne_bytes());
        let mut attrs = Attrs::new();
        attrs
            .raw(RTA_TABLE, &254u32.to_ne_bytes())
            .raw(RTA_PRIORITY, &metric.to_ne_bytes())
            .raw(RTA_GATEWAY, &[203, 0, 113, 1])
            .raw(RTA_OIF, &device.to_ne_bytes());
        [body, attrs.into_bytes()].concat()
    }

    #[test]
    fn the_lowest_living_metric_wins() {
        let routes: Vec<Route> = [(600, 3, 0), (100, 2, 0), (50, 4, RTNH_F_DEAD)]
            .into_iter()
            .map(|(metric, device, flags)| parse_route(&body(metric, device, flags)).unwrap())
            .collect();
        let route = default_route(&routes).unwrap();
        assert_eq!((route.device, route.metric), (Some(2), 100));
        assert_eq!(route.gateway, Some("203.0.113.1".parse().unwrap()));
        assert_eq!(default_route(&[]), None);
    }

    #[test]
    fn each_next_hop_counts() {
        let hop = |device: u32| {
            let mut hop = vec![16, 0, 0, 0];
            hop.extend_from_slice(&device.to_ne_bytes());
            hop.extend_from_slice(&[8, 0, 5, 0, 203, 0, 113, device as u8]);
            hop
        };
        let mut attrs = Attrs::new();
        attrs.raw(RTA_MULTIPATH, &[hop(2), hop(3), hop(4)].concat());
        let head = body(1, 2, 0)[..RTMSG].to_vec();
        let route = parse_route(&[head.clone(), attrs.into_bytes()].concat()).unwrap();
        assert_eq!((route.device, &route.others[..]), (Some(2), &[3, 4][..]));
        assert_eq!(route.gateway, Some("203.0.113.2".parse().unwrap()));
        let leads: Vec<_> = (1..6).map(|device| route.may_lead_to(device)).collect();
        assert_eq!(leads, [false, true, true, true, false]);
        let untold = parse_route(&head).unwrap();
        assert!(untold.may_lead_to(2));
        let blackhole = Route { kind: 6, ..untold };
        assert!(!blackhole.may_lead_to(2));
    }

    #[test]
    fn ipv6() {
        let mut body = body(1024, 2, 0);
        body[0] = libc::AF_INET6 as u8;
        assert_eq!(parse_route(&body).unwrap().gateway, None, "of IPv4");
        body[1] = 64;
        let mut attrs = Attrs::new();
        attrs.raw(RTA_DST, &[0xfd; 16]);
        let route = parse_route(&[body, attrs.into_bytes()].concat()).unwrap();
        let destination: IpNet = "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd/64"
            .parse()
            .unwrap();
        assert_eq!(route.destination, destination);
    }

    #[test]
    fn garbage_is_no_route() {
        let body = body(1, 2, 0);
        for end in 0..body.len() {
            parse_route(&body[..end]);
            for flip in [0xff, 0x0f, 0x80] {
                let mut wrong = body.clone();
                wrong[end] ^= flip;
                parse_route(&wrong);
            }
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("route", parse_route);
    }
}
