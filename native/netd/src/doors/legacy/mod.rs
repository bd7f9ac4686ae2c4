// SPDX-License-Identifier: Apache-2.0
//! Doors of the old iptables, IPv4's and IPv6's, which nf_tables knows nothing of.
//!
//! Only where its table is there already: whoever looks into one that is not makes it, for as long
//! as the network namespace lives. The distribution's own program does it.

mod hooks;
mod kept;
mod listing;
mod lock;
mod old;
mod presence;
mod retry;
mod run;
mod watch;

pub use kept::Kept;
pub(super) use old::{ALL, IPV4, IPV6, Old};

use super::Wanted;
use super::tables::{Hook, Table};
use crate::acts::{self, Told, deed};
use crate::nft::socket::Socket;
use crate::programs;
use listing::{parse, specifications};
use lock::{HELD, Quiet};
use presence::Presence;
use retry::Retry;
use run::run;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::time::Instant;
use tapyard_protocol::{Error, Result as Done};
use watch::Watch;

/// What the program says when somebody without the lock was quicker.
const OUTRUN: &str = "Resource temporarily unavailable";
/// How often that is tried again.
const TRIES: usize = 5;
/// How often rules are taken away that somebody else puts back.
const ROUNDS: usize = 3;

/// What there is to see of an old filter table.
#[derive(Debug)]
pub(super) enum Sight {
    Table(Table),
    Nothing,
    /// Only root can know whether there is one.
    Unseen,
}

/// The old iptables of this network namespace.
#[derive(Debug)]
pub(super) struct Legacy {
    kept: Kept,
    watch: Watch,
    socket: Socket,
    /// While changes follow one another.
    quiet: Option<Quiet>,
    /// The rules when somebody was last told of a change; none since netd changed them itself. That
    /// is told once too: the kernel makes one event of two that follow each other, so they say
    /// nothing of whose.
    told: Vec<Option<String>>,
    /// Somebody kept the lock from us, so that what the rules said could not be done.
    missed: bool,
    /// What failed otherwise: the program was killed, say.
    retry: Retry,
}

impl Legacy {
    pub(super) fn open(kept: Kept) -> Done<Legacy> {
        Ok(Legacy {
            kept,
            watch: Watch::open().map_err(|e| Error::kernel("watch the lock of iptables", &e))?,
            socket: Socket::open()?,
            quiet: None,
            told: Vec::new(),
            missed: false,
            retry: Retry::default(),
        })
    }

    /// Readable when somebody had the lock.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Takes what is there. Whether the rules are others than when this was last true,
    /// or can be had again.
    pub(super) fn on_readable(&mut self) -> bool {
        if !self.watch.drain() {
            return false;
        }
        let listed: std::result::Result<Vec<_>, _> =
            ALL.into_iter().map(|old| self.list(old)).collect();
        let Ok(listed) = listed else {
            self.plan_retry(Instant::now(), false);
            return false;
        };
        let changed = listed != self.told;
        self.told = listed;
        changed | std::mem::take(&mut self.missed)
    }

    /// After a look at networks, or `all` of them: whether some of it has to be tried again, and when.
    pub(super) fn plan_retry(&mut self, now: Instant, all: bool) {
        self.retry.plan(now, all);
    }

