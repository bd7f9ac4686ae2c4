// SPDX-License-Identifier: Apache-2.0
//! What netd tells about the kernel ("Types" in the protocol page). Everything is read back.

use crate::{
    Code, Error, GuestName, LabName, Mac, NetworkName, Nic, Port, Shape, Subnet, Subnet6, TapName,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Where netd works: in namespaces of the lab's own, or on the host itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A user and network namespace of the lab's own; no privilege needed.
    Private,
    /// netd's own network namespace, with CAP_NET_ADMIN.
    Host,
}

/// What the guests of a network reach, in the words of libvirt's forward modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The uplink, masqueraded; there is a switch.
    #[default]
    Nat,
    /// The uplink under their own addresses, both ways.
    Routed,
    /// Each other, and DHCP and DNS on the bridge.
    Isolated,
    /// Whatever a bridge of the administrator's reaches, or an interface of the host's: they are ports
    /// of that bridge, or of one with that interface.
    Bridged,
}

impl Mode {
    /// Whether packets are forwarded between the bridge and the uplink.
    pub fn forwards(self) -> bool {
        matches!(self, Mode::Nat | Mode::Routed)
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::Nat => "nat",
            Mode::Routed => "routed",
            Mode::Isolated => "isolated",
            Mode::Bridged => "bridged",
        })
    }
}

/// Whose interface: by label and journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The lab it belongs to.
    pub lab: LabName,
    /// The network it realises (bridge) or is attached to (tap).
    pub network: NetworkName,
    /// The guest behind a tap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestName>,
    /// The guest's NIC behind a tap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<Nic>,
}

/// One interface of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The kernel's number of it.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// IFLA_INFO_KIND: "bridge", "tun", "veth"; "" for a physical one and the loopback.
    pub kind: String,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
    /// IFF_UP: somebody switched it on.
    pub up: bool,
    /// IFLA_CARRIER: for a tap, that its fd is held and its guest's link is on.
    pub carrier: bool,
    /// RFC 2863 state in words: "up", "down", "unknown", "lowerlayerdown", "dormant" …
    pub operstate: String,
    /// Its hardware address in lower case, "" where it has none.
    pub mac: String,
    /// Bytes.
    pub mtu: u32,
    /// IFLA_IFALIAS, "" where there is none.
    pub alias: String,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Set where label and journal both say that netd made it.
    pub ours: Option<Owner>,
    /// What a tap's traffic is held to, read back; none where both directions are not alike.
    #[serde(default, skip_serializing_if = "Shape::is_none")]
    pub shape: Shape,
}

/// The DHCP and DNS server of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// dnsmasq's process as netd sees it; null when it does not run.
    pub pid: Option<u32>,
    /// First address of the range.
    pub from: Ipv4Addr,
    /// Last address of the range.
    pub to: Ipv4Addr,
}

/// An address that DHCP gave away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The NIC, as it presented itself (any MAC address, not only one of ours).
    pub mac: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The name that dnsmasq answers for, "" where there is none.
    pub hostname: String,
    /// Seconds since 1970; 0 never.
    pub expires: u64,
}

/// Who made a chain that would drop a lab's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firewall {
    /// Docker.
    Docker,
    /// firewalld.
    Firewalld,
    /// ufw.
    Ufw,
    /// Somebody who uses iptables.
    Iptables,
    /// Somebody who uses nft.
    Nftables,
}

/// Whether a lab's packets get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DoorState {
    /// netd's accept is there.
    Open,
    /// Whose it is was asked, and has not answered yet.
    Opening,
    /// It could not be made.
    Shut,
    /// Whether one is needed cannot be seen.
    Unseen,
}

/// A chain of another firewall's that would drop a network's packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// Family, table and name: `ip filter FORWARD`.
    pub chain: String,
    /// Whose it is.
    pub firewall: Firewall,
    /// Whether packets get through.
    pub state: DoorState,
    /// What the user can do where netd could not.
    pub command: Option<String>,
    /// Why netd could not.
    pub reason: Option<String>,
}

/// Whether the host asks a network's DNS server for the guests' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostNamesState {
    /// systemd-resolved was told so.
    Set,
    /// It was asked, and has not answered yet.
    Asking,
    /// It does not do it.
    Refused,
}

/// Names of guests on the host, by systemd-resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostNames {
    /// How it stands.
    pub state: HostNamesState,
    /// What the user can do where netd could not.
    pub command: Option<String>,
    /// Why netd could not.
    pub reason: Option<String>,
}

/// What carries a port.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// `IPPROTO_…`
    pub fn number(self) -> u8 {
        match self {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        }
    }

    /// The reverse of [`Transport::number`].
    pub fn of_number(number: u8) -> Option<Transport> {
        [Transport::Tcp, Transport::Udp]
            .into_iter()
            .find(|transport| transport.number() == number)
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        })
    }
}

/// A port of the host's, on the LAN, that leads to a guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposure {
    /// One of the uplink's addresses; 0.0.0.0 for all that it has.
    pub address: Ipv4Addr,
    /// TCP where it is left out.
    #[serde(default)]
    pub protocol: Transport,
    /// The host's port.
    pub port: Port,
    /// The guest.
    pub to: Ipv4Addr,
    /// The guest's port.
    pub to_port: Port,
}

impl Exposure {
    /// What no two have.
    pub fn key(&self) -> (Ipv4Addr, Transport, Port) {
        (self.address, self.protocol, self.port)
    }
}

/// As `203.0.113.2:8080/tcp`.
impl std::fmt::Display for Exposure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.address, self.port, self.protocol)
    }
}

/// An exposure as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposed {
    /// As asked for.
    pub exposure: Exposure,
    /// The uplink's addresses at which it is there, read back from nftables.
    pub at: Vec<Ipv4Addr>,
}

