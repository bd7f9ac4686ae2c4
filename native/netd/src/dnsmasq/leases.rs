// SPDX-License-Identifier: Apache-2.0
//! dnsmasq's lease file: one line a lease, `expiry mac address hostname client-id`
//! (dnsmasq(8), --dhcp-leasefile).

use std::net::Ipv4Addr;
use tapyard_protocol::Lease;

/// The IPv4 leases of a file, by address. Lines of another shape (`duid …`, IPv6, one that is
/// being written) are left out.
pub fn parse(text: &str) -> Vec<Lease> {
    let mut leases: Vec<Lease> = text.lines().filter_map(parse_line).collect();
    leases.sort_by_key(|lease| lease.address);
    leases
}

/// A file without some of its leases; whatever else it holds stays.
pub fn without(text: &str, gone: impl Fn(&Lease) -> bool) -> String {
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !parse_line(line.trim_end()).is_some_and(|lease| gone(&lease)))
        .collect()
}

fn parse_line(line: &str) -> Option<Lease> {
    let mut words = line.split(' ');
    let expires = words.next()?.parse().ok()?;
    let mac = words.next()?;
    let address: Ipv4Addr = words.next()?.parse().ok()?;
    let hostname = words.next()?;
    words.next()?;
    Some(Lease {
        mac: mac.to_ascii_lowercase(),
        address,
        // A star stands for none.
        hostname: if hostname == "*" { "" } else { hostname }.to_owned(),
        expires,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_and_garbage() {
        let text = "1700000000 52:54:00:00:00:03 192.168.57.9 * 01:52:54:00:00:00:03\n\
                    0 52:54:00:00:00:02 192.168.57.2 guest *\n\
                    duid 00:01:00:01\n\
                    1700000000 123 fd00::2 guest 00:01\n\
                    \n\0\n170000000 52:54";
        let leases = parse(text);
        assert_eq!(leases.len(), 2);
        assert_eq!(leases[0].hostname, "guest");
        assert_eq!(leases[0].expires, 0);
        assert_eq!(leases[1].hostname, "");
        assert_eq!(leases[1].address, Ipv4Addr::new(192, 168, 57, 9));
        assert_eq!(without(text, |_| false), text);
        let kept = without(text, |lease| lease.hostname == "guest");
        assert_eq!(parse(&kept), leases[1..]);
        assert!(kept.contains("duid") && kept.contains("fd00::2"));
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("leases", |bytes| parse(&String::from_utf8_lossy(bytes)));
    }
}