    /// When what failed is tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry.at
    }

    /// Whether that is now; it says so once.
    pub(super) fn is_retry_due(&mut self, now: Instant) -> bool {
        self.retry.is_due(now)
    }

    /// Its filter table.
    pub(super) fn read(&mut self, old: &Old) -> std::result::Result<Sight, String> {
        Ok(match self.presence(old) {
            Presence::There => Sight::Table(parse(&self.run(old, &["-S"])?)),
            Presence::Absent => Sight::Nothing,
            Presence::Unseen => Sight::Unseen,
        })
    }

    fn list(&mut self, old: &Old) -> std::result::Result<Option<String>, String> {
        match self.presence(old) {
            Presence::There => self.run(old, &["-S"]).map(Some),
            Presence::Absent | Presence::Unseen => Ok(None),
        }
    }

    fn presence(&mut self, old: &Old) -> Presence {
        presence::look(old, &self.kept, &mut self.socket)
    }

    /// Puts a network's accepts at the head of a chain.
    pub(super) fn open_door(
        &mut self,
        old: &Old,
        chain: &str,
        hook: Hook,
        network: &Wanted,
    ) -> std::result::Result<(), String> {
        self.remove(old, chain, &network.label)?;
        let rules = old.rules(hook, network);
        let done = rules.iter().rev().try_for_each(|rule| {
            let mut args = vec!["-I", chain, "1"];
            args.extend(rule.iter().map(String::as_str));
            self.run(old, &args).map(drop)
        });
        self.quiet = None;
        done
    }

    /// Takes a network's accepts out of a chain. True when there was one.
    pub(super) fn remove(
        &mut self,
        old: &Old,
        chain: &str,
        label: &str,
    ) -> std::result::Result<bool, String> {
        let done = match self.presence(old) {
            Presence::There => take_out(chain, label, |args| self.run(old, args)),
            Presence::Absent => Ok(false),
            Presence::Unseen => Err(format!("the tables of {} are root's to see", old.program)),
        };
        self.quiet = None;
        done
    }

    fn run(&mut self, old: &Old, args: &[&str]) -> std::result::Result<String, String> {
        let name = old.program;
        let Some(program) = programs::find(name) else {
            return Err(format!("{name} is not installed"));
        };
        // The kernel gives a table as a whole; and a look that took the lock would be taken for a
        // change, or hide the one that somebody makes right after it.
        let looks = args.first() == Some(&"-S");
        let run = || {
            let mut command = Command::new(&program);
            command.args(["-w", "2"]).args(args).env_clear();
            if looks || !lock::is_the_programs() {
                lock::take_none(&mut command);
            }
            run(command).map_err(|e| format!("{name} {}: {e}", args.join(" ")))
        };
        let done = match looks {
            true => run(),
            false => {
                let done = self.change(run);
                let what = match args {
                    ["-I", ..] => "let a network through the old iptables",
                    _ => "took an accept out of the old iptables",
                };
                deed(what)
                    .command(acts::shell([name].iter().chain(args)))
                    .told(done.as_ref().map_err(Told::told))
                    .ok();
                done
            }
        };
        if let Err(why) = &done {
            match why.contains(HELD) {
                true => self.missed = true,
                false => self.retry.failed = true,
            }
        }
        done
    }

    fn change(
        &mut self,
        mut run: impl FnMut() -> std::result::Result<String, String>,
    ) -> std::result::Result<String, String> {
        let mut tries = 0;
        loop {
            let turn = lock::wait(&self.kept, &mut self.quiet)?;
            let done = run();
            drop(turn);
            // What changed nothing is no event that has to be told.
            if done.is_ok() {
                self.told.clear();
            }
            tries += 1;
            // Another netd, which cannot have the lock either, or somebody who does not take it.
            if tries == TRIES || !done.as_ref().is_err_and(|why| why.contains(OUTRUN)) {
                return done;
            }
        }
    }
}

/// Deletes the rules with this label, by their own words: a rule's number may be another rule's by
/// the time it is named, because each run of iptables has the lock for itself.
fn take_out(
    chain: &str,
    label: &str,
    mut run: impl FnMut(&[&str]) -> std::result::Result<String, String>,
) -> std::result::Result<bool, String> {
    let mut any = false;
    let mut refused = None;
    for _ in 0..ROUNDS {
        let found = specifications(&run(&["-S"])?, chain, label);
        if found.is_empty() {
            return Ok(any);
        }
        for rule in &found {
            let mut args = vec!["-D", chain];
            args.extend(rule.iter().map(String::as_str));
            // Somebody else may have been quicker; the next look tells.
            match run(&args) {
                Ok(_) => any = true,
                Err(why) => refused = Some(why),
            }
        }
    }
    match specifications(&run(&["-S"])?, chain, label).is_empty() {
        true => Ok(any),
        false => Err(refused.unwrap_or_else(|| format!("somebody puts them back into {chain}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::listing::words;
    use super::*;

    #[test]
    fn rules_are_deleted_by_their_words_whatever_others_insert() {
        let ours = |port: &str| {
            format!(
                "-A INPUT -i br0 -p udp -m udp --dport {port} -m comment --comment \"l 1\" -j ACCEPT"
            )
        };
        let foreign = "-A INPUT -s 10.9.9.9/32 -j DROP".to_owned();
        let mut rules = vec![ours("67"), ours("53"), foreign.clone()];
        let inserted = "-A INPUT -s 10.8.8.8/32 -j DROP".to_owned();
        let mut ran = Vec::new();
        let done = take_out("INPUT", "l 1", |args| {
            ran.push(args.join(" "));
            let listed = rules.join("\n");
            if args[0] == "-S" {
                // As an administrator would, after each look.
                rules.insert(0, inserted.clone());
                return Ok(listed);
            }
            let at = rules.iter().position(|rule| words(rule)[2..] == args[2..]);
            at.map(|at| rules.remove(at))
                .map(|_| String::new())
                .ok_or_else(|| "Bad rule".to_owned())
        });
        assert_eq!(done, Ok(true));
        assert_eq!(rules, [inserted.clone(), inserted, foreign]);
        assert!(
            ran.iter()
                .all(|args| args == "-S" || args.contains("--comment l 1 "))
        );
    }

    #[test]
    fn rules_that_cannot_be_deleted_are_told() {
        let line = "-A FORWARD -i br0 -m comment --comment l -j ACCEPT";
        let stuck = take_out("FORWARD", "l", |args| match args[0] {
            "-S" => Ok(line.to_owned()),
            _ => Err("no lock".to_owned()),
        });
        assert_eq!(stuck, Err("no lock".to_owned()));
        let mut looks = 0;
        let gone = take_out("FORWARD", "l", |args| {
            if args[0] != "-S" {
                return Err("Bad rule".to_owned());
            }
            looks += 1;
            Ok(if looks == 1 {
                line.to_owned()
            } else {
                String::new()
            })
        });
        assert_eq!(gone, Ok(false), "somebody else was quicker");
    }
}
