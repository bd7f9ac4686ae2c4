// SPDX-License-Identifier: Apache-2.0
//! netd: see `docs/netd-protocol.md`.
mod access;
mod accounts;
pub mod acts;

pub mod announce;
pub mod args;
mod arp;
mod capture;
pub mod confine;
pub mod conntrack;
mod dbus;
pub mod directory;
pub mod dnsmasq;
pub mod doors;
pub mod engine;
pub mod execute;
#[cfg(test)]
mod fuzz;
pub mod host;
pub mod journal;
pub mod nft;
mod packet;
pub mod private;
pub mod process;
pub mod programs;
pub mod resolved;
pub mod rtnl;
pub mod server;
pub mod sysctl;
pub mod tun;
pub mod uplink;
mod wait;
