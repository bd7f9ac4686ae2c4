// SPDX-License-Identifier: Apache-2.0
//! What the engine needs from the way out, whoever provides it.

mod kernel;
mod resolv;

pub use kernel::KernelUplink;
pub use resolv::{parse_nameservers, system_nameservers};

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use tapyard_protocol::{Removed, Uplink as State};

/// A way out of the namespace that the engine works in.
///
/// The engine polls [`Uplink::fd`] and calls [`Uplink::on_readable`]; after a change it reads the
/// state again, moves forwarding, filter and dnsmasq's servers to the new device, and tells the
/// observers.
pub trait Uplink {
    /// As it is now. `forwarding` may be left false: the engine reads it back from the kernel.
    fn state(&self) -> State;

    /// Whether a network sends IPv6 out. Most providers need not know.
    fn want_ipv6(&mut self, _wanted: bool) {}

    /// Whether it may pause: the ways out are shut, and no network has one. Most providers have nothing
    /// to pause.
    fn pause(&mut self, _may: bool) {}

    /// Where dnsmasq asks for names outside the lab, reachable from the engine's namespace.
    fn dns_servers(&self) -> Vec<IpAddr>;

    /// Becomes readable when something may have changed; none where nothing ever does.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Takes what `fd` has, without blocking. True when [`Uplink::state`] or
    /// [`Uplink::dns_servers`] says something else than before.
    fn on_readable(&mut self) -> bool;

    /// Ends what the provider runs; the last thing that netd does before it removes its files.
    fn shutdown(&mut self) -> Removed;
}
