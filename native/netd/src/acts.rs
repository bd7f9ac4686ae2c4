// SPDX-License-Identifier: Apache-2.0
//! What netd did: who asked, in words, and the command to the same end. A change is told where it
//! is made; whose it is is set by whoever lets it happen ([`asked_by`], [`by_itself`],
//! [`about`]). netd has one thread, so the log is the thread's.

use rustix::process::Pid;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};
use tapyard_protocol::{Act, Asker, ClientKind, Code, Error, LabName, NetworkName, RecipeStep};

/// So many are remembered.
const KEPT: usize = 1000;
/// Bytes of a command; one of dnsmasq has about 700.
const COMMAND_LIMIT: usize = 4096;
/// A command is broken behind so many.
const LINE: usize = 72;
/// What is told seldom is told again after so long, ms.
const PAUSE: u64 = 60_000;
/// Bytes of any other text.
const TEXT_LIMIT: usize = 512;

thread_local! {
    static LOG: RefCell<Log> = RefCell::new(Log::default());
}

/// The acts and what the next one is told with.
#[derive(Debug, Default)]
struct Log {
    acts: VecDeque<Act>,
    seq: u64,
    /// The last one that [`fresh`] gave.
    told: u64,
    by: Option<Asker>,
    about: Option<(LabName, NetworkName)>,
}

/// One that is not told yet.
#[derive(Debug)]
#[must_use]
pub struct Deed {
    what: String,
    command: Option<String>,
    recipe: Option<RecipeStep>,
    seldom: bool,
}

/// In words, one line.
pub fn deed(what: impl Into<String>) -> Deed {
    Deed {
        what: what.into(),
        command: None,
        recipe: None,
        seldom: false,
    }
}

impl Deed {
    /// The command to the same end, or several, one a line.
    pub fn command(mut self, command: impl Into<String>) -> Deed {
        self.command = Some(command.into());
        self
    }

    /// The recipe has the command.
    pub fn recipe(mut self, step: RecipeStep) -> Deed {
        self.recipe = Some(step);
        self
    }

    /// A guest can bring it about as often as it likes: the log is not its to fill.
    pub fn seldom(mut self) -> Deed {
        self.seldom = true;
        self
    }

    /// It was done.
    pub fn done(self) {
        self.end(None);
    }

    /// It was not.
    pub fn failed(self, error: Error) {
        self.end(Some(error));
    }

    /// It was done or not; hands on how it went.
    pub fn told<T, E: Told>(self, result: Result<T, E>) -> Result<T, E> {
        self.end(result.as_ref().err().map(Told::told));
        result
    }

    fn end(self, error: Option<Error>) {
        LOG.with_borrow_mut(|log| {
            let (lab, network) = log.about.clone().unzip();
            let act = Act {
                seq: 0,
                time: now(),
                lab,
                network,
                by: log.by.clone().unwrap_or_else(|| itself("its start")),
                what: line(&self.what),
                command: self.command.map(|text| plain(&text, COMMAND_LIMIT)),
                recipe: self.recipe,
                error: error.map(tame),
            };
            if !(self.seldom && log.has_lately(&act)) {
                log.push(act);
            }
        });
    }
}

/// A failure that a deed ends with.
pub trait Told {
    /// As it travels.
    fn told(&self) -> Error;
}

impl Told for Error {
    fn told(&self) -> Error {
        self.clone()
    }
}

impl Told for crate::nft::Error {
    fn told(&self) -> Error {
        Error::new(Code::Kernel, format!("nf_tables: {self}"))
    }
}

impl Told for crate::rtnl::Error {
    fn told(&self) -> Error {
        Error::new(Code::Kernel, self.to_string())
    }
}

impl Told for std::io::Error {
    fn told(&self) -> Error {
        Error::new(Code::Kernel, self.to_string())
    }
}

/// In the words of somebody else's program.
impl Told for String {
    fn told(&self) -> Error {
        Error::new(Code::Kernel, self.clone())
    }
}

impl Log {
    /// Whether the same was told within [`PAUSE`].
    fn has_lately(&self, act: &Act) -> bool {
        let latest = self.acts.iter().rev();
        let mut latest = latest.take_while(|told| act.time.abs_diff(told.time) < PAUSE);
        latest.any(|told| {
            (&told.what, &told.by, &told.error) == (&act.what, &act.by, &act.error)
                && (&told.lab, &told.network) == (&act.lab, &act.network)
        })
    }

    fn push(&mut self, mut act: Act) {
        self.seq += 1;
        act.seq = self.seq;
        if self.acts.len() == KEPT {
            self.acts.pop_front();
        }
        self.acts.push_back(act);
    }
}

/// Puts back what was set before.
#[derive(Debug)]
#[must_use]
pub struct Until<T: 'static>(Option<T>, fn(&mut Log) -> &mut Option<T>);

impl<T> Drop for Until<T> {
    fn drop(&mut self) {
        LOG.with_borrow_mut(|log| *self.1(log) = self.0.take());
    }
}

fn set<T>(value: T, field: fn(&mut Log) -> &mut Option<T>) -> Until<T> {
    Until(LOG.with_borrow_mut(|log| field(log).replace(value)), field)
}

/// Until its end, what is done was asked for by this client.
pub fn asked_by(asker: Asker) -> Until<Asker> {
    set(asker, |log| &mut log.by)
}

/// Until its end, what is done was asked for by nobody; `cause` says why it is done.
pub fn by_itself(cause: &str) -> Until<Asker> {
    asked_by(itself(cause))
}

/// Until its end, what is done is done for this network.
pub fn about(lab: &LabName, network: &NetworkName) -> Until<(LabName, NetworkName)> {
    set((lab.clone(), network.clone()), |log| &mut log.about)
}

