// SPDX-License-Identifier: Apache-2.0
//! Whoever changes the old iptables takes its lock, which is all that is told of a change.

use super::lock::{FOLDER, LOCK, NAME};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Watches the lock's file.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) fd: OwnedFd,
}

impl Watch {
    pub(super) fn open() -> io::Result<Watch> {
        let watch = Watch {
            fd: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        };
        // Without the folder there is nobody to lock.
        let _ = add_watch(&watch.fd, FOLDER, WatchFlags::CREATE);
        watch.watch_file();
        Ok(watch)
    }

    /// Readable when somebody had the lock.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn watch_file(&self) {
        let closed = WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
        if let Err(rustix::io::Errno::ACCESS) = add_watch(&self.fd, LOCK, closed) {
            // Who may not read the file is told of it with all that is in the folder.
            let _ = add_watch(&self.fd, FOLDER, closed | WatchFlags::CREATE);
        }
    }

    /// Takes what is there. Whether somebody had the lock.
    pub(super) fn drain(&self) -> bool {
        let mut any = false;
        let mut appeared = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        while let Ok(event) = reader.next() {
            // Of the file itself there is no name; of the folder itself it says that it is one.
            let ours = match event.file_name() {
                Some(name) => name.to_bytes() == NAME.as_bytes(),
                None => !event.events().contains(ReadFlags::ISDIR),
            };
            appeared |= ours && event.events().contains(ReadFlags::CREATE);
            any |= ours;
        }
        if appeared {
            self.watch_file();
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_not_counted() {
        let watch = Watch {
            fd: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap(),
        };
        assert!(!watch.drain());
        let file = std::env::temp_dir().join(format!("tapyard-lock-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        add_watch(&watch.fd, &file, WatchFlags::CLOSE_NOWRITE).unwrap();
        // Ours and, right behind it, another's: the kernel makes one event of them.
        for _ in 0..2 {
            drop(std::fs::File::open(&file).unwrap());
        }
        assert!(watch.drain());
        assert!(!watch.drain());
        std::fs::remove_file(&file).unwrap();
    }
}
