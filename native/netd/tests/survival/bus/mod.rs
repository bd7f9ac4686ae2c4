// SPDX-License-Identifier: Apache-2.0
//! A system bus of the test's own, with a firewalld and a systemd-resolved on it that know what they
//! were told, and can fail at any message.

pub mod firewalld;
pub mod resolved;
mod state;
pub mod wire;

use std::fs;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde_json::Value;

use state::{Request, State};
use wire::Call;

/// Where netd looks for it.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// No message, and no line either.
const GARBAGE: &[u8] = b"\xff\x00garbage";

/// What goes wrong with a message of netd's. What ends or waits does so until [`Bus::go_on`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends, and nothing was done.
    Cut,
    /// It was done, and the connection ends without an answer.
    CutAfter,
    /// It was done, and what comes back is no message.
    Garbage,
    /// It was done, and the answer is a number where something else belongs, to another call.
    Nonsense,
    /// It was done, and the answer comes late.
    Late,
    /// It is done late.
    Stall,
    /// Nothing on the bus moves.
    Hang,
    /// Refused for a reason that nobody has heard of.
    Refuse,
    /// Who was called has ended, and comes again.
    Death,
    /// The bus has ended, and everybody who was on it.
    BusDeath,
    /// firewalld is reloaded before.
    Reload,
    /// Everybody on the bus is restarted before.
    Restart,
}

pub const FAULTS: [Fault; 12] = [
    Fault::Cut,
    Fault::CutAfter,
    Fault::Garbage,
    Fault::Nonsense,
    Fault::Late,
    Fault::Stall,
    Fault::Hang,
    Fault::Refuse,
    Fault::Death,
    Fault::BusDeath,
    Fault::Reload,
    Fault::Restart,
];

impl Fault {
    /// It goes on until the end of it.
    pub fn lasts(self) -> bool {
        use Fault::{BusDeath, Death, Hang, Late, Stall};
        matches!(self, BusDeath | Death | Hang | Late | Stall)
    }

    /// netd takes it for a no.
    pub fn is_answer(self) -> bool {
        use Fault::{Hang, Late, Nonsense, Refuse, Stall};
        matches!(self, Hang | Late | Nonsense | Refuse | Stall)
    }

    /// It is one of those on the bus who fails.
    pub fn is_of_service(self) -> bool {
        matches!(self, Fault::Death | Fault::Stall)
    }

    /// Whether a message to this service can meet it.
    pub fn is_of(self, service: &str) -> bool {
        !self.is_of_service() || service != wire::BUS
    }
}

/// The bus. Its clones are one.
#[derive(Debug, Clone)]
pub struct Bus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    goes_on: Condvar,
}

impl Bus {
    /// Starts it and its services.
    pub fn start() -> Bus {
        fs::create_dir_all("/run/dbus").unwrap();
        let listener = UnixListener::bind(SOCKET).unwrap();
        let bus = Bus(Arc::new(Shared {
            state: Mutex::new(State::start()),
            goes_on: Condvar::new(),
        }));
        let accepting = bus.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let bus = accepting.clone();
                let stream = stream.unwrap();
                std::thread::spawn(move || bus.serve(stream));
            }
        });
        bus
    }

    /// What its services know.
    pub fn state(&self) -> Value {
        self.lock().known()
    }

    /// Has this go wrong with the message of this number, counted from now and 0.
    pub fn fail(&self, fault: Fault, at: usize) {
        let mut state = self.lock();
        state.messages.clear();
        state.met = None;
        state.fault = Some((fault, at));
    }

    /// The message with which it went wrong.
    pub fn met(&self) -> Option<String> {
        self.lock().met.clone()
    }

    /// Whom messages were for since then.
    pub fn messages(&self) -> Vec<&'static str> {
        self.lock().messages.clone()
    }

    /// Nobody is connected.
    pub fn is_alone(&self) -> bool {
        self.lock().clients.is_empty()
    }

    /// firewalld is reloaded.
    pub fn reload(&self) {
        self.lock().reload();
    }

    /// A service is restarted.
    pub fn restart(&self, service: &'static str) {
        self.lock().end(service);
        self.go_on();
    }

    /// The bus is restarted, and everybody on it.
    pub fn restart_all(&self) {
        self.lock().die();
        self.go_on();
    }

    /// Where it went wrong already, it is well again.
    pub fn go_on_if_met(&self) {
        if self.met().is_some() {
            self.go_on();
        }
    }

    /// What ended comes again, and what waits goes on.
    pub fn go_on(&self) {
        self.lock().go_on();
        self.0.goes_on.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// A connection, until it ends.
    fn serve(&self, mut stream: UnixStream) {
        let client = self.lock().welcome(stream.try_clone().unwrap());
        let _ = self.converse(client, &mut stream);
        let _ = stream.shutdown(Shutdown::Both);
        self.lock().clients.remove(&client);
    }

    fn converse(&self, client: usize, stream: &mut UnixStream) -> io::Result<()> {
        let line = line(stream)?;
        assert!(line.starts_with("\0AUTH EXTERNAL "), "{line:?}");
        self.take(client, Request::Auth)?;
        assert_eq!(self::line(stream)?, "BEGIN\r\n");
        loop {
            self.take(client, Request::Call(Call::read(stream)?))?;
        }
    }

    /// Does what is asked and answers it, as well as that goes. An error ends the connection.
    fn take(&self, client: usize, request: Request) -> io::Result<()> {
        let moving = |state| {
            self.0
                .goes_on
                .wait_while(state, |state: &mut State| state.hangs)
        };
        let mut state = moving(self.lock()).unwrap();
        let fault = state.fault(&request);
        match fault {
            Some(Fault::Cut) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::BusDeath) => state.die(),
            Some(Fault::Death) => state.end(request.service()),
            Some(Fault::Stall) => state.stalls = Some(request.service()),
            Some(Fault::Reload) => state.reload(),
            Some(Fault::Restart) => {
                state.end(firewalld::NAME);
                state.end(resolved::NAME);
                state.revive();
            }
            Some(Fault::Hang) => {
                state.hangs = true;
                state = moving(state).unwrap();
            }
            _ => {}
        }
        if !state.clients.contains_key(&client) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.stalls == Some(request.service()) {
            state.stalled.push((client, request));
            return Ok(());
        }
        let answer = match fault {
            Some(Fault::Refuse) => request.refused(),
            _ => state.carry_out(client, &request),
        };
        match fault {
            Some(Fault::CutAfter) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Late) => state.late.push((client, answer)),
            Some(Fault::Garbage) => state.send(client, &GARBAGE.repeat(100)),
            Some(Fault::Nonsense) => state.send(client, &request.nonsense()),
            _ => state.send(client, &answer),
        }
        Ok(())
    }
}

/// A line of the authentication.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8(line).unwrap())
}
