// SPDX-License-Identifier: Apache-2.0
//! What the host's addresses and routes use, of which the lab's namespace has nothing: a VPN or a LAN
//! with the range of a lab's network is out of the guests' reach.

use ipnet::IpNet;
use tapyard_protocol::HostSubnet;

use crate::rtnl::{Address, AddressFamily, Counters, Result, Route, Rtnl};

/// RTN_UNICAST (linux/rtnetlink.h).
const UNICAST: u8 = 1;
/// So many bytes of it as JSON, of which the message that carries them has 64 KiB: more than any
/// desktop has; a router's table is of no use to anybody here.
const AT_MOST: usize = 48 * 1024;

/// Of the calling thread's namespace.
pub(super) fn host_subnets(rtnl: &mut Rtnl) -> Result<Vec<HostSubnet>> {
    let links = rtnl.links(Counters::Skip)?;
    let mut routes = rtnl.routes(AddressFamily::V4)?;
    routes.extend(rtnl.routes(AddressFamily::V6)?);
    let addresses = rtnl.addresses(AddressFamily::Any)?;
    let name_of = |ifindex| {
        let link = links.iter().find(|link| link.ifindex == ifindex)?;
        Some(link.name.clone())
    };
    Ok(used(&addresses, &routes, name_of))
}

/// Sorted, each once.
fn used(
    addresses: &[Address],
    routes: &[Route],
    name_of: impl Fn(u32) -> Option<String>,
) -> Vec<HostSubnet> {
    let addresses = addresses
        .iter()
        .map(|address| (address.net, address.ifindex));
    let routes = routes
        .iter()
        .filter(|route| route.kind == UNICAST && !route.is_local() && !route.is_way_out())
        .filter_map(|route| Some((route.destination, route.device?)));
    let mut used: Vec<HostSubnet> = addresses
        .chain(routes)
        .filter(|(net, _)| may_be_a_labs(net))
        .filter_map(|(net, ifindex)| {
            let device = name_of(ifindex)?;
            let net = net.trunc();
            Some(HostSubnet { net, device })
        })
        .collect();
    used.sort();
    used.dedup();
    used.truncate(fitting(&used));
    used
}

/// How many of the first ones have room.
fn fitting(used: &[HostSubnet]) -> usize {
    let sizes = used
        .iter()
        .map(|one| serde_json::to_vec(one).map_or(AT_MOST, |json| json.len() + 1));
    let ends = sizes.scan(0, |end, size| {
        *end += size;
        Some(*end)
    });
    ends.take_while(|end| *end <= AT_MOST).count()
}

/// Whether a lab's network can have an address in it: never of the loopback or of one link.
fn may_be_a_labs(net: &IpNet) -> bool {
    let addr = net.addr();
    let of_a_link = match net {
        IpNet::V4(net) => net.addr().is_link_local(),
        IpNet::V6(net) => net.addr().is_unicast_link_local(),
    };
    !addr.is_loopback() && !addr.is_multicast() && !of_a_link
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many long ones as were allowed when they were counted did not fit the message.
    #[test]
    fn any_number_of_routes_fits_a_message() {
        let long = |n: u32| HostSubnet {
            net: format!(
                "fd00:1111:2222:3333:4444:5555:{:x}:{:x}/128",
                0x1000 + (n >> 12),
                0x1000 + (n & 0xfff)
            )
            .parse()
            .unwrap(),
            device: "enp0s31f6.4000x".into(),
        };
        let mut used: Vec<HostSubnet> = (0..2000).map(long).collect();
        used.truncate(fitting(&used));
        let size = serde_json::to_vec(&used).unwrap().len();
        assert!((AT_MOST - 200..=AT_MOST + 2).contains(&size), "{size}");
        assert_eq!(fitting(&used[..10]), 10);
    }

    #[test]
    fn addresses_and_routes_but_no_way_to_the_internet() {
        let address = |ifindex, net: &str| Address {
            ifindex,
            net: net.parse().unwrap(),
        };
        let route = |table, kind, device, net: &str| Route {
            destination: net.parse().unwrap(),
            table,
            kind,
            metric: 0,
            device,
            others: Vec::new(),
            gateway: None,
            dead: false,
        };
        let addresses = [
            address(1, "127.0.0.1/8"),
            address(2, "192.168.1.7/24"),
            address(2, "fe80::1/64"),
            address(9, "10.8.0.2/32"),
        ];
        let routes = [
            route(254, UNICAST, Some(2), "0.0.0.0/0"),
            route(254, UNICAST, Some(2), "192.168.1.0/24"),
            route(254, UNICAST, Some(9), "0.0.0.0/1"),
            route(254, UNICAST, Some(9), "192.168.57.0/24"),
            route(254, 6, None, "10.0.0.0/8"), // a blackhole
            route(255, 2, Some(2), "192.168.1.7/32"),
            route(254, UNICAST, Some(9), "fd12::/64"),
            route(254, UNICAST, Some(7), "172.16.0.0/16"), // its device has gone meanwhile
        ];
        let name_of = |ifindex| match ifindex {
            2 => Some("eth0".to_owned()),
            9 => Some("tun0".to_owned()),
            _ => None,
        };
        let found: Vec<String> = used(&addresses, &routes, name_of)
            .iter()
            .map(|used| format!("{} {}", used.net, used.device))
            .collect();
        assert_eq!(
            found,
            [
                "10.8.0.2/32 tun0",
                "192.168.1.0/24 eth0",
                "192.168.57.0/24 tun0",
                "fd12::/64 tun0"
            ]
        );
    }
}
