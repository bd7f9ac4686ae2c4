// SPDX-License-Identifier: Apache-2.0
//! What netd takes away from itself before it reads its first byte from anybody.
//!
//! Everything here is inherited by what netd starts, so it holds only what dnsmasq and pasta can
//! live with: see `docs/decisions.md`, "netd's confinement".

mod caller;
mod path;
mod seccomp;

pub use caller::{Caller, become_caller};
pub use path::{check as check_path, check_root_owned};
use seccomp::{forbid_always, forbid_namespaces};

use std::io;
use tapyard_protocol::{Error, Result};

// linux/capability.h
/// Ports below 1024: dnsmasq's 53 and 67.
pub(crate) const NET_BIND_SERVICE: u64 = 1 << 10;
/// Links, filter and taps.
pub(crate) const NET_ADMIN: u64 = 1 << 12;
/// Raw and packet sockets: captures, router advertisements, the old iptables.
pub(crate) const NET_RAW: u64 = 1 << 13;
/// All that the work needs.
const NETWORK: u64 = NET_BIND_SERVICE | NET_ADMIN | NET_RAW;
/// No capability.
pub const NONE: u64 = 0;
const LAST_CAP: u32 = 63;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Forgets the caller's environment, lets nobody else read the files it will make, leaves no core
/// file, may open as many files as its user allows it to, can gain no privilege any more, and gives up the system calls that nobody here needs.
/// The program must have one thread still.
pub fn begin() -> Result<()> {
    // SAFETY: there is one thread, and nothing holds a pointer into the environment.
    unsafe { libc::clearenv() };
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let done = || -> io::Result<()> {
        rustix::process::setrlimit(rustix::process::Resource::Core, none)?;
        open_many_files();
        no_new_privileges()?;
        forbid_always()
    };
    done().map_err(|e| Error::kernel("confine netd", &e))
}

/// The usual soft limit of 1024 is for programs that use select(2), which neither netd nor what it
/// starts does.
fn open_many_files() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    // EPERM: the system's own limit (fs.nr_open) is lower; then the old one holds on.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

/// Keeps the capabilities that the work needs, gives up namespaces and mounts: for the half of
/// netd that is where it works, before it listens. What it executes from here on has what
/// [`hand_on`] gives it, root's as well.
pub fn settle() -> Result<()> {
    // EPERM: it takes CAP_SETPCAP, which only root has here, for whom alone it changes anything.
    let no_root = libc::SECBIT_NOROOT | libc::SECBIT_NOROOT_LOCKED;
    let _ = prctl(libc::PR_SET_SECUREBITS, no_root as libc::c_ulong, 0);
    keep_capabilities(NETWORK)?;
    forbid_namespaces().map_err(|e| Error::kernel("confine netd", &e))
}

/// The private scope has no use for file capabilities, and a process that got some may not write
/// its own uid_map (PR_SET_DUMPABLE in prctl(2)); without any it may again.
pub fn give_file_capabilities_back() -> Result<()> {
    if rustix::process::getuid().is_root() {
        return Ok(());
    }
    keep_capabilities(NONE)?;
    prctl(libc::PR_SET_DUMPABLE, 1, 0).map_err(|e| Error::kernel("confine netd", &e))
}

/// Leaves this process `kept` and nothing else: permitted and effective at most that, inheritable
/// and ambient nothing, and the bounding set as well where netd may make it smaller (it takes
/// CAP_SETPCAP, which root has and a netd with file capabilities has not; with no_new_privs set
/// the bounding set has nothing left to bound).
pub fn keep_capabilities(kept: u64) -> Result<()> {
    narrow(kept).map_err(|e| Error::kernel("drop capabilities", &e))
}

/// Executing a program gives nothing that this process has not (`prctl(2)`). Async-signal-safe.
pub(crate) fn no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

fn narrow(kept: u64) -> io::Result<()> {
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        0,
    )?;
    bound(kept);
    let mut data = capabilities()?;
    let words = [kept as u32, (kept >> 32) as u32];
    for (set, kept) in data.iter_mut().zip(words) {
        set.permitted &= kept;
        set.effective = set.permitted;
        set.inheritable = 0;
    }
    set_capabilities(&data)
}

/// Makes the bounding set at most `kept`, where this process may.
fn bound(kept: u64) {
    for cap in (0..=LAST_CAP).filter(|cap| kept & (1 << cap) == 0) {
        // EINVAL: the kernel has no such capability. EPERM: see `keep_capabilities`.
        let _ = prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0);
    }
}

/// Hands `wanted`, as far as this process has it, on to the program that it is about to execute,
/// and nothing else: by the ambient set (capabilities(7)).
///
/// Async-signal-safe: only system calls, so it may run between fork and exec.
pub(crate) fn hand_on(wanted: u64) -> io::Result<()> {
    no_new_privileges()?;
    let wanted = wanted & NETWORK;
    let mut data = capabilities()?;
    data[0].permitted &= wanted as u32; // all three are below 32
    data[0].effective = data[0].permitted;
    data[0].inheritable = data[0].permitted;
    data[1] = CapData::default();
    set_capabilities(&data)?;
    for cap in (0..u32::BITS).filter(|cap| data[0].permitted & (1 << cap) != 0) {
        prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
            cap.into(),
        )?;
    }
    Ok(())
}

/// Has this process end with `parent`, which forked it. After [`hand_on`], since a change of capabilities
/// undoes it. Async-signal-safe.
pub(crate) fn end_with(parent: u32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0)?;
    // It may have ended before.
    match rustix::process::getppid().is_some_and(|p| p.as_raw_pid().unsigned_abs() == parent) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options that are used here take integers only.
    match unsafe { libc::prctl(option, first, second, zero, zero) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn capabilities() -> io::Result<[CapData; 2]> {
    let mut header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 reads one header and fills two data elements; both live here.
    match unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) } {
        0 => Ok(data),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_capabilities(data: &[CapData; 2]) -> io::Result<()> {
    let mut header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    // SAFETY: as in `capabilities`; the kernel only reads the data.
    match unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
