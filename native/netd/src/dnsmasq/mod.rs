// SPDX-License-Identifier: Apache-2.0
//! dnsmasq, one for each network: started, watched, told of changes, adopted after netd itself
//! was killed.

mod config;
pub mod leases;

pub(crate) use config::LEASES;

use crate::acts;
use crate::confine;
use crate::execute::{Become, Program};
use crate::process::{Identity, Process};
use crate::programs;
use crate::wait;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, inotify};
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Seek};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Dhcp, Error, Lease, NetworkSpec, Result};

/// How long it may take to bind its sockets; some 10 ms are usual.
const START_DEADLINE: Duration = Duration::from_secs(5);
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
    /// Where names outside the lab are asked for while the guests have a way out.
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

    /// Starts it without waiting. It loads its libraries, which takes longer than all the rest
    /// of a network, and then stands at a gate until its bridge is there. `DNSMASQ_MISSING`,
    /// `DNSMASQ_FAILED`.
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
        let said = rustix::fs::memfd_create("dnsmasq", MemfdFlags::CLOEXEC)
            .map(File::from)
            .map_err(|e| failed(e.into()))?;
        // Its pid file will be news there.
        let watch = || -> io::Result<OwnedFd> {
            let fd = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            inotify::add_watch(&fd, directory, inotify::WatchFlags::CREATE)?;
            Ok(fd)
        };
        let written = watch().map_err(failed)?;
        let (stdin, gate) = io::pipe().map_err(failed)?;
        let arguments = config::arguments(wanted.network, wanted.dhcp, directory);
        let words = arguments.iter().map(|word| word.to_string_lossy());
        let command = acts::shell(["dnsmasq".into()].into_iter().chain(words));
        let program = Program::new(&program, "dnsmasq", arguments).map_err(failed)?;
        let program = program.prepare();
        let capabilities = capabilities(wanted.network);
        // SAFETY: the child makes system calls only, on what lives here, until it is dnsmasq.
        let child = match unsafe { libc::fork() } {
            -1 => return Err(failed(io::Error::last_os_error())),
            0 => {
                let (stdin, said, record) = (stdin.as_fd(), said.as_fd(), record.as_fd());
                become_dnsmasq(&program, capabilities, stdin, said, record);
                // SAFETY: _exit does not return and touches no memory.
                unsafe { libc::_exit(127) }
            }
            pid => pid,
        };
        let held = Pid::from_raw(child).and_then(Process::child);
        let process = held.ok_or_else(|| self::failed(name, &last_words(&said)))?;
        Ok(Starting {
            dnsmasq: Dnsmasq {
                directory: directory.to_owned(),
                process,
            },
            name: name.to_owned(),
            command,
            words: said,
            pid_file,
            written,
            gate: Some(gate),
        })
    }

    /// Whether it did not start because an interface, whosever, went while it listed them all: it
    /// gives up then, and the next one does not meet that.
    pub fn was_disturbed(error: &Error) -> bool {
        error.code == Code::DnsmasqFailed
            && error.message.contains("list of interfaces: No such device")
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
    /// In words for a shell.
    command: String,
    words: File,
    pid_file: PathBuf,
    /// Readable when a file was made in its directory.
    written: OwnedFd,
    /// The other end of its standard input, where it reads its configuration to the end before
    /// it opens a socket.
    gate: Option<PipeWriter>,
}

impl Starting {
    /// Lets it look for its bridge and bind its sockets. When netd is killed, that opens it too;
    /// then it is the next netd's.
    pub fn open_gate(&mut self) {
        self.gate = None;
    }

    /// The command line that it was started with.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Waits until it has bound its sockets: only then does it write its pid file.
    /// `DNSMASQ_FAILED` with its own words.
    pub fn ready(mut self) -> Result<Dnsmasq> {
        self.open_gate();
        let deadline = Instant::now() + START_DEADLINE;
        while !self.pid_file.exists() {
            if self.dnsmasq.ended() {
                return Err(failed(&self.name, &last_words(&self.words)));
            }
            if Instant::now() >= deadline {
                self.dnsmasq.end();
                return Err(failed(&self.name, "it did not bind its sockets in time"));
            }
            self.wait(deadline)
                .map_err(|e| failed(&self.name, &e.to_string()))?;
        }
        Ok(self.dnsmasq)
    }

    /// Until it has made a file or has ended, but not beyond the deadline.
    fn wait(&self, deadline: Instant) -> io::Result<()> {
        let mut fds = [
            PollFd::new(&self.written, PollFlags::IN),
            PollFd::from_borrowed_fd(self.dnsmasq.fd(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&wait::left(deadline))))?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        if !fds[0].revents().is_empty() {
            // One read takes all that a starting dnsmasq makes.
            inotify::Reader::new(&self.written, &mut buffer).next()?;
        }
        Ok(())
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

/// Takes leases out of the file of a dnsmasq that does not run: a running one would write them
/// again.
pub fn forget_leases(directory: &Path, gone: &[Lease]) -> io::Result<()> {
    let text = std::fs::read(config::leases(directory))?;
    let is_gone = |lease: &Lease| {
        let mut gone = gone.iter();
        gone.any(|other| other.address == lease.address && other.mac == lease.mac)
    };
    let left = leases::without(&String::from_utf8_lossy(&text), is_gone);
    replace(directory, LEASES, &left).map(drop)
}

/// True when one of them changed. Each is replaced at once, so a reload never sees half of it.
fn write_files(directory: &Path, wanted: &Wanted<'_>) -> io::Result<bool> {
    let hosts = config::hosts(wanted.network, wanted.dhcp);
    let servers = config::servers(wanted.network.reaches_out(), wanted.upstream);
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

/// What it needs for this network: its ports and neighbour entries, and a raw socket where it
/// advertises itself as an IPv6 router.
fn capabilities(network: &NetworkSpec) -> u64 {
    let always = confine::NET_BIND_SERVICE | confine::NET_ADMIN;
    match network.ipv6 {
        Some(_) => always | confine::NET_RAW,
        None => always,
    }
}

/// Returns only when that failed. Async-signal-safe.
fn become_dnsmasq(
    program: &Become<'_>,
    capabilities: u64,
    stdin: BorrowedFd<'_>,
    words: BorrowedFd<'_>,
    record: BorrowedFd<'_>,
) {
    let prepare = || -> io::Result<()> {
        rustix::process::setsid()?;
        rustix::process::chdir(c"/")?;
        let null = rustix::fs::open(
            c"/dev/null",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(words)?;
        write_own_stat(record)?;
        confine::hand_on(capabilities)
    };
    if prepare().is_ok() {
        program.execute();
    }
    // Nobody hears of it where even that fails.
    let _ = rustix::io::write(words, b"it could not be executed");
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
