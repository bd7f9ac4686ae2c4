// SPDX-License-Identifier: Apache-2.0
//! The journal: what netd is about to make or has made, one JSON object a line, written before
//! the act.
//!
//! It is not synced to the disk. It has to survive netd (the page cache does that), not the
//! machine: with the machine everything that it tells of is gone as well, which the boot id in
//! its first line shows.

use crate::doors::Place;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tapyard_protocol::{
    Code, Error, Exposure, GuestName, LabName, NetworkName, NetworkSpec, Nic, Port, Result, Shape,
    Transport,
};

const VERSION: u32 = 1;
/// It is written anew when it has grown by this, in bytes.
const GROWTH_LIMIT: u64 = 1 << 20;

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The first line: which format, and during which run of the machine.
    Begin {
        /// [`VERSION`].
        version: u32,
        /// /proc/sys/kernel/random/boot_id.
        boot: String,
    },
    /// A network is to be made or adjusted.
    Network {
        /// Its lab.
        lab: LabName,
        /// As wanted.
        network: Box<NetworkSpec>,
    },
    /// Its NAT is to be switched.
    Nat {
        /// Which network.
        name: NetworkName,
        /// On or off.
        nat: bool,
    },
    /// It is to be removed.
    Removing {
        /// Which network.
        name: NetworkName,
    },
    /// It is gone.
    Removed {
        /// Which network.
        name: NetworkName,
    },
    /// A door for it is to be opened in a firewall of somebody else's.
    Door {
        /// Which network.
        network: NetworkName,
        /// Where.
        place: Place,
    },
    /// A port of the host's is to lead to a guest of its.
    Exposed {
        /// Which network.
        network: NetworkName,
        /// From where to where.
        exposure: Exposure,
    },
    /// It is to lead there no more.
    Unexposed {
        /// Which network.
        network: NetworkName,
        /// [`Exposure::key`]
        port: (Ipv4Addr, Transport, Port),
    },
    /// A NIC's traffic is to be held to something; to nothing where the shape is none.
    Shape {
        /// Which network it is on.
        network: NetworkName,
        /// Its guest.
        guest: GuestName,
        /// Its number.
        nic: Nic,
        /// As wanted.
        shape: Shape,
    },
    /// Nothing holds it any more.
    Unshaped {
        /// Which network it was on.
        network: NetworkName,
        /// Its guest.
        guest: GuestName,
        /// Its number.
        nic: Nic,
    },
    /// Forwarding of an interface that is not ours is to be switched on; it was off.
    Opened {
        /// The interface.
        device: String,
    },
    /// It is as it was found.
    Closed {
        /// The interface.
        device: String,
    },
    /// The same for IPv6.
    Opened6 {
        /// The interface.
        device: String,
    },
    /// The same for IPv6.
    Closed6 {
        /// The interface.
        device: String,
    },
}

/// A network of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its lab.
    pub lab: LabName,
    /// As wanted.
    pub spec: NetworkSpec,
    /// It is to go; what is left of it failed to.
    pub removing: bool,
    /// Addresses that its bridge had under earlier specs. A netd that was killed while it
    /// changed one leaves both.
    pub formers: Vec<IpNet>,
    /// Where it may have doors, sorted.
    pub doors: Vec<Place>,
    /// Ports of the host's that lead to its guests.
    pub exposed: Vec<Exposure>,
    /// What traffic is held to, by NIC. A shape that is none is still to be taken off.
    pub shapes: BTreeMap<(GuestName, Nic), Shape>,
}

/// A bridge's addresses with their subnets' lengths; none where the network is bridged.
pub fn bridge_addresses(spec: &NetworkSpec) -> Vec<IpNet> {
    let Some((address, subnet)) = spec.address.zip(spec.subnet) else {
        return Vec::new();
    };
    let ipv4 = IpNet::new(address.into(), subnet.net().prefix_len());
    let ipv6 = spec.ipv6_of(address).map(|own| IpNet::new(own.into(), 64));
    ipv4.into_iter().chain(ipv6.into_iter().flatten()).collect()
}

