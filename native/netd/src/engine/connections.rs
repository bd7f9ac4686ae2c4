// SPDX-License-Identifier: Apache-2.0
//! Connections of networks (conntrack(8)): which are a network's, and their end.

use super::Engine;
use crate::acts::{Told, deed};
use crate::conntrack::Which;
use ipnet::IpNet;
use tapyard_protocol::{NetworkSpec, Result};

impl Engine {
    /// Removes those connections of a subnet; how many there were.
    pub(super) fn clear_connections(&mut self, subnet: IpNet, which: Which) -> Result<usize> {
        let cleared = self.conntrack.clear(subnet, which);
        let (family, ping) = match subnet {
            IpNet::V4(_) => ("", " -p icmp"),
            IpNet::V6(_) => (" -f ipv6", " -p icmpv6"),
        };
        let protocols = match which {
            Which::All => vec![""],
            Which::AllButTcp => vec![" -p udp", ping],
        };
        // For each end of a connection, before and behind NAT.
        let mut command = Vec::new();
        for protocol in protocols {
            let of = |end| format!("conntrack -D{family}{protocol} {end} {subnet}");
            command.extend(["-s", "-d", "-r", "-q"].map(of));
        }
        match &cleared {
            Ok(0) => {}
            Ok(_) | Err(_) => {
                let what = match &cleared {
                    Ok(1) => format!("removed a connection of {subnet}"),
                    Ok(count) => format!("removed {count} connections of {subnet}"),
                    Err(_) => format!("removed the connections of {subnet}"),
                };
                deed(what)
                    .command(command.join("\n"))
                    .told(cleared.as_ref().map_err(Told::told))
                    .ok();
            }
        }
        Ok(cleared?)
    }
}

/// The subnets whose connections are a network's.
pub(super) fn subnets_of(spec: &NetworkSpec) -> impl Iterator<Item = IpNet> + use<> {
    let ipv4 = spec.subnet.map(|subnet| subnet.net().into());
    let ipv6 = spec.ipv6.map(|subnet| subnet.net().into());
    ipv4.into_iter().chain(ipv6)
}
