// SPDX-License-Identifier: Apache-2.0
//! net.ipv4.conf.INTERFACE.forwarding and what else is set of an interface
//! (Documentation/networking/ip-sysctl.rst).
//!
//! /proc/sys/net shows the network namespace of the thread that looks. Of the host only interfaces are
//! ever written: writing ip_forward or conf.all resets every interface of the machine.

use std::io;

/// Whether the kernel forwards IPv4 that enters by this interface. `name` is an interface's
/// name as the kernel tells it, so it holds no slash.
pub fn forwarding(name: &str) -> io::Result<bool> {
    Ok(std::fs::read_to_string(path("ipv4", name, "forwarding")?)?.trim() == "1")
}

/// Whether `ip_forward` is on, i.e. somebody made the machine a router.
pub fn is_router() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/forwarding")
        .is_ok_and(|text| text.trim() == "1")
}

/// Whether packets between two ports of a bridge pass the firewalls of IPv4 as well: br_netfilter is
/// loaded (Docker does that), and switched on.
pub fn bridged_pass_iptables() -> bool {
    bridged_pass("bridge-nf-call-iptables")
}

/// The same for IPv6.
pub fn bridged_pass_ip6tables() -> bool {
    bridged_pass("bridge-nf-call-ip6tables")
}

fn bridged_pass(name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/sys/net/bridge/{name}"))
        .is_ok_and(|text| text.trim() == "1")
}

/// Switches forwarding of one interface.
pub fn set_forwarding(name: &str, on: bool) -> io::Result<()> {
    std::fs::write(
        path("ipv4", name, "forwarding")?,
        if on { "1" } else { "0" },
    )
}

/// Keeps IPv6 off an interface, which must not be up yet. One of a kernel without IPv6 has none.
pub fn disable_ipv6(name: &str) -> io::Result<()> {
    match std::fs::write(path("ipv6", name, "disable_ipv6")?, "1") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Whether the kernel forwards IPv6 that enters by this interface because of itself alone: its
/// `force_forwarding` (Linux 6.17), which unlike `forwarding` leaves it a host that takes router
/// advertisements. NotFound on older kernels.
pub fn forwarding6(name: &str) -> io::Result<bool> {
    let path = path("ipv6", name, "force_forwarding")?;
    Ok(std::fs::read_to_string(path)?.trim() == "1")
}

/// Whether somebody made the machine an IPv6 router.
pub fn is_router6() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding")
        .is_ok_and(|text| text.trim() == "1")
}

/// Makes the namespace an IPv6 router, or none: for a lab's own only.
pub fn set_router6(on: bool) -> io::Result<()> {
    let path = "/proc/sys/net/ipv6/conf/all/forwarding";
    std::fs::write(path, if on { "1" } else { "0" })
}

/// Switches IPv6 forwarding of one interface.
pub fn set_forwarding6(name: &str, on: bool) -> io::Result<()> {
    let path = path("ipv6", name, "force_forwarding")?;
    std::fs::write(path, if on { "1" } else { "0" })
}

fn path(family: &str, name: &str, key: &str) -> io::Result<String> {
    if name.is_empty() || name.contains('/') || matches!(name, "." | ".." | "all" | "default") {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(format!("/proc/sys/net/{family}/conf/{name}/{key}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_interfaces_have_a_path() {
        for name in ["", ".", "..", "all", "default", "../all", "a/b"] {
            assert!(super::path("ipv4", name, "forwarding").is_err(), "{name}");
        }
        assert!(super::path("ipv4", "eth0.5", "forwarding").is_ok());
    }
}
