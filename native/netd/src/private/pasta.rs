// SPDX-License-Identifier: Apache-2.0
//! pasta (passt(1)): carries the lab's traffic through sockets of the host. How it is called,
//! started and found again.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use rustix::fs::MemfdFlags;

use super::channel::Channel;
use super::fork::{Fork, exit, fork, fork_sibling, hold, identity_of_self, reap};
use super::namespaces::Namespaces;
use super::record::Recorded;
use crate::acts;
use crate::execute::Program;
use crate::process::Process;
use crate::programs;

/// The interface that it makes in the lab's namespace.
pub(crate) const DEVICE: &str = "up0";
/// The lab's end of the link to it, and its own: link-local (RFC 3927), so that they meet
/// nobody's subnet.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 1);
const PREFIX: u8 = 30;
/// The same of IPv6: pasta wants no link-local ones, so unique local ones (RFC 4193) of a prefix of
/// our own. It makes a /64 of them.
const ADDRESS6: Ipv6Addr = Ipv6Addr::new(0xfd74, 0x6170, 0x7961, 0x7264, 0, 0, 0, 2);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd74, 0x6170, 0x7961, 0x7264, 0, 0, 0, 1);
const PREFIX6: u8 = 64;
/// The largest that it takes: fewer, larger reads on both sides.
const MTU: u32 = 65_520;

const START_DEADLINE: Duration = Duration::from_secs(5);

/// What it is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The process in whose namespaces it makes its interface.
    pub(super) keeper: u32,
    /// The host's interface of the default route. pasta looks for one itself, but only once, so
    /// it starts anew when this changes.
    pub(super) device: String,
    /// Queries to [`GATEWAY`] go to the host's own resolver.
    pub(super) forward_dns: bool,
    /// IPv6 as well. Without a route of the host's it would be a way into nowhere, on which guests
    /// wait for answers instead of taking IPv4; and who does not ask for it keeps a pasta that no
    /// change of the host's IPv6 restarts.
    pub(super) ipv6: bool,
}

/// pasta's arguments, without the program. By default pasta opens the host's loopback services
/// to the lab and the lab's ports to the host; here neither.
fn arguments(wanted: &Wanted) -> Vec<String> {
    let mut args: Vec<String> = [
        "--foreground",
        "--quiet",
        "--config-net",
        // No ports, neither from the host into the lab (-t, -u) nor from the lab to the host's
        // loopback (-T, -U); nor does the gateway's address mean the host.
        "-t",
        "none",
        "-u",
        "none",
        "-T",
        "none",
        "-U",
        "none",
        "--no-map-gw",
        // The addresses are given below, and labs have a DHCP server and a router of their own.
        "--no-dhcp",
        "--no-dhcpv6",
        "--no-ra",
    ]
    .map(str::to_owned)
    .into();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("-i", wanted.device.clone());
    option("-I", DEVICE.to_owned());
    option("-a", ADDRESS.to_string());
    option("-n", PREFIX.to_string());
    option("-g", GATEWAY.to_string());
    option("-m", MTU.to_string());
    if wanted.ipv6 {
        option("-a", ADDRESS6.to_string());
        option("-g", GATEWAY6.to_string());
    }
    if wanted.forward_dns {
        option("--dns-forward", GATEWAY.to_string());
    }
    if !wanted.ipv6 {
        args.push("--ipv4-only".to_owned());
    }
    args.push(wanted.keeper.to_string());
    args
}

/// Its command line, for people.
pub(super) fn command(wanted: &Wanted) -> String {
    acts::shell(["pasta".to_owned()].into_iter().chain(arguments(wanted)))
}

/// The lab's end of the link, as the kernel shows it once pasta is ready.
pub(super) fn address() -> Option<Ipv4Net> {
    Ipv4Net::new(ADDRESS, PREFIX).ok()
}

/// The same of IPv6.
pub(super) fn address6() -> Option<Ipv6Net> {
    Ipv6Net::new(ADDRESS6, PREFIX6).ok()
}

/// The servers that dnsmasq asks, and whether pasta must bring queries to the host's own: a
/// loopback address means the host there and the lab here. Those of IPv6 only where pasta carries it.
pub(super) fn plan_dns(host: &[IpAddr], ipv6: bool) -> (Vec<IpAddr>, bool) {
    let forward = host.iter().any(IpAddr::is_loopback);
    let mut servers = Vec::new();
    for server in host {
        let server = if server.is_loopback() {
            GATEWAY.into()
        } else {
            *server
        };
        if (server.is_ipv4() || ipv6) && !servers.contains(&server) {
            servers.push(server);
        }
    }
    (servers, forward)
}

/// One that waits to be released before it becomes pasta.
#[derive(Debug)]
pub(super) struct Unreleased {
    pub(super) identity: Recorded,
    words: File,
    channel: Channel,
}

