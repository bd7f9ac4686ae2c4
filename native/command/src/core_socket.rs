// SPDX-License-Identifier: Apache-2.0
//! Where the user's core listens: the reading half of `core/host/runtime-dir.ts`. Whatever is not
//! as it must be is left to Node, which makes the directory or says what is wrong with it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// sun_path of unix(7) has 108 bytes, the last one for the NUL.
const LONGEST: usize = 107;

/// The path of the core's socket by the value of `XDG_RUNTIME_DIR`; none where its directory is
/// missing or not this user's alone.
pub fn find(runtime_dir: Option<OsString>) -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let directory = match runtime_dir
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
    {
        Some(given) => in_given(&given, uid)?,
        None => {
            let usual = PathBuf::from(format!("/run/user/{uid}"));
            if is_own(&usual, uid, 0o022) {
                usual.join("tapyard")
            } else {
                PathBuf::from(format!("/tmp/tapyard-{uid}"))
            }
        }
    };
    let socket = directory.join("core.sock");
    (is_own(&directory, uid, 0o077) && socket.as_os_str().len() <= LONGEST).then_some(socket)
}

fn in_given(given: &Path, uid: u32) -> Option<PathBuf> {
    // Node takes `..` by the letter, the kernel by the link before it.
    let plain = !given.components().any(|part| part == Component::ParentDir);
    let place = fs::metadata(given).ok()?;
    let open = place.mode() & 0o002 != 0 && place.mode() & 0o1000 == 0;
    let safe = (place.uid() == uid || place.uid() == 0) && !open;
    (plain && safe).then(|| given.join("tapyard"))
}

/// Whether `path` is a directory, and no link to one, of this user without the permissions `mask`.
fn is_own(path: &Path, uid: u32, mask: u32) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|it| it.is_dir() && it.uid() == uid && it.mode() & mask == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_a_directory_that_is_ours_alone_is_believed() {
        let top = std::env::temp_dir().join(format!("tapyard-front-{}", std::process::id()));
        let own = top.join("tapyard");
        fs::create_dir_all(&own).unwrap();
        with_mode(&top, 0o700);
        with_mode(&own, 0o700);
        let found = |path: &Path| find(Some(path.as_os_str().to_owned()));
        assert_eq!(found(&top), Some(own.join("core.sock")));
        assert_eq!(found(&top.join("../x/..")), None);
        assert_eq!(found(&top.join("missing")), None);
        with_mode(&own, 0o750);
        assert_eq!(found(&top), None);
        with_mode(&own, 0o700);
        with_mode(&top, 0o777);
        assert_eq!(found(&top), None);
        with_mode(&top, 0o1777);
        assert_eq!(found(&top), Some(own.join("core.sock")));
        let long = top.join("x".repeat(100));
        fs::create_dir_all(long.join("tapyard")).unwrap();
        with_mode(&long.join("tapyard"), 0o700);
        assert_eq!(found(&long), None);
        fs::rename(&own, top.join("elsewhere")).unwrap();
        symlink(top.join("elsewhere"), &own).unwrap();
        assert_eq!(found(&top), None);
        fs::remove_dir_all(&top).unwrap();
    }
}
