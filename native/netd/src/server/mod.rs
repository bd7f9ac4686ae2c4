// SPDX-License-Identifier: Apache-2.0
//! The socket: connections, their rules, and the loop.

mod connection;
mod dispatch;

use crate::acts::{self, deed};
use crate::engine::{Dialling, Engine, Source, changes};
use crate::wait;
use connection::{Connection, Input};
use dispatch::{Outcome, answer, dispatch, parse, refuse};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::UCred;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};
use tapyard_protocol::{Asker, Code, Error, Event, Rest, Result, Snapshot, to_line};

/// At most so many clients.
const CONNECTIONS: usize = 32;
/// So many more may be about to be closed; beyond that they are dropped without a word.
const CLOSING: usize = 32;
/// Events are gathered for so long, or, where a look at the kernel takes long (a thousand
/// interfaces), for so many times that.
const COALESCE: Duration = Duration::from_millis(20);
const COALESCE_FACTOR: u32 = 4;
/// So many acts in an event.
const ACTS_AT_ONCE: usize = 50;
/// How long the answer to `shutdown` may take to be read.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves until somebody asks for `shutdown`; then everything is removed and answered for, and
/// the caller exits. One thread, because netd forks and calls setns.
pub fn run(listener: UnixListener, engine: Engine) -> Result<()> {
    let mut server = Server {
        engine,
        rest: Rest::default(),
        connections: BTreeMap::new(),
        dials: BTreeMap::new(),
        next: 0,
        told: None,
        tell_at: None,
        again: false,
        coalesce: COALESCE,
    };
    loop {
        if server.turn(&listener)? {
            return Ok(());
        }
    }
}

struct Server {
    engine: Engine,
    /// The listener's.
    rest: Rest,
    connections: BTreeMap<u64, Connection>,
    /// Connections to guests on their way, by the client that waits: one each, as its requests
    /// are answered in order. With the request's number.
    dials: BTreeMap<u64, (u32, Dialling)>,
    /// The next connection's number.
    next: u64,
    /// What all observers know.
    told: Option<Snapshot>,
    /// When to tell them what has changed since.
    tell_at: Option<Instant>,
    /// The last look at the kernel failed.
    again: bool,
    /// How long events are gathered.
    coalesce: Duration,
}

/// What became ready.
enum Ready {
    Listener,
    Source(Source),
    Connection(u64, PollFlags),
    Dial(u64),
}

impl Server {
    /// Waits once and does what has become possible. True at the end.
    fn turn(&mut self, listener: &UnixListener) -> Result<bool> {
        let ready = self.wait(listener)?;
        let now = Instant::now();
        let mut connect = false;
        for ready in ready {
            match ready {
                // Last, so that clients that went make room first.
                Ready::Listener => connect = true,
                Ready::Source(source) => self.engine.on_readable(&source),
                Ready::Connection(id, flags) => {
                    if self.serve(id, flags) {
                        return Ok(true);
                    }
                }
                Ready::Dial(id) => {
                    if self.dialled(id) {
                        return Ok(true);
                    }
                }
            }
        }
        let overdue: Vec<u64> = self
            .dials
            .iter()
            .filter(|(_, (_, dialling))| dialling.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            if self.dialled(id) {
                return Ok(true);
            }
        }
        self.engine.on_deadline(now);
        self.connections
            .retain(|_, connection| !connection.is_done());
        self.dials.retain(|id, _| self.connections.contains_key(id));
        if connect {
            self.accept(listener);
        }
        if self.tell_at.is_some_and(|at| at <= Instant::now()) {
            self.tell();
        }
        // Behind `tell`, which mends and may hear of more meanwhile: no event tells of that again.
        if (self.engine.is_dirty() || acts::is_fresh()) && self.tell_at.is_none() {
            self.tell_at = Some(now + self.coalesce);
        }
        Ok(false)
    }

