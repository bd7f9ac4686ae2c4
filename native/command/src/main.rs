// SPDX-License-Identifier: Apache-2.0
//! The front of the `tapyard` command. Node takes longer to start than most commands to be done,
//! so this asks the core that runs, if one does, to do the command in its own process
//! (`command.run` of the contract). It knows no command, no option and no text of them: where the
//! core has done nothing it becomes Node with the same words, and there is one implementation of each.

mod build;
mod core_socket;
mod output;
mod wire;

use build::Build;
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use wire::NoAnswer;

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let Some(build) = Build::find() else {
        eprintln!(
            "tapyard: dist/cli/tapyard.mjs was not found beside this program.\n  \
             In a checkout run: npm run setup. In an installation, install the package again."
        );
        return ExitCode::from(1);
    };
    // Ctrl+C needs no care: it ends this process, and the core aborts the calls of a connection
    // that goes.
    match ask_core(&build, &words) {
        Ok(answer) => output::write(&answer),
        Err(NoAnswer::NotDone) => become_node(&build, &words),
        Err(NoAnswer::MayBeDone) => {
            output::unreachable(&words);
            ExitCode::from(1)
        }
    }
}

/// What the core answered. Where nobody can be asked, nothing is done.
fn ask_core(build: &Build, words: &[OsString]) -> Result<wire::Answer, NoAnswer> {
    let ask = || {
        let words: Vec<&str> = words
            .iter()
            .map(|word| word.to_str())
            .collect::<Option<_>>()?;
        let cwd = env::current_dir().ok()?;
        let socket = core_socket::find(env::var_os("XDG_RUNTIME_DIR"))?;
        let request = wire::Request {
            build: build.id.as_deref()?,
            words: &words,
            cwd: cwd.to_str()?,
        };
        Some(wire::ask(&socket, build.contract.as_deref()?, &request))
    };
    ask().unwrap_or(Err(NoAnswer::NotDone))
}

fn become_node(build: &Build, words: &[OsString]) -> ExitCode {
    let error = Command::new("node").arg(&build.program).args(words).exec();
    eprintln!(
        "tapyard: node cannot be run: {error}.\n  \
         Install Node 20.19 or newer so that `node` is on the PATH."
    );
    ExitCode::from(1)
}
