// SPDX-License-Identifier: Apache-2.0
//! The private scope: a lab's own namespaces, made without any privilege.
//!
//! ```text
//! host's namespaces        netd, the outer half: socket, lock, pasta, the host's routes
//!   user A, pid            the anchor (pid 1): nothing but the end of everything
//!                          pasta (network: the host's)
//!     user B, network      the keeper, which holds them; dnsmasq
//!                          netd, the inner half: the engine (pid namespace: the host's)
//! ```
//!
//! The network namespace belongs to B, nested in A, because pasta, which must start in the host's
//! network namespace, joins a user namespace other than its own. Killing netd's two halves ends
//! nothing; killing the anchor ends everything.

mod anchor;
mod control;
mod namespaces;
mod outer;
mod pasta;
mod uplink;

pub use outer::run;
