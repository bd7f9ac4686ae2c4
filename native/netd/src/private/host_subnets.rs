// SPDX-License-Identifier: Apache-2.0
//! What the host's addresses and routes use, of which the lab's namespace has nothing: a VPN or a LAN
//! with the range of a lab's network is out of the guests' reach.

use ipnet::IpNet;
use tapyard_protocol::HostSubnet;

use crate::rtnl::{Address, AddressFamily, Counters, Result, Route, Rtnl};

/// RTN_UNICAST (linux/rtnetlink.h).
const UNICAST: u8 = 1;
/// More than any desktop has; a router's table is of no use to anybody here.
const AT_MOST: usize = 1000;

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
    used.truncate(AT_MOST);
    used
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
