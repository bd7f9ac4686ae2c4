// SPDX-License-Identifier: Apache-2.0
//! What IPv6 takes besides a switch of one interface: bridges that are routers to their guests, and
//! before Linux 6.17 a machine that is a router, and forwards nothing but what is a lab's.
//!
//! Writing `forwarding` makes the kernel forget the routes that it has from router advertisements, but of
//! interfaces whose `accept_ra` is 2; that of `all` is written to every interface besides. So it is
//! written in one place, which puts back what the kernel changes with it: in the end `all.forwarding` is
//! what differs, and no interface is a router's to its neighbours.

use super::Engine;
use crate::acts::deed;
use crate::journal::{Disturbed6, Entry};
use crate::sysctl::{self, ALL, FOR_LABS, Router6};
use std::io;
use tapyard_protocol::{Error, Mode, NetworkName, Result, Scope};

/// Takes router advertisements whatever `forwarding` is.
const ANY_RA: i32 = 2;

impl Engine {
    /// Decides whether the machine is to be a router for labs, and records it. One that is to be no
    /// longer is none when this returns.
    pub(super) fn plan_router6(&mut self, wanted: bool) -> Result<()> {
        let made = self.journal.state().router6;
        match sysctl::router6() {
            // Theirs: neither to be guarded nor to be switched off.
            Router6::Yes if made => self.journal.note(Entry::NoRouter6),
            Router6::Yes => {}
            _ if wanted && !made => self.journal.append(Entry::Router6)?,
            _ if made && !wanted => self.end_router6()?,
            _ => {}
        }
        Ok(())
    }

    /// Whether somebody changed what [`Engine::plan_router6`] decides by.
    pub(super) fn is_router6_doubtful(&self) -> bool {
        if self.config.identity.scope == Scope::Private || sysctl::forwards_single6() {
            return false;
        }
        match (self.journal.state().router6, sysctl::router6()) {
            (true, now) => now != Router6::ForLabs,
            (false, now) => now == Router6::No && self.sends_ipv6(),
        }
    }

    /// Whether IPv6 from port to port of anybody's bridge may be dropped as what the machine forwards:
    /// br_netfilter can show it to the filter, of all bridges or of one.
    pub(super) fn is_switched6_shown(&self) -> bool {
        self.journal.state().router6 && sysctl::bridged_are_shown()
    }

    /// Makes the machine no router, if it is still one by a netd's doing and no other netd needs it.
    pub(super) fn end_router6(&mut self) -> Result<()> {
        if sysctl::router6() == Router6::ForLabs
            && !self.is_router6_left_to_others()?
            && let Err(error) = self.write_routing6(ALL, 0)
        {
            return Err(error.hint("Do it yourself: sysctl -w net.ipv6.conf.all.forwarding=0"));
        }
        self.journal.note(Entry::NoRouter6);
        Ok(())
    }

    /// As `is_left_to_others` of interfaces.
    fn is_router6_left_to_others(&mut self) -> Result<bool> {
        if !self.filter.others_router6()? {
            return Ok(false);
        }
        self.filter.set_router6(false)?;
        let left = self.filter.others_router6()?;
        if left {
            deed("left this computer forwarding IPv6, for the labs of another user").done();
        }
        Ok(left)
    }

