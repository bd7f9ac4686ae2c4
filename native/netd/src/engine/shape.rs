// SPDX-License-Identifier: Apache-2.0
//! `set_shape`: rate, delay and loss of a NIC, in both directions.
//!
//! What goes to the guest leaves by the tap, whose root discipline holds it. What comes from it is
//! redirected to an interface of kind `ifb` with the same discipline and then goes on from the tap
//! as if nothing had happened, so the guard sees it as before. The tap takes its discipline and its
//! redirection along when its holder closes it; the `ifb` stays and is netd's to remove.

use super::shaper::{Port, port_of, root};
use super::{Engine, Stopwatch, label};
use crate::acts;
use crate::journal::{Entry, Recorded};
use crate::rtnl::{Counters, LinkInfo};
use std::collections::{BTreeMap, HashMap};
use tapyard_protocol::{
    Code, Error, GuestName, LabName, NetworkName, Nic, Owner, Removed, Result, SetShape,
    SetShapeReply, Shape,
};

/// The interface of this namespace that every one has.
const LOOPBACK: u32 = 1;

/// A NIC with a shape, as recorded.
struct Shaped {
    lab: LabName,
    network: NetworkName,
    guest: GuestName,
    nic: Nic,
    alias: String,
    shape: Shape,
}

impl Engine {
    /// See the protocol page.
    pub fn set_shape(&mut self, args: &SetShape) -> Result<SetShapeReply> {
        self.check_lab(&args.lab)?;
        let _about = acts::about(&args.lab, &args.network);
        let watch = Stopwatch::start();
        let key = (args.guest.clone(), args.nic);
        let recorded = self.settled(&args.lab, &args.network)?;
        let before = recorded.shapes.get(&key).copied().unwrap_or_default();
        let alias = self.alias_of(&args.lab, &args.network, &args.guest, args.nic);
        let tap = self.tap_labelled(&alias)?.ok_or_else(|| {
            let (nic, guest, network) = (args.nic, &args.guest, &args.network);
            Error::new(
                Code::NoSuchNic,
                format!("NIC {nic} of {guest} has no tap on {network}"),
            )
            .hint("Start the guest first.")
            .subject(format!("{guest}/{nic}"))
        })?;
        self.check_shape(&args.shape)?;
        let shaped = Shaped {
            lab: args.lab.clone(),
            network: args.network.clone(),
            guest: args.guest.clone(),
            nic: args.nic,
            alias,
            shape: args.shape,
        };
        let port = port_of(&tap);
        // What somebody else put on a tap that netd does not shape is theirs.
        let changed = !(before.is_none() && args.shape.is_none())
            && self.shape_tap(&shaped, before, &port)?;
        self.dirty |= changed;
        Ok(SetShapeReply {
            shape: args.shape,
            changed,
            ms: watch.ms(),
        })
    }

    /// That the kernel can do it, before anything is changed: `NETEM_MISSING`. Nothing tells but
    /// the attempt, which is made with nothing to set.
    pub(super) fn check_shape(&mut self, shape: &Shape) -> Result<()> {
        if shape.wants_netem() && !self.rtnl.has_discipline(LOOPBACK, "netem")? {
            return Err(Error::new(
                Code::NetemMissing,
                "this kernel has no netem (sch_netem): it cannot delay packets or lose them",
            )
            .hint(
                "A rate alone works without it. To have it: sudo modprobe sch_netem. Where there \
                 is no such module, it is in the package linux-modules-extra-$(uname -r) (Ubuntu) \
                 or kernel-modules-extra (Fedora).",
            )
            .subject("sch_netem"));
        }
        Ok(())
    }

    /// Holds a tap to its shape and notes that. As it was before, where that fails.
    fn shape_tap(&mut self, shaped: &Shaped, before: Shape, port: &Port<'_>) -> Result<bool> {
        if shaped.shape != before {
            self.record(shaped, shaped.shape)?;
        }
        match self.hold_shape(port, &shaped.shape) {
            Ok(changed) => {
                if shaped.shape.is_none() {
                    self.forget(shaped);
                }
                Ok(changed)
            }
            Err(error) => {
                let restored = self
                    .record(shaped, before)
                    .and_then(|()| self.hold_shape(port, &before).map(drop));
                match restored {
                    Ok(()) if before.is_none() => self.forget(shaped),
                    Ok(()) => {}
                    Err(error) => eprintln!("undo of set_shape {}: {error}", port.name),
                }
                Err(error)
            }
        }
    }

    /// Gives a tap that is not up yet its shape. Whoever fails after it calls
    /// [`Engine::hold_shapes`] once the tap is gone.
    pub(super) fn shape_new_tap(
        &mut self,
        owner: &Owner,
        port: &Port<'_>,
        shape: Shape,
    ) -> Result<()> {
        let (Some(guest), Some(nic)) = (owner.guest.clone(), owner.nic) else {
            return Ok(());
        };
        let shaped = Shaped {
            lab: owner.lab.clone(),
            network: owner.network.clone(),
            guest,
            nic,
            alias: port.alias.to_owned(),
            shape,
        };
        self.shape_tap(&shaped, Shape::default(), port).map(drop)
    }

