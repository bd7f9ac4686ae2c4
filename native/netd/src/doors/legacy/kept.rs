// SPDX-License-Identifier: Apache-2.0
//! What only root may open of the old iptables, for a netd that root lends a user.

use super::lock::LOCK;
use super::old::{ALL, Old};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// More than the names of all tables there are.
const NAMES_LIMIT: usize = 4096;

/// Opened while netd is root's, in the network namespace in which it works. Nothing is made for it.
#[derive(Debug, Default)]
pub struct Kept {
    names: Vec<(&'static str, File)>,
    lock: Option<File>,
}

impl Kept {
    /// Whatever of it is there, and may be opened.
    pub fn open() -> Kept {
        let names = ALL
            .iter()
            .filter_map(|old| Some((old.names, File::open(old.names).ok()?)));
        Kept {
            names: names.collect(),
            lock: File::open(LOCK).ok(),
        }
    }

    /// Nothing where netd stayed root's, which opens them when it needs them.
    pub fn for_a_user(self) -> Kept {
        match rustix::process::geteuid().is_root() {
            true => Kept::default(),
            false => self,
        }
    }

    /// The names of the tables, as they are now.
    pub(super) fn names(&self, old: &Old) -> Option<String> {
        let (_, file) = self.names.iter().find(|(path, _)| *path == old.names)?;
        let mut text = vec![0; NAMES_LIMIT];
        let size = file.read_at(&mut text, 0).ok()?;
        Some(String::from_utf8_lossy(&text[..size]).into_owned())
    }

    /// The lock's file, if that is still the one that others take.
    pub(super) fn lock(&self) -> Option<&File> {
        let is_same = |file: &File| -> io::Result<bool> {
            let (ours, theirs) = (file.metadata()?, Path::new(LOCK).metadata()?);
            Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
        };
        self.lock
            .as_ref()
            .filter(|file| is_same(file).unwrap_or(false))
    }
}