    /// Makes the machine a router where that is decided, and bridges routers to their guests where they
    /// lead out. True when something was otherwise.
    pub(super) fn hold_router6(&mut self) -> Result<bool> {
        let mut changed = false;
        if self.journal.state().router6 && sysctl::router6() == Router6::No {
            self.write_routing6(ALL, FOR_LABS)?;
            changed = true;
        }
        let networks = self.journal.state().networks.values();
        let ours = networks.filter(|n| !n.removing && n.spec.mode != Mode::Bridged);
        let bridges: Vec<(String, bool)> = ours
            .filter(|network| network.spec.ipv6.is_some())
            .map(|n| (n.spec.name.to_string(), n.spec.mode.forwards()))
            .collect();
        for (bridge, wanted) in bridges {
            // One that is gone is told elsewhere.
            if sysctl::routing6(&bridge).is_ok_and(|now| (now != 0) != wanted) {
                self.write_routing6(&bridge, wanted.into())?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Writes `forwarding` of an interface or of all, and puts back what that changes besides.
    fn write_routing6(&mut self, name: &str, value: i32) -> Result<()> {
        let before = self.before_routing6(name, value);
        let disturbs = before != Disturbed6::default() || (name == ALL && value != 0);
        if disturbs {
            self.journal.append(Entry::Disturbed6(before.clone()))?;
        }
        let mut commands = Commands::default();
        let mut written = before
            .raised
            .iter()
            .try_for_each(|device| commands.accept_ra(device, ANY_RA));
        if written.is_ok() {
            written = commands.routing(name, value);
        }
        let names = match name {
            ALL => sysctl::names6(),
            _ => Vec::new(),
        };
        let settled = settle(&before, &names, &mut commands);
        let what = match (name, value) {
            (ALL, 0) => "made this computer no router of IPv6 any more".to_owned(),
            (ALL, _) => {
                "made this computer a router of IPv6, for labs alone: this kernel cannot forward \
                 for one interface alone"
                    .to_owned()
            }
            (bridge, 0) => format!("made {bridge} no router of IPv6 to its guests any more"),
            (bridge, _) => format!("made {bridge} a router of IPv6 to its guests"),
        };
        let failed = |e| Error::kernel(format!("switch IPv6 forwarding of {name}"), &e);
        let done = written.and(settled).map_err(|e| failed(e).subject(name));
        deed(what).command(commands.0.join("\n")).told(done)?;
        if disturbs {
            self.journal.note(Entry::Settled6);
        }
        Ok(())
    }

    /// What writing it will change besides.
    fn before_routing6(&self, name: &str, value: i32) -> Disturbed6 {
        let mut before = Disturbed6::default();
        if name == ALL {
            let values = sysctl::names6()
                .into_iter()
                .map(|name| (sysctl::routing6(&name).unwrap_or(0), name));
            // What a write of netd's to all of them left is nobody's wish.
            let wished = values.filter(|(now, _)| !matches!(*now, 0 | FOR_LABS));
            before.forwarding = wished.map(|(now, name)| (name, now)).collect();
        }
        if value != 0 || !before.forwarding.is_empty() {
            let ours = self.journal.state().networks.keys();
            let ours: Vec<&str> = ours.map(NetworkName::as_str).collect();
            let hosts = sysctl::addressed6().into_iter();
            let hosts = hosts.filter(|name| name != "lo" && !ours.contains(&name.as_str()));
            before.raised = hosts
                .filter(|name| sysctl::accept_ra(name).is_ok_and(|now| now == 1))
                .collect();
        }
        before
    }

    /// Puts back what a netd that was killed in [`Engine::write_routing6`] left. What it was is in the
    /// journal alone, which a user can write, so of a user it counts as far as the kernel shows it.
    pub(super) fn settle_routing6(&mut self) {
        let Some(mut before) = self.journal.state().disturbed6.clone() else {
            return;
        };
        let identity = &self.config.identity;
        if identity.scope == Scope::Host && identity.label_uid != 0 {
            eprintln!("what was to be put back is not proved by anything: {before:?}");
            before = Disturbed6::default();
        }
        let mut commands = Commands::default();
        let settled = settle(&before, &sysctl::names6(), &mut commands);
        let settled = settled.map_err(|e| Error::kernel("put IPv6 forwarding back", &e));
        if !commands.0.is_empty() || settled.is_err() {
            let deed = deed("put back what IPv6 forwarding was, which a helper before it left");
            if let Err(error) = deed.command(commands.0.join("\n")).told(settled) {
                eprintln!("{error}");
                return;
            }
        }
        self.journal.note(Entry::Settled6);
    }
}

/// Puts back what writing `forwarding` changed of these names. Goes on past what fails, and gives the
/// first error. A value that somebody else wrote meanwhile stays.
fn settle(before: &Disturbed6, names: &[String], commands: &mut Commands) -> io::Result<()> {
    let mut done = Ok(());
    for name in names {
        let wanted = before.forwarding.get(name).copied().unwrap_or(0);
        let now = sysctl::routing6(name);
        if now.is_ok_and(|now| now != wanted && matches!(now, 0 | FOR_LABS)) {
            done = done.and(commands.routing(name, wanted));
        }
    }
    // Last: until here the kernel may forget routes.
    for device in &before.raised {
        if sysctl::accept_ra(device).is_ok_and(|now| now == ANY_RA) {
            done = done.and(commands.accept_ra(device, 1));
        }
    }
    done
}

/// What was written, as a shell would.
#[derive(Default)]
struct Commands(Vec<String>);

impl Commands {
    fn routing(&mut self, name: &str, value: i32) -> io::Result<()> {
        self.write(name, "forwarding", value, sysctl::set_routing6)
    }

    fn accept_ra(&mut self, name: &str, value: i32) -> io::Result<()> {
        self.write(name, "accept_ra", value, sysctl::set_accept_ra)
    }

    /// An interface that is gone has nothing to be written.
    fn write(
        &mut self,
        name: &str,
        key: &str,
        value: i32,
        set: fn(&str, i32) -> io::Result<()>,
    ) -> io::Result<()> {
        match set(name, value) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && name != ALL => Ok(()),
            Ok(()) => {
                let path = format!("/proc/sys/net/ipv6/conf/{name}/{key}");
                self.0.push(format!("echo {value} > {path}"));
                Ok(())
            }
            failed => failed,
        }
    }
}
