// SPDX-License-Identifier: Apache-2.0
//! netd: see `docs/netd-protocol.md`.
pub mod conntrack;
pub mod nft;
