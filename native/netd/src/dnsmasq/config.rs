// SPDX-License-Identifier: Apache-2.0
//! What dnsmasq is told (dnsmasq(8)): arguments, and two files that it reads again on SIGHUP.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use tapyard_protocol::{Dhcp, Mode, NetworkSpec};

/// Its files within the network's own directory.
pub(super) const HOSTS: &str = "hosts";
pub(super) const SERVERS: &str = "servers";
pub(crate) const LEASES: &str = "leases";
pub(super) const PID: &str = "pid";
pub(super) const LOG: &str = "log";

/// More than a bridge has ports.
const MAX_LEASES: &str = "4096";

/// The arguments for a network. They change only when dnsmasq must start anew.
pub fn arguments(network: &NetworkSpec, dhcp: &Dhcp, directory: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut flag = |text: String| args.push(text.into());
    flag("--keep-in-foreground".into());
    // Nothing of the machine's own: no /etc/dnsmasq.conf, /etc/hosts, /etc/resolv.conf. The
    // configuration file is an empty standard input: see Starting::open_gate.
    flag("--conf-file=-".into());
    flag("--no-hosts".into());
    flag("--no-resolv".into());
    flag("--no-poll".into());
    // It stays who netd is, with fewer capabilities; the directory is 0700.
    flag("--user=".into());
    flag("--group=".into());
    flag(format!("--interface={}", network.name));
    flag("--except-interface=lo".into());
    // Binds the bridge's address only, and unlike bind-interfaces looks at the interface by
    // which a query came: one from the LAN to the bridge's address gets no answer
    // (CVE-2012-3411).
    flag("--bind-dynamic".into());
    flag(format!(
        "--dhcp-range={},{},{},12h",
        dhcp.from,
        dhcp.to,
        netmask(network)
    ));
    if let Some(subnet) = network.ipv6 {
        // Router advertisements: guests make addresses themselves, are told to ask for one as
        // well, and are in DNS by either.
        flag("--enable-ra".into());
        // A guest can lease as many as it has names (DUIDs); leases for IPv4 are left all the same.
        flag(format!(
            "--dhcp-range={},{},slaac,ra-names,64,12h",
            subnet.host(0x1_0000),
            subnet.host(0x1_03ff)
        ));
        // As with IPv4: no default route to where nothing leads out.
        if network.mode == Mode::Isolated {
            flag(format!("--ra-param={},0,0", network.name));
        }
    }
    flag(format!("--dhcp-lease-max={MAX_LEASES}"));
    // The only server on its bridge: it need not wait for another to object, nor ping first.
    flag("--dhcp-authoritative".into());
    flag("--no-ping".into());
    // A lease is its MAC's, which the guard holds; a client id could be another guest's.
    flag("--dhcp-ignore-clid".into());
    // A guest with another NIC as well must not take its default route to where nothing leads out.
    if network.mode == Mode::Isolated {
        flag("--dhcp-option=option:router".into());
    }
    if network.mtu.get() != 1500 {
        flag(format!("--dhcp-option=option:mtu,{}", network.mtu));
    }
    // Names by which others look for a proxy or a tunnel are no guest's to take (VU#598349).
    for name in ["wpad", "isatap"] {
        flag(format!("--dhcp-name-match=set:nobodys,{name}"));
    }
    flag("--dhcp-ignore-names=tag:nobodys".into());
    flag("--domain=lab".into());
    flag("--local=/lab/".into());
    // Leases are in the lease file; the log is for trouble.
    flag("--quiet-dhcp".into());
    let mut file = |option: &str, name: &str| {
        let mut argument = OsString::from(option);
        argument.push(directory.join(name));
        args.push(argument);
    };
    file("--dhcp-hostsfile=", HOSTS);
    file("--servers-file=", SERVERS);
    file("--dhcp-leasefile=", LEASES);
    file("--pid-file=", PID);
    file("--log-facility=", LOG);
    args
}

fn netmask(network: &NetworkSpec) -> Ipv4Addr {
    // Where there is DHCP there is a subnet.
    network
        .subnet
        .map_or(Ipv4Addr::BROADCAST, |subnet| subnet.net().netmask())
}

/// The reservations, in --dhcp-hostsfile's form.
pub fn hosts(network: &NetworkSpec, dhcp: &Dhcp) -> String {
    dhcp.reservations
        .iter()
        .map(|r| match network.ipv6_of(r.address) {
            Some(ipv6) => format!("{},{},[{ipv6}],{}\n", r.mac, r.address, r.guest),
            None => format!("{},{},{}\n", r.mac, r.address, r.guest),
        })
        .collect()
}

/// Where names outside the lab are asked for, in --servers-file's form. Without a way out nowhere:
/// dnsmasq then refuses such queries.
pub fn servers(reaches_out: bool, upstream: &[IpAddr]) -> String {
    if !reaches_out {
        return String::new();
    }
    upstream.iter().map(|ip| format!("server={ip}\n")).collect()
}

/// The lease file's path.
pub fn leases(directory: &Path) -> PathBuf {
    directory.join(LEASES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapyard_protocol::Reservation;

    #[test]
    fn files() {
        let dhcp = Dhcp {
            from: "10.0.0.10".parse().unwrap(),
            to: "10.0.0.20".parse().unwrap(),
            reservations: vec![Reservation {
                mac: "52:54:00:00:00:02".to_owned().try_into().unwrap(),
                address: "10.0.0.2".parse().unwrap(),
                guest: "guest".parse().unwrap(),
            }],
        };
        let mut network: NetworkSpec = serde_json::from_value(serde_json::json!({
            "name": "br0", "subnet": "10.0.0.0/24", "address": "10.0.0.1", "mtu": 1500,
            "mac": "52:54:00:00:00:01", "nat": true, "domain": "lab", "dhcp": null,
        }))
        .unwrap();
        let line = "52:54:00:00:00:02,10.0.0.2,guest\n";
        assert_eq!(hosts(&network, &dhcp), line);
        network.ipv6 = Some("fd12:3456:789a:1::/64".to_owned().try_into().unwrap());
        let line = "52:54:00:00:00:02,10.0.0.2,[fd12:3456:789a:1::2],guest\n";
        assert_eq!(hosts(&network, &dhcp), line);
        let upstream = ["127.0.0.53".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(
            servers(true, &upstream),
            "server=127.0.0.53\nserver=fd00::1\n"
        );
        assert_eq!(servers(false, &upstream), "");
    }
}
