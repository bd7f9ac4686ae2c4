// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap exec`: taps at their promised numbers, then the program in this process's place.

use crate::args::{Args, parse};
use crate::fail;
use rustix::fs::Mode;
use rustix::process::umask;
use serde::Serialize;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;
use tapyard_protocol::{Client, ClientKind, Code, Error, Nic, OpenTap, Result, Step, TapName};

/// How long netd may take to answer; it answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the report says of a tap.
#[derive(Debug, Serialize)]
struct Opened {
    nic: Nic,
    tap: TapName,
    ifindex: u32,
    fd: RawFd,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Report<'a> {
    Taps(&'a [Opened]),
    Error(&'a Error),
}

/// Runs `exec` with the words after it. Returns only when nothing was executed.
pub fn run(words: &[OsString]) -> ExitCode {
    let args = match parse(words) {
        Ok(args) => args,
        Err(sentence) => return fail::usage(&sentence),
    };
    match become_program(&args) {
        Ok(never) => match never {},
        Err(error) => fail::error(&error),
    }
}

enum Never {}

fn become_program(args: &Args) -> Result<Never> {
    // The report's descriptor is another program's promise: it is taken over first, so that
    // nothing that is opened later can land on its number.
    let mut report = args.report.map(take_over).transpose()?;
    let prepared = prepare(args);
    let done = match &prepared {
        Ok((opened, _)) => tell(report.as_mut(), &Report::Taps(opened)),
        Err(error) => tell(report.as_mut(), &Report::Error(error)),
    };
    let (_, placed) = prepared?;
    done?;
    if let Some(report) = report {
        wait_until_noted(report)?;
    }
    close_all_but(&placed)?;
    // Everything is open and in its place; only now may it survive execve.
    let numbers: Vec<RawFd> = placed.iter().map(AsRawFd::as_raw_fd).collect();
    for fd in numbers {
        inherit(fd)?;
    }
    // What it makes is its user's alone, sockets as well, whatever the user's umask.
    umask(Mode::RWXG | Mode::RWXO);
    let (program, arguments) = args
        .program
        .split_first()
        .ok_or_else(|| Error::new(Code::Usage, "no program was named"))?;
    let cause = Command::new(program).args(arguments).exec();
    Err(Error::new(
        Code::Kernel,
        format!("cannot execute {}: {cause}", program.display()),
    )
    .subject(program.display().to_string()))
}

/// Opens everything and puts it at its number.
fn prepare(args: &Args) -> Result<(Vec<Opened>, Vec<OwnedFd>)> {
    let mut wanted: Vec<RawFd> = args.taps.iter().map(|tap| tap.fd).collect();
    wanted.extend(&args.vhosts);
    // Numbers above all that are promised: what arrives there is in nobody's way.
    let above = wanted
        .iter()
        .copied()
        .max()
        .unwrap_or(2)
        .max(args.report.unwrap_or(2))
        + 1;

    let mut opened = Vec::new();
    let mut waiting: Vec<(OwnedFd, RawFd)> = Vec::new();
    if !args.taps.is_empty() {
        let mut netd = Client::connect(&args.netd, ClientKind::Tap, PATIENCE)?;
        for tap in &args.taps {
            let request = OpenTap {
                lab: args.lab.clone(),
                network: tap.network.clone(),
                guest: args.guest.clone(),
                nic: tap.nic,
                mac: tap.mac,
                tap: tap.tap.clone(),
                shape: tap.shape,
            };
            let (reply, mut fds) = netd.call(&request, PATIENCE)?;
            let (Some(fd), None) = (fds.pop(), fds.pop()) else {
                return Err(Error::new(
                    Code::BadMessage,
                    format!(
                        "netd sent no single descriptor for {}",
                        tap.network.as_str()
                    ),
                ));
            };
            waiting.push((move_above(fd, above)?, tap.fd));
            opened.push(Opened {
                nic: tap.nic,
                tap: reply.tap,
                ifindex: reply.ifindex,
                fd: tap.fd,
                steps: reply.steps,
            });
        }
    }
    for &fd in &args.vhosts {
        let vhost = File::options()
            .read(true)
            .write(true)
            .open("/dev/vhost-net")
            .map_err(|e| {
                Error::new(
                    Code::VhostMissing,
                    format!("cannot open /dev/vhost-net: {e}"),
                )
                .hint(
                    "Load the module vhost_net and give your group access, or start without vhost.",
                )
                .subject("/dev/vhost-net")
            })?;
        waiting.push((move_above(vhost.into(), above)?, fd));
    }
    let mut placed = Vec::new();
    for (fd, number) in waiting {
        placed.push(put_at(&fd, number)?);
    }
    Ok((opened, placed))
}

fn tell(report: Option<&mut File>, what: &Report<'_>) -> Result<()> {
    let Some(report) = report else { return Ok(()) };
    let mut line = serde_json::to_vec(what)
        .map_err(|e| Error::new(Code::Internal, format!("cannot write the report: {e}")))?;
    line.push(b'\n');
    report
        .write_all(&line)
        .map_err(|e| Error::kernel("write the report", &e))
}

/// Whoever follows the program notes it and its taps first, so that one of which nobody knows never
/// runs: a line says that it is done, and the end that it never will be.
fn wait_until_noted(mut report: File) -> Result<()> {
    match report.read(&mut [0]) {
        Ok(1..) => Ok(()),
        Ok(0) => Err(Error::new(
            Code::Unreachable,
            "whoever started this has not noted it, so nothing is executed",
        )),
        Err(e) => Err(Error::kernel("wait until the taps are noted", &e)),
    }
}

/// Owns the descriptor that the caller promised, out of the promised numbers' way.
fn take_over(fd: RawFd) -> Result<File> {
    // SAFETY: fcntl on a number; a number that is not open answers EBADF.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 256) };
    if copy < 0 {
        let cause = io::Error::last_os_error();
        return Err(Error::new(Code::Usage, format!("--report {fd}: {cause}")));
    }
    // SAFETY: the caller handed `fd` over by naming it, and nothing here has opened it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    // SAFETY: fcntl just returned this new descriptor.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// A copy at or above a number; the original is closed.
fn move_above(fd: OwnedFd, least: RawFd) -> Result<OwnedFd> {
    // SAFETY: fcntl on a descriptor that we own.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) };
    if copy < 0 {
        return Err(Error::kernel(
            "move a descriptor",
            &io::Error::last_os_error(),
        ));
    }
    // SAFETY: fcntl just returned this new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// A copy at exactly this number, whatever was there.
fn put_at(fd: &OwnedFd, number: RawFd) -> Result<OwnedFd> {
    // SAFETY: dup3 on a descriptor that we own. What it closes at `number` is not ours to use:
    // our own descriptors were moved above all promised numbers.
    if unsafe { libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) } < 0 {
        return Err(Error::kernel(
            format!("put a descriptor at {number}"),
            &io::Error::last_os_error(),
        ));
    }
    // SAFETY: dup3 just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Marks everything above 2 close-on-exec: what this process inherited is not the program's.
fn close_all_but(placed: &[OwnedFd]) -> Result<()> {
    debug_assert!(placed.iter().all(|fd| fd.as_raw_fd() > 2));
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC only sets a flag (Linux 5.11).
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done != 0 {
        return Err(Error::kernel("close_range", &io::Error::last_os_error()));
    }
    Ok(())
}

fn inherit(fd: RawFd) -> Result<()> {
    // SAFETY: fcntl on a descriptor that the caller holds.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } != 0 {
        return Err(Error::kernel(
            format!("inherit descriptor {fd}"),
            &io::Error::last_os_error(),
        ));
    }
    Ok(())
}
