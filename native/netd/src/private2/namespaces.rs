// SPDX-License-Identifier: Apache-2.0
//! Namespaces by system call: clone(2), setns(2), user_namespaces(7).

use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use tapyard_protocol::{Code, Error};

/// Forks, the child in new namespaces of the given kinds (CLONE_NEW…; 0 for none). None in the
/// child. netd has one thread, so the child may do everything that the parent may.
pub fn fork_into(new: libc::c_int) -> Result<Option<Pid>, Errno> {
    // SAFETY: clone without CLONE_VM and with no stack is fork(2) with namespaces; there is one
    // thread, so no lock can be held by another one in the child.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(new | libc::SIGCHLD),
            0,
            0,
            0,
            0,
        )
    };
    if pid < 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// Enters namespaces of a process, given its pidfd.
pub fn enter(process: impl AsFd, kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: setns on a descriptor that is borrowed for the call.
    if unsafe { libc::setns(process.as_fd().as_raw_fd(), kinds) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes this process root of the user namespace that it was just cloned into; `outside` and
/// `outside_group` are its ids in the parent one (user_namespaces(7): without privilege, one id
/// can be mapped, and setgroups(2) must be given up for the group's).
pub fn become_root(outside: u32, outside_group: u32) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/gid_map", format!("0 {outside_group} 1"))?;
    std::fs::write("/proc/self/uid_map", format!("0 {outside} 1"))
}

/// This process's number in the process namespace of /proc, which is netd's, not its own.
pub fn own_pid() -> io::Result<u32> {
    let link = std::fs::read_link("/proc/self")?;
    link.to_str()
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self leads nowhere"))
}

/// The name that ps shows with -o comm; at most 15 bytes.
pub fn set_name(name: &CStr) {
    // SAFETY: PR_SET_NAME reads at most 16 bytes of a string that ends with a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// After a change of user namespace /proc/self belongs to nobody that is mapped, until this.
pub fn own_proc_again() {
    // SAFETY: prctl with integers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}

/// Leaves nothing of netd's in a process that only holds namespaces: stdin, stdout and stderr
/// become /dev/null, and every other descriptor but `kept` is closed.
pub fn let_go_of_all_but(kept: RawFd) -> io::Result<()> {
    std::env::set_current_dir("/")?;
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // It is among those that are closed now; dropping it would close somebody else's.
    std::mem::forget(null);
    let kept = u32::try_from(kept).map_err(io::Error::other)?;
    for (first, last) in [(3, kept.saturating_sub(1)), (kept + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: this process goes on with code that uses none of these descriptors, and
            // their owners are never dropped: it never returns to where they are.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
    Ok(())
}

/// Why no user namespace could be had, and what to do: `NAMESPACE_DENIED`.
pub fn denied(errno: Errno) -> Error {
    let setting = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let is = |path: &str, value: &str| setting(path).trim() == value;
    let hint = if is("/proc/sys/user/max_user_namespaces", "0") {
        "The machine allows no user namespaces: sudo sysctl user.max_user_namespaces=15000"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "User namespaces are for root only here: sudo sysctl kernel.unprivileged_userns_clone=1"
    } else if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "AppArmor restricts user namespaces here: install Tapyard's package, which brings a \
         profile for tapyard-netd, or sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else {
        "A container or a security module may forbid user namespaces; the host scope (as root) \
         needs none."
    };
    Error::new(
        Code::NamespaceDenied,
        format!("the kernel refuses a user namespace for the lab: {errno}"),
    )
    .hint(hint)
}
