// SPDX-License-Identifier: Apache-2.0
//! What holds a tap to a shape in the kernel: two disciplines, an `ifb` and a redirection.

use super::taps::labelled;
use super::{Engine, bridge};
use crate::acts::{self, deed};
use crate::rtnl::{Discipline, LinkChange, LinkInfo, NewIfb, Place, Qdisc};
use crate::{rtnl, sysctl};
use rustix::io::Errno;
use tapyard_protocol::{Code, Error, Result, Shape};

/// The lowest free `ifbN`, which the kernel looks for.
const NUMBERED: &str = "ifb%d";
/// So many numbers are tried for a new interface.
const NUMBER_TRIES: u32 = 8;

/// A tap as shaping knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port<'a> {
    pub(super) ifindex: u32,
    pub(super) name: &'a str,
    pub(super) mac: [u8; 6],
    pub(super) mtu: u32,
    pub(super) alias: &'a str,
}

/// A tap that is there.
pub(super) fn port_of(tap: &LinkInfo) -> Port<'_> {
    Port {
        ifindex: tap.ifindex,
        name: &tap.name,
        mac: <[u8; 6]>::try_from(tap.mac.as_slice()).unwrap_or_default(),
        mtu: tap.mtu,
        alias: &tap.alias,
    }
}

impl Engine {
    /// Brings the kernel to a shape, and reads it back. True when something was to be done.
    pub(super) fn hold_shape(&mut self, port: &Port<'_>, shape: &Shape) -> Result<bool> {
        let Some(wanted) = Discipline::of(shape, port.mtu) else {
            return self.release(port);
        };
        let qdiscs = self.rtnl.qdiscs()?;
        let set = |engine: &mut Engine, ifindex, name: &str| {
            let words = wanted.words();
            let set = deed(format!("held what {name} sends to {words}"))
                .command(format!("tc qdisc replace dev {name} root {words}"))
                .told(engine.rtnl.set_root(ifindex, name, &wanted));
            set.map_err(|e| missing(e, &format!("sch_{}", wanted.kind())))
        };
        let mut changed = false;
        if root(&qdiscs, port.ifindex) != Some(wanted) {
            set(self, port.ifindex, port.name)?;
            changed = true;
        }
        let (ifb, name, up) = match self.ifb_labelled(port.alias)? {
            Some(link) => (link.ifindex, link.name, link.up),
            None => {
                let (ifindex, name) = self.add_ifb(port)?;
                (ifindex, name, false)
            }
        };
        if root(&qdiscs, ifb) != Some(wanted) {
            set(self, ifb, &name)?;
            changed = true;
        }
        if !up {
            // It needs no address. Here and not where it is made: netd may be killed in between.
            sysctl::disable_ipv6(&name).map_err(|e| {
                Error::kernel(format!("switch IPv6 of {name} off"), &e).subject(&*name)
            })?;
            let change = LinkChange {
                no_link_local: true,
                up: Some(true),
                ..LinkChange::default()
            };
            deed(format!("switched {name} on"))
                .command(format!(
                    "echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6\n\
                     ip link set {name} addrgenmode none up"
                ))
                .told(self.rtnl.change_link(ifb, &name, &change))?;
            changed = true;
        }
        if self.rtnl.redirected(port.ifindex)? != Some(ifb) {
            let tap = port.name;
            deed(format!(
                "led what comes from the guest at {tap} through {name}"
            ))
            .command(format!(
                "tc qdisc add dev {tap} ingress\n\
                     tc filter add dev {tap} parent ffff: protocol all prio 1 u32 match u32 0 0 \
                     action mirred egress redirect dev {name}"
            ))
            .told(self.lead_through(port, ifb))?;
            changed = true;
        }
        if changed {
            self.verify_shape(port, ifb, wanted)?;
        }
        Ok(changed)
    }

    fn verify_shape(&mut self, port: &Port<'_>, ifb: u32, wanted: Discipline) -> Result<()> {
        let qdiscs = self.rtnl.qdiscs()?;
        let holds = [port.ifindex, ifb]
            .iter()
            .all(|ifindex| root(&qdiscs, *ifindex) == Some(wanted));
        if holds && self.rtnl.redirected(port.ifindex)? == Some(ifb) {
            return Ok(());
        }
        let why = format!("{} was given a shape, but has another one now", port.name);
        Err(Error::new(Code::Kernel, why)
            .hint("Some other program uses tc on it at the same time; try again.")
            .subject(port.name))
    }

