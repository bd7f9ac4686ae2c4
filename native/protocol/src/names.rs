// SPDX-License-Identifier: Apache-2.0
//! Names and numbers that have passed their rule ("Names and numbers" in the protocol page).
//!
//! Length is looked at before anything else: qemu-bridge-helper compared a long name with its
//! policy and the kernel then cut it to IFNAMSIZ (CVE-2019-13164).

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A string type whose values satisfy `$check`, which returns what is wrong.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name, checked.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(value: String) -> Result<Self, String> {
                check_length(&value, $max)?;
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(&value).map_err(|wrong| format!("{value:?} {wrong}"))?;
                Ok($name(value))
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(value: &str) -> Result<Self, String> {
                check_length(value, $max)?;
                $name::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn check_length(value: &str, max: usize) -> Result<(), String> {
    match value.len() {
        0 => Err("an empty string is not a name".into()),
        // The value itself is not repeated: it may be 64 kB of anything.
        length if length > max => Err(format!("a string of {length} bytes; at most {max} fit")),
        _ => Ok(()),
    }
}

/// Lower-case letters, digits, and hyphens that are neither first nor last (RFC 1123 2.1).
fn check_host_label(value: &str) -> Result<(), &'static str> {
    let ok = value
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if ok && !value.starts_with('-') && !value.ends_with('-') {
        Ok(())
    } else {
        Err("may hold a-z, 0-9 and, inside, hyphens")
    }
}

/// What the kernel takes as an interface name (dev_valid_name), less everything that a sysctl
/// path, a shell or a config file could read otherwise.
fn check_interface(value: &str) -> Result<(), &'static str> {
    let ok = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !ok || value.starts_with(['.', '-']) {
        Err("may hold A-Z, a-z, 0-9, _ and, after the first character, . and -")
    } else if matches!(value, "all" | "default" | "lo") {
        Err("is a name that the kernel uses for something else")
    } else {
        Ok(())
    }
}

name! {
    /// A lab: at most 32 characters of a-z, 0-9 and hyphens inside.
    LabName, 32, check_host_label
}
name! {
    /// A network, which is also its bridge's interface name: at most 15 bytes.
    NetworkName, 15, check_interface
}
name! {
    /// Any interface that netd makes: as [`NetworkName`].
    InterfaceName, 15, check_interface
}
name! {
    /// A tap's interface name: as [`NetworkName`].
    TapName, 15, check_interface
}
name! {
    /// A guest, which is also its host name: at most 63 characters (RFC 1035 2.3.4).
    GuestName, 63, check_host_label
}

/// An Ethernet address with Tapyard's prefix, `52:54:00:` and three lower-case bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// The six bytes in the order of the wire.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// The host side of a tap: `fe:` and the NIC's last five bytes, as libvirt does it. It is
    /// higher than any guest's, so a bridge that chooses its own never takes it.
    pub fn tap_side(self) -> [u8; 6] {
        let mut bytes = self.0;
        bytes[0] = 0xfe;
        bytes
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        const RULE: &str = "a MAC address is 52:54:00: and three lower-case bytes";
        check_length(&value, 17)?;
        let tail = value.strip_prefix("52:54:00:").ok_or(RULE)?.as_bytes();
        let digit = |i: usize| match tail[i] {
            b @ b'0'..=b'9' => Ok(b - b'0'),
            b @ b'a'..=b'f' => Ok(b - b'a' + 10),
            _ => Err(RULE),
        };
        if tail.len() != 8 || tail[2] != b':' || tail[5] != b':' {
            return Err(RULE.into());
        }
        let byte = |i: usize| Ok::<u8, &str>(digit(i)? << 4 | digit(i + 1)?);
        Ok(Mac([0x52, 0x54, 0, byte(0)?, byte(3)?, byte(6)?]))
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 subnet for a lab: host bits zero, prefix 8 to 30, inside a range that is nobody's on
/// the internet (RFC 1918, RFC 6598, RFC 2544).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet(Ipv4Net);

impl Subnet {
    /// The subnet as address arithmetic wants it.
    pub fn net(self) -> Ipv4Net {
        self.0
    }

    /// Whether a host may have this address: inside, neither first nor last.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.0.contains(&address) && address != self.0.network() && address != self.0.broadcast()
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        const PRIVATE: [(Ipv4Addr, u8); 5] = [
            (Ipv4Addr::new(10, 0, 0, 0), 8),
            (Ipv4Addr::new(172, 16, 0, 0), 12),
            (Ipv4Addr::new(192, 168, 0, 0), 16),
            (Ipv4Addr::new(100, 64, 0, 0), 10),
            (Ipv4Addr::new(198, 18, 0, 0), 15),
        ];
        check_length(&value, "255.255.255.255/32".len())?;
        let net: Ipv4Net = value
            .parse()
            .map_err(|_| format!("{value:?} is not an IPv4 subnet such as 192.168.57.0/24"))?;
        // Leading zeros are octal to some readers (inet_aton): one spelling only.
        if net.to_string() != value {
            return Err(format!("write {value} as {net}"));
        }
        if net.trunc() != net {
            return Err(format!("{value} has host bits; write {}", net.trunc()));
        }
        if !(8..=30).contains(&net.prefix_len()) {
            return Err(format!("the prefix of {value} must lie between 8 and 30"));
        }
        let inside = PRIVATE.iter().any(|&(base, prefix)| {
            Ipv4Net::new(base, prefix).is_ok_and(|private| private.contains(&net))
        });
        if !inside {
            return Err(format!(
                "{value} is not in 10/8, 172.16/12, 192.168/16, 100.64/10 or 198.18/15"
            ));
        }
        Ok(Subnet(net))
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An IPv6 subnet for a lab: a /64 of unique local addresses (RFC 4193, fd00::/8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet6(Ipv6Net);

impl Subnet6 {
    /// The subnet as address arithmetic wants it.
    pub fn net(self) -> Ipv6Net {
        self.0
    }

    /// The host with this number.
    pub fn host(self, number: u64) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.0.network()) | u128::from(number))
    }
}

