// SPDX-License-Identifier: Apache-2.0
//! `capture`: the packets of an interface of the lab's own, as a stream of pcapng.

use super::{Engine, label};
use crate::acts::deed;
use crate::rtnl::LinkInfo;
use std::os::fd::OwnedFd;
use tapyard_protocol::{Capture as Args, CaptureReply, Code, Error, LabName, Result, Scope};

/// So many at once.
const AT_MOST: usize = 16;

impl Engine {
    /// See the protocol page. `NO_SUCH_INTERFACE`, `BUSY`, `KERNEL`.
    pub fn capture(&mut self, args: &Args) -> Result<(CaptureReply, OwnedFd)> {
        self.check_lab(&args.lab)?;
        let name = &args.interface;
        let link = self
            .rtnl
            .link_named(name)?
            .filter(|link| self.may_be_captured(link, &args.lab))
            .ok_or_else(|| {
                Error::new(
                    Code::NoSuchInterface,
                    format!("the lab {} has no interface {name} of its own", args.lab),
                )
                .hint("Its bridges, and the taps of guests that run: tapyard topology")
                .subject(name.as_str())
            })?;
        self.reap_captures();
        if self.captures.len() >= AT_MOST {
            return Err(
                Error::new(Code::Busy, format!("{AT_MOST} captures run already"))
                    .hint("End one of them: Ctrl+C where it runs."),
            );
        }
        let begun = crate::capture::Capture::start(link.ifindex, name);
        let (capture, stream) = deed(format!("captures the packets of {name}"))
            .command(format!("tcpdump -i {name} -U -w -"))
            .told(begun)
            .map_err(|e| Error::kernel(format!("capture {name}"), &e).subject(name.as_str()))?;
        self.captures.push(capture);
        let reply = CaptureReply {
            interface: name.clone(),
            ifindex: link.ifindex,
        };
        Ok((reply, stream))
    }

    /// What the lab's owner made: a network's own bridge, a guest's tap, and the private scope's
    /// way out. Not the host's interfaces, nor a bridge of an administrator's, where others talk.
    fn may_be_captured(&self, link: &LinkInfo, lab: &LabName) -> bool {
        let identity = &self.config.identity;
        if identity.scope == Scope::Private
            && self.uplink.state().device.as_deref() == Some(link.name.as_str())
        {
            return true;
        }
        label::parse(identity.label_uid, &link.alias).is_some_and(|owner| {
            owner.lab == *lab
                && self.settled(lab, &owner.network).is_ok()
                && match owner.guest {
                    Some(_) => link.kind == "tun",
                    None => link.kind == "bridge" && link.name == *owner.network,
                }
        })
    }

    /// Ends all. In the private scope the lab's process namespace cannot end before they do.
    pub(super) fn end_captures(&mut self) {
        for capture in self.captures.drain(..) {
            capture.end();
        }
    }

    /// Forgets those that have ended.
    pub(super) fn reap_captures(&mut self) {
        self.captures.retain(|capture| !capture.ended());
    }
}
