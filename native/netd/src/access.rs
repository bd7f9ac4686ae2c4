// SPDX-License-Identifier: Apache-2.0
//! What an administrator lets users do beyond their own networks: /etc/tapyard/netd.conf.
//!
//! ```text
//! # who may put guests on which bridge, or interface: a user, @group or *
//! allow-bridge ada br-lan
//! allow-bridge @lab br-test
//! ```

use crate::{accounts, confine};
use std::io;
use std::path::Path;
use tapyard_protocol::{Code, Error, Result};

const FILE: &str = "/etc/tapyard/netd.conf";
/// More than anybody writes by hand.
const LIMIT: u64 = 1 << 16;

/// Whoever asks: numbers, and the names that the system's files give them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Who {
    users: Vec<String>,
    groups: Vec<String>,
}

/// `BRIDGE_NOT_ALLOWED` unless the file lets this user; root needs no leave of itself.
pub fn check_bridge(uid: u32, bridge: &str) -> Result<()> {
    if uid == 0 {
        return Ok(());
    }
    let refuse = |why: String, hint: String| {
        Err(Error::new(
            Code::BridgeNotAllowed,
            format!("you may not put guests on {bridge}: {why}"),
        )
        .hint(hint)
        .subject(bridge))
    };
    let line = format!("allow-bridge {uid} {bridge}");
    let leave = format!("An administrator adds this line to {FILE}: {line}");
    let path = Path::new(FILE);
    let text = match read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return refuse(format!("there is no {FILE}"), leave);
        }
        Err(e) => return refuse(format!("{FILE}: {e}"), leave),
    };
    if let Err(why) = confine::check_root_owned(path) {
        let hint = "It counts only where nobody but root can change it: chown root, chmod go-w.";
        return refuse(why, hint.into());
    }
    match allows(&text, &Who::of(uid), bridge) {
        Ok(true) => Ok(()),
        Ok(false) => refuse(format!("{FILE} does not say so"), leave),
        Err(number) => refuse(
            format!("line {number} of {FILE} cannot be understood"),
            "A line is: allow-bridge USER|@GROUP|* BRIDGE".into(),
        ),
    }
}

fn read(path: &Path) -> io::Result<String> {
    if path.metadata()?.len() > LIMIT {
        return Err(io::Error::other("it is too large"));
    }
    std::fs::read_to_string(path)
}

/// Whether a file's text lets them; the number of a line that says something else.
fn allows(text: &str, who: &Who, bridge: &str) -> std::result::Result<bool, usize> {
    let mut allowed = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
            [] => {}
            ["allow-bridge", whom, name] => {
                let meant = match whom.strip_prefix('@') {
                    Some(group) => who.groups.iter().any(|own| own == group),
                    None => *whom == "*" || who.users.iter().any(|own| own == whom),
                };
                allowed |= meant && *name == bridge;
            }
            _ => return Err(at + 1),
        }
    }
    Ok(allowed)
}

impl Who {
    /// The user, with the groups of this process, which are theirs.
    fn of(uid: u32) -> Who {
        let mut gids = vec![rustix::process::getgid().as_raw()];
        let more = rustix::process::getgroups().unwrap_or_default();
        gids.extend(more.iter().map(|group| group.as_raw()));
        let mut users = vec![uid.to_string()];
        users.extend(accounts::user_names(uid));
        let mut groups: Vec<String> = gids.iter().map(u32::to_string).collect();
        groups.extend(accounts::group_names(&gids));
        Who { users, groups }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let who = Who {
            users: vec!["1000".into(), "ada".into()],
            groups: vec!["1000".into(), "50".into(), "lab".into()],
        };
        let text = "# bridges\n\nallow-bridge ada br-lan # hers\nallow-bridge @lab br-test\n\
                    allow-bridge bob br-bob\nallow-bridge @staff br-staff\nallow-bridge * br-all\n";
        for (bridge, expected) in [
            ("br-lan", true),
            ("br-test", true),
            ("br-all", true),
            ("br-bob", false),
            ("br-staff", false),
            ("br-la", false),
            ("br-lan0", false),
        ] {
            assert_eq!(allows(text, &who, bridge), Ok(expected), "{bridge}");
        }
        assert_eq!(allows("allow-bridge 1000 x", &who, "x"), Ok(true));
        assert_eq!(allows("allow-bridge @50 x", &who, "x"), Ok(true));
        assert_eq!(allows("allow-bridge 50 x", &who, "x"), Ok(false));
        assert_eq!(allows("", &who, "x"), Ok(false));
        // Whatever is not understood lets nobody in.
        for (text, line) in [
            ("allow-bridge * x\nallow all", 2),
            ("allow-bridge x", 1),
            ("allow-bridge * x y", 1),
            ("allow br0", 1),
        ] {
            assert_eq!(allows(text, &who, "x"), Err(line), "{text}");
        }
    }
}
