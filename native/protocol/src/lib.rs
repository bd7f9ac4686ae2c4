// SPDX-License-Identifier: Apache-2.0
//! netd's protocol as Rust types: `docs/netd-protocol.md` is the text, this crate its Rust half.
//!
//! The types check themselves while they are deserialised (unknown keys, lengths, allow-lists,
//! ranges), so code that holds one of them needs no further check of a single field. What
//! concerns several fields at once is in [`NetworkSpec::check`].

mod acts;
pub mod capture;
mod client;
mod error;
mod fds;
mod framing;
#[cfg(test)]
#[path = "../../netd/src/fuzz.rs"]
mod fuzz;
mod names;
mod network_spec;
mod owner;
mod rest;
mod shape;
mod types;
mod verbs;

pub use acts::{Act, Acts, ActsReply, Asker, RecipeStep};
pub use client::{Client, Event};
pub use error::{Code, Error, Result};
pub use fds::{MAX_FDS, Received, recv_with_fds, send_with_fds};
pub use framing::{LineReader, MAX_REPLY, MAX_REQUEST, TooLarge, to_line};
pub use names::{
    GuestName, InterfaceName, LabName, Mac, Mtu, NetworkName, Nic, Port, Subnet, Subnet6, TapName,
};
pub use network_spec::{Dhcp, Domain, NetworkSpec, Reservation};
pub use owner::{Listeners, listener_of};
pub use rest::Rest;
pub use shape::Shape;
pub use types::{
    Dns, Door, DoorState, Exposed, Exposure, Firewall, HostNames, HostNamesState, HostSubnet,
    Lease, Link, Mode, Network, NetworkRef, Owner, Provider, ProxyArp, Scope, Snapshot, Step,
    Transport, Uplink, Uplink6,
};
pub use verbs::{
    ApplyNetwork, ApplyNetworkReply, Capture, CaptureReply, ClientKind, Counters, CountersReply,
    Dial, DialReply, Expose, ExposeReply, Hello, HelloReply, LinkCounters, Observe, OpenTap,
    OpenTapReply, RemoveNetwork, Removed, Reply, Request, SetNat, SetNatReply, SetShape,
    SetShapeReply, Shutdown, Unexpose, UnexposeReply, Verb,
};

/// The number that `hello` carries; it changes when a message changes its meaning.
pub const PROTOCOL: u32 = 1;
