// SPDX-License-Identifier: Apache-2.0
//! The journal: what netd is about to make or has made, one JSON object a line, written before
//! the act.
//!
//! It is not synced to the disk. It has to survive netd (the page cache does that), not the
//! machine: with the machine everything that it tells of is gone as well, which the boot id in
//! its first line shows.

mod entry;
mod state;

pub use entry::{Disturbed6, Entry, Found};
pub use state::{Recorded, State, bridge_addresses, may_expose};

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tapyard_protocol::{Code, Error, Result};

const VERSION: u32 = 1;
/// It is written anew when it has grown by this, in bytes.
const GROWTH_LIMIT: u64 = 1 << 20;

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
    use tapyard_protocol::NetworkName;

    pub(super) fn network(name: &str) -> Entry {
        let spec = serde_json::json!({
            "name": name, "subnet": "192.168.57.0/24", "address": "192.168.57.1",
            "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "dhcp": null, "domain": "lab",
        });
        Entry::Network {
            lab: "seed".parse().unwrap(),
            network: serde_json::from_value(spec).unwrap(),
        }
    }

    pub(super) fn name(name: &str) -> NetworkName {
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

    /// A netd that is killed while it moves a network, and its successor while that heals.
    #[test]
    fn what_a_bridge_had_before_is_not_forgotten_when_it_is_written_anew() {
        let path = temporary();
        let mut journal = Journal::open(&path, false).unwrap();
        journal.append(network("br0")).unwrap();
        let Entry::Network { lab, mut network } = network("br0") else {
            unreachable!()
        };
        network.subnet = serde_json::from_str("\"192.168.58.0/24\"").unwrap();
        network.address = Some([192, 168, 58, 1].into());
        journal.append(Entry::Network { lab, network }).unwrap();
        let former = ["192.168.57.1/24".parse().unwrap()];
        for _ in 0..3 {
            let state = Journal::open(&path, false).unwrap();
            assert_eq!(state.state().networks[&name("br0")].formers, former);
        }
        let mut journal = Journal::open(&path, false).unwrap();
        journal
            .append(Entry::Formers {
                network: name("br0"),
                addresses: Vec::new(),
            })
            .unwrap();
        let again = Journal::open(&path, false).unwrap();
        assert!(again.state().networks[&name("br0")].formers.is_empty());
        std::fs::remove_file(&path).unwrap();
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
