// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap capture`: the packets of an interface as pcapng on standard output, for a file or
//! for Wireshark.

use crate::fail;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::net::{Shutdown, shutdown};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tapyard_protocol::capture::{FOOT, counted};
use tapyard_protocol::{Capture, Client, ClientKind, Code, Error, InterfaceName, LabName, Result};

/// How long netd may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last of a capture may take to come once its end was asked for.
const LAST: Duration = Duration::from_secs(2);
/// Read at once, bytes.
const BUFFER: usize = 256 << 10;

struct Args {
    netd: PathBuf,
    lab: LabName,
    interface: InterfaceName,
}

/// Runs `capture` with the words after it.
pub fn run(words: &[OsString]) -> ExitCode {
    let args = match parse(words) {
        Ok(args) => args,
        Err(sentence) => return fail::usage(&sentence),
    };
    if io::stdout().is_terminal() {
        return fail::usage("a capture is no text: send standard output to a file or to a program");
    }
    match begin(&args).and_then(|stream| copy(&stream, &args.interface)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::error(&error),
    }
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
fn copy(stream: &OwnedFd, interface: &str) -> Result<()> {
    let failed = |what: &str, e: &io::Error| Error::kernel(format!("{what} of {interface}"), e);
    let signals = signals().map_err(|e| failed("wait for the end", &e))?;
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; BUFFER];
    let mut tail: Vec<u8> = Vec::new();
    let mut until: Option<Instant> = None;
    loop {
        let mut fds = [
            PollFd::new(stream, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        // After the end was asked for, another signal is none of ours to wait for.
        let watched = if until.is_some() { 1 } else { 2 };
        let timeout = until.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            rustix::event::Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut fds[..watched], timeout.as_ref()) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("read the capture", &errno.into())),
        }
        if until.is_none() && !fds[1].revents().is_empty() {
            until = Some(Instant::now() + LAST);
            let _ = shutdown(stream, Shutdown::Write);
        }
        if fds[0].revents().is_empty() {
            continue;
        }
        let bytes = match retry_on_intr(|| read(stream, &mut buffer)) {
            Ok(0) => break,
            Ok(bytes) => &buffer[..bytes],
            Err(errno) => return Err(failed("read the capture", &errno.into())),
        };
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => {}
            // Wireshark was closed.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(e) => return Err(failed("write the capture", &e)),
        }
        tail.extend(&bytes[bytes.len().saturating_sub(FOOT)..]);
        tail.drain(..tail.len().saturating_sub(FOOT));
    }
    match counted(&tail) {
        Some(counted) => {
            eprintln!(
                "{interface}: {} packets, {} of them lost",
                counted.received, counted.dropped
            );
            Ok(())
        }
        None => Err(Error::new(
            Code::Unreachable,
            format!("the capture of {interface} broke off: netd has ended"),
        )
        .hint("What came until then is whole.")
        .subject(interface)),
    }
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
    let mut interface = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word
            .to_str()
            .ok_or_else(|| format!("{} is not UTF-8", word.display()))?;
        match text {
            "--netd" => netd = Some(PathBuf::from(rest.next().ok_or("--netd needs a value")?)),
            "--lab" => {
                let value = rest.next().ok_or("--lab needs a value")?;
                let value = value.to_str().ok_or("--lab is not UTF-8")?;
                lab = Some(value.parse().map_err(|e| format!("--lab {value}: {e}"))?);
            }
            _ if text.starts_with('-') => return Err(format!("unknown option {text}")),
            _ if interface.is_some() => return Err("one INTERFACE is wanted".into()),
            _ => interface = Some(text.parse().map_err(|e| format!("{text}: {e}"))?),
        }
    }
    Ok(Args {
        netd: netd.ok_or("--netd is missing")?,
        lab: lab.ok_or("--lab is missing")?,
        interface: interface.ok_or("INTERFACE is wanted")?,
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
