// SPDX-License-Identifier: Apache-2.0
//! net.ipv4.conf.INTERFACE.forwarding and what else is set of an interface
//! (Documentation/networking/ip-sysctl.rst).
//!
//! /proc/sys/net shows the network namespace of the thread that looks. Of the host's IPv4 only interfaces
//! are ever written: writing ip_forward or conf.all resets every interface of the machine.

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

/// Whether they may pass the firewalls: br_netfilter is loaded. A bridge can be switched on by itself.
pub fn bridged_are_shown() -> bool {
    std::path::Path::new("/proc/sys/net/bridge").exists()
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

/// Keeps IPv6 off an interface, which loses its addresses of it. One of a kernel without IPv6 has
/// none.
pub fn disable_ipv6(name: &str) -> io::Result<()> {
    set_ipv6(name, false)
}

/// How often the namespace sends the same host an ICMP error, in ms (icmp_ratelimit, icmp/ratelimit).
pub const ICMP_LIMITS: [&str; 2] = [
    "/proc/sys/net/ipv4/icmp_ratelimit",
    "/proc/sys/net/ipv6/icmp/ratelimit",
];

/// Sets one of them; true when that changed something. A kernel without IPv6 has only one.
pub fn set_limit(file: &str, ms: u32) -> io::Result<bool> {
    let wanted = ms.to_string();
    match std::fs::read_to_string(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(now) if now.trim() == wanted => Ok(false),
        Ok(_) => std::fs::write(file, wanted).map(|()| true),
        Err(error) => Err(error),
    }
}

/// Whether an interface speaks IPv6.
pub fn ipv6(name: &str) -> io::Result<bool> {
    match std::fs::read_to_string(path("ipv6", name, "disable_ipv6")?) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        text => Ok(text?.trim() == "0"),
    }
}

/// Switches IPv6 of an interface.
pub fn set_ipv6(name: &str, on: bool) -> io::Result<()> {
    let value = if on { "0" } else { "1" };
    match std::fs::write(path("ipv6", name, "disable_ipv6")?, value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Whether the kernel can forward IPv6 for single interfaces: `force_forwarding` (Linux 6.17), which
/// unlike `forwarding` leaves an interface one that takes router advertisements.
pub fn forwards_single6() -> bool {
    read("/proc/sys/net/ipv6/conf/default/force_forwarding").is_ok()
}

/// Whether the kernel forwards IPv6 that enters by this interface because of itself alone. An error
/// where it cannot.
pub fn forwarding6(name: &str) -> io::Result<bool> {
    Ok(read(&path("ipv6", name, "force_forwarding")?)? == 1)
}

/// Switches IPv6 forwarding of one interface.
pub fn set_forwarding6(name: &str, on: bool) -> io::Result<()> {
    let path = path("ipv6", name, "force_forwarding")?;
    std::fs::write(path, if on { "1" } else { "0" })
}

/// What netd writes to `all.forwarding` of the host: "on" to the kernel, and told from the 1 of everybody
/// else.
pub const FOR_LABS: i32 = 2;

/// Whether the machine is an IPv6 router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router6 {
    /// It is not, or has no IPv6.
    No,
    /// A netd made it one.
    ForLabs,
    /// Somebody else did.
    Yes,
}

/// Whether the machine is an IPv6 router.
pub fn router6() -> Router6 {
    match routing6(ALL) {
        Err(_) | Ok(0) => Router6::No,
        Ok(FOR_LABS) => Router6::ForLabs,
        Ok(_) => Router6::Yes,
    }
}

/// Whether somebody made the machine an IPv6 router.
pub fn is_router6() -> bool {
    router6() == Router6::Yes
}

/// Makes the namespace an IPv6 router, or none: for a lab's own only.
pub fn set_router6(on: bool) -> io::Result<()> {
    set_routing6(ALL, on.into())
}

/// All interfaces, those that are there and those to come.
pub const ALL: &str = "all";

/// `forwarding` of IPv6: whether an interface is a router's to its neighbours. Of [`ALL`] it is
/// whether the kernel forwards.
pub fn routing6(name: &str) -> io::Result<i32> {
    read(&path6(name, "forwarding")?)
}

/// Writes it. Anything but 0 makes the kernel forget the routes that it has from router advertisements,
/// unless `accept_ra` is 2; that of [`ALL`] is written to each interface and to `default`, too.
pub fn set_routing6(name: &str, value: i32) -> io::Result<()> {
    std::fs::write(path6(name, "forwarding")?, value.to_string())
}

/// Whether an interface takes router advertisements: 1 unless it is a router's, 2 in any case.
pub fn accept_ra(name: &str) -> io::Result<i32> {
    read(&path6(name, "accept_ra")?)
}

/// Sets it.
pub fn set_accept_ra(name: &str, value: i32) -> io::Result<()> {
    std::fs::write(path6(name, "accept_ra")?, value.to_string())
}

/// The interfaces that have IPv6 configured, and `default`.
pub fn names6() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/sys/net/ipv6/conf");
    let names = entries.into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name != ALL).collect();
    names.sort();
    names
}

/// The interfaces that have an IPv6 address, without which none takes a router advertisement.
pub fn addressed6() -> Vec<String> {
    addressed(&std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default())
}

fn addressed(if_inet6: &str) -> Vec<String> {
    let names = if_inet6
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn read(path: &str) -> io::Result<i32> {
    let text = std::fs::read_to_string(path)?;
    let number = text.trim().parse();
    number.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// As [`path`], of [`ALL`] and `default` as well.
fn path6(name: &str, key: &str) -> io::Result<String> {
    match name {
        ALL | "default" => Ok(format!("/proc/sys/net/ipv6/conf/{name}/{key}")),
        name => path("ipv6", name, key),
    }
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

    #[test]
    fn interfaces_with_an_address() {
        let text = include_str!("../../../test/fuzz/corpus/if-inet6/host");
        assert_eq!(super::addressed(text), ["br-lan", "eth0", "lo"]);
        assert_eq!(super::addressed("fe80 02 40\n\n"), [""; 0]);
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("if-inet6", |bytes| {
            super::addressed(&String::from_utf8_lossy(bytes))
        });
    }
}
