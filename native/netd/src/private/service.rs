// SPDX-License-Identifier: Apache-2.0
//! pasta, kept running: started when the host has a default route, anew when it ended by itself
//! or the route moved, adopted after netd itself was killed.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tapyard_protocol::{Code, Error, Result};

use super::namespaces::Namespaces;
use super::pasta::{self, Wanted};
use super::record::Recorded;
use crate::acts::{self, deed};
use crate::process::Process;

/// The wait before the first, second … start after it ended by itself; the last one repeats.
const BACKOFF: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];
/// One that ran for so long is not failing in a loop.
const STEADY: Duration = Duration::from_secs(60);
/// How long it may take to set IPv6 up behind IPv4: where the interface that it takes both from has none,
/// it leaves IPv6 out, and nothing tells that it is done.
const SETTLES: Duration = Duration::from_secs(1);
/// How long it may take to go when it is killed.
const END_DEADLINE: Duration = Duration::from_secs(2);

/// pasta, or why it does not run.
#[derive(Debug, Default)]
pub(super) struct Service {
    running: Option<Running>,
    /// How often in a row it ended by itself or did not start.
    failures: usize,
    /// When to start it again.
    retry: Option<Instant>,
    /// Why it does not run.
    trouble: Option<Error>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    wanted: Wanted,
    since: Instant,
    /// What it says; not that of an adopted one.
    words: Option<File>,
    /// Whether it is stopped; not known of an adopted one.
    paused: Option<bool>,
    /// When it is to be stopped, where it may not have made its interface yet.
    pause_at: Option<Instant>,
}

/// What to do about pasta.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Start,
    Restart,
}

/// One without a route to take stays: it carries nothing, and its flows live on should the same
/// route come back. One whose route moved is bound to what is no more.
fn decide(running: Option<&Wanted>, wanted: Option<&Wanted>, due: bool) -> Step {
    match (running, wanted) {
        (Some(running), Some(wanted)) if running != wanted => Step::Restart,
        (None, Some(_)) if due => Step::Start,
        _ => Step::Nothing,
    }
}

impl Service {
    /// Takes over one that a netd before this one started, if it does what is wanted; ends it
    /// otherwise. Whether the lab has IPv6 is not known yet, so either will do.
    pub(super) fn adopt(&mut self, process: Process, wanted: Option<&Wanted>) {
        let either = wanted.and_then(|wanted| {
            let flavours = [true, false].map(|ipv6| Wanted {
                ipv6,
                ..wanted.clone()
            });
            flavours
                .into_iter()
                .find(|wanted| pasta::is_as_wanted(&process, wanted))
        });
        match either {
            Some(wanted) => {
                deed(format!("took over pasta, process {}", process.pid())).done();
                self.running = Some(Running {
                    process,
                    wanted,
                    since: Instant::now(),
                    words: None,
                    paused: None,
                    pause_at: None,
                });
            }
            None => end(&process),
        }
    }

