// SPDX-License-Identifier: Apache-2.0
//! Connection tracking entries of lab subnets, over ctnetlink.

use ipnet::Ipv4Net;

use crate::nft::Result;

/// Removes every IPv4 entry whose original or reply source or destination lies in `subnet`.
/// Returns how many went; one that vanished meanwhile is not counted and no error.
pub fn clear(_subnet: Ipv4Net) -> Result<usize> {
    todo!()
}

/// Counts the IPv4 entries that touch any of these subnets.
pub fn count(_subnets: &[Ipv4Net]) -> Result<usize> {
    todo!()
}
