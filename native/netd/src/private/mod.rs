// SPDX-License-Identifier: Apache-2.0
//! The private scope: netd without privilege, in namespaces of the lab's own.
//!
//! Two halves. The *outer* stays in the host's namespaces (from a user namespace there is no way
//! back), holds pasta and can end everything. The *inner* is the engine, in the lab's. What they
//! serve hangs on a third process, the anchor, so killing netd ends nothing, and the next netd
//! goes on where the last one was.

mod channel;
mod fork;
mod host_subnets;
mod message;
mod namespaces;
mod outer;
pub(crate) mod pasta;
mod record;
mod service;
mod uplink;

use std::io;

use tapyard_protocol::{Code, Error, LabName, Result, Scope};

use crate::acts::{self, deed};
use crate::directory::Directory;
use crate::doors::Kept;
use crate::engine::{Config, Engine, Identity};
use crate::host::outlive_the_caller;
use crate::rtnl::{LinkChange, Rtnl};
use crate::{announce, confine, server};
use channel::Channel;
use fork::{Fork, fork};
use message::ToOuter;
use namespaces::Namespaces;
use outer::Outer;
use record::Record;
use uplink::PastaUplink;

/// The loopback device, the first of every network namespace.
const LOOPBACK: u32 = 1;

/// Serves until `shutdown`. Returns in both halves. `NAMESPACE_DENIED`, `ANCHOR_FAILED`,
/// `BAD_DIRECTORY` where the directory is another lab's.
pub fn run(directory: Directory, lab: LabName) -> Result<()> {
    outlive_the_caller();
    // Inside the namespaces the owner is 0.
    let uid = rustix::process::geteuid().as_raw();
    let (namespaces, record, fresh) = find_or_make(&directory, &lab, uid)?;
    // Where namespaces are for the privileged only, root's capabilities have made them. From here
    // on owning them is enough: entering gives everything inside, and nothing outside.
    confine::keep_capabilities(confine::NONE)?;
    let broken = |e: io::Error| Error::new(Code::AnchorFailed, format!("fork the inner half: {e}"));
    let (ours, theirs) = Channel::pair().map_err(broken)?;
    let mut outer = Outer::start(directory, lab, namespaces, record, uid)?;
    // pasta needs some 30 ms, in which the engine gets ready too.
    outer.follow(&ours);
    let pid = std::process::id();
    match fork().map_err(broken)? {
        Fork::Parent(child) => {
            drop(theirs);
            // The inner half speaks to whoever started us; this one has nothing to say.
            announce::leave();
            outer.run(ours, child, fresh)
        }
        Fork::Child => {
            drop(ours);
            let Outer {
                directory,
                lab,
                namespaces,
                ..
            } = outer;
            let identity = Identity {
                scope: Scope::Private,
                lab: Some(lab),
                label_uid: uid,
                owner_uid_here: 0,
                pid,
            };
            run_inner(directory, &namespaces, identity, theirs, fresh)
        }
    }
}

/// The namespaces of a netd before this one, or new ones (true).
fn find_or_make(
    directory: &Directory,
    lab: &LabName,
    uid: u32,
) -> Result<(Namespaces, Record, bool)> {
    if let Some(record) = Record::read(directory) {
        let anchor = record::hold(record.anchor, uid);
        let keeper = record::hold(record.keeper, uid);
        if let (Some(anchor), Some(keeper)) = (anchor, keeper) {
            if record.lab != *lab {
                let path = directory.path().display();
                return Err(Error::new(
                    Code::BadDirectory,
                    format!(
                        "{path} is the directory of the lab {}, which runs",
                        record.lab
                    ),
                )
                .hint("Use a directory for each lab.")
                .subject(path.to_string()));
            }
            return Ok((Namespaces { anchor, keeper }, record, false));
        }
    }
    let unreleased = namespaces::create(lab, uid).inspect_err(|_| {
        // What files there are tell of a lab that is no more, and this one has never been.
        for error in forget(directory) {
            eprintln!("{error}");
        }
    })?;
    let record = Record::new(
        lab.clone(),
        unreleased.anchor.into(),
        unreleased.keeper.into(),
    );
    record.write(directory)?;
    let released = deed("made a network namespace of the lab’s own")
        .command("unshare --user --map-root-user --net")
        .told(unreleased.release(lab))?;
    Ok((released, record, true))
}

/// Removes everything from the directory. Goes on past errors.
fn forget(directory: &Directory) -> Vec<Error> {
    let record = Record::remove(directory).err();
    let mut errors: Vec<Error> = record
        .map(|e| Error::kernel("remove anchor.json", &e))
        .into_iter()
        .collect();
    errors.extend(directory.clear());
    errors
}

fn run_inner(
    directory: Directory,
    namespaces: &Namespaces,
    identity: Identity,
    outer: Channel,
    fresh: bool,
) -> Result<()> {
    acts::forget();
    namespaces.enter().map_err(|e| {
        Error::new(
            Code::AnchorFailed,
            format!("enter the namespaces of the lab: {e}"),
        )
    })?;
    confine::settle()?;
    Rtnl::open()?.change_link(
        LOOPBACK,
        "lo",
        &LinkChange {
            up: Some(true),
            ..LinkChange::default()
        },
    )?;
    let pid = identity.pid;
    let socket = directory.socket();
    let uplink = PastaUplink::open(outer)?;
    let ready = uplink
        .outer()
        .map_err(|e| Error::kernel("reach the outer half", &e))?;
    let listener = directory.listen()?;
    let engine = Engine::start(Config {
        identity,
        directory,
        uplink: Box::new(uplink),
        fresh_namespace: fresh,
        kept: Kept::default(),
    })?;
    announce::ready(pid, &socket);
    ready
        .send(&ToOuter::Ready)
        .map_err(|e| Error::kernel("reach the outer half", &e))?;
    drop(ready);
    server::run(listener, engine)
}
