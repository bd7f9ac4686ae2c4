// SPDX-License-Identifier: Apache-2.0
//! /dev/net/tun (Documentation/networking/tuntap.rst). A tap lives as long as its fd is held.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use tapyard_protocol::{Code, Error, Result};

const DEVICE: &str = "/dev/net/tun";
/// linux/if_tun.h: refuse a name that exists, a persistent tap of somebody's included.
const IFF_TUN_EXCL: libc::c_int = 0x8000;

/// The lowest free `tapN`, which the kernel looks for.
pub const NUMBERED: &str = "tap%d";

/// Makes a tap of this name, with virtio-net headers, not persistent, and says what it is called.
/// None where the name is taken. `TUN_MISSING`, `TUN_UNREADABLE`, `KERNEL`.
pub fn open(name: &str) -> Result<Option<(String, OwnedFd)>> {
    let fd = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(device_error)?;
    // SAFETY: ifreq is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less than the field, so that a zero remains.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | IFF_TUN_EXCL;
    // The flags are 16 bits, of which IFF_TUN_EXCL is the sign.
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 {
        let name = request.ifr_name.iter().map(|&c| c as u8);
        let name: Vec<u8> = name.take_while(|&b| b != 0).collect();
        return Ok(Some((String::from_utf8_lossy(&name).into_owned(), fd)));
    }
    match std::io::Error::last_os_error() {
        // EINVAL: the name belongs to an interface that is no tap.
        e if matches!(
            e.raw_os_error(),
            Some(libc::EBUSY | libc::EEXIST | libc::EINVAL)
        ) =>
        {
            Ok(None)
        }
        // Some file lies where the device should be.
        e if e.raw_os_error() == Some(libc::ENOTTY) => Err(device_error(Errno::NODEV)),
        e => Err(Error::kernel(format!("make tap {name}"), &e).subject(name)),
    }
}

fn device_error(errno: Errno) -> Error {
    let (code, hint) = match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => (
            Code::TunMissing,
            "Load the kernel's tun driver: modprobe tun.",
        ),
        Errno::ACCESS | Errno::PERM => (
            Code::TunUnreadable,
            "Let everybody open it, as distributions do: chmod 0666 /dev/net/tun. Opening it gives no right to a network of the host.",
        ),
        _ => (Code::Kernel, "Look into the kernel's log: dmesg."),
    };
    Error::new(code, format!("cannot open {DEVICE}: {errno}"))
        .hint(hint)
        .subject(DEVICE)
}
