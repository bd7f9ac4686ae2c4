// SPDX-License-Identifier: Apache-2.0
//! tapyard-netd: reads its arguments, claims its directory, and serves.

use std::process::ExitCode;
use tapyard_netd::args::{self, Where};
use tapyard_netd::directory::Directory;
use tapyard_netd::{announce, host, private};
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
    let args = args::parse(std::env::args_os().skip(1))?;
    let directory = Directory::open(&args.directory)?;
    match args.place {
        Where::Host => host::run(directory),
        Where::Private(lab) => private::run(directory, lab),
    }
}
