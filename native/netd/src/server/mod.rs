// SPDX-License-Identifier: Apache-2.0
//! The socket: connections, their rules, and the loop.

use crate::engine::Engine;
use std::os::unix::net::UnixListener;
use tapyard_protocol::Result;

/// Serves until somebody asks for `shutdown`; then everything is removed and answered for, and
/// the caller exits. One thread, because netd forks and calls setns.
pub fn run(_listener: UnixListener, _engine: Engine) -> Result<()> {
    todo!()
}
