// SPDX-License-Identifier: Apache-2.0
//! Doors in the old iptables: where one is needed, and taking them away.

use super::legacy::{Old, Sight};
use super::tables::{Family, Hook, Table};
use super::{DOCKER_USER, Doors, Look, labelled, packets, record};
use tapyard_protocol::{Code, Door, DoorState, Error, Firewall, NetworkName, Result};

impl Doors {
    pub(super) fn remove_legacy(
        &mut self,
        old: &Old,
        chain: &str,
        name: &NetworkName,
        label: &str,
    ) -> Result<bool> {
        self.legacy.remove(old, chain, label).map_err(|why| {
            Error::new(Code::Kernel, format!("remove the doors of {name}: {why}"))
                .hint(format!(
                    "Look for rules with its comment: {} -S",
                    old.program
                ))
                .subject(name.as_str())
        })
    }

    /// The old iptables of one family; answers the doors that are there.
    pub(super) fn hold_legacy(&mut self, old: &Old, look: &mut Look<'_>) -> Vec<Door> {
        if old.family == Family::Ip6 && look.network.ipv6.is_none() {
            return Vec::new();
        }
        let door = |chain: &str, state, command, reason| Door {
            chain: format!("{} filter {chain}", old.program),
            firewall: match chain {
                DOCKER_USER => Firewall::Docker,
                _ => Firewall::Iptables,
            },
            state,
            command,
            reason,
        };
        let label = &look.network.label;
        let shut = |chain: &str, hook, reason| {
            let command = old.command(chain, hook, look.network);
            door(chain, DoorState::Shut, Some(command), Some(reason))
        };
        let mut table = match self.legacy.read(old) {
            Ok(Sight::Table(table)) => table,
            Ok(Sight::Nothing) => return Vec::new(),
            Ok(Sight::Unseen) => return vec![unseen(old)],
            Err(reason) => return vec![shut("FORWARD", Hook::Forward, reason)],
        };
        for base in table.bases.clone() {
            let docker = base.hook == Hook::Forward && table.rules.contains_key(DOCKER_USER);
            let chains = docker.then_some(DOCKER_USER).into_iter();
            for chain in chains.chain([base.name.as_str()]) {
                if !packets::dropped(&table, old.family, &base, look.network) {
                    break;
                }
                let opened = record(look, old.place(chain)).and_then(|_| {
                    self.legacy.open_door(old, chain, base.hook, look.network)?;
                    Ok(match self.legacy.read(old)? {
                        Sight::Table(table) => table,
                        Sight::Nothing | Sight::Unseen => Table::default(),
                    })
                });
                match opened {
                    Ok(read) => {
                        look.changed = true;
                        table = read;
                    }
                    Err(reason) => look.closed.push(shut(chain, base.hook, reason)),
                }
            }
        }
        let chains = table.rules.keys();
        chains
            .filter(|chain| labelled(&table, chain, label).next().is_some())
            .map(|chain| door(chain, DoorState::Open, None, None))
            .collect()
    }
}

/// There may be a table, which may drop something.
fn unseen(old: &Old) -> Door {
    Door {
        chain: format!("{} filter", old.program),
        firewall: Firewall::Iptables,
        state: DoorState::Unseen,
        command: Some(format!("{} -S", old.program)),
        reason: Some(
            "this kernel shows its tables to root alone; a network helper that sudo or polkit starts sees them"
                .to_owned(),
        ),
    }
}