    /// Holds all taps to what is recorded of them, and removes what is left of those that are gone.
    /// True when a tap was not as it should be.
    pub(super) fn hold_shapes(&mut self) -> Result<bool> {
        let all = self.shaped(|recorded| !recorded.removing);
        if all.is_empty() {
            return Ok(false);
        }
        let links = self.rtnl.links(Counters::Skip)?;
        let mut spoilt = false;
        let mut failed = None;
        for shaped in all {
            let _about = acts::about(&shaped.lab, &shaped.network);
            let tap = find(&links, "tun", &shaped.alias);
            match tap {
                Some(tap) if !shaped.shape.is_none() => {
                    match self.hold_shape(&port_of(tap), &shaped.shape) {
                        Ok(changed) => spoilt |= changed,
                        Err(error) => failed = Some(error),
                    }
                }
                tap => {
                    if let Err(error) = self.unshape(tap.map(port_of), &shaped) {
                        failed = Some(error);
                    }
                }
            }
        }
        failed.map_or(Ok(spoilt), Err)
    }

    /// Takes the shapes of a network that goes away off.
    pub(super) fn remove_shapes(&mut self, recorded: &Recorded, out: &mut Removed) {
        if recorded.shapes.is_empty() {
            return;
        }
        let name = &recorded.spec.name;
        let links = match self.rtnl.links(Counters::Skip) {
            Ok(links) => links,
            Err(error) => return out.failed.push(error.into()),
        };
        for shaped in self.shaped(|other| other.spec.name == *name) {
            let tap = find(&links, "tun", &shaped.alias).map(port_of);
            if let Err(error) = self.unshape(tap, &shaped) {
                out.failed.push(error);
            }
        }
    }

    /// Gives the taps of a network what they were held to before it was taken down for another
    /// bridge. Of those that are gone nothing stays.
    pub(super) fn reshape(
        &mut self,
        network: &NetworkName,
        shapes: BTreeMap<(GuestName, Nic), Shape>,
    ) -> Result<()> {
        if shapes.is_empty() {
            return Ok(());
        }
        for ((guest, nic), shape) in shapes {
            self.journal.append(Entry::Shape {
                network: network.clone(),
                guest,
                nic,
                shape,
            })?;
        }
        self.hold_shapes().map(drop)
    }

    /// What each shaped tap is held to in the kernel, by its number; what cannot be read is logged.
    pub(super) fn read_shapes(&mut self) -> HashMap<u32, Shape> {
        let all = self.shaped(|_| true);
        if all.is_empty() {
            return HashMap::new();
        }
        let qdiscs = match self.rtnl.qdiscs() {
            Ok(qdiscs) => qdiscs,
            Err(error) => {
                eprintln!("read the shapes: {error}");
                return HashMap::new();
            }
        };
        let mut shapes = HashMap::new();
        for shaped in all {
            let Some(&tap) = self.taps.get(&shaped.alias) else {
                continue;
            };
            let Ok(Some(ifb)) = self.rtnl.redirected(tap) else {
                continue;
            };
            if let Some(held) =
                root(&qdiscs, tap).filter(|_| root(&qdiscs, ifb) == root(&qdiscs, tap))
            {
                shapes.insert(tap, held.shape());
            }
        }
        shapes
    }

    /// Takes everything off a tap, if there is one still, and notes that.
    fn unshape(&mut self, tap: Option<Port<'_>>, shaped: &Shaped) -> Result<()> {
        match tap {
            Some(port) => self.release(&port)?,
            None => self.delete_ifb(&shaped.alias)?,
        };
        self.forget(shaped);
        Ok(())
    }

    fn record(&mut self, shaped: &Shaped, shape: Shape) -> Result<()> {
        self.journal.append(Entry::Shape {
            network: shaped.network.clone(),
            guest: shaped.guest.clone(),
            nic: shaped.nic,
            shape,
        })
    }

    fn forget(&mut self, shaped: &Shaped) {
        self.journal.note(Entry::Unshaped {
            network: shaped.network.clone(),
            guest: shaped.guest.clone(),
            nic: shaped.nic,
        });
    }

    /// The NICs with a recorded shape, of the networks that are meant.
    fn shaped(&self, meant: impl Fn(&Recorded) -> bool) -> Vec<Shaped> {
        let networks = self.journal.state().networks.values();
        networks
            .filter(|recorded| meant(recorded))
            .flat_map(|recorded| {
                let network = &recorded.spec.name;
                recorded.shapes.iter().map(|((guest, nic), shape)| Shaped {
                    lab: recorded.lab.clone(),
                    network: network.clone(),
                    guest: guest.clone(),
                    nic: *nic,
                    alias: self.alias_of(&recorded.lab, network, guest, *nic),
                    shape: *shape,
                })
            })
            .collect()
    }

    fn alias_of(
        &self,
        lab: &LabName,
        network: &NetworkName,
        guest: &GuestName,
        nic: Nic,
    ) -> String {
        let owner = Owner {
            lab: lab.clone(),
            network: network.clone(),
            guest: Some(guest.clone()),
            nic: Some(nic),
        };
        label::format(self.config.identity.label_uid, &owner)
    }
}

fn find<'a>(links: &'a [LinkInfo], kind: &str, alias: &str) -> Option<&'a LinkInfo> {
    links
        .iter()
        .find(|link| link.kind == kind && link.alias == alias)
}
