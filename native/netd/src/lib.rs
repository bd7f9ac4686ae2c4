// SPDX-License-Identifier: Apache-2.0
//! netd: see `docs/netd-protocol.md`.
pub mod announce;
pub mod args;
pub mod conntrack;
pub mod directory;
pub mod dnsmasq;
pub mod engine;
pub mod host;
pub mod journal;
pub mod nft;
pub mod process;
pub mod programs;
pub mod rtnl;
pub mod server;
pub mod sysctl;
pub mod tun;
pub mod uplink;