/// Whether a port of the host's may lead there: to a guest's address in a network that has a way in.
pub fn may_expose(spec: &NetworkSpec, exposure: &Exposure) -> bool {
    let to = exposure.to;
    spec.mode.forwards()
        && Some(to) != spec.address
        && spec.subnet.is_some_and(|subnet| subnet.is_host(to))
}

/// What the lines amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// By name, which is the bridge's and so one of a kind.
    pub networks: BTreeMap<NetworkName, Recorded>,
    /// Interfaces whose IPv4 forwarding netd switched on, sorted.
    pub opened: Vec<String>,
    /// Interfaces whose IPv6 forwarding netd switched on, sorted.
    pub opened6: Vec<String>,
}

impl State {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Begin { .. } => {}
            Entry::Network { lab, network } => {
                let spec = *network;
                let before = self.networks.remove(&spec.name);
                let (mut formers, doors, mut exposed, shapes) =
                    before.map_or_else(Default::default, |mut before| {
                        before.formers.extend(bridge_addresses(&before.spec));
                        (before.formers, before.doors, before.exposed, before.shapes)
                    });
                exposed.retain(|exposure| may_expose(&spec, exposure));
                let own = bridge_addresses(&spec);
                formers.retain(|former| !own.contains(former));
                let recorded = Recorded {
                    lab,
                    spec,
                    removing: false,
                    formers,
                    doors,
                    exposed,
                    shapes,
                };
                self.networks.insert(recorded.spec.name.clone(), recorded);
            }
            Entry::Nat { name, nat } => {
                if let Some(recorded) = self.networks.get_mut(&name) {
                    recorded.spec.nat = nat;
                }
            }
            Entry::Removing { name } => {
                if let Some(recorded) = self.networks.get_mut(&name) {
                    recorded.removing = true;
                }
            }
            Entry::Removed { name } => {
                self.networks.remove(&name);
            }
            Entry::Door { network, place } => {
                if let Some(recorded) = self.networks.get_mut(&network)
                    && let Err(at) = recorded.doors.binary_search(&place)
                {
                    recorded.doors.insert(at, place);
                }
            }
            Entry::Exposed { network, exposure } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.exposed.retain(|e| e.key() != exposure.key());
                    recorded.exposed.push(exposure);
                }
            }
            Entry::Unexposed { network, port } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.exposed.retain(|e| e.key() != port);
                }
            }
            Entry::Shape {
                network,
                guest,
                nic,
                shape,
            } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.shapes.insert((guest, nic), shape);
                }
            }
            Entry::Unshaped {
                network,
                guest,
                nic,
            } => {
                if let Some(recorded) = self.networks.get_mut(&network) {
                    recorded.shapes.remove(&(guest, nic));
                }
            }
            Entry::Opened { device } => insert(&mut self.opened, device),
            Entry::Closed { device } => self.opened.retain(|other| *other != device),
            Entry::Opened6 { device } => insert(&mut self.opened6, device),
            Entry::Closed6 { device } => self.opened6.retain(|other| *other != device),
        }
    }

    /// The fewest lines that amount to this.
    fn entries(&self, boot: &str) -> Vec<Entry> {
        let mut entries = vec![Entry::Begin {
            version: VERSION,
            boot: boot.to_owned(),
        }];
        entries.extend(
            self.opened
                .iter()
                .cloned()
                .map(|device| Entry::Opened { device }),
        );
        entries.extend(
            self.opened6
                .iter()
                .cloned()
                .map(|device| Entry::Opened6 { device }),
        );
        for (name, recorded) in &self.networks {
            entries.push(Entry::Network {
                lab: recorded.lab.clone(),
                network: Box::new(recorded.spec.clone()),
            });
            entries.extend(recorded.doors.iter().map(|place| Entry::Door {
                network: name.clone(),
                place: place.clone(),
            }));
            entries.extend(recorded.exposed.iter().map(|exposure| Entry::Exposed {
                network: name.clone(),
                exposure: *exposure,
            }));
            let shapes = recorded.shapes.iter();
            entries.extend(shapes.map(|((guest, nic), shape)| Entry::Shape {
                network: name.clone(),
                guest: guest.clone(),
                nic: *nic,
                shape: *shape,
            }));
            if recorded.removing {
                entries.push(Entry::Removing { name: name.clone() });
            }
        }
        entries
    }
}

