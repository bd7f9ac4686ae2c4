// SPDX-License-Identifier: Apache-2.0
//! `counters`: what the kernel counted.

use super::{Engine, subnets_of};
use crate::rtnl::Counters;
use tapyard_protocol::{CountersReply, LinkCounters, Result};

impl Engine {
    /// See the protocol page.
    pub fn counters(&mut self) -> Result<CountersReply> {
        let links = self.rtnl.links(Counters::Read)?;
        let networks = self.journal.state().networks.values();
        let subnets: Vec<_> = networks
            .flat_map(|network| subnets_of(&network.spec))
            .collect();
        let flows = match subnets.as_slice() {
            [] => 0,
            subnets => self.conntrack.count(subnets)?,
        };
        let links = links
            .into_iter()
            .map(|link| LinkCounters {
                ifindex: link.ifindex,
                rx_bytes: link.stats.rx_bytes,
                tx_bytes: link.stats.tx_bytes,
                rx_packets: link.stats.rx_packets,
                tx_packets: link.stats.tx_packets,
                rx_dropped: link.stats.rx_dropped,
                tx_dropped: link.stats.tx_dropped,
            })
            .collect();
        Ok(CountersReply {
            links,
            flows: flows as u64,
        })
    }
}