    fn wait(&self, listener: &UnixListener) -> Result<Vec<Ready>> {
        let mut ready = vec![Ready::Listener];
        let rest = self.rest.over();
        let mut accepting = PollFlags::empty();
        accepting.set(PollFlags::IN, rest.is_none());
        let mut fds = vec![PollFd::new(listener, accepting)];
        let sources = self.engine.sources();
        for (source, fd) in &sources {
            ready.push(Ready::Source(source.clone()));
            fds.push(PollFd::from_borrowed_fd(*fd, PollFlags::IN));
        }
        for (id, connection) in &self.connections {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, connection.wants_input());
            flags.set(PollFlags::OUT, connection.wants_output());
            ready.push(Ready::Connection(*id, flags));
            fds.push(PollFd::from_borrowed_fd(connection.fd(), flags));
        }
        for (id, (_, dialling)) in &self.dials {
            ready.push(Ready::Dial(*id));
            fds.push(PollFd::from_borrowed_fd(dialling.fd(), PollFlags::OUT));
        }
        let dials = self.dials.values().map(|(_, dialling)| dialling.deadline());
        let closing = self.connections.values().filter_map(Connection::deadline);
        let deadline = [self.tell_at, self.engine.deadline(), rest]
            .into_iter()
            .flatten()
            .chain(closing)
            .chain(dials)
            .min();
        let timeout = deadline.map(wait::left);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Error::kernel("wait for requests", &e.into())),
        }
        Ok(ready
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(ready, fd)| match ready {
                Ready::Connection(id, _) => Ready::Connection(id, fd.revents()),
                other => other,
            })
            .collect())
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Some((socket, _)) = self.rest.after(listener.accept()) {
            let open = self.connections.values().filter(|c| c.deadline().is_none());
            let peer = self.peer(&socket);
            let refusal = match &peer {
                Err(error) => Some(error.clone()),
                Ok(peer) => self.admit(peer.uid.as_raw()).err().or_else(|| {
                    (open.count() >= CONNECTIONS).then(|| {
                        Error::new(
                            Code::Busy,
                            format!("{CONNECTIONS} clients are connected already"),
                        )
                        .hint("Try again in a moment.")
                    })
                }),
            };
            if let (Ok(peer), Some(error)) = (&peer, &refusal) {
                let uid = self.engine.identity().outside(peer.uid.as_raw());
                let _by = acts::asked_by(acts::client(uid, peer.pid, None));
                deed("turned a client away").failed(error.clone());
            }
            if self.connections.len() >= CONNECTIONS + CLOSING {
                continue;
            }
            let mut connection = Connection::new(socket, peer.ok());
            if let Some(error) = refusal {
                connection.send(refuse(None, error), None);
                connection.close();
            }
            self.connections.insert(self.next, connection);
            self.next += 1;
        }
    }

    /// Who connects.
    fn peer(&self, socket: &UnixStream) -> Result<UCred> {
        socket
            .set_nonblocking(true)
            .map_err(|e| Error::kernel("set up a connection", &e))?;
        rustix::net::sockopt::socket_peercred(socket)
            .map_err(|e| Error::kernel("ask who connects", &e.into()))
    }

    /// The owner and root only. In a user namespace all others look like the overflow uid.
    fn admit(&self, uid: u32) -> Result<()> {
        if uid == 0 || uid == self.engine.identity().owner_uid_here {
            return Ok(());
        }
        Err(Error::new(
            Code::NotAllowed,
            format!("this netd serves another user than uid {uid}"),
        )
        .hint(
            "Only its owner and root may talk to it: run Tapyard as the user who brought the lab up. \
             Which labs are yours: tapyard ls",
        ))
    }

    /// Reads from, answers and writes to a client. True at the end of everything.
    fn serve(&mut self, id: u64, flags: PollFlags) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        connection.flush();
        if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            connection.receive();
        }
        self.answer_all(id)
    }

    /// Whatever has come is answered, also where the client has shut its side down since. True
    /// at the end of everything.
    fn answer_all(&mut self, id: u64) -> bool {
        while let Some(input) = self.input(id) {
            if self.handle(id, input) {
                return true;
            }
        }
        false
    }

    /// The connection to a guest is there, or will not be. True at the end of everything: what
    /// the client asked meanwhile is answered now.
    fn dialled(&mut self, id: u64) -> bool {
        let Some((number, dialling)) = self.dials.remove(&id) else {
            return false;
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.waits = false;
        }
        match dialling.finish() {
            Ok((reply, fd)) => self.send(id, answer(number, Ok(reply)), Some(fd)),
            Err(error) => self.send(id, refuse(Some(number), error), None),
        }
        self.answer_all(id)
    }

    fn input(&mut self, id: u64) -> Option<Input> {
        self.connections.get_mut(&id)?.next_input()
    }

    fn send(&mut self, id: u64, line: Vec<u8>, fd: Option<std::os::fd::OwnedFd>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.send(line, fd);
            connection.flush();
        }
    }

    /// Who is on a connection, for the acts.
    fn asker(&self, id: u64) -> Option<Asker> {
        let connection = self.connections.get(&id)?;
        let peer = connection.peer.as_ref()?;
        let uid = self.engine.identity().outside(peer.uid.as_raw());
        Some(acts::client(uid, peer.pid, connection.client))
    }

    fn handle(&mut self, id: u64, input: Input) -> bool {
        let _by = self.asker(id).map(acts::asked_by);
        let line = match input {
            Input::Line(line) => line,
            Input::LineWithFds(line) => {
                let number = match parse(&line) {
                    Ok(asked) => Some(asked.id),
                    Err((number, _)) => number,
                };
                let error = Error::new(
                    Code::BadMessage,
                    "a request carries no file descriptors; they are closed",
                );
                self.send(id, refuse(number, error), None);
                return false;
            }
            Input::TooLarge => {
                let error = Error::new(
                    Code::TooLarge,
                    "a request has at most 65536 bytes; the connection is closed",
                );
                self.send(id, refuse(None, error), None);
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.close();
                }
                return false;
            }
        };
        let asked = match parse(&line) {
            Ok(asked) => asked,
            Err((number, error)) => {
                deed("refused what is no request").failed(error.clone());
                self.send(id, refuse(number, error), None);
                return false;
            }
        };
        let number = asked.id;
        let greeted = self.connections.get(&id).is_some_and(|c| c.greeted);
        match dispatch(&mut self.engine, greeted, asked) {
            Outcome::Answer(line, fd) => self.send(id, line, fd),
            Outcome::Greeted(client, line) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.greeted = true;
                    connection.client = Some(client);
                }
                self.send(id, line, None);
            }
            Outcome::Dial(dialling) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.waits = true;
                }
                self.dials.insert(id, (number, *dialling));
            }
            Outcome::Observe => self.observe(id, number),
            Outcome::Shutdown => {
                let removed = self.engine.shutdown();
                // Whoever looks on hears of it before netd is gone.
                self.tell_acts();
                self.send(id, answer(number, Ok(removed)), None);
                self.farewell(id);
                return true;
            }
        }
        self.engine.after_reply();
        false
    }

    /// A new observer begins where the others are, so that one stream of events fits all.
    fn observe(&mut self, id: u64, number: u32) {
        self.tell();
        let snapshot = match self.told.clone() {
            Some(snapshot) => Ok(snapshot),
            None => self.engine.snapshot(),
        };
        if let Ok(snapshot) = &snapshot {
            self.told = Some(snapshot.clone());
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.observing = true;
            }
        }
        self.send(id, answer(number, snapshot), None);
    }

    /// Tells the observers what is different from what they know.
    fn tell(&mut self) {
        self.tell_at = None;
        let changed = self.engine.take_dirty() || std::mem::take(&mut self.again);
        self.tell_acts();
        if !self
            .connections
            .values()
            .any(|c| c.observing && !c.is_done())
        {
            self.told = None;
            return;
        }
        if !changed && self.told.is_some() {
            return;
        }
        let begin = Instant::now();
        let new = self.engine.snapshot();
        self.coalesce = COALESCE.max(begin.elapsed() * COALESCE_FACTOR);
        let new = match new {
            Ok(new) => new,
            Err(error) => {
                // Interfaces come and go faster than they can be listed: a little later again.
                eprintln!("look at the kernel: {error}");
                self.again = true;
                self.tell_at = Some(Instant::now() + self.coalesce);
                return;
            }
        };
        let Some(old) = self.told.replace(new) else {
            return;
        };
        let Some(new) = &self.told else { return };
        for event in changes(&old, new) {
            let Ok(line) = to_line(&event) else { continue };
            for connection in self.connections.values_mut().filter(|c| c.observing) {
                connection.send(line.clone(), None);
                connection.flush();
            }
        }
    }

    /// Tells the observers what was done.
    fn tell_acts(&mut self) {
        for acts in acts::fresh().chunks(ACTS_AT_ONCE) {
            let event = Event::Acts {
                acts: acts.to_vec(),
            };
            let Ok(line) = to_line(&event) else { continue };
            for connection in self.connections.values_mut().filter(|c| c.observing) {
                connection.send(line.clone(), None);
                connection.flush();
            }
        }
    }

    /// Gives the last answer time to leave.
    fn farewell(&mut self, id: u64) {
        let deadline = Instant::now() + FAREWELL;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        while connection.wants_output() && !connection.is_done() && Instant::now() < deadline {
            let pause = Timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            };
            let fd = connection.fd();
            // Whatever it says, the flush finds out.
            let _ = poll(
                &mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::OUT)],
                Some(&pause),
            );
            connection.flush();
        }
    }
}
