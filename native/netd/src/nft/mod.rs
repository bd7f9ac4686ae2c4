// SPDX-License-Identifier: Apache-2.0
//! The filter: one nf_tables table for each uid and scope, written over netlink.
//!
//! `docs/netd-protocol.md`, section "The filter", holds the ruleset in nft's own words.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// What can go wrong between netd and netfilter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused an operation; `operation` names it ("add rule in chain forward").
    #[error("{operation}: {source}")]
    Kernel {
        /// What was asked, in nft's words.
        operation: String,
        /// The kernel's errno.
        source: std::io::Error,
    },
    /// The kernel's answer could not be understood.
    #[error("{operation}: unexpected answer from the kernel")]
    Malformed {
        /// What was asked.
        operation: String,
    },
}

/// The result of a filter operation.
pub type Result<T> = std::result::Result<T, Error>;

/// What the filter needs to know of a network.
#[derive(Debug, Clone, Copy)]
pub struct NetworkRules<'a> {
    /// The bridge's interface name.
    pub bridge: &'a str,
    /// The subnet behind the bridge.
    pub subnet: Ipv4Net,
    /// Whether the network may use the uplink, masqueraded.
    pub nat: bool,
}

/// A network as the kernel's rules have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterNetwork {
    /// The bridge's interface name.
    pub bridge: String,
    /// The subnet its rules let out; none when the chain is not as netd writes it.
    pub subnet: Option<Ipv4Net>,
    /// False when the bridge is in `nat_off`.
    pub nat: bool,
}

/// The filter as read back from the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterState {
    /// Networks, by bridge name.
    pub networks: Vec<FilterNetwork>,
    /// Interfaces that lead out, sorted.
    pub uplinks: Vec<String>,
    /// Interfaces whose forwarding netd switched on, sorted.
    pub opened: Vec<String>,
}

/// One nf_tables table and the netlink socket that changes it.
///
/// Each changing call is one netlink transaction: all of it happens or none, and doing it twice
/// is doing it once.
#[derive(Debug)]
pub struct Filter {
    table: String,
}

impl Filter {
    /// Opens the netlink socket in the calling thread's network namespace. Changes nothing.
    pub fn open(table: &str) -> Result<Filter> {
        Ok(Filter { table: table.to_owned() })
    }

    /// Makes the table with its sets, maps and base chains, where they are missing.
    pub fn ensure(&mut self) -> Result<()> {
        todo!("{}", self.table)
    }

    /// Adds a network's chains and elements, or makes them as given. Needs [`Filter::ensure`].
    pub fn add_network(&mut self, _network: &NetworkRules<'_>) -> Result<()> {
        todo!()
    }

    /// Removes what [`Filter::add_network`] added; fine if it is not there.
    pub fn remove_network(&mut self, _bridge: &str, _subnet: Ipv4Net) -> Result<()> {
        todo!()
    }

    /// Switches a network's way out; true when that changed something.
    pub fn set_nat(&mut self, _bridge: &str, _nat: bool) -> Result<bool> {
        todo!()
    }

    /// Makes the set `uplinks` hold exactly these interfaces.
    pub fn set_uplinks(&mut self, _names: &[String]) -> Result<()> {
        todo!()
    }

    /// Makes the set `opened` hold exactly these interfaces.
    pub fn set_opened(&mut self, _names: &[String]) -> Result<()> {
        todo!()
    }

    /// Removes the whole table; fine if it is not there.
    pub fn delete(&mut self) -> Result<()> {
        todo!()
    }

    /// Reads the table back; an absent table is an empty state.
    pub fn read(&mut self) -> Result<FilterState> {
        let _ = Ipv4Addr::LOCALHOST;
        todo!()
    }
}
