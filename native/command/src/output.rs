// SPDX-License-Identifier: Apache-2.0
//! What a command has written, to where it would have.

use crate::wire::Answer;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

/// Writes what the core has collected; the command's exit status.
pub fn write(answer: &Answer) -> ExitCode {
    // In this order the command does: an error for people, then its object for scripts.
    // Nobody can be told that stderr is closed.
    let _ = write_all(std::io::stderr().as_fd(), answer.err.as_bytes());
    match write_all(std::io::stdout().as_fd(), answer.out.as_bytes()) {
        Ok(()) => ExitCode::from(answer.status),
        // `tapyard ls | head -1` is no failure.
        Err(Errno::PIPE) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tapyard: its output could not be written: {error}");
            ExitCode::from(1)
        }
    }
}

/// Says that the core was asked and did not answer; where the words ask for JSON, also as every
/// other error is told to scripts.
pub fn unreachable(words: &[OsString]) {
    let message = "Tapyard’s core was asked and did not answer; it may have been done.";
    let hint = "Look with: tapyard ls";
    eprintln!("tapyard: {message} [CORE_UNREACHABLE]\n  {hint}");
    // Behind `--` the words are another program's.
    let mut own = words.iter().take_while(|word| *word != "--");
    if own.any(|word| word == "--json") {
        let error = json!({ "code": "CORE_UNREACHABLE", "message": message, "hint": hint });
        // Nobody can be told that stdout is closed.
        let _ = write_all(
            std::io::stdout().as_fd(),
            format!("{:#}\n", json!({ "error": error })).as_bytes(),
        );
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // A pipe that we share with a Node program does not block.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
