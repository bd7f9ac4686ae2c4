// SPDX-License-Identifier: Apache-2.0
//! dnsmasq, one for each network: started, watched, told of changes, adopted after netd itself
//! was killed.

mod config;
pub mod leases;

use crate::confine;
use crate::process::{Identity, Process};
use crate::programs;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Dhcp, Error, Lease, NetworkSpec, Result};

/// How long it may take to bind its sockets; some 10 ms are usual.
const START_DEADLINE: Duration = Duration::from_secs(5);
const READY_POLL: Duration = Duration::from_micros(250);
/// How long it may take to go on SIGTERM.
const END_PATIENCE: Duration = Duration::from_millis(500);
/// Its log is emptied at a reload when it has grown beyond this, in bytes.
const LOG_LIMIT: u64 = 1 << 20;
/// /proc/PID/stat of the running one, written by itself before it became dnsmasq.
const PROCESS: &str = "process";

/// A network's dnsmasq.
#[derive(Debug)]
pub struct Dnsmasq {
    directory: PathBuf,
    process: Process,
}

/// What a network wants of it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The network.
    pub network: &'a NetworkSpec,
    /// Its DHCP part.
    pub dhcp: &'a Dhcp,
    /// Where names outside the lab are asked for while NAT is on.
    pub upstream: &'a [IpAddr],
}

impl Dnsmasq {
    /// The one that runs for this directory, started by this netd or by one before it.
    pub fn running(directory: &Path) -> Option<Dnsmasq> {
        let stat = std::fs::read_to_string(directory.join(PROCESS)).ok()?;
        let process = Process::hold(Identity::parse(&stat)?)?;
        Some(Dnsmasq {
            directory: directory.to_owned(),
            process,
        })
    }

    /// Starts it without waiting; [`Starting::ready`] waits. `DNSMASQ_MISSING`, `DNSMASQ_FAILED`.
    pub fn start(directory: &Path, wanted: &Wanted<'_>) -> Result<Starting> {
        let name = wanted.network.name.as_str();
        let program = programs::find("dnsmasq").ok_or_else(|| {
            Error::new(
                Code::DnsmasqMissing,
                format!("{name} wants DHCP and DNS, but there is no dnsmasq on this machine"),
            )
            .hint("Install it (Debian: apt install dnsmasq-base), or set dhcp: false.")
            .subject(name)
        })?;
        let failed = |e: io::Error| failed(name, &e.to_string());
        write_files(directory, wanted).map_err(failed)?;
        let pid_file = directory.join(config::PID);
        remove_if_there(&pid_file).map_err(failed)?;
        let record = File::create(directory.join(PROCESS)).map_err(failed)?;
        // Its last words go to memory: it outlives netd, and a pipe would not.
        let words = rustix::fs::memfd_create("dnsmasq", MemfdFlags::CLOEXEC)
            .map(File::from)
            .map_err(|e| failed(e.into()))?;
        let mut command = Command::new(program);
        command
            .args(config::arguments(wanted.network, wanted.dhcp, directory))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words.try_clone().map_err(failed)?);
        let record_fd = record.as_raw_fd();
        // SAFETY: only async-signal-safe calls between fork and exec: system calls on integers
        // and on buffers that live on this stack; `record` is open until spawn returns.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                write_own_stat(BorrowedFd::borrow_raw(record_fd))?;
                confine::hand_on_network()
            });
        }
        let child = command.spawn().map_err(failed)?;
        let held = Identity::of(child.id()).and_then(Process::hold);
        let process = held.ok_or_else(|| self::failed(name, &last_words(&words)))?;
        Ok(Starting {
            dnsmasq: Dnsmasq {
                directory: directory.to_owned(),
                process,
            },
            name: name.to_owned(),
            words,
            pid_file,
            deadline: Instant::now() + START_DEADLINE,
        })
    }

    /// Its process as netd sees it.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Readable when it has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.process.fd()
    }

    /// Whether it has ended; takes its exit status.
    pub fn ended(&self) -> bool {
        self.process.ended_within(Duration::ZERO)
    }

    /// Whether it runs with the arguments that are wanted now, by its own command line.
    pub fn is_as_wanted(&self, wanted: &Wanted<'_>) -> bool {
        let arguments = config::arguments(wanted.network, wanted.dhcp, &self.directory);
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap_or_default();
        let running = line
            .strip_suffix(b"\0")
            .unwrap_or(&line)
            .split(|&b| b == 0)
            .skip(1)
            .map(|argument| OsString::from_vec(argument.to_vec()));
        running.eq(arguments)
    }

    /// Brings its two files up to date. True where that changed them: then it wants a
    /// [`Dnsmasq::reload`].
    pub fn update(&self, wanted: &Wanted<'_>) -> Result<bool> {
        write_files(&self.directory, wanted)
            .map_err(|e| failed(&wanted.network.name, &e.to_string()))
    }

    /// Makes it read its files again.
    pub fn reload(&self) {
        if let Err(e) = self.cap_log() {
            eprintln!("cap {}: {e}", self.directory.join(config::LOG).display());
        }
        self.process.signal(Signal::HUP);
    }

    /// Ends it. False when even SIGKILL did not.
    pub fn end(&self) -> bool {
        let gone = self.process.end(END_PATIENCE);
        if gone {
            // Ours and of no more use; that it stays is no harm, the process is known by its
            // start time.
            let _ = std::fs::remove_file(self.directory.join(PROCESS));
        }
        gone
    }

    /// It appends, so an emptied file stays in use.
    fn cap_log(&self) -> io::Result<()> {
        let path = self.directory.join(config::LOG);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > LOG_LIMIT => {
                File::options().write(true).open(&path)?.set_len(0)
            }
            _ => Ok(()),
        }
    }
}

