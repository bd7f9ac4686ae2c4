// SPDX-License-Identifier: Apache-2.0
//! tapyard-netd: confines itself, reads its arguments, claims its directory, and serves.

use std::process::ExitCode;
use tapyard_netd::args::{self, Where};
use tapyard_netd::directory::Directory;
use tapyard_netd::programs::may_change_networks;
use tapyard_netd::{announce, confine, host, private};
use tapyard_protocol::Result;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            announce::failed(&error);
            ExitCode::FAILURE
        }
    }
}

/// Who called sudo(8) or pkexec(1). Read before the environment goes, and believed of root only.
fn caller() -> Option<u32> {
    ["SUDO_UID", "PKEXEC_UID"]
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
}

fn start() -> Result<()> {
    let caller = caller();
    confine::begin()?;
    let args = args::parse(std::env::args_os().skip(1))?;
    match args.place {
        Where::Host if may_change_networks() => {
            confine::check_path(caller)?;
            confine::become_caller(caller, &args.directory)?;
        }
        Where::Host => {}
        Where::Private(_) => confine::give_file_capabilities_back()?,
    }
    let directory = Directory::open(&args.directory)?;
    match args.place {
        Where::Host => host::run(directory),
        Where::Private(lab) => private::run(directory, lab),
    }
}
