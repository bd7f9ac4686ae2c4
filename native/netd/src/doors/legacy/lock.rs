// SPDX-License-Identifier: Apache-2.0
//! The lock of iptables: a table is read, changed and written back as a whole, so that of two who
//! do it at the same time one undoes what the other did.
//!
//! Its file is root's, 0600. Root leaves it to the program. A netd that root lent a user has kept
//! the file open. Any other cannot take the lock, but it can wait until nobody has had it for a
//! while, which is known by everybody: who holds it is in /proc/locks, and whoever opens a file of a
//! folder is told to those who may read the folder.

use super::kept::Kept;
use crate::wait;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::fs::{Access, FlockOperation, access, flock, major, minor};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) const FOLDER: &str = "/run";
pub(super) const NAME: &str = "xtables.lock";
pub(super) const LOCK: &str = "/run/xtables.lock";
/// What the program says when another has the lock, and netd where it waited itself.
pub(super) const HELD: &str = "holding the xtables lock";
/// As long as the program waits (`-w 2`).
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a lock that is held is asked for.
const STEP: Duration = Duration::from_millis(10);
/// A script that runs iptables again and again does so within a few ms.
const PAUSE: Duration = Duration::from_millis(50);
/// A file for the program to lock in place of LOCK: its own, of which nobody else thinks.
const OWN: &str = "/proc/self/status";

/// The right to change a table, while it lives.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// The program sees to it.
    Program,
    /// This process has the lock.
    Held(&'a File),
    /// Nobody has had it for a while.
    Quiet,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Turn::Held(file) = self {
            // It was held, so it can be let go.
            let _ = flock(file, FlockOperation::Unlock);
        }
    }
}

/// Whether the program may open the lock's file.
pub(super) fn is_the_programs() -> bool {
    rustix::process::geteuid().is_root() || access(LOCK, Access::READ_OK).is_ok()
}

/// Has the program take another lock, which nobody else asks for (iptables 1.8.4).
pub(super) fn take_none(command: &mut Command) {
    command.env("XTABLES_LOCKFILE", OWN);
}

/// Waits for the right to change a table. `quiet` is the watch, kept from one change to the next.
pub(super) fn wait<'a>(kept: &'a Kept, quiet: &mut Option<Quiet>) -> Result<Turn<'a>, String> {
    if is_the_programs() {
        return Ok(Turn::Program);
    }
    let deadline = Instant::now() + PATIENCE;
    if let Some(file) = kept.lock() {
        while flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= deadline {
                return Err(held());
            }
            std::thread::sleep(STEP);
        }
        return Ok(Turn::Held(file));
    }
    let told = |error: io::Error| format!("watch {LOCK}: {error}");
    let watch = match quiet.take() {
        Some(watch) => watch,
        None => Quiet::watch(Path::new(FOLDER), NAME).map_err(told)?,
    };
    let is_quiet = quiet.insert(watch).wait(deadline).map_err(told)?;
    is_quiet.then_some(Turn::Quiet).ok_or_else(held)
}

fn held() -> String {
    format!("somebody is {HELD}")
}

/// Watches who opens and closes the lock's file.
#[derive(Debug)]
pub(super) struct Quiet {
    watch: OwnedFd,
    file: std::path::PathBuf,
    /// Nobody has had it since.
    since: Instant,
}

impl Quiet {
    fn watch(folder: &Path, name: &str) -> io::Result<Quiet> {
        let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
        add_watch(&watch, folder, flags)?;
        Ok(Quiet {
            watch,
            file: folder.join(name),
            since: Instant::now(),
        })
    }

    /// Waits until nobody has had it for a while. False where that did not come by then.
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            if self.was_used() | self.is_held()? {
                self.since = Instant::now();
            }
            let until = self.since + PAUSE;
            if Instant::now() >= until {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            wait::readable(&self.watch, Some(until.min(deadline)))?;
        }
    }

    fn was_used(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut buffer);
        let mut used = false;
        while let Ok(event) = reader.next() {
            used |= is_of(event.file_name(), &self.file)
                || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        }
        used
    }

    fn is_held(&self) -> io::Result<bool> {
        let meta = match self.file.metadata() {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let locks = std::fs::read_to_string("/proc/locks")?;
        Ok(is_among(&locks, meta.dev(), meta.ino()))
    }
}

fn is_of(name: Option<&std::ffi::CStr>, file: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let known = file.file_name().map(OsStrExt::as_bytes);
    name.is_some_and(|name| Some(name.to_bytes()) == known)
}

/// Whether the file has a lock of flock(2) in /proc/locks (proc_locks(5)).
fn is_among(locks: &str, device: u64, inode: u64) -> bool {
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let mut lines = locks.lines().map(str::split_ascii_whitespace);
    lines.any(|mut words| {
        let kind = words.nth(1);
        kind == Some("FLOCK") && words.nth(3) == Some(&file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_found_by_its_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 812 00:1a:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 00:1a:1234 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 00:1a:1234 0 EOF\n";
        let device = rustix::fs::makedev(0, 0x1a);
        assert!(is_among(locks, device, 1234));
        assert!(!is_among(locks, device, 77) && !is_among(locks, device, 123));
        assert!(!is_among(locks, rustix::fs::makedev(8, 0x1a), 1234));
        assert!(!is_among("2: FLOCK", device, 1234));
    }

    #[test]
    fn quiet_is_when_nobody_has_had_it_for_a_while() {
        let folder = std::env::temp_dir().join(format!("tapyard-quiet-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut quiet = Quiet::watch(&folder, "lock").unwrap();
        let far = || Instant::now() + Duration::from_secs(60);
        // No file yet, and another's.
        std::fs::write(folder.join("other"), "").unwrap();
        assert!(quiet.wait(far()).unwrap());
        let before = quiet.since;
        let file = File::create(folder.join("lock")).unwrap();
        assert!(quiet.wait(far()).unwrap());
        assert!(quiet.since > before);
        // Opened again and again, it is not quiet by then.
        let opens = std::thread::spawn({
            let file = folder.join("lock");
            move || {
                for _ in 0..200 {
                    drop(File::open(&file).unwrap());
                    std::thread::sleep(Duration::from_millis(1));
                }
                Instant::now()
            }
        });
        assert!(quiet.wait(far()).unwrap());
        assert!(quiet.since + PAUSE <= Instant::now());
        opens.join().unwrap();
        drop(file);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
