// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap capture`: the packets of an interface as pcapng on standard output, for a file or
//! for Wireshark.

use crate::{args, fail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::net::{Shutdown, shutdown};
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tapyard_protocol::capture::{FOOT, counted};
use tapyard_protocol::{Capture, Client, ClientKind, Code, Error, InterfaceName, LabName, Result};

/// How long netd may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last of a capture may take to come once its end was asked for.
const LAST: Duration = Duration::from_secs(2);
/// A pipe that has room takes so many bytes without blocking (PIPE_BUF, pipe(7)).
const AT_ONCE: usize = 4096;
/// What a signalfd tells of a signal, bytes.
const SIGNAL: usize = size_of::<libc::signalfd_siginfo>();
/// Read at once, bytes.
const BUFFER: usize = 256 << 10;

struct Args {
    netd: PathBuf,
    lab: LabName,
    interface: InterfaceName,
    output: Option<PathBuf>,
}

/// Runs `capture` with the words after it.
pub fn run(words: &[OsString]) -> ExitCode {
    let args = match parse(words) {
        Ok(args) => args,
        Err(sentence) => return fail::usage(&sentence),
    };
    if args.output.is_none() && io::stdout().is_terminal() {
        return fail::usage("a capture is no text: send standard output to a file or to a program");
    }
    match capture(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::error(&error),
    }
}

/// The file is opened last: whoever mistyped the interface keeps what he has captured before.
fn capture(args: &Args) -> Result<()> {
    let stream = begin(args)?;
    let Some(path) = &args.output else {
        return copy(&stream, io::stdout().as_fd(), &args.interface);
    };
    let file = open(path)?;
    eprintln!(
        "{}: captured into {}; Ctrl+C ends it",
        args.interface,
        path.display()
    );
    copy(&stream, file.as_fd(), &args.interface)
}

fn begin(args: &Args) -> Result<OwnedFd> {
    let mut netd = Client::connect(&args.netd, ClientKind::Tap, PATIENCE)?;
    let request = Capture {
        lab: args.lab.clone(),
        interface: args.interface.clone(),
    };
    let (_, mut fds) = netd.call(&request, PATIENCE)?;
    match (fds.pop(), fds.pop()) {
        (Some(fd), None) => Ok(fd),
        _ => Err(Error::new(
            Code::BadMessage,
            "netd sent no single descriptor for the capture",
        )),
    }
}

/// Copies until the stream ends, which SIGINT, SIGTERM and SIGHUP ask for; then says what came.
/// Neither a reader that stalls nor one that goes is waited for: what a pipe takes without blocking
/// is all that is written at once.
fn copy(stream: &OwnedFd, out: BorrowedFd<'_>, interface: &str) -> Result<()> {
    let failed = |what: &str, e: io::Error| Error::kernel(format!("{what} of {interface}"), &e);
    let signals = signals().map_err(|e| failed("wait for the end", e))?;
    let mut buffer = vec![0; BUFFER];
    let mut pending = 0..0;
    let mut tail: Vec<u8> = Vec::new();
    let mut until: Option<Instant> = None;
    loop {
        let to = match pending.is_empty() {
            true => PollFlags::empty(),
            false => PollFlags::OUT,
        };
        let mut fds = vec![
            PollFd::from_borrowed_fd(out, to),
            PollFd::new(&signals, PollFlags::IN),
        ];
        // Its end is no news while something is still to be written.
        if pending.is_empty() {
            fds.push(PollFd::new(stream, PollFlags::IN));
        }
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(failed("read the capture", errno.into())),
        }
        if !fds[1].revents().is_empty() {
            // Whoever asks again does not want to wait.
            if until.is_some() {
                break;
            }
            // Taken, so that another one is heard.
            let _ = read(&signals, &mut [0; SIGNAL]);
            until = Some(Instant::now() + LAST);
            let _ = shutdown(stream, Shutdown::Write);
        }
        let writable = fds[0].revents();
        if writable.contains(PollFlags::ERR) {
            return Ok(()); // Wireshark was closed.
        }
        if writable.contains(PollFlags::OUT) {
            let end = pending.end.min(pending.start + AT_ONCE);
            match write(out, &buffer[pending.start..end]) {
                Ok(bytes) => pending.start += bytes,
                Err(Errno::PIPE) => return Ok(()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(failed("write the capture", errno.into())),
            }
        } else if fds.get(2).is_some_and(|fd| !fd.revents().is_empty()) {
            let bytes = match retry_on_intr(|| read(stream, &mut buffer)) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(errno) => return Err(failed("read the capture", errno.into())),
            };
            pending = 0..bytes;
            tail.extend(&buffer[bytes.saturating_sub(FOOT)..bytes]);
            tail.drain(..tail.len().saturating_sub(FOOT));
        }
    }
    match counted(&tail) {
        Some(counted) if pending.is_empty() => {
            eprintln!(
                "{interface}: {} packets, {} of them lost",
                counted.received, counted.dropped
            );
            Ok(())
        }
        _ if until.is_some() => Err(Error::new(
            Code::TimedOut,
            format!("the last of the capture of {interface} was not taken in time"),
        )
        .hint("Whoever reads it is too slow. What came until then is whole.")
        .subject(interface)),
        _ => Err(Error::new(
            Code::Unreachable,
            format!("the capture of {interface} broke off: netd has ended"),
        )
        .hint("What came until then is whole.")
        .subject(interface)),
    }
}

/// The file that `--output` names: over what was there, and for the user alone, who may now read
/// what others said.
fn open(path: &Path) -> Result<File> {
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    opened
        .and_then(|file| {
            // A device or a pipe keeps its mode.
            if file.metadata()?.is_file() {
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            Ok(file)
        })
        .map_err(|e| {
            let path = path.display().to_string();
            Error::kernel(format!("write to {path}"), &e)
                .hint("Name another file.")
                .subject(path)
        })
}

/// The signals that end a capture, as a descriptor (signalfd(2)).
fn signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is made before it is used; this process has one thread.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&raw mut set, signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn parse(words: &[OsString]) -> std::result::Result<Args, String> {
    let mut netd = None;
    let mut lab = None;
    let mut output = None;
    let plain = args::read(words, |option, value| {
        match option {
            "--netd" => netd = Some(PathBuf::from(value)),
            "--output" => output = Some(PathBuf::from(value)),
            "--lab" => lab = Some(args::name(option, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let [interface] = plain[..] else {
        return Err("one INTERFACE is wanted".into());
    };
    Ok(Args {
        netd: netd.ok_or("--netd is missing")?,
        lab: lab.ok_or("--lab is missing")?,
        interface: interface.parse().map_err(|e| format!("{interface}: {e}"))?,
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_line() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let args = parse(&words("--netd /x/netd.sock --lab seed tap0")).unwrap();
        assert_eq!(
            (args.lab.as_str(), args.interface.as_str()),
            ("seed", "tap0")
        );
        for wrong in [
            "--netd /x --lab seed",
            "--netd /x --lab seed tap0 tap1",
            "--netd /x --lab seed ../tap0",
            "--netd /x --lab seed a-name-that-is-too-long",
            "--netd /x tap0",
            "--lab seed tap0",
            "--netd /x --what --lab seed tap0",
        ] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