    fn lead_through(&mut self, port: &Port<'_>, ifb: u32) -> Result<()> {
        let &Port { ifindex, name, .. } = port;
        // With whatever filters it has.
        self.rtnl.delete_qdisc(ifindex, name, Place::Ingress)?;
        let added = self.rtnl.add_ingress(ifindex, name);
        added.map_err(|e| missing(e, "sch_ingress"))?;
        let redirected = self.rtnl.redirect(ifindex, name, ifb);
        redirected.map_err(|e| missing(e, "cls_u32 or act_mirred"))
    }

    /// Without its redirection first: what is sent to an interface that is gone is lost.
    pub(super) fn release(&mut self, port: &Port<'_>) -> Result<bool> {
        let &Port { ifindex, name, .. } = port;
        let mut delete = |place| self.rtnl.delete_qdisc(ifindex, name, place);
        let deleted = delete(Place::Ingress).and_then(|()| delete(Place::Root));
        deed(format!("let {name} send and get as fast as it can"))
            .command(format!(
                "tc qdisc del dev {name} ingress\ntc qdisc del dev {name} root"
            ))
            .told(deleted)?;
        self.delete_ifb(port.alias)?;
        Ok(true)
    }

    /// Its label and, as whoever calls this knows, the journal say that it is ours.
    pub(super) fn delete_ifb(&mut self, alias: &str) -> Result<bool> {
        let Some(link) = self.ifb_labelled(alias)? else {
            return Ok(false);
        };
        deed(format!("removed {}", link.name))
            .command(format!("ip link delete {}", link.name))
            .told(self.rtnl.delete_link(link.ifindex, &link.name))?;
        self.ifbs.remove(alias);
        Ok(true)
    }

    fn ifb_labelled(&mut self, alias: &str) -> Result<Option<LinkInfo>> {
        labelled(&mut self.rtnl, &mut self.ifbs, alias)
    }

    /// Named after the tap where that is free and fits.
    fn add_ifb(&mut self, port: &Port<'_>) -> Result<(u32, String)> {
        self.check_tap_quota(port.name)?;
        let own = format!("ifb-{}", port.name);
        let names = [own.as_str(), NUMBERED];
        // IFNAMSIZ, with its NUL.
        let mut names = names.into_iter().filter(|name| name.len() < 16).peekable();
        let mut tries = 0;
        let ifindex = loop {
            tries += 1;
            let ifindex = bridge::random_number()?;
            let new = NewIfb {
                ifindex,
                name: names.peek().copied().unwrap_or(NUMBERED),
                mac: port.mac,
                mtu: port.mtu,
                alias: port.alias,
            };
            match self.rtnl.add_ifb(&new) {
                Ok(()) => break ifindex,
                Err(e) if matches!(e.errno, Errno::EXIST | Errno::BUSY) && tries < NUMBER_TRIES => {
                    names.next();
                }
                Err(error) => return Err(missing(error, "ifb")),
            }
        };
        self.ifbs.insert(port.alias.to_owned(), ifindex);
        self.count_tap(ifindex);
        let link = self.rtnl.link(ifindex)?.ok_or_else(|| {
            Error::new(
                Code::Kernel,
                format!("the ifb of {} is gone again", port.name),
            )
        })?;
        let (name, &Port { mtu, alias, .. }) = (link.name, port);
        let mac = port.mac.map(|byte| format!("{byte:02x}")).join(":");
        deed(format!(
            "made {name}, where what comes from the guest waits"
        ))
        .command(format!(
            "ip link add {name} address {mac} mtu {mtu} type ifb\n\
                 ip link set {name} alias {}",
            acts::shell([alias])
        ))
        .done();
        Ok((ifindex, name))
    }
}

/// The root discipline of an interface, where it is one that netd could have set.
pub(super) fn root(qdiscs: &[Qdisc], ifindex: u32) -> Option<Discipline> {
    qdiscs
        .iter()
        .find(|qdisc| qdisc.ifindex == ifindex && qdisc.place == Place::Root)
        .and_then(|qdisc| qdisc.discipline)
}

/// The kernel has none of a kind: ENOENT for disciplines, filters and actions, EOPNOTSUPP for
/// interfaces.
fn missing(error: rtnl::Error, module: &str) -> Error {
    if !matches!(error.errno, Errno::NOENT | Errno::OPNOTSUPP) {
        return error.into();
    }
    let message = format!("this kernel has no {module}: {error}");
    Error::new(Code::ShaperMissing, message)
        .hint("Load it: sudo modprobe. The kernels of distributions have it as a module.")
        .subject(module)
}