impl TryFrom<String> for Subnet6 {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        check_length(&value, "fd00:0000:0000:0000:0000:0000:0000:0000/64".len())?;
        let net: Ipv6Net = value.parse().map_err(|_| {
            format!("{value:?} is not an IPv6 subnet such as fd12:3456:789a:1::/64")
        })?;
        let ours = net.prefix_len() == 64 && net.trunc() == net;
        if !ours || net.network().octets()[0] != 0xfd {
            return Err(format!("{value} is not a /64 within fd00::/8"));
        }
        if net.to_string() != value {
            return Err(format!("write {value} as {net}"));
        }
        Ok(Subnet6(net))
    }
}

impl From<Subnet6> for String {
    fn from(subnet: Subnet6) -> String {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An integer type whose values lie in a range.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $raw:ty, $range:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($raw);

        impl $name {
            /// The number, checked.
            pub fn get(self) -> $raw {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = String;

            fn try_from(value: u64) -> Result<Self, String> {
                let range: std::ops::RangeInclusive<$raw> = $range;
                <$raw>::try_from(value)
                    .ok()
                    .filter(|v| range.contains(v))
                    .map($name)
                    .ok_or_else(|| {
                        format!("{value} is not between {} and {}", range.start(), range.end())
                    })
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> u64 {
                value.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The index of a NIC within its guest, 0 to 31.
    Nic, u8, 0..=31
}
number! {
    /// A network's MTU in bytes: from what every IPv4 host must take (RFC 791) to what a tap can
    /// (65 535 less the Ethernet header, drivers/net/tun.c).
    Mtu, u32, 576..=65_521
}
number! {
    /// A TCP port, 1 to 65 535.
    Port, u16, 1..=65_535
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names() {
        for good in ["br0", "_x", "a.b-c", "0", "A23456789012345", "lo0", "All"] {
            assert!(good.parse::<NetworkName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "all",
            "default",
            "lo",
            "-a",
            ".a",
            "a b",
            "a/b",
            "br0\n",
            "\0",
            "$(id)",
            "A234567890123456",
            "é",
            "a:b",
            "../../etc",
        ] {
            assert!(bad.parse::<NetworkName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn host_labels() {
        assert!("a".parse::<LabName>().is_ok());
        assert!("a-b0".parse::<GuestName>().is_ok());
        assert!("a".repeat(32).parse::<LabName>().is_ok());
        assert!("a".repeat(33).parse::<LabName>().is_err());
        assert!("a".repeat(63).parse::<GuestName>().is_ok());
        assert!("a".repeat(64).parse::<GuestName>().is_err());
        for bad in ["", "A", "-a", "a-", "a_b", "a.b", "a\n", "a:b"] {
            assert!(bad.parse::<GuestName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn macs() {
        let mac = Mac::try_from("52:54:00:0a:b1:ff".to_owned()).unwrap();
        assert_eq!(mac.to_string(), "52:54:00:0a:b1:ff");
        assert_eq!(mac.tap_side(), [0xfe, 0x54, 0, 0x0a, 0xb1, 0xff]);
        for bad in [
            "",
            "52:54:00",
            "52:54:00:",
            "52:54:00:0A:00:00",
            "52:54:00:0a:00:0",
            "02:54:00:0a:00:00",
            "52:54:00:0a:00:000",
            "52:54:00:0a-00:00",
            "52:54:00:\u{e9}a:00:",
        ] {
            assert!(Mac::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn subnets() {
        for good in [
            "192.168.57.0/24",
            "10.0.0.0/8",
            "172.31.255.252/30",
            "100.64.0.0/10",
        ] {
            assert!(Subnet::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "192.168.57.1/24",
            "192.168.57.0/31",
            "192.168.57.0",
            "8.8.8.0/24",
            "10.0.0.0/7",
            "172.16.0.0/11",
            "192.168.057.0/24",
            "::/64",
            "192.168.57.0/024x",
        ] {
            assert!(Subnet::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn unique_local_subnets() {
        let subnet = Subnet6::try_from("fd12:3456:789a:1::/64".to_owned()).unwrap();
        assert_eq!(subnet.host(2).to_string(), "fd12:3456:789a:1::2");
        for bad in [
            "",
            "fd12::/48",
            "fd12::1/64",
            "2001:db8::/64",
            "fc00::/64",
            "FD12::/64",
            "10.0.0.0/24",
        ] {
            assert!(Subnet6::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges() {
        assert!(Nic::try_from(31).is_ok() && Nic::try_from(32).is_err());
        assert!(Mtu::try_from(576).is_ok() && Mtu::try_from(575).is_err());
        assert!(
            Mtu::try_from(65_521).is_ok()
                && Mtu::try_from(65_522).is_err()
                && Mtu::try_from(1 << 40).is_err()
        );
        assert!(serde_json::from_str::<Nic>("-1").is_err());
        assert!(serde_json::from_str::<Nic>("1.5").is_err());
    }
}
