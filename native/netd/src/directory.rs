// SPDX-License-Identifier: Apache-2.0
//! netd's directory: checked, locked, and emptied at the end.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Error, NetworkName, Result};

const LOCK: &str = "netd.lock";
const SOCKET: &str = "netd.sock";
const JOURNAL: &str = "journal";
const DNS: &str = "dns";

/// sizeof(sockaddr_un.sun_path) less the closing zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

const LOCK_PATIENCE: Duration = Duration::from_millis(250);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// A directory that is the caller's alone, and its lock, held as long as this lives (and as long
/// as a forked copy of it lives: flock(2)).
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Directory {
    /// Checks that `path` is a directory, no symlink, the caller's and 0700, and locks it.
    /// `BAD_DIRECTORY`, `PATH_TOO_LONG`, `ALREADY_RUNNING`.
    pub fn open(path: &Path) -> Result<Directory> {
        let subject = path.display().to_string();
        let bad = |why: &str| {
            Error::new(Code::BadDirectory, format!("{subject}: {why}"))
                .hint("netd needs a directory of its own: mkdir -m 0700.")
                .subject(&subject)
        };
        let meta = path.symlink_metadata().map_err(|e| bad(&e.to_string()))?;
        if meta.is_symlink() || !meta.is_dir() {
            return Err(bad("is not a directory"));
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(bad("belongs to somebody else"));
        }
        if meta.permissions().mode() & 0o7777 != 0o700 {
            return Err(bad("is not 0700"));
        }
        // dnsmasq changes to / before it opens its files.
        let path = path.canonicalize().map_err(|e| bad(&e.to_string()))?;
        let socket = path.join(SOCKET);
        let length = socket.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            return Err(Error::new(
                Code::PathTooLong,
                format!(
                    "{} has {length} bytes; a unix socket's path has at most {MAX_SOCKET_PATH}",
                    socket.display()
                ),
            )
            .hint("Choose a shorter directory (a shorter XDG_RUNTIME_DIR or lab name).")
            .subject(&subject));
        }
        let lock = lock(&path.join(LOCK)).map_err(|errno| match errno {
            Errno::AGAIN => Error::new(
                Code::AlreadyRunning,
                format!("another netd runs in {subject}"),
            )
            .hint("Talk to that one through its netd.sock.")
            .subject(&subject),
            errno => bad(&format!("{LOCK}: {errno}")),
        })?;
        Ok(Directory { path, _lock: lock })
    }

    /// Makes `netd.sock` (0600) and listens on it. One that a killed netd left is replaced: the
    /// lock says that nobody serves it.
    pub fn listen(&self) -> Result<UnixListener> {
        let path = self.socket();
        let listen = || {
            remove_if_there(&path)?;
            let listener = UnixListener::bind(&path)?;
            // Between bind and chmod the directory's 0700 keeps others out.
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        listen().map_err(|e: io::Error| {
            Error::new(Code::BadDirectory, format!("{}: {e}", path.display()))
                .subject(path.display().to_string())
        })
    }

    /// The directory, absolute and without symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where netd listens.
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// The journal's path.
    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// Where a network's dnsmasq has its files.
    pub fn dns_path(&self, network: &NetworkName) -> PathBuf {
        self.path.join(DNS).join(network.as_str())
    }

    /// The networks for which there are dnsmasq files.
    pub fn dns_names(&self) -> Vec<NetworkName> {
        let entries = std::fs::read_dir(self.path.join(DNS));
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// The directory of a network's dnsmasq, made 0700 where it is missing.
    pub fn dns(&self, network: &NetworkName) -> io::Result<PathBuf> {
        let path = self.dns_path(network);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        Ok(path)
    }

    /// Removes a network's dnsmasq files.
    pub fn remove_dns(&self, network: &NetworkName) -> io::Result<()> {
        ignore_missing(std::fs::remove_dir_all(self.dns_path(network)))
    }

    /// Removes everything that netd made in it, the lock last. Goes on past errors.
    pub fn clear(&self) -> Vec<Error> {
        let mut failed = self.gone([remove_if_there(&self.journal())]);
        failed.extend(self.clear_but_journal());
        failed
    }

    /// The same, but the next netd finds the journal.
    pub fn clear_but_journal(&self) -> Vec<Error> {
        self.gone([
            ignore_missing(std::fs::remove_dir_all(self.path.join(DNS))),
            remove_if_there(&self.socket()),
            remove_if_there(&self.path.join(LOCK)),
        ])
    }

    fn gone<const N: usize>(&self, removed: [io::Result<()>; N]) -> Vec<Error> {
        removed
            .into_iter()
            .filter_map(|result| result.err())
            .map(|e| Error::kernel(format!("remove files in {}", self.path.display()), &e))
            .collect()
    }
}

/// Opens and locks a file. netd removes the file when it ends, so the one that was locked may
/// have lost its name to a newer one meanwhile: then once more. A child that a killed netd had
/// forked keeps the lock until it executes its program, hence some patience.
fn lock(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let fd = rustix::fs::open(
            path,
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )?;
        while let Err(errno) = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            if errno != Errno::AGAIN || Instant::now() > deadline {
                return Err(errno);
            }
            std::thread::sleep(LOCK_POLL);
        }
        let held = rustix::fs::fstat(&fd)?;
        match rustix::fs::stat(path) {
            Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => {
                return Ok(fd);
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    ignore_missing(std::fs::remove_file(path))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
