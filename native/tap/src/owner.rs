// SPDX-License-Identifier: Apache-2.0
//! Whose a listening port is, as far as /proc tells (proc(5): another user's fds are unreadable).

use std::fs;
use std::net::SocketAddrV4;

/// `NAME (process PID)` of a program that listens on this port, at whatever address.
pub fn listener_of(at: SocketAddrV4) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| {
            let mut lines = table.lines();
            lines.find_map(|line| inode_of(line, at.port()).map(str::to_owned))
        })?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name();
        // Not /proc/self and the like.
        if !pid.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(fds) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = fds
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == &*wanted));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {})", name.trim(), pid.display()));
        }
    }
    None
}

/// The socket's inode where the line is of a listener (state 0A) on this port.
fn inode_of(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let same = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == "0A";
    same.then(|| fields.get(9).copied()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(at) = listener.local_addr().unwrap() else {
            panic!("no IPv4");
        };
        let owner = listener_of(at).unwrap();
        assert!(
            owner.ends_with(&format!("(process {})", std::process::id())),
            "{owner}"
        );
        drop(listener);
        assert_eq!(listener_of(at), None);
    }
}