/// Begins anew, in a process that was forked: the acts are its parent's to tell.
pub fn forget() {
    LOG.set(Log::default());
}

/// What netd remembers, the oldest first.
pub fn all() -> Vec<Act> {
    LOG.with_borrow(|log| log.acts.iter().cloned().collect())
}

/// What was done since this was asked last. What was forgotten meanwhile is missing.
pub fn fresh() -> Vec<Act> {
    LOG.with_borrow_mut(|log| {
        let told = std::mem::replace(&mut log.told, log.seq);
        let new = log.acts.iter().filter(|act| act.seq > told);
        new.cloned().collect()
    })
}

/// Whether [`fresh`] would give something.
pub fn is_fresh() -> bool {
    LOG.with_borrow(|log| log.seq > log.told)
}

/// Takes in what another process of this netd did.
pub fn take_over(acts: Vec<Act>) {
    LOG.with_borrow_mut(|log| acts.into_iter().for_each(|act| log.push(act)));
}

/// Who is on a connection. The program's name is its own word.
pub fn client(uid: u32, pid: Pid, client: Option<ClientKind>) -> Asker {
    let pid = pid.as_raw_pid().unsigned_abs();
    let comm = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Asker::Client {
        uid,
        pid,
        program: line(String::from_utf8_lossy(&comm).trim_end()),
        client,
    }
}

/// `kill` as a user would type it.
pub fn kill(pid: u32) -> String {
    format!("kill {pid}")
}

/// A command line: words of `[A-Za-z0-9_@%+=:,./-]` as they are, others in single quotes (XCU 2.2).
/// A long one is broken before its options.
pub fn shell<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    let quoted: Vec<String> = words
        .into_iter()
        .map(|word| match word.as_ref() {
            word if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
            word => format!("'{}'", word.replace('\'', r"'\''")),
        })
        .collect();
    let mut out = String::new();
    let mut column = 0;
    for word in quoted {
        let breaks = word.starts_with('-') && column + word.len() > LINE;
        if !out.is_empty() {
            out.push_str(if breaks { " \\\n  " } else { " " });
            column = if breaks { 2 } else { column + 1 };
        }
        column += word.len();
        out.push_str(&word);
    }
    out
}

fn itself(cause: &str) -> Asker {
    Asker::Itself {
        cause: cause.to_owned(),
    }
}

/// What clients sent may stand in an error: nothing of it reaches a terminal but as text.
fn tame(error: Error) -> Error {
    Error {
        code: error.code,
        message: plain(&error.message, TEXT_LIMIT),
        hint: error.hint.map(|hint| plain(&hint, COMMAND_LIMIT)),
        subject: error.subject.map(|subject| line(&subject)),
    }
}

fn line(text: &str) -> String {
    plain(&text.replace('\n', " "), TEXT_LIMIT)
}

/// Without control characters but newlines, nor those that turn the direction of what follows.
fn plain(text: &str, limit: usize) -> String {
    let hostile = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > limit {
            out.push('…');
            break;
        }
        out.push(if hostile(c) { '\u{fffd}' } else { c });
    }
    out
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_has_its_asker_and_its_network() {
        let lab: LabName = "seed".parse().unwrap();
        let network: NetworkName = "br0".parse().unwrap();
        deed("first").done();
        {
            let _by = by_itself("somebody changed nf_tables");
            let _about = about(&lab, &network);
            deed("second").command("ip link").done();
        }
        deed("third").failed(Error::new(Code::NotAllowed, "no"));
        let acts = fresh();
        let told: Vec<_> = acts
            .iter()
            .map(|act| {
                (
                    act.seq,
                    act.what.as_str(),
                    act.network.is_some(),
                    act.by.clone(),
                )
            })
            .collect();
        let start = itself("its start");
        assert_eq!(
            told,
            [
                (1, "first", false, start.clone()),
                (2, "second", true, itself("somebody changed nf_tables")),
                (3, "third", false, start),
            ]
        );
        assert_eq!(
            acts[2].error.as_ref().map(|e| e.code),
            Some(Code::NotAllowed)
        );
        assert!(fresh().is_empty() && !is_fresh());
        assert_eq!(all().len(), 3);
    }

    #[test]
    fn memory_is_bounded_and_text_is_text() {
        for _ in 0..KEPT + 5 {
            deed("x\n\u{1b}[31m\u{202e}".repeat(1000))
                .command("y".repeat(100_000))
                .done();
        }
        let acts = all();
        assert_eq!((acts.len(), acts[0].seq), (KEPT, 6));
        for act in &acts {
            assert!(act.what.len() < TEXT_LIMIT + 8);
            assert!(!act.what.contains(['\u{1b}', '\n', '\u{202e}']));
            assert!(
                act.command
                    .as_ref()
                    .is_some_and(|c| c.len() < COMMAND_LIMIT + 8)
            );
        }
    }

    #[test]
    fn what_a_guest_can_repeat_is_told_once_in_a_while() {
        let leased = || deed("leased").seldom();
        for _ in 0..KEPT {
            leased().done();
        }
        leased().failed(Error::new(Code::Kernel, "no"));
        {
            let _by = by_itself("something else");
            leased().done();
        }
        assert_eq!(all().len(), 3);
        LOG.with_borrow_mut(|log| log.acts.iter_mut().for_each(|act| act.time -= PAUSE));
        leased().done();
        assert_eq!(all().len(), 4);
    }

    #[test]
    fn words_for_a_shell() {
        assert_eq!(shell(["a", "b c", "d'e", ""]), r"a 'b c' 'd'\''e' ''");
        let long = format!("--{}", "x".repeat(60));
        let broken = format!("a {long} \\\n  {long}");
        assert_eq!(shell(["a", &long, &long]), broken);
    }
}
