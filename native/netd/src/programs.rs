// SPDX-License-Identifier: Apache-2.0
//! The programs that netd runs: where they are looked for and what they may do.

use std::io;
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
        .find(|path| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

// linux/capability.h
const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
/// What dnsmasq needs: ports 53 and 67, SO_BINDTODEVICE, raw DHCP answers and ARP entries.
const KEPT: u64 = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW;
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

/// Leaves the calling process, which is about to execute dnsmasq, no more than the three
/// capabilities of the network, and no way to gain others (capabilities(7)): root loses the rest
/// from its bounding set, anybody else hands the three on through the ambient set.
///
/// Async-signal-safe: only system calls, so it may run between fork and exec.
pub(crate) fn keep_network_capabilities_only() -> io::Result<()> {
    // SAFETY: prctl with integers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: geteuid cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        for cap in (0..=LAST_CAP).filter(|cap| KEPT & (1 << cap) == 0) {
            // EINVAL: the kernel has no such capability. EPERM: without CAP_SETPCAP the set
            // cannot be made smaller, and is no larger than netd's own.
            // SAFETY: prctl with integers only.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0, 0, 0) };
        }
        return Ok(());
    }
    let mut header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 reads one header and fills two data elements; both live here.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let kept = KEPT as u32; // all three are below 32
    data[0].inheritable |= data[0].permitted & kept;
    // SAFETY: as above; the kernel only reads.
    if unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for cap in [CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW] {
        if data[0].permitted & (1 << cap) != 0 {
            // SAFETY: prctl with integers only.
            let raised = unsafe {
                libc::prctl(
                    libc::PR_CAP_AMBIENT,
                    libc::PR_CAP_AMBIENT_RAISE,
                    libc::c_ulong::from(cap),
                    0,
                    0,
                )
            };
            if raised != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Whether this process may change networks here (CAP_NET_ADMIN in effect).
pub fn may_change_networks() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| {
        sets.effective
            .contains(rustix::thread::CapabilitySet::NET_ADMIN)
    })
}
