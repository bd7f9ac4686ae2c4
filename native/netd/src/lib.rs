// SPDX-License-Identifier: Apache-2.0
//! netd: see `docs/netd-protocol.md`.
pub mod conntrack;
pub mod directory;
pub mod engine;
pub mod nft;
pub mod server;
pub mod uplink;
