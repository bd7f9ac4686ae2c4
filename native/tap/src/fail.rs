// SPDX-License-Identifier: Apache-2.0
//! How a verb says that it could not.

use std::process::ExitCode;
use tapyard_protocol::Error;

/// A wrong command line: exit status 2.
pub fn usage(sentence: &str) -> ExitCode {
    eprintln!("tapyard-tap: {sentence}\nTry: tapyard-tap --help");
    ExitCode::from(2)
}

/// Anything else: exit status 1.
pub fn error(error: &Error) -> ExitCode {
    eprintln!("tapyard-tap: {error}");
    if let Some(hint) = &error.hint {
        eprintln!("{hint}");
    }
    ExitCode::from(1)
}
