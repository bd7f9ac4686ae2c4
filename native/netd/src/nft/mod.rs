// SPDX-License-Identifier: Apache-2.0
//! nf_tables: what of netd's lies there, and its netlink, by which conntrack and rtnetlink go as well.
//!
//! netd has two tables for each uid. The filter (`filter.rs`, as data in `ruleset.rs`) decides what is
//! forwarded and masqueraded, the guard (`guard.rs`, as data in `guard_ruleset.rs` and
//! `guard_sets.rs`) what a tap may send. `docs/netd-protocol.md`, section "The filter", holds both
//! in nft's own words.

mod addresses;
pub(crate) mod attr;
mod element;
pub(crate) mod expr;
mod filter;
mod guard;
mod guard_match;
mod guard_ruleset;
mod guard_sets;
mod layout;
mod message;
mod network;
mod others;
mod ruleset;
pub(crate) mod socket;
mod state;
mod table;

pub use element::DRAINS_MS;
pub use filter::Filter;
pub use guard::{Guard, GuardNetwork, GuardPort};
pub use network::NetworkRules;
pub use others::{PREFIX, is_netds};
pub use ruleset::HELD;
pub use state::FilterState;

use tapyard_protocol::Code;

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

impl From<Error> for tapyard_protocol::Error {
    fn from(error: Error) -> tapyard_protocol::Error {
        tapyard_protocol::Error::new(Code::Kernel, format!("nf_tables: {error}"))
    }
}

/// The result of a filter operation.
pub type Result<T> = std::result::Result<T, Error>;