    /// Whether the one that runs was started to carry IPv6.
    pub(super) fn carries_ipv6(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.wanted.ipv6)
    }

    /// Stops it while the lab's ways out are shut, or lets it go on. What it has from the internet and
    /// has not yet delivered it delivers then: it would not send again what the filter dropped, as long
    /// as more comes (`tcp_data_from_tap` of 2023), and a stream would stand still for good.
    pub(super) fn pause(&mut self, may: bool) {
        let Some(running) = &mut self.running else {
            return;
        };
        // One that is stopped before it has made its interface never makes it.
        running.pause_at = (may && running.wanted.ipv6)
            .then(|| running.since + SETTLES)
            .filter(|at| *at > Instant::now());
        if running.pause_at.is_some() {
            return;
        }
        let before = running.paused.replace(may);
        if before == Some(may) {
            return;
        }
        let (signal, name, what) = match may {
            true => (
                Signal::STOP,
                "STOP",
                "stopped pasta while the lab has no way out",
            ),
            false => (Signal::CONT, "CONT", "let pasta go on"),
        };
        if running.process.signal(signal) && before.is_some() {
            deed(what)
                .command(format!("kill -{name} {}", running.process.pid()))
                .done();
        }
    }

    /// Its number as the owner sees it.
    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.process.pid())
    }

    /// Readable when it has ended.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.process.fd())
    }

    /// Why there is no way out although one is wanted: `PASTA_MISSING`, `PASTA_FAILED`.
    pub(super) fn trouble(&self) -> Option<&Error> {
        self.trouble.as_ref()
    }

    /// When [`Service::follow`] has something to do by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pause = self.running.as_ref().and_then(|running| running.pause_at);
        pause.into_iter().chain(self.retry).min()
    }

    /// Takes notice of its end. True when it has ended.
    pub(super) fn look(&mut self) -> bool {
        let Some(running) = self
            .running
            .take_if(|running| running.process.ended_within(Duration::ZERO))
        else {
            return false;
        };
        if running.since.elapsed() > STEADY {
            self.failures = 0;
        }
        let words = running
            .words
            .as_ref()
            .map_or_else(|| "it ended".to_owned(), pasta::last_words);
        deed("pasta ended by itself").failed(failed(&words));
        self.failed(failed(&words));
        true
    }

    /// Brings it to what is wanted. `record` is told of a new one before it does anything.
    pub(super) fn follow(
        &mut self,
        wanted: Option<&Wanted>,
        namespaces: &Namespaces,
        record: impl FnOnce(Recorded) -> Result<()>,
    ) {
        let pause = self.running.as_ref().and_then(|running| running.pause_at);
        if pause.is_some_and(|at| at <= Instant::now()) {
            self.pause(true);
        }
        let due = self.retry.is_none_or(|at| at <= Instant::now());
        let running = self.running.as_ref().map(|running| &running.wanted);
        match (decide(running, wanted, due), wanted) {
            (Step::Nothing, _) | (_, None) => {}
            (Step::Start, Some(wanted)) => self.start(wanted, namespaces, record),
            (Step::Restart, Some(wanted)) => {
                self.end();
                self.start(wanted, namespaces, record);
            }
        }
        if wanted.is_none() {
            // The next start waits for a route, and is none after a failure.
            self.retry = None;
            self.failures = 0;
            self.trouble = None;
        }
    }

    /// Ends it. True when there was one.
    pub(super) fn end(&mut self) -> bool {
        let running = self.running.take();
        if let Some(running) = &running {
            end(&running.process);
        }
        running.is_some()
    }

    fn start(
        &mut self,
        wanted: &Wanted,
        namespaces: &Namespaces,
        record: impl FnOnce(Recorded) -> Result<()>,
    ) {
        let start = || -> Result<Running> {
            let program = pasta::program().ok_or_else(missing)?;
            let words = |e: std::io::Error| failed(&e.to_string());
            let unreleased = pasta::start(&program, wanted, namespaces).map_err(words)?;
            record(unreleased.identity)?;
            let (process, words) = unreleased.release().map_err(words)?;
            Ok(Running {
                process,
                wanted: wanted.clone(),
                since: Instant::now(),
                words: Some(words),
                paused: Some(false),
                pause_at: None,
            })
        };
        let deed = deed("started pasta, the way out").command(pasta::command(wanted));
        match start() {
            Ok(running) => {
                deed.done();
                self.running = Some(running);
                self.retry = None;
                self.trouble = None;
            }
            Err(error) => {
                if self.trouble.as_ref() != Some(&error) {
                    deed.failed(error.clone());
                }
                self.failed(error);
            }
        }
    }

    fn failed(&mut self, error: Error) {
        // A missing pasta stays missing for long; once is enough in the log.
        if self.trouble.as_ref() != Some(&error) {
            eprintln!("{error}");
        }
        self.retry = Some(Instant::now() + BACKOFF[self.failures.min(BACKOFF.len() - 1)]);
        self.failures += 1;
        self.trouble = Some(error);
    }
}

/// It keeps nothing that it would have to put away.
fn end(process: &Process) {
    process.signal(Signal::KILL);
    deed("ended pasta")
        .command(acts::kill(process.pid()))
        .done();
    if !process.ended_within(END_DEADLINE) {
        eprintln!("pasta (process {}) does not end", process.pid());
    }
}

fn missing() -> Error {
    Error::new(
        Code::PastaMissing,
        "there is no pasta on this machine, so the lab has no way out",
    )
    .hint("Install it (Debian: apt install passt); the lab gets its way out within half a minute.")
    .subject("pasta")
}

fn failed(words: &str) -> Error {
    Error::new(
        Code::PastaFailed,
        format!("pasta, which carries the lab's traffic: {words}"),
    )
    .hint("netd starts it again by itself, at most every 30 s.")
    .subject("pasta")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasta_follows_the_route() {
        let on = |device: &str| Wanted {
            keeper: 7,
            device: device.into(),
            forward_dns: false,
            ipv6: false,
        };
        let (eth0, wlan0) = (on("eth0"), on("wlan0"));
        assert_eq!(decide(None, None, true), Step::Nothing);
        assert_eq!(decide(None, Some(&eth0), true), Step::Start);
        assert_eq!(decide(None, Some(&eth0), false), Step::Nothing);
        assert_eq!(decide(Some(&eth0), Some(&eth0), true), Step::Nothing);
        assert_eq!(decide(Some(&eth0), None, true), Step::Nothing);
        assert_eq!(decide(Some(&eth0), Some(&wlan0), false), Step::Restart);
        let both = Wanted {
            ipv6: true,
            ..on("eth0")
        };
        assert_eq!(decide(Some(&eth0), Some(&both), false), Step::Restart);
    }
}
