// SPDX-License-Identifier: Apache-2.0
//! Labels: the alias that says whose an interface is ("Labels" in the protocol page).

use tapyard_protocol::{LabName, NetworkName, Owner};

/// The alias of an interface that netd makes for this owner.
pub fn format(uid: u32, owner: &Owner) -> String {
    let base = bridge(uid, &owner.lab, &owner.network);
    match (&owner.guest, owner.nic) {
        (Some(guest), Some(nic)) => format!("{base}:{guest}/{nic}"),
        _ => base,
    }
}

/// The alias of a network's bridge.
pub fn bridge(uid: u32, lab: &LabName, network: &NetworkName) -> String {
    format!("tapyard:{uid}:{lab}:{network}")
}

/// Whom an alias names; none where it is not one that this uid's netd writes.
pub fn parse(uid: u32, alias: &str) -> Option<Owner> {
    let mut parts = alias.split(':');
    if parts.next()? != "tapyard" || parts.next()? != uid.to_string() {
        return None;
    }
    let lab = parts.next()?.parse().ok()?;
    let network = parts.next()?.parse().ok()?;
    let port = parts.next();
    if parts.next().is_some() {
        return None;
    }
    let (guest, nic) = match port {
        None => (None, None),
        Some(port) => {
            let (guest, nic) = port.split_once('/')?;
            let index: u64 = nic.parse().ok()?;
            (Some(guest.parse().ok()?), Some(index.try_into().ok()?))
        }
    };
    Some(Owner {
        lab,
        network,
        guest,
        nic,
    })
    .filter(|owner| format(uid, owner) == alias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_read() {
        for alias in ["tapyard:1000:seed:br0", "tapyard:1000:seed:br0:guest/31"] {
            let owner = parse(1000, alias).unwrap();
            assert_eq!(format(1000, &owner), alias);
            assert_eq!(parse(1001, alias), None);
        }
        for alias in [
            "",
            "tapyard",
            "tapyard:1000:seed",
            "tapyard:01000:seed:br0",
            "tapyard:1000:Seed:br0",
            "tapyard:1000:seed:br0:guest",
            "tapyard:1000:seed:br0:guest/32",
            "tapyard:1000:seed:br0:guest/01",
            "tapyard:1000:seed:br0:guest/0:x",
            "tapyard:1000:seed:br0 ",
            "tapyard:1000:seed:",
            "xtapyard:1000:seed:br0",
        ] {
            assert_eq!(parse(1000, alias), None, "{alias}");
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("label", |bytes| {
            parse(1000, &String::from_utf8_lossy(bytes))
        });
    }
}
