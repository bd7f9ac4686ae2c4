// SPDX-License-Identifier: Apache-2.0
//! From root back to the user who asked for the host scope through sudo or pkexec.

use super::{NETWORK, bound, capabilities, prctl, set_capabilities};
use crate::accounts::Groups;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tapyard_protocol::{Code, Error, Result};

/// Makes this process the caller's, with the network capabilities and no others, where the
/// directory that it is to serve is the caller's: then the core, QEMU and their files stay the
/// user's, and root has lent three capabilities. A root who serves root's directory stays root.
///
/// `caller` is believed of root only; anybody else is the caller already. Through pkexec, which
/// asks for this program alone, a user gets a netd of their own and no other: `BAD_DIRECTORY`.
/// The groups are those that the system's files give the user.
pub fn become_caller(caller: Option<Caller>, directory: &Path) -> Result<()> {
    let (true, Some(caller)) = (rustix::process::geteuid().is_root(), caller) else {
        return Ok(());
    };
    let uid = caller.uid();
    let theirs = match directory.symlink_metadata() {
        Ok(meta) => meta.uid() == uid,
        // What is wrong with it otherwise is said when it is opened.
        Err(_) => return Ok(()),
    };
    match caller {
        _ if uid == 0 => Ok(()),
        _ if theirs => {
            let groups = Groups::of(uid);
            lend(uid, &groups).map_err(|e| Error::kernel("become the caller", &e))
        }
        Caller::Sudo(_) => Ok(()),
        Caller::Pkexec(_) => {
            let subject = directory.display().to_string();
            Err(Error::new(
                Code::BadDirectory,
                format!("{subject}: belongs to somebody else than who called pkexec"),
            )
            .hint("netd needs a directory of its own: mkdir -m 0700.")
            .subject(subject))
        }
    }
}

/// Who had netd run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// By sudo(8), with which root's own things can be done as well.
    Sudo(u32),
    /// By pkexec(1).
    Pkexec(u32),
}

impl Caller {
    /// From the environment. Read before it goes, and to be believed of root only.
    pub fn find() -> Option<Caller> {
        let number = |name| std::env::var(name).ok()?.parse().ok();
        let pkexec = number("PKEXEC_UID").map(Caller::Pkexec);
        pkexec.or_else(|| number("SUDO_UID").map(Caller::Sudo))
    }

    /// Their number.
    pub fn uid(self) -> u32 {
        match self {
            Caller::Sudo(uid) | Caller::Pkexec(uid) => uid,
        }
    }
}

/// Changes user and group, and keeps the network capabilities over it (`PR_SET_KEEPCAPS`,
/// capabilities(7)). The program has one thread still.
fn lend(uid: u32, groups: &Groups) -> io::Result<()> {
    // While this is root still: it takes CAP_SETPCAP.
    bound(NETWORK);
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    let Groups { gid, others } = groups;
    let gid = *gid;
    // SAFETY: setgroups reads as many numbers as the list has; the others take numbers.
    let done = unsafe {
        libc::setgroups(others.len(), others.as_ptr()) == 0
            && libc::setresgid(gid, gid, gid) == 0
            && libc::setresuid(uid, uid, uid) == 0
    };
    if !done {
        return Err(io::Error::last_os_error());
    }
    // Changing the user cleared the effective set, and kept the permitted one.
    let mut data = capabilities()?;
    data[0].permitted &= NETWORK as u32; // all three are below 32
    data[0].effective = data[0].permitted;
    data[1] = Default::default();
    set_capabilities(&data)?;
    prctl(libc::PR_SET_KEEPCAPS, 0, 0)
}
