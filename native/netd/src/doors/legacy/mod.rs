// SPDX-License-Identifier: Apache-2.0
//! Doors of the old iptables, IPv4's and IPv6's, which nf_tables knows nothing of.
//!
//! Only where its table is there already: whoever looks into one that is not makes it, for as long
//! as the network namespace lives. The distribution's own program does it, which needs root for
//! its lock; netd is told of changes by that lock's file.

mod listing;
mod old;
mod run;

pub(super) use old::{ALL, IPV4, IPV6, Old};

use super::Wanted;
use super::tables::{Hook, Table};
use crate::acts::{self, Told, deed};
use crate::programs;
use listing::{parse, specifications};
use run::run;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

const LOCK_FOLDER: &str = "/run";
const LOCK: &str = "xtables.lock";
/// What the program says when another has the lock.
const HELD: &str = "holding the xtables lock";
/// How often rules are taken away that somebody else puts back.
const ROUNDS: usize = 3;

/// The old iptables of this network namespace.
#[derive(Debug)]
pub(super) struct Legacy {
    watch: OwnedFd,
    /// The rules when somebody was last told of a change. What netd writes itself is told once too:
    /// the kernel makes one event of two that follow each other, so they say nothing of whose.
    told: Vec<Option<String>>,
    /// Somebody kept the lock from us, so that what the rules said could not be done.
    missed: bool,
}

impl Legacy {
    pub(super) fn open() -> io::Result<Legacy> {
        let legacy = Legacy {
            watch: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            told: Vec::new(),
            missed: false,
        };
        // Without the folder there is nobody to lock.
        let _ = add_watch(&legacy.watch, LOCK_FOLDER, WatchFlags::CREATE);
        legacy.watch_lock();
        Ok(legacy)
    }

    fn watch_lock(&self) {
        let lock = format!("{LOCK_FOLDER}/{LOCK}");
        let _ = add_watch(
            &self.watch,
            lock,
            WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE,
        );
    }

    /// Readable when somebody had the lock.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Takes what is there. Whether the rules are others than when this was last true,
    /// or can be had again.
    pub(super) fn on_readable(&mut self) -> bool {
        if !self.drain() {
            return false;
        }
        let listed: std::result::Result<Vec<_>, _> =
            ALL.into_iter().map(|old| self.list(old)).collect();
        let listed = match listed {
            Ok(listed) => listed,
            // Who keeps the lock from us lets it go, and that is an event again.
            Err(_) => {
                self.drain();
                return false;
            }
        };
        // Our own look.
        self.drain();
        let changed = listed != self.told;
        self.told = listed;
        changed | std::mem::take(&mut self.missed)
    }

    /// Whether there was an event of the lock.
    fn drain(&mut self) -> bool {
        let mut any = false;
        let mut appeared = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::CREATE) {
                appeared |= event
                    .file_name()
                    .is_some_and(|name| name.to_bytes() == LOCK.as_bytes());
            } else {
                any = true;
            }
        }
        if appeared {
            self.watch_lock();
        }
        any || appeared
    }

    /// Its filter table; none where there is none, or where that cannot be known.
    pub(super) fn read(&mut self, old: &Old) -> std::result::Result<Option<Table>, String> {
        Ok(self.list(old)?.as_deref().map(parse))
    }

    fn list(&mut self, old: &Old) -> std::result::Result<Option<String>, String> {
        match old.is_there() {
            true => self.run(old, &["-S"]).map(Some),
            false => Ok(None),
        }
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
        for rule in old.rules(hook, network).iter().rev() {
            let mut args = vec!["-I", chain, "1"];
            args.extend(rule.iter().map(String::as_str));
            self.run(old, &args)?;
        }
        Ok(())
    }

    /// Takes a network's accepts out of a chain. True when there was one.
    pub(super) fn remove(
        &mut self,
        old: &Old,
        chain: &str,
        label: &str,
    ) -> std::result::Result<bool, String> {
        if !old.is_there() {
            return Ok(false);
        }
        take_out(chain, label, |args| self.run(old, args))
    }

    fn run(&mut self, old: &Old, args: &[&str]) -> std::result::Result<String, String> {
        let name = old.program;
        let Some(program) = programs::find(name) else {
            return Err(format!("{name} is not installed"));
        };
        let mut command = Command::new(program);
        command.args(["-w", "2"]).args(args).env_clear();
        let done = run(command).map_err(|e| format!("{name} {}: {e}", args.join(" ")));
        if args.first().is_some_and(|arg| *arg != "-S") {
            let what = match args.first() {
                Some(&"-I") => "let a network through the old iptables",
                _ => "took an accept out of the old iptables",
            };
            deed(what)
                .command(acts::shell([name].iter().chain(args)))
                .told(done.as_ref().map_err(Told::told))
                .ok();
        }
        self.missed |= done.as_ref().is_err_and(|why| why.contains(HELD));
        done
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

    #[test]
    fn events_are_not_counted() {
        let mut legacy = Legacy {
            watch: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap(),
            told: Vec::new(),
            missed: false,
        };
        assert!(!legacy.drain());
        let file = std::env::temp_dir().join(format!("tapyard-lock-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        add_watch(&legacy.watch, &file, WatchFlags::CLOSE_NOWRITE).unwrap();
        // Ours and, right behind it, another's: the kernel makes one event of them.
        for _ in 0..2 {
            drop(std::fs::File::open(&file).unwrap());
        }
        assert!(legacy.drain());
        assert!(!legacy.drain());
        std::fs::remove_file(&file).unwrap();
    }
}
