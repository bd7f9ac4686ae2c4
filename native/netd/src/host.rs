// SPDX-License-Identifier: Apache-2.0
//! The host scope: netd works in the network namespace that it was started in.

use crate::announce;
use crate::confine;
use crate::directory::Directory;
use crate::doors::Kept;
use crate::engine::{Config, Engine, Identity};
use crate::server;
use crate::uplink::KernelUplink;
use tapyard_protocol::{Code, Error, Result, Scope};

/// That netd may not change this network. `NO_PRIVILEGE`.
pub fn no_privilege() -> Error {
    Error::new(
        Code::NoPrivilege,
        "the host scope changes the host's network, and netd may not (CAP_NET_ADMIN)",
    )
    .hint("Run it as root, or use the private scope, which needs no privilege.")
}

/// Serves until `shutdown`. `kept` was opened while netd was root's.
pub fn run(directory: Directory, kept: Kept) -> Result<()> {
    confine::settle()?;
    outlive_the_caller();
    let uid = rustix::process::getuid().as_raw();
    let pid = std::process::id();
    let listener = directory.listen()?;
    let socket = directory.socket();
    let engine = Engine::start(Config {
        identity: Identity {
            scope: Scope::Host,
            lab: None,
            label_uid: uid,
            owner_uid_here: uid,
            pid,
        },
        directory,
        uplink: Box::new(KernelUplink::open()?),
        fresh_namespace: false,
        kept,
    })?;
    announce::ready(pid, &socket);
    server::run(listener, engine)
}

/// Leaves the caller's session, so that neither a Ctrl+C nor a closed terminal reaches netd.
pub fn outlive_the_caller() {
    // EPERM: it leads its group already, as a caller that detaches it properly arranges.
    let _ = rustix::process::setsid();
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}
