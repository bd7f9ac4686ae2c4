// SPDX-License-Identifier: Apache-2.0
//! Whose a port is, as far as /proc tells (proc(5): another user's fds are unreadable).

use crate::Transport;
use std::fs;

/// `NAME (process PID)` of a program that listens on this port, at whatever address; `a program of
/// root's` or `a program of the user UID` where it may not be looked at.
pub fn listener_of(port: u16, transport: Transport) -> Option<String> {
    let (tables, listening) = match transport {
        Transport::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
        Transport::Udp => (["/proc/net/udp", "/proc/net/udp6"], "07"),
    };
    let (inode, uid) = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| {
            let mut lines = table.lines();
            lines.find_map(|line| listener(line, port, listening))
        })?;
    process_with(inode).or_else(|| {
        Some(match uid {
            0 => "a program of root's".to_owned(),
            _ => format!("a program of the user {uid}"),
        })
    })
}

fn process_with(inode: u64) -> Option<String> {
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

/// The socket's inode and its user where the line is of one in this state on this port.
fn listener(line: &str, port: u16, state: &str) -> Option<(u64, u32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let same = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == state;
    let (uid, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
    same.then_some((inode, uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_this_process() {
        let own = format!("(process {})", std::process::id());
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let owner = listener_of(port, Transport::Tcp).unwrap();
        assert!(owner.ends_with(&own), "{owner}");
        drop(tcp);
        assert_eq!(listener_of(port, Transport::Tcp), None);
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        let owner = listener_of(port, Transport::Udp).unwrap();
        assert!(owner.ends_with(&own), "{owner}");
    }

    #[test]
    fn lines_of_proc() {
        let line = "  0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1";
        assert_eq!(listener(line, 8080, "0A"), Some((4711, 1000)));
        assert_eq!(listener(line, 8081, "0A"), None);
        assert_eq!(listener(line, 8080, "07"), None);
        for other in ["", "  sl  local_address rem_address   st", "0: 1F90 x 0A"] {
            assert_eq!(listener(other, 8080, "0A"), None, "{other}");
        }
    }
}
