// SPDX-License-Identifier: Apache-2.0
//! Where a privileged netd may be run from: a path that nobody but root and the caller can change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tapyard_protocol::{Code, Error, Result};

/// What matters of a file or directory on the way.
#[derive(Debug, Clone, Copy)]
struct Step {
    uid: u32,
    gid: u32,
    mode: u32,
    links: u64,
    directory: bool,
}

/// Refuses to go on from a path that others can write: whoever can put another file in a
/// program's place, or write to it, has its privileges. `UNSAFE_PATH`.
///
/// To root and the caller every component may belong; run through sudo or pkexec, `caller` called
/// them (their variables, read before the environment goes: only root could have set them). A
/// netd with file capabilities (`AT_SECURE`, getauxval(3)) believes nobody but root, and has one
/// name only, so that no old one lives on under another.
pub fn check(caller: Option<u32>) -> Result<()> {
    // SAFETY: getauxval only reads what the kernel gave this process.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    let exe = std::fs::read_link("/proc/self/exe")
        .map_err(|e| Error::kernel("read /proc/self/exe", &e))?;
    // In a user namespace root's files may have no uid of it; then they look like `/` does.
    let root = step(Path::new("/"))?.uid;
    let mut trusted = vec![0, root];
    if !secure {
        trusted.push(rustix::process::getuid().as_raw());
        trusted.extend(caller);
    }
    let mut way: Vec<PathBuf> = exe.ancestors().map(Path::to_owned).collect();
    way.reverse();
    for path in way {
        if let Some(why) = fault(step(&path)?, &trusted, secure) {
            let shown = path.display().to_string();
            return Err(Error::new(
                Code::UnsafePath,
                format!("netd does not run with privilege from {}: {shown} {why}", exe.display()),
            )
            .hint(format!("Install it where only root can write, such as /usr/libexec/tapyard, or use the private scope. Who may write: namei -l {}", exe.display()))
            .subject(shown));
        }
    }
    Ok(())
}

/// That nobody but root can change a file: every component is looked at as above. Why not, in
/// words.
pub fn check_root_owned(file: &Path) -> std::result::Result<(), String> {
    let root = step(Path::new("/")).map_err(|e| e.message)?.uid;
    let mut way: Vec<&Path> = file.ancestors().collect();
    way.reverse();
    for path in way {
        let step = step(path).map_err(|e| e.message)?;
        if let Some(why) = fault(step, &[0, root], true) {
            return Err(format!("{} {why}", path.display()));
        }
    }
    Ok(())
}

fn step(path: &Path) -> Result<Step> {
    let meta = path.symlink_metadata().map_err(|e| {
        Error::new(Code::UnsafePath, format!("{}: {e}", path.display()))
            .hint(format!(
                "Start netd again by its present path. Who may write: namei -l {}",
                path.display()
            ))
            .subject(path.display().to_string())
    })?;
    Ok(Step {
        uid: meta.uid(),
        gid: meta.gid(),
        mode: meta.mode(),
        links: meta.nlink(),
        directory: meta.is_dir(),
    })
}

/// What is wrong with it, if anything is.
fn fault(step: Step, trusted: &[u32], secure: bool) -> Option<&'static str> {
    const STICKY: u32 = 0o1000;
    // stat(2): S_IFMT, S_IFLNK. What a link leads to would be on no way that is looked at.
    const FORMAT: u32 = 0o170_000;
    const LINK: u32 = 0o120_000;
    // In a sticky directory nobody replaces what belongs to another (and the next component's
    // owner is looked at as well).
    let sticky = step.directory && step.mode & STICKY != 0;
    // A group of the owner's own number has, by the custom of useradd(8), the owner alone in it.
    let group_is_owner = step.gid == step.uid && !secure;
    if !trusted.contains(&step.uid) {
        Some("belongs to somebody else")
    } else if step.mode & 0o002 != 0 && !sticky {
        Some("can be written by everybody")
    } else if step.mode & 0o020 != 0 && !sticky && !group_is_owner {
        Some("can be written by a group")
    } else if step.mode & FORMAT == LINK {
        Some("is a symbolic link")
    } else if secure && !step.directory && step.links != 1 {
        Some("has another name (a hard link)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_caller_may_write_to_the_way() {
        let directory = |uid, gid, mode| Step {
            uid,
            gid,
            mode,
            links: 5,
            directory: true,
        };
        let file = |uid, mode, links| Step {
            uid,
            gid: 50,
            mode,
            links,
            directory: false,
        };
        let ours = [0, 1000];
        for (step, secure) in [
            (directory(0, 0, 0o755), false),
            (directory(0, 0, 0o1777), false),
            (directory(1000, 1000, 0o775), false),
            (file(1000, 0o755, 2), false),
            (file(0, 0o755, 1), true),
        ] {
            assert_eq!(fault(step, &ours, secure), None, "{step:?}");
        }
        for (step, secure) in [
            (directory(1001, 1001, 0o755), false),
            (directory(0, 0, 0o777), false),
            (directory(0, 100, 0o775), false),
            (directory(0, 0, 0o775), true),
            (file(0, 0o1757, 1), false),
            (file(0, 0o775, 1), false),
            (file(0, 0o755, 2), true),
        ] {
            assert!(fault(step, &ours, secure).is_some(), "{step:?}");
        }
    }

    #[test]
    fn a_link_or_a_file_that_others_write_is_not_the_administrators() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("tapyard-conf-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let (file, link) = (dir.join("netd.conf"), dir.join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        let refused = |path: &Path| check_root_owned(path).is_err();
        assert!(refused(&file) && refused(&link) && refused(&dir.join("none")));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
