// SPDX-License-Identifier: Apache-2.0
//! The machine's own DNS servers: `nameserver` lines of /etc/resolv.conf (resolv.conf(5)).

use std::net::IpAddr;

/// The one file outside netd's directory, /proc and /dev/net/tun that it reads.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// resolv.conf(5): MAXNS.
const MAX_SERVERS: usize = 3;

/// The servers of /etc/resolv.conf; none where it cannot be read.
pub fn system_nameservers() -> Vec<IpAddr> {
    std::fs::read(RESOLV_CONF)
        .map(|text| parse_nameservers(&String::from_utf8_lossy(&text)))
        .unwrap_or_default()
}

/// The servers of a resolv.conf, in its order. One with a zone (fe80::1%eth0) is left out: it
/// means something in one namespace only.
pub fn parse_nameservers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver")
                .then(|| words.next()?.parse().ok())
                .flatten()
        })
        .take(MAX_SERVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers() {
        let text = "# nameserver 1.1.1.1\nsearch lan\n nameserver\t127.0.0.53 # local\n\
                    nameserver fe80::1%eth0\nnameserver fd00::1\nnameserver\nnameserver x\n\
                    nameservers 9.9.9.9\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n";
        let expected: Vec<IpAddr> = ["127.0.0.53", "fd00::1", "10.0.0.1"]
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect();
        assert_eq!(parse_nameservers(text), expected);
        assert!(parse_nameservers("\0\u{fffd}\n").is_empty());
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("resolv", |bytes| {
            parse_nameservers(&String::from_utf8_lossy(bytes))
        });
    }
}
