// SPDX-License-Identifier: Apache-2.0
//! From root back to the user who asked for the host scope through sudo or pkexec.

use super::{NETWORK, bound, capabilities, prctl, set_capabilities};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tapyard_protocol::{Error, Result};

/// Makes this process the caller's, with the network capabilities and no others, where the
/// directory that it is to serve is the caller's: then the core, QEMU and their files stay the
/// user's, and root has lent three capabilities. A root who serves root's directory stays root.
///
/// `caller` is believed of root only; anybody else is the caller already. Groups go, but for that
/// of the directory, which only a member can have given it (chown(2)).
pub fn become_caller(caller: Option<u32>, directory: &Path) -> Result<()> {
    let (true, Some(caller)) = (rustix::process::geteuid().is_root(), caller) else {
        return Ok(());
    };
    // What is wrong with a directory is said when it is opened.
    let Ok(meta) = directory.symlink_metadata() else {
        return Ok(());
    };
    if caller == 0 || meta.uid() != caller {
        return Ok(());
    }
    lend(caller, meta.gid()).map_err(|e| Error::kernel("become the caller", &e))
}

/// Changes user and group, and keeps the network capabilities over it (`PR_SET_KEEPCAPS`,
/// capabilities(7)). The program has one thread still.
fn lend(uid: u32, gid: u32) -> io::Result<()> {
    // While this is root still: it takes CAP_SETPCAP.
    bound(NETWORK);
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    // SAFETY: these take numbers; an empty list of groups has no memory behind it.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
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
