// SPDX-License-Identifier: Apache-2.0
//! The host scope's way out: the device by which the kernel would send to the internet, of each family
//! by itself.

use super::{Uplink, system_nameservers};
use crate::rtnl::{AddressFamily, Monitor, Rtnl};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use tapyard_protocol::{Code, Error, Provider, Removed, Result, Uplink as State, Uplink6};

/// Follows the kernel's routes and rules: from cable to Wi-Fi, and into a VPN.
#[derive(Debug)]
pub struct KernelUplink {
    rtnl: Rtnl,
    monitor: Monitor,
    state: State,
    servers: Vec<IpAddr>,
}

impl KernelUplink {
    /// Subscribes to route events in the calling thread's network namespace and looks.
    pub fn open() -> Result<KernelUplink> {
        let mut rtnl = Rtnl::open()?;
        let monitor = Monitor::open()?;
        let state = look(&mut rtnl)?;
        Ok(KernelUplink {
            rtnl,
            monitor,
            state,
            servers: system_nameservers(),
        })
    }
}

impl Uplink for KernelUplink {
    fn state(&self) -> State {
        self.state.clone()
    }

    fn dns_servers(&self) -> Vec<IpAddr> {
        self.servers.clone()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.monitor.fd())
    }

    fn on_readable(&mut self) -> bool {
        let changes = self.monitor.drain();
        // A new address moves no route, but it may be the uplink's. Interfaces alone change
        // nothing: the kernel takes away the routes of one that goes.
        if !(changes.routes || changes.addresses) {
            return false;
        }
        let state = look(&mut self.rtnl).unwrap_or_else(State::none);
        // Whoever changes the route (DHCP, NetworkManager) changes resolv.conf with it.
        let servers = system_nameservers();
        let changed = state != self.state || servers != self.servers;
        self.state = state;
        self.servers = servers;
        changed
    }

    fn shutdown(&mut self) -> Removed {
        Removed::default()
    }
}

fn look(rtnl: &mut Rtnl) -> Result<State> {
    let ipv6 = look6(rtnl)?;
    let route = rtnl.route_out()?;
    let Some((gateway, ifindex)) = route.and_then(|r| Some((r.gateway, r.device?))) else {
        let none = State::none(
            Error::new(
                Code::NoDefaultRoute,
                "this machine has no IPv4 default route, so guests have no way out",
            )
            .hint("Connect the machine to a network; guests have their way out as soon as it has."),
        );
        return Ok(State { ipv6, ..none });
    };
    let device = rtnl.link(ifindex)?.map(|link| link.name);
    let addresses = rtnl
        .addresses(AddressFamily::Any)?
        .into_iter()
        .filter(|address| address.ifindex == ifindex)
        .map(|address| address.net)
        .collect();
    Ok(State {
        provider: Provider::Kernel,
        host_device: device.clone(),
        device,
        addresses,
        gateway,
        forwarding: false,
        pid: None,
        reason: None,
        ipv6,
        host_subnets: Vec::new(), // the observer sees them
    })
}

fn look6(rtnl: &mut Rtnl) -> Result<Uplink6> {
    let route = rtnl.route_out6()?;
    let Some((gateway, ifindex)) = route.and_then(|r| Some((r.gateway, r.device?))) else {
        return Ok(Uplink6::no_route());
    };
    let device = rtnl.link(ifindex)?.map(|link| link.name);
    Ok(Uplink6 {
        host_device: device.clone(),
        device,
        gateway,
        forwarding: false, // the engine reads it
        router: false,
        reason: None,
    })
}