fn insert(sorted: &mut Vec<String>, device: String) {
    if let Err(at) = sorted.binary_search(&device) {
        sorted.insert(at, device);
    }
}

/// What a journal's text amounts to. A line that was not written to its end, or a journal of
/// another run of the machine or another version, amounts to nothing.
pub fn parse(text: &str, boot: &str) -> State {
    let mut lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map_while(|line| serde_json::from_str::<Entry>(line).ok());
    let mut state = State::default();
    match lines.next() {
        Some(Entry::Begin {
            version: VERSION,
            boot: of,
        }) if of == boot => {}
        _ => return state,
    }
    lines.for_each(|entry| state.apply(entry));
    state
}

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    boot: String,
    file: File,
    /// Bytes appended since it was last written anew.
    grown: u64,
    /// The file lacks what [`Journal::note`] could not write.
    behind: bool,
    state: State,
}

impl Journal {
    /// Reads what is there, unless `fresh` says that it tells of another namespace, and writes
    /// it anew. `JOURNAL_FAILED`.
    pub fn open(path: &Path, fresh: bool) -> Result<Journal> {
        let failed = failed(path);
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(&failed)?;
        let boot = boot.trim().to_owned();
        let state = match std::fs::read(path) {
            Ok(text) if !fresh => parse(&String::from_utf8_lossy(&text), &boot),
            Ok(_) => State::default(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => State::default(),
            Err(e) => return Err(failed(e)),
        };
        let file = write(path, &state.entries(&boot)).map_err(&failed)?;
        Ok(Journal {
            path: path.to_owned(),
            boot,
            file,
            grown: 0,
            behind: false,
            state,
        })
    }

    /// What is recorded.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Records something. `JOURNAL_FAILED`, and then it is not recorded.
    pub fn append(&mut self, entry: Entry) -> Result<()> {
        let failed = failed(&self.path);
        if self.behind {
            self.write_anew().map_err(&failed)?;
        }
        let mut line = serde_json::to_vec(&entry).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        // One write: half a line is left only by a full disk, and a reader stops there.
        if let Err(e) = self.file.write_all(&line) {
            // Away with the half line, or what is appended later is never read.
            self.behind = self.write_anew().is_err();
            return Err(failed(e));
        }
        self.grown += line.len() as u64;
        self.state.apply(entry);
        if self.grown > GROWTH_LIMIT {
            self.write_anew().map_err(failed)?;
        }
        Ok(())
    }

    /// Records that something goes or is gone, which a full disk must not hold up: then it is
    /// so for this netd, and the file learns of it as soon as there is room.
    pub fn note(&mut self, entry: Entry) {
        if let Err(error) = self.append(entry.clone()) {
            self.state.apply(entry);
            self.behind = self.write_anew().is_err();
            if self.behind {
                eprintln!("{error}");
            }
        }
    }

    fn write_anew(&mut self) -> io::Result<()> {
        self.file = write(&self.path, &self.state.entries(&self.boot))?;
        self.grown = 0;
        self.behind = false;
        Ok(())
    }
}

/// Replaces the journal at once and leaves it open for appending.
fn write(path: &Path, entries: &[Entry]) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry)?;
        text.push(b'\n');
    }
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    let written = file
        .write_all(&text)
        .and_then(|()| std::fs::rename(&new, path));
    if let Err(e) = written {
        // A part of one is of no use to anybody and takes room.
        let _ = std::fs::remove_file(&new);
        return Err(e);
    }
    Ok(file)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |e| {
        Error::new(Code::JournalFailed, format!("cannot write {path}: {e}"))
            .hint("Nothing was changed. Make room on that file system.")
            .subject(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str) -> Entry {
        let spec = serde_json::json!({
            "name": name, "subnet": "192.168.57.0/24", "address": "192.168.57.1",
            "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "dhcp": null, "domain": "lab",
        });
        Entry::Network {
            lab: "seed".parse().unwrap(),
            network: serde_json::from_value(spec).unwrap(),
        }
    }

    fn name(name: &str) -> NetworkName {
        name.parse().unwrap()
    }

    fn temporary() -> PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("tapyard-journal-{}-{count}", std::process::id()))
    }

    #[test]
    fn survives_and_forgets() {
        let path = temporary();
        let mut journal = Journal::open(&path, false).unwrap();
        journal.append(network("br0")).unwrap();
        journal.append(network("br1")).unwrap();
        journal
            .append(Entry::Nat {
                name: name("br0"),
                nat: false,
            })
            .unwrap();
        journal
            .append(Entry::Opened {
                device: "eth0".into(),
            })
            .unwrap();
        journal
            .append(Entry::Removing { name: name("br1") })
            .unwrap();
        let again = Journal::open(&path, false).unwrap();
        assert_eq!(again.state(), journal.state());
        assert!(!again.state().networks[&name("br0")].spec.nat);
        assert!(again.state().networks[&name("br1")].removing);
        let mut again = Journal::open(&path, false).unwrap();
        assert_eq!(
            again.state(),
            journal.state(),
            "written anew it says the same"
        );
        again.append(Entry::Removed { name: name("br1") }).unwrap();
        again
            .append(Entry::Closed {
                device: "eth0".into(),
            })
            .unwrap();
        assert_eq!(again.state().networks.len(), 1);
        assert!(again.state().opened.is_empty());
        assert_eq!(
            Journal::open(&path, true).unwrap().state(),
            &State::default()
        );
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn remembers_former_addresses() {
        let mut state = State::default();
        for subnet in ["10.0.1", "10.0.2", "10.0.2", "10.0.3", "10.0.1"] {
            let Entry::Network { lab, mut network } = network("br0") else {
                unreachable!()
            };
            network.subnet = Some(format!("{subnet}.0/24").try_into().unwrap());
            network.address = Some(format!("{subnet}.1").parse().unwrap());
            state.apply(Entry::Network { lab, network });
        }
        let formers: Vec<String> = state.networks[&name("br0")]
            .formers
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(formers, ["10.0.2.1/24", "10.0.3.1/24"]);
    }

    #[test]
    fn stays_small() {
        let path = temporary();
        let mut journal = Journal::open(&path, false).unwrap();
        journal.append(network("br0")).unwrap();
        for i in 0..60_000 {
            journal
                .append(Entry::Nat {
                    name: name("br0"),
                    nat: i % 2 == 0,
                })
                .unwrap();
        }
        assert!(path.metadata().unwrap().len() < 2 * GROWTH_LIMIT);
        assert_eq!(
            Journal::open(&path, false).unwrap().state(),
            journal.state()
        );
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn torn_and_foreign_text() {
        let begin = r#"{"begin":{"version":1,"boot":"b"}}"#;
        let opened = r#"{"opened":{"device":"eth0"}}"#;
        let good = format!("{begin}\n{opened}\n");
        assert_eq!(parse(&good, "b").opened, ["eth0"]);
        assert_eq!(parse(&good, "other"), State::default());
        for end in 0..good.len() {
            assert_eq!(parse(&good[..end], "b"), State::default());
        }
        let torn = format!("{begin}\n{opened}\n{{\"closed\"");
        assert_eq!(parse(&torn, "b").opened, ["eth0"]);
        for garbage in ["", "\n", "{}\n", "null\n", "\0\0\n", "[]\n{}\n"] {
            assert_eq!(parse(garbage, "b"), State::default());
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("journal", |bytes| {
            parse(&String::from_utf8_lossy(bytes), "b")
        });
    }
}
