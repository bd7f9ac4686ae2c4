// SPDX-License-Identifier: Apache-2.0
//! tapyard-netd: confines itself, reads its arguments, claims its directory, and serves.

use std::process::ExitCode;
use tapyard_netd::args::{self, Where};
use tapyard_netd::directory::Directory;
use tapyard_netd::doors::Kept;
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

fn start() -> Result<()> {
    let caller = confine::Caller::find();
    confine::begin()?;
    let args = args::parse(std::env::args_os().skip(1))?;
    match args.place {
        Where::Host if may_change_networks() => {
            confine::check_path(caller.map(confine::Caller::uid))?;
            let kept = Kept::open();
            confine::become_caller(caller, &args.directory)?;
            host::run(Directory::open(&args.directory)?, kept.for_a_user())
        }
        // Told before the directory is looked at, in which nothing is then left.
        Where::Host => Err(host::no_privilege()),
        Where::Private(lab) => {
            confine::give_file_capabilities_back()?;
            private::run(Directory::open(&args.directory)?, lab)
        }
    }
}