/// How the LAN gets answers for a network's addresses, read back from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyArp {
    /// The interface that answers; none where none does.
    pub device: Option<String>,
    /// For how many addresses.
    pub addresses: usize,
    /// Why for none.
    pub reason: Option<Error>,
}

/// A network as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The lab it belongs to.
    pub lab: LabName,
    /// Its name and its bridge's.
    pub name: NetworkName,
    /// The bridge's interface number; null when somebody removed it.
    pub bridge: Option<u32>,
    /// As applied; null where the network is bridged.
    pub subnet: Option<Subnet>,
    /// The host's address in it, as applied.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 subnet, as applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Subnet6>,
    /// The administrator's bridge that the guests are ports of, as applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<TapName>,
    /// The host's interface that is a port of a bridged network's own bridge, as applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<TapName>,
    /// What of a network with proxy ARP is on the LAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_arp: Option<ProxyArp>,
    /// The bridge's hardware address, as applied.
    pub mac: Mac,
    /// The bridge's MTU in bytes, read back where the bridge is there.
    pub mtu: u32,
    /// What its guests reach, as applied; `filter` says whether the kernel's rules say so too.
    pub mode: Mode,
    /// Whether NAT is on, read back from nftables; false in other modes than `nat`.
    pub nat: bool,
    /// Whether our chains hold this network, read back from nftables.
    pub filter: bool,
    /// Whether its taps are guarded against spoofing, read back from nftables.
    pub antispoof: bool,
    /// sysctl net.ipv4.conf.BRIDGE.forwarding, read back.
    pub forwarding: bool,
    /// Where other firewalls of the host would drop its packets, and whether they are let through.
    pub doors: Vec<Door>,
    /// Its guests' ports on the LAN.
    pub exposed: Vec<Exposed>,
    /// Its DHCP and DNS server; null where none is wanted.
    pub dns: Option<Dns>,
    /// Names of its guests on the host; none where systemd-resolved does not run or has no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_names: Option<HostNames>,
    /// From dnsmasq's lease file.
    pub leases: Vec<Lease>,
}

/// What carries a lab's traffic out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The device of the kernel's default route (host scope).
    Kernel,
    /// pasta (private scope).
    Pasta,
    /// Nothing; `reason` says why.
    None,
}

/// The way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// What carries the traffic.
    pub provider: Provider,
    /// The interface in the bridge's namespace: eth0, up0.
    pub device: Option<String>,
    /// The host's interface by which it leaves.
    pub host_device: Option<String>,
    /// Addresses of `host_device`.
    pub addresses: Vec<IpNet>,
    /// The default route's gateway; null on a point-to-point link.
    pub gateway: Option<IpAddr>,
    /// Whether the kernel forwards IPv4 on `device`, read back.
    pub forwarding: bool,
    /// The provider's process.
    pub pid: Option<u32>,
    /// Why there is no uplink.
    pub reason: Option<Error>,
    /// The way out of IPv6, by itself.
    pub ipv6: Uplink6,
    /// What the host's addresses and routes use, sorted, where the lab does not see them: in the
    /// private scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_subnets: Vec<HostSubnet>,
}

/// What an address or a route of the host's uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSubnet {
    /// The subnet.
    pub net: IpNet,
    /// The interface.
    pub device: String,
}

/// The way out of IPv6, which may be by another interface, or be none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink6 {
    /// The interface in the bridge's namespace: eth0, up0.
    pub device: Option<String>,
    /// The host's interface by which it leaves.
    pub host_device: Option<String>,
    /// The default route's gateway; null on a point-to-point link.
    pub gateway: Option<IpAddr>,
    /// Whether the kernel forwards IPv6 on `device`, read back.
    pub forwarding: bool,
    /// Whether netd made the machine an IPv6 router for that, and the filter drops what is not a
    /// lab's; before Linux 6.17.
    pub router: bool,
    /// Why there is none.
    pub reason: Option<Error>,
}

impl Uplink6 {
    /// No way out, and why: `NO_IPV6_ROUTE`, or the reason of IPv4's.
    pub fn none(reason: Error) -> Self {
        Uplink6 {
            device: None,
            host_device: None,
            gateway: None,
            forwarding: false,
            router: false,
            reason: Some(reason),
        }
    }

    /// The host has no way out for itself.
    pub fn no_route() -> Self {
        let why = "this machine has no IPv6 default route, so IPv6 of guests stays within the lab";
        Uplink6::none(Error::new(Code::NoIpv6Route, why).hint(
            "Networks without IPv6 are common. Guests have their way out as soon as the machine has.",
        ))
    }
}

impl Uplink {
    /// No way out, and why: `NO_DEFAULT_ROUTE`, `PASTA_MISSING`, `PASTA_FAILED`.
    pub fn none(reason: Error) -> Self {
        Uplink {
            provider: Provider::None,
            device: None,
            host_device: None,
            addresses: Vec::new(),
            gateway: None,
            forwarding: false,
            pid: None,
            reason: Some(reason.clone()),
            ipv6: Uplink6::none(reason),
            host_subnets: Vec::new(),
        }
    }
}

/// Everything at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Where netd works.
    pub scope: Scope,
    /// The lab of a private netd; null in the host scope.
    pub lab: Option<LabName>,
    /// All interfaces of the namespace, by ifindex.
    pub links: Vec<Link>,
    /// All networks of this netd, by name.
    pub networks: Vec<Network>,
    /// The way out.
    pub uplink: Uplink,
}

/// Names a network that went away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRef {
    /// The lab it belonged to.
    pub lab: LabName,
    /// Its name.
    pub name: NetworkName,
}

/// One step of a verb that changes something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which: see each verb.
    pub id: String,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// False where everything was right already.
    pub changed: bool,
}
