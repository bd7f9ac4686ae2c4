// SPDX-License-Identifier: Apache-2.0
//! What an administrator lets users do in the host scope: /etc/tapyard/netd.conf.
//!
//! ```text
//! # who may put guests on which bridge, or interface: a user, @group or *
//! allow-bridge ada br-lan
//! allow-bridge @lab br-test
//! # how much of the host's network a user may fill
//! limit-networks @lab 500
//! limit-taps ada 10000
//! ```

use crate::{accounts, confine};
use std::io;
use std::path::Path;
use tapyard_protocol::{Code, Error, Result};

/// Where it says so.
pub const FILE: &str = "/etc/tapyard/netd.conf";
/// More than anybody writes by hand.
const SIZE: u64 = 1 << 16;

/// How much a user may have of a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Networks.
    pub networks: usize,
    /// Taps, and what shapes them.
    pub taps: usize,
}

/// Where the file says nothing: well above the 200 networks and 1000 taps of the benchmarks.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            networks: 256,
            taps: 4096,
        }
    }
}

/// Whoever asks: numbers, and the names that the system's files give them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Who {
    users: Vec<String>,
    groups: Vec<String>,
}

/// What the file says of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    bridges: Vec<String>,
    limits: Limits,
}

/// Why the file does not count, and how it would.
struct Void {
    why: String,
    hint: Option<&'static str>,
}

/// `BRIDGE_NOT_ALLOWED` unless the file lets this user; root needs no leave of itself.
pub fn check_bridge(uid: u32, bridge: &str) -> Result<()> {
    if uid == 0 {
        return Ok(());
    }
    let line = format!("allow-bridge {uid} {bridge}");
    let leave = format!("An administrator adds this line to {FILE}: {line}");
    let (why, hint) = match rules_of(uid) {
        Ok(rules) if rules.bridges.iter().any(|own| own == bridge) => return Ok(()),
        Ok(_) => (format!("{FILE} does not say so"), leave),
        Err(Void { why, hint }) => (why, hint.map_or(leave, str::to_owned)),
    };
    Err(Error::new(
        Code::BridgeNotAllowed,
        format!("you may not put guests on {bridge}: {why}"),
    )
    .hint(hint)
    .subject(bridge))
}

/// What this user is held to, root to nothing. A file that does not count changes no limit.
pub fn limits(uid: u32) -> Option<Limits> {
    if uid == 0 {
        return None;
    }
    Some(rules_of(uid).map_or_else(|_| Limits::default(), |rules| rules.limits))
}

fn rules_of(uid: u32) -> std::result::Result<Rules, Void> {
    let void = |why, hint| Void { why, hint };
    let path = Path::new(FILE);
    let text = read(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => void(format!("there is no {FILE}"), None),
        _ => void(format!("{FILE}: {e}"), None),
    })?;
    confine::check_root_owned(path).map_err(|why| {
        let hint = "It counts only where nobody but root can change it: chown root, chmod go-w.";
        void(why, Some(hint))
    })?;
    Rules::parse(&text, &Who::of(uid)).map_err(|number| {
        let hint = "A line is: allow-bridge USER|@GROUP|* BRIDGE, or limit-networks or limit-taps \
                    USER|@GROUP|* NUMBER";
        void(
            format!("line {number} of {FILE} cannot be understood"),
            Some(hint),
        )
    })
}

fn read(path: &Path) -> io::Result<String> {
    if path.metadata()?.len() > SIZE {
        return Err(io::Error::other("it is too large"));
    }
    std::fs::read_to_string(path)
}

impl Rules {
    /// What a file's text says of them, where of two limits the later one counts; the number of a
    /// line that says something else.
    fn parse(text: &str, who: &Who) -> std::result::Result<Rules, usize> {
        let mut rules = Rules::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let number = |text: &str| text.parse::<usize>().map_err(|_| at + 1);
            match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
                [] => {}
                ["allow-bridge", whom, bridge] => {
                    if who.is(whom) {
                        rules.bridges.push((*bridge).to_owned());
                    }
                }
                ["limit-networks", whom, text] => {
                    let limit = number(text)?;
                    if who.is(whom) {
                        rules.limits.networks = limit;
                    }
                }
                ["limit-taps", whom, text] => {
                    let limit = number(text)?;
                    if who.is(whom) {
                        rules.limits.taps = limit;
                    }
                }
                _ => return Err(at + 1),
            }
        }
        Ok(rules)
    }
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

    /// Whether a line's USER, @GROUP or * means them.
    fn is(&self, whom: &str) -> bool {
        match whom.strip_prefix('@') {
            Some(group) => self.groups.iter().any(|own| own == group),
            None => whom == "*" || self.users.iter().any(|own| own == whom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Who {
        Who {
            users: vec!["1000".into(), "ada".into()],
            groups: vec!["1000".into(), "50".into(), "lab".into()],
        }
    }

    #[test]
    fn bridges() {
        let text = "# bridges\n\nallow-bridge ada br-lan # hers\nallow-bridge @lab br-test\n\
                    allow-bridge bob br-bob\nallow-bridge @staff br-staff\nallow-bridge * br-all\n";
        let rules = Rules::parse(text, &ada()).unwrap();
        assert_eq!(rules.bridges, ["br-lan", "br-test", "br-all"]);
        let allows = |text| !Rules::parse(text, &ada()).unwrap().bridges.is_empty();
        assert!(allows("allow-bridge 1000 x"));
        assert!(allows("allow-bridge @50 x"));
        assert!(!allows("allow-bridge 50 x"));
        assert!(!allows(""));
    }

    #[test]
    fn limits() {
        let limits = |text| {
            let Limits { networks, taps } = Rules::parse(text, &ada()).unwrap().limits;
            (networks, taps)
        };
        assert_eq!(limits(""), (256, 4096));
        assert_eq!(limits("limit-networks bob 1\nlimit-taps @50 0"), (256, 0));
        // The later one, whether it is the lower or the higher.
        let everybody =
            "limit-networks * 4\nlimit-networks ada 9\nlimit-taps ada 9\nlimit-taps * 4";
        assert_eq!(limits(everybody), (9, 4));
    }

    #[test]
    fn whatever_is_not_understood_lets_nobody_in() {
        for (text, line) in [
            ("allow-bridge * x\nallow all", 2),
            ("allow-bridge x", 1),
            ("allow-bridge * x y", 1),
            ("allow br0", 1),
            ("limit-taps *", 1),
            ("limit-taps bob -1", 1),
            ("limit-networks * many", 1),
            ("limit-forwards * 1", 1),
        ] {
            assert_eq!(Rules::parse(text, &ada()), Err(line), "{text}");
        }
    }
    #[test]
    fn any_bytes() {
        crate::fuzz::run("netd-conf", |bytes| {
            Rules::parse(&String::from_utf8_lossy(bytes), &ada())
        });
    }
}
