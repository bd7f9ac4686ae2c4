// SPDX-License-Identifier: Apache-2.0
//! The programs that netd runs: where they are looked for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for, and nowhere else: the caller's PATH is not to be trusted.
pub const PATH: [&str; 6] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];

/// The first executable file of this name in [`PATH`].
pub fn find(name: &str) -> Option<PathBuf> {
    PATH.iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| is_program(path))
}

/// Whether this is an executable file.
pub fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process may change networks here (CAP_NET_ADMIN in effect).
pub fn may_change_networks() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| {
        sets.effective
            .contains(rustix::thread::CapabilitySet::NET_ADMIN)
    })
}
