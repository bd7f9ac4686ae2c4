// SPDX-License-Identifier: Apache-2.0
//! `anchor.json`: what a later netd needs to find the lab's namespaces again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tapyard_protocol::{Code, Error, LabName, Result};

use crate::directory::Directory;
use crate::process::{Identity, Process};

const FILE: &str = "anchor.json";
const VERSION: u32 = 1;

/// A process, in numbers of the owner's /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    pub(super) pid: u32,
    pub(super) start: u64,
}

impl From<Identity> for Recorded {
    fn from(identity: Identity) -> Recorded {
        Recorded {
            pid: identity.pid,
            start: identity.start,
        }
    }
}

impl From<Recorded> for Identity {
    fn from(recorded: Recorded) -> Identity {
        Identity {
            pid: recorded.pid,
            start: recorded.start,
        }
    }
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    /// A start time means nothing after the machine's restart.
    boot: String,
    /// Whose namespaces they are.
    pub(super) lab: LabName,
    /// PID 1 of the lab's process namespace, in user namespace A.
    pub(super) anchor: Recorded,
    /// In user namespace B and the lab's network namespace.
    pub(super) keeper: Recorded,
    /// The uplink, where it runs.
    pub(super) pasta: Option<Recorded>,
}

impl Record {
    /// Of namespaces that were made now.
    pub(super) fn new(lab: LabName, anchor: Identity, keeper: Identity) -> Record {
        let (anchor, keeper) = (anchor.into(), keeper.into());
        Record {
            version: VERSION,
            boot: boot(),
            lab,
            anchor,
            keeper,
            pasta: None,
        }
    }

    /// The record of namespaces that may still be there. None where there is none, or where it
    /// is another boot's or unreadable: nothing of it can be used then.
    pub(super) fn read(directory: &Directory) -> Option<Record> {
        let text = fs::read(path(directory.path())).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        (record.version == VERSION && record.boot == boot()).then_some(record)
    }

    /// Replaces the file at once.
    pub(super) fn write(&self, directory: &Directory) -> Result<()> {
        let path = path(directory.path());
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            fs::write(&new, serde_json::to_vec(self)?)?;
            fs::rename(&new, &path)
        };
        write().map_err(|e| {
            Error::new(Code::BadDirectory, format!("{}: {e}", path.display()))
                .subject(path.display().to_string())
        })
    }

    /// Removes the file.
    pub(super) fn remove(directory: &Directory) -> io::Result<()> {
        match fs::remove_file(path(directory.path())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Holds a recorded process, if it is still that one and still ours: the number of a dead one
/// may have gone to somebody else's.
pub(super) fn hold(recorded: Recorded, uid: u32) -> Option<Process> {
    let process = Process::hold(recorded.into())?;
    let status = fs::read_to_string(format!("/proc/{}/status", recorded.pid)).ok()?;
    (uid_of(&status)? == uid).then_some(process)
}

/// The real uid in the text of /proc/PID/status.
fn uid_of(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_start_or_user_is_not_held() {
        let me = Identity::of(std::process::id()).unwrap();
        let uid = rustix::process::getuid().as_raw();
        assert!(hold(me.into(), uid).is_some());
        assert!(hold(me.into(), uid + 1).is_none());
        assert!(
            hold(
                Recorded {
                    pid: me.pid,
                    start: me.start + 1
                },
                uid
            )
            .is_none()
        );
        assert_eq!(uid_of("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(1000));
        assert_eq!(uid_of("Name:\tUid: 0\n"), None);
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("anchor", |bytes| {
            serde_json::from_slice::<Record>(bytes).is_ok()
        });
        crate::fuzz::run("status", |bytes| uid_of(&String::from_utf8_lossy(bytes)));
    }
}
