// SPDX-License-Identifier: Apache-2.0
//! The one line on stdout by which netd says that it listens, or why it does not.

use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;
use tapyard_protocol::Error;

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    pid: u32,
    socket: &'a Path,
}

#[derive(Serialize)]
struct Failed<'a> {
    error: &'a Error,
}

/// Says that netd listens, and closes stdout: whoever started it waits for its end.
pub fn ready(pid: u32, socket: &Path) {
    say(&Ready {
        ready: true,
        pid,
        socket,
    });
    leave();
}

/// Closes stdout without a word.
pub fn leave() {
    // Replaced, not closed: the next file to be opened must not become stdout.
    match std::fs::File::options().write(true).open("/dev/null") {
        Ok(null) => {
            if let Err(e) = rustix::stdio::dup2_stdout(&null) {
                eprintln!("close stdout: {e}");
            }
        }
        Err(e) => eprintln!("open /dev/null: {e}"),
    }
}

/// Says why netd does not start.
pub fn failed(error: &Error) {
    say(&Failed { error });
}

fn say(message: &impl Serialize) {
    let said = serde_json::to_string(message)
        .map_err(io::Error::from)
        .and_then(|line| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()
        });
    if let Err(e) = said {
        // Nobody reads; netd works all the same.
        eprintln!("announce: {e}");
    }
}