/// One that was started and may not serve yet.
#[derive(Debug)]
pub struct Starting {
    dnsmasq: Dnsmasq,
    name: String,
    words: File,
    pid_file: PathBuf,
    deadline: Instant,
}

impl Starting {
    /// Waits until it has bound its sockets: only then does it write its pid file.
    /// `DNSMASQ_FAILED` with its own words.
    pub fn ready(self) -> Result<Dnsmasq> {
        loop {
            if self.pid_file.exists() {
                return Ok(self.dnsmasq);
            }
            if self.dnsmasq.process.ended_within(READY_POLL) {
                return Err(failed(&self.name, &last_words(&self.words)));
            }
            if Instant::now() > self.deadline {
                self.dnsmasq.end();
                return Err(failed(&self.name, "it did not bind its sockets in time"));
            }
        }
    }

    /// Gives it up.
    pub fn abandon(self) {
        self.dnsmasq.end();
    }
}

/// The leases of the network with this directory; none where no dnsmasq has run.
pub fn read_leases(directory: &Path) -> Vec<Lease> {
    let text = std::fs::read(config::leases(directory)).unwrap_or_default();
    leases::parse(&String::from_utf8_lossy(&text))
}

/// True when one of them changed. Each is replaced at once, so a reload never sees half of it.
fn write_files(directory: &Path, wanted: &Wanted<'_>) -> io::Result<bool> {
    let hosts = config::hosts(wanted.dhcp);
    let servers = config::servers(wanted.network.nat, wanted.upstream);
    let hosts_changed = replace(directory, config::HOSTS, &hosts)?;
    let servers_changed = replace(directory, config::SERVERS, &servers)?;
    Ok(hosts_changed || servers_changed)
}

fn replace(directory: &Path, name: &str, text: &str) -> io::Result<bool> {
    let path = directory.join(name);
    if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(false);
    }
    let new = directory.join(format!("{name}.new"));
    std::fs::write(&new, text)?;
    std::fs::rename(&new, &path)?;
    Ok(true)
}

/// Copies /proc/self/stat, whose first field is this process as /proc (hence netd) counts it.
/// Async-signal-safe.
fn write_own_stat(to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::open(
        c"/proc/self/stat",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut buffer = [0; 1024];
    let size = rustix::io::read(&stat, &mut buffer)?;
    rustix::io::write(to, &buffer[..size])?;
    Ok(())
}

fn last_words(words: &File) -> String {
    let mut text = String::new();
    let mut words = words;
    let read = words
        .rewind()
        .and_then(|()| words.take(4096).read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), "") | (Err(_), _) => "it ended without a word".into(),
        (Ok(_), text) => text.trim_start_matches("dnsmasq: ").to_owned(),
    }
}

fn failed(network: &str, words: &str) -> Error {
    let error = Error::new(
        Code::DnsmasqFailed,
        format!("dnsmasq for {network}: {words}"),
    )
    .subject(network);
    if words.contains("Address already in use") || words.contains("address in use") {
        error.hint("Another DNS or DHCP server of this machine listens there (ss -lunp shows it); let it bind its own addresses only.")
    } else {
        error
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