/// pasta on this machine: the build of it that the processor's AVX2 allows, where it lies beside it.
/// pasta becomes that one itself as the first thing that it does (its arch.c); not to begin as the
/// other saves a twentieth of a network's start.
pub(super) fn program() -> Option<PathBuf> {
    let plain = programs::find("pasta")?;
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        let avx2 = plain.with_extension("avx2");
        if programs::is_program(&avx2) {
            return Some(avx2);
        }
    }
    Some(plain)
}

/// Forks what becomes pasta when it is released: in the anchor's namespaces and the host's
/// network, a child of this process.
pub(super) fn start(
    program: &Path,
    wanted: &Wanted,
    namespaces: &Namespaces,
) -> io::Result<Unreleased> {
    let program = Program::new(program, "pasta", arguments(wanted))?;
    // Its last words go to memory: it outlives netd, and a pipe would not.
    let words = File::from(rustix::fs::memfd_create("pasta", MemfdFlags::CLOEXEC)?);
    let (ours, theirs) = Channel::pair()?;
    let helper = match fork()? {
        Fork::Parent(helper) => helper,
        Fork::Child => {
            drop(ours);
            let entered = namespaces.enter_outer().and_then(|()| fork_sibling());
            match entered {
                Ok(Fork::Parent(_)) => exit(0),
                Ok(Fork::Child) => {
                    let error = become_pasta(&program, &words, &theirs);
                    let _ = io::Write::write_all(&mut &words, error.to_string().as_bytes());
                    exit(127)
                }
                Err(_) => exit(1),
            }
        }
    };
    drop(theirs);
    reap(helper);
    let identity = ours
        .receive(START_DEADLINE)?
        .ok_or_else(|| io::Error::other("it ended before it became pasta"))?;
    Ok(Unreleased {
        identity,
        words,
        channel: ours,
    })
}

impl Unreleased {
    /// Lets it go on, once a later netd can find it. The file gets its last words.
    pub(super) fn release(self) -> io::Result<(Process, File)> {
        let process = hold(self.identity.into())?;
        self.channel.send(&())?;
        Ok((process, self.words))
    }
}

/// Returns only when it fails.
fn become_pasta(program: &Program, words: &File, channel: &Channel) -> io::Error {
    let prepare = || -> io::Result<()> {
        // EPERM: it leads its group already.
        let _ = rustix::process::setsid();
        rustix::process::chdir("/")?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(words)?;
        channel.send(&Recorded::from(identity_of_self()?))?;
        match channel.receive::<()>(START_DEADLINE)? {
            Some(()) => Ok(()),
            None => Err(io::Error::other("netd ended")),
        }
    };
    if let Err(error) = prepare() {
        return error;
    }
    program.prepare().execute()
}

/// Whether a running pasta does what is wanted, by its own command line.
pub(super) fn is_as_wanted(process: &Process, wanted: &Wanted) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let running = line.split(|byte| *byte == 0).skip(1);
    let wanted = arguments(wanted);
    running.eq(wanted
        .iter()
        .map(|argument| OsStr::new(argument).as_bytes()))
}

/// What it said, without its complaints about a missing system log.
pub(super) fn last_words(words: &File) -> String {
    let mut text = Vec::new();
    let mut words = words;
    let read = words
        .rewind()
        .and_then(|()| words.take(16 * 1024).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.ends_with("to syslog"))
        .collect();
    match (read, said.is_empty()) {
        (Ok(_), false) => said.join("; "),
        _ => "it ended without a word".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_resolver_is_reached_through_the_gateway() {
        let ips = |list: &[&str]| {
            list.iter()
                .map(|ip| ip.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        assert_eq!(
            plan_dns(&ips(&["127.0.0.53"]), false),
            (ips(&["169.254.2.1"]), true)
        );
        assert_eq!(
            plan_dns(&ips(&["::1", "10.0.0.1", "127.0.0.1"]), false),
            (ips(&["169.254.2.1", "10.0.0.1"]), true)
        );
        assert_eq!(
            plan_dns(&ips(&["fd00::1", "9.9.9.9"]), false),
            (ips(&["9.9.9.9"]), false)
        );
        assert_eq!(
            plan_dns(&ips(&["fd00::1", "::1"]), true),
            (ips(&["fd00::1", "169.254.2.1"]), true)
        );
        assert_eq!(plan_dns(&[], false), (Vec::new(), false));
    }

    #[test]
    fn last_words_are_its_own() {
        let words = File::from(rustix::fs::memfd_create("t", MemfdFlags::CLOEXEC).unwrap());
        assert_eq!(last_words(&words), "it ended without a word");
        let text = b"No interface with a default route\nFailed to send 40 bytes to syslog\n\n";
        io::Write::write_all(&mut &words, text).unwrap();
        assert_eq!(last_words(&words), "No interface with a default route");
    }
}
