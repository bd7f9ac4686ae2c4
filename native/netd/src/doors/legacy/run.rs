// SPDX-License-Identifier: Apache-2.0
//! Running the distribution's program, which ends in time or is ended.

use crate::confine::{NET_ADMIN, NET_RAW, end_with, hand_on};
use crate::wait;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The program waits 2 s for its lock (`-w 2`); what it does then takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Thousands of rules are a few hundred kilobytes.
const MAX_OUTPUT: usize = 16 << 20;

/// Runs a program to its end, within [`PATIENCE`], with the capabilities to read and change the
/// old tables, which it does by a raw socket. It ends with netd: what it does after netd's end, the
/// next netd would not know of.
pub(super) fn run(mut command: Command) -> io::Result<String> {
    let netd = std::process::id();
    // SAFETY: both make system calls only.
    unsafe { command.pre_exec(move || hand_on(NET_ADMIN | NET_RAW).and_then(|()| end_with(netd))) };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + PATIENCE;
    let read = child
        .stdout
        .take()
        .map_or(Ok(String::new()), |out| read_all(out, deadline));
    if let Err(error) = read {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    // It has closed its output, so it ends; its complaints are a line or two.
    let mut complaint = String::new();
    if let Some(mut err) = child.stderr.take() {
        let _ = err.read_to_string(&mut complaint);
    }
    let status = child.wait()?;
    match (status.success(), complaint.trim()) {
        (true, _) => read,
        // Killed, it says nothing.
        (false, "") => Err(io::Error::other(status.to_string())),
        (false, complaint) => Err(io::Error::other(complaint.to_owned())),
    }
}

fn read_all(mut from: impl Read + AsFd, deadline: Instant) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if !wait::readable(&from, Some(deadline))? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match from.read(&mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            size if bytes.len() + size <= MAX_OUTPUT => bytes.extend_from_slice(&buffer[..size]),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo said; echo why >&2; exit 3"]);
        assert_eq!(run(command).unwrap_err().to_string(), "why");
        let mut command = Command::new("sh");
        command.args(["-c", "kill -9 $$"]);
        let killed = run(command).unwrap_err();
        assert_eq!(killed.to_string(), "signal: 9 (SIGKILL)");
        let mut command = Command::new("sh");
        command.args(["-c", "echo said"]);
        assert_eq!(run(command).unwrap(), "said\n");
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let soon = Instant::now() + Duration::from_millis(50);
        let late = read_all(std::fs::File::from(reader), soon);
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
