// SPDX-License-Identifier: Apache-2.0
//! Whose a port is, as far as /proc tells (proc(5): another user's fds are unreadable).

use crate::Transport;
use std::collections::HashMap;
use std::fs;

/// Who listens on this port; see [`Listeners::owner_of`].
pub fn listener_of(port: u16, transport: Transport) -> Option<String> {
    Listeners::default().owner_of(port, transport)
}

/// Who listens, for as many ports as are asked for: /proc is looked through once, at the first one
/// that somebody has.
#[derive(Debug, Default)]
pub struct Listeners {
    tcp: Option<Vec<String>>,
    udp: Option<Vec<String>>,
    /// Sockets by inode, with the process that holds one.
    processes: Option<HashMap<u64, String>>,
}

impl Listeners {
    /// `NAME (process PID)` of a program that listens on this port, at whatever address; `a program
    /// of root's` or `a program of the user UID` where it may not be looked at.
    pub fn owner_of(&mut self, port: u16, transport: Transport) -> Option<String> {
        let (known, paths, listening) = match transport {
            Transport::Tcp => (&mut self.tcp, ["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
            Transport::Udp => (&mut self.udp, ["/proc/net/udp", "/proc/net/udp6"], "07"),
        };
        let tables = known.get_or_insert_with(|| {
            let read = |path| fs::read_to_string(path).ok();
            paths.into_iter().filter_map(read).collect()
        });
        let mut lines = tables.iter().flat_map(|table| table.lines());
        let (inode, uid) = lines.find_map(|line| listener(line, port, listening))?;
        let processes = self.processes.get_or_insert_with(sockets);
        processes.get(&inode).cloned().or_else(|| {
            Some(match uid {
                0 => "a program of root's".to_owned(),
                _ => format!("a program of the user {uid}"),
            })
        })
    }
}

/// All sockets that this process may see, with who holds them.
fn sockets() -> HashMap<u64, String> {
    let mut sockets = HashMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name();
        // Not /proc/self and the like.
        if !pid.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(fds) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        let held: Vec<u64> = links.filter_map(|link| inode_of(link.to_str()?)).collect();
        if held.is_empty() {
            continue;
        }
        let comm = fs::read(process.path().join("comm")).unwrap_or_default();
        let who = format!("{} (process {})", name_of(&comm), pid.display());
        for inode in held {
            sockets.entry(inode).or_insert_with(|| who.clone());
        }
    }
    sockets
}

/// The name in /proc/PID/comm is its program's own word: any bytes but NUL.
fn name_of(comm: &[u8]) -> String {
    let text = String::from_utf8_lossy(comm);
    text.trim_end()
        .replace(|c: char| c.is_control(), "\u{fffd}")
}

/// Of what /proc/PID/fd/N leads to.
fn inode_of(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
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
    fn one_look_for_all_ports() {
        let own = format!("(process {})", std::process::id());
        let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = sockets.each_ref().map(|s| s.local_addr().unwrap().port());
        let mut listeners = Listeners::default();
        let first = listeners.owner_of(ports[0], Transport::Tcp).unwrap();
        // A second look would not find it any more.
        drop(sockets);
        let second = listeners.owner_of(ports[1], Transport::Tcp).unwrap();
        assert!(
            first.ends_with(&own) && second.ends_with(&own),
            "{first}, {second}"
        );
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

    #[test]
    fn a_name_is_one_line_of_text() {
        assert_eq!(name_of(b"nginx\n"), "nginx");
        assert_eq!(
            name_of(b"\x1b[2J\nroot\xff\n"),
            "\u{fffd}[2J\u{fffd}root\u{fffd}"
        );
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("listeners", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let found: Vec<_> = text
                .lines()
                .filter_map(|line| listener(line, 8080, "0A").or(listener(line, 53, "07")))
                .collect();
            let name = name_of(bytes);
            assert!(!name.contains(char::is_control));
            (found, name, text.lines().find_map(inode_of))
        });
    }
}
