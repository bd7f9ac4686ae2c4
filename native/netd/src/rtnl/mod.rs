// SPDX-License-Identifier: Apache-2.0
//! Route netlink (rtnetlink(7)): interfaces, addresses, routes, and what changes of them.
//!
//! A codec of our own for the dozen messages that netd needs. A reader of the kernel's answers
//! never trusts a length.

mod address;
mod link;
mod monitor;
mod port;
mod proxy;
mod qdisc;
mod redirect;
mod route;
mod socket;

pub use address::{Address, AddressFamily};
pub use link::{BridgeOptions, Counters, LinkChange, LinkInfo, LinkStats, NewBridge};
pub use monitor::{Changes, Monitor, Newcomers};
pub use proxy::{PROXY_PROTOCOL, Proxy};
pub use qdisc::{Discipline, Place, Qdisc};
pub use redirect::NewIfb;
pub use route::{Route, default_route};
pub use socket::{Rtnl, messages};

use rustix::io::Errno;
use tapyard_protocol::{Code, Error as Told};

/// A request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {errno}")]
pub struct Error {
    /// What was asked, in words.
    pub operation: String,
    /// Its errno.
    pub errno: Errno,
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for Told {
    fn from(error: Error) -> Told {
        Told::new(Code::Kernel, error.to_string())
    }
}
