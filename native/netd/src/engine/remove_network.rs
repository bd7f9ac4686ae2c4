// SPDX-License-Identifier: Apache-2.0
//! `remove_network`: take a network away, past every error.

use super::{Engine, subnets_of};
use crate::acts::{self, deed};
use crate::conntrack::Which;
use crate::dnsmasq::Dnsmasq;
use crate::journal::Entry;
use tapyard_protocol::{Error, NetworkName, RemoveNetwork, Removed, Result, Subnet};

impl Engine {
    /// See the protocol page.
    pub fn remove_network(&mut self, args: &RemoveNetwork) -> Result<Removed> {
        self.check_lab(&args.lab)?;
        let recorded = self.journal.state().networks.get(&args.network);
        if recorded.is_none_or(|recorded| recorded.lab != args.lab) {
            return Ok(Removed::default());
        }
        Ok(self.take_down(&args.network))
    }

    /// Removes what the journal says was made for this network. What fails stays in the journal
    /// as `removing`, so that asking again tries again.
    pub(super) fn take_down(&mut self, name: &NetworkName) -> Removed {
        let mut out = Removed::default();
        let Some(recorded) = self.journal.state().networks.get(name).cloned() else {
            return out;
        };
        let _about = acts::about(&recorded.lab, name);
        self.dirty = true;
        self.journal.note(Entry::Removing { name: name.clone() });
        self.nameless.insert(name.clone());
        if !recorded.exposed.is_empty() {
            out.note(self.conceal(), Some(format!("ports that lead to {name}")));
        }
        let ended = self.end_dns(name);
        out.note_if(ended, || format!("dnsmasq of {name}"));
        let withdrawn = self.remove_proxies(&recorded);
        out.note_if(withdrawn, || format!("proxy ARP for {name}"));
        self.remove_shapes(&recorded, &mut out);
        let given_back = self.give_back(&recorded);
        out.note_if(given_back, || match &recorded.spec.interface {
            Some(interface) => format!("{interface} from bridge {name}"),
            None => format!("the port of bridge {name}"),
        });
        let deleted = match recorded.spec.has_own_bridge() {
            false => self.release_ports(&recorded).map(|()| false),
            true => self.remove_bridge(&recorded),
        };
        let gone = deleted.is_ok();
        out.note_if(deleted, || format!("bridge {name}"));
        let own = recorded.spec.has_own_bridge();
        let stands = own && !gone && self.is_standing(&recorded);
        match stands {
            true => self.standing.insert(name.clone()),
            false => self.standing.remove(name),
        };
        let (doors, failed) = self.remove_doors(&recorded);
        out.failed.extend(failed);
        out.note_if(Ok(doors), || format!("doors of {name} in other firewalls"));
        out.note(self.hold_guard().map(drop), None);
        if own && !stands {
            let subnet = recorded.spec.subnet.map(Subnet::net);
            let filter = self.filter.remove_network(name, subnet);
            out.note(
                filter.map_err(Error::from),
                Some(format!("filter of {name}")),
            );
        }
        // A subnet that something else has now is not the network's to clear.
        if gone && self.check_subnet(&recorded.spec).is_ok() {
            for subnet in subnets_of(&recorded.spec) {
                let cleared = self.clear_connections(subnet, Which::All);
                out.note(cleared.map(drop), None);
            }
        }
        let files = self.config.directory.remove_dns(name);
        let files = files.map_err(|e| Error::kernel(format!("remove {name}'s lease files"), &e));
        out.note(files, None);
        if out.failed.is_empty() {
            // Before the network is forgotten: the next netd would not know of the table.
            if self.journal.state().networks.len() == 1 {
                self.close_all(&mut out);
            }
            self.journal.note(Entry::Removed { name: name.clone() });
        }
        if !self.journal.state().networks.is_empty() {
            // Its addresses are no bridge's any more, and those that are left may need no way out, or
            // none of IPv6.
            let closed = self.plan_uplink().and_then(|()| self.hold_filter());
            self.pause_unused();
            out.note(closed.map(drop), None);
        }
        out
    }

    /// With the last network the uplink is put back and the tables go. They stay where an interface
    /// could not be put back, for they keep the machine from being a router, and where a bridge stands.
    pub(super) fn close_all(&mut self, out: &mut Removed) {
        for device in self.journal.state().opened.clone() {
            let what = format!("forwarding of {device}");
            out.note(self.close(device), Some(what));
        }
        for device in self.journal.state().opened6.clone() {
            let what = format!("IPv6 forwarding of {device}");
            out.note(self.close6(device), Some(what));
        }
        if self.journal.state().router6 {
            let what = "IPv6 forwarding of this computer".to_owned();
            out.note(self.end_router6(), Some(what));
        }
        let state = self.journal.state();
        if !(state.opened.is_empty() && state.opened6.is_empty())
            || state.router6
            || !self.standing.is_empty()
        {
            return;
        }
        let deleted = self.filter.delete();
        out.note_if(deleted.map_err(Error::from), || {
            format!("table inet {}", self.table)
        });
        out.note(self.delete_guard().map(drop), None);
    }

    /// Ends a dnsmasq whose network the journal does not know, and removes its files: netd was
    /// killed between the two.
    pub(super) fn sweep_dns(&mut self) {
        for name in self.config.directory.dns_names() {
            if self.journal.state().networks.contains_key(&name) {
                continue;
            }
            if let Ok(directory) = self.config.directory.dns(&name)
                && let Some(dnsmasq) = Dnsmasq::running(&directory)
            {
                let deed = deed(format!(
                    "ended dnsmasq for {name}, which is no network any more"
                ));
                let deed = deed.command(acts::kill(dnsmasq.pid()));
                dnsmasq.end();
                deed.done();
            }
            if let Err(e) = self.config.directory.remove_dns(&name) {
                eprintln!("remove {name}'s lease files: {e}");
            }
        }
    }
}

/// Gathers what went and what did not.
pub(super) trait Note {
    /// A removal whose success is worth telling as `what`, or not at all.
    fn note(&mut self, result: Result<()>, what: Option<String>);
    /// A removal that says whether there was something.
    fn note_if(&mut self, result: Result<bool>, what: impl Fn() -> String);
}

impl Note for Removed {
    fn note(&mut self, result: Result<()>, what: Option<String>) {
        match result {
            Ok(()) => self.removed.extend(what),
            Err(error) => self.failed.push(error),
        }
    }

    fn note_if(&mut self, result: Result<bool>, what: impl Fn() -> String) {
        match result {
            Ok(true) => self.removed.push(what()),
            Ok(false) => {}
            Err(error) => self.failed.push(error),
        }
    }
}
