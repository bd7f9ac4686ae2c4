// SPDX-License-Identifier: Apache-2.0
//! Making processes without executing anything. netd has one thread, so a forked child may do
//! whatever its parent could.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

use crate::process::{Identity, Process};

/// Where [`keep_only`] puts the fd that it keeps.
const KEPT: RawFd = 3;

/// Which side of a fork this is.
pub(super) enum Fork {
    Parent(Pid),
    Child,
}

/// fork(2).
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: the process has one thread, so no lock of the child is held by a thread that it
    // does not have.
    side(unsafe { libc::fork() })
}

/// Forks a child of this process's parent, so that the parent can wait for it although it is
/// born into the process namespace that only this one entered.
pub(super) fn fork_sibling() -> io::Result<Fork> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: as for fork: without CLONE_VM and with no stack it is a fork with another parent.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    side(pid as libc::pid_t)
}

fn side(pid: libc::pid_t) -> io::Result<Fork> {
    match Pid::from_raw(pid.max(0)) {
        _ if pid < 0 => Err(io::Error::last_os_error()),
        Some(pid) => Ok(Fork::Parent(pid)),
        None => Ok(Fork::Child),
    }
}

/// Ends this process without running what the parent registered for its exit.
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory.
    unsafe { libc::_exit(status) }
}

/// This process as the owner's /proc counts it, however deep its process namespace.
pub(super) fn identity_of_self() -> io::Result<Identity> {
    Identity::parse(&std::fs::read_to_string("/proc/self/stat")?)
        .ok_or_else(|| io::Error::other("/proc/self/stat cannot be read"))
}

/// Holds a process that said itself who it is.
pub(super) fn hold(identity: Identity) -> io::Result<Process> {
    Process::hold(identity).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Lets go of the caller's terminal, pipes, directory and of all fds but this one, which moves;
/// in a session of its own.
pub(super) fn keep_only(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // EPERM: it leads its group already.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    // SAFETY: descriptors only; whatever this process had at KEPT is not used any more, since it
    // goes on with nothing but what this returns.
    let moved = unsafe {
        if fd.as_raw_fd() != KEPT {
            libc::dup2(fd.as_raw_fd(), KEPT);
        }
        libc::close_range(KEPT as libc::c_uint + 1, libc::c_uint::MAX, 0)
    };
    if moved != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: KEPT is open, and nothing else in this process owns it from here on.
    Ok(unsafe { OwnedFd::from_raw_fd(KEPT) })
}

/// Makes `ps` show `title` instead of the arguments, by writing over them.
pub(super) fn set_title(title: &str) {
    let Some((start, end)) = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| argument_area(&stat))
    else {
        return; // it is only a label
    };
    let size = end.saturating_sub(start);
    let shown = title.len().min(size.saturating_sub(1));
    // SAFETY: proc(5): arg_start … arg_end is where the kernel put the arguments on this
    // process's own stack, writable, for its whole life; Rust only reads it when
    // std::env::args is called, which forked children do not.
    unsafe {
        let area = start as *mut u8;
        std::ptr::write_bytes(area, 0, size);
        std::ptr::copy_nonoverlapping(title.as_ptr(), area, shown);
    }
}

/// Fields 48 and 49 of /proc/PID/stat.
fn argument_area(stat: &str) -> Option<(usize, usize)> {
    let mut fields = stat
        .get(stat.rfind(')')? + 1..)?
        .split_ascii_whitespace()
        .skip(45);
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (start != 0 && start < end).then_some((start, end))
}

/// Takes the exit status of every child that has ended, whoever wants it still.
pub(super) fn reap_ended() {
    let wait = || rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    while matches!(rustix::io::retry_on_intr(wait), Ok(Some(_))) {}
}

/// Takes the exit status of a child that has ended or is about to.
pub(super) fn reap(child: Pid) {
    let wait = || rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    // ECHILD: somebody took it already.
    let _ = rustix::io::retry_on_intr(wait);
}
