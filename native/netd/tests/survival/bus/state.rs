// SPDX-License-Identifier: Apache-2.0
//! Who is on the bus, what is asked, and what waits.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::firewalld::{self, Firewalld};
use super::resolved::{self, Resolved};
use super::wire::{self, Answer, BUS, Call};
use super::{Fault, SOCKET};

const PATH: &str = "/org/freedesktop/DBus";

/// What a client wants.
#[derive(Debug)]
pub enum Request {
    /// To be let in.
    Auth,
    Call(Call),
}

impl Request {
    pub fn service(&self) -> &'static str {
        match self {
            Request::Call(call) if call.destination == firewalld::NAME => firewalld::NAME,
            Request::Call(call) if call.destination == resolved::NAME => resolved::NAME,
            _ => BUS,
        }
    }

    fn name(&self) -> &str {
        match self {
            Request::Auth => "AUTH",
            Request::Call(call) => &call.member,
        }
    }

    pub fn refused(&self) -> Vec<u8> {
        match self {
            Request::Auth => b"REJECTED EXTERNAL\r\n".to_vec(),
            Request::Call(call) => {
                let name = format!("{BUS}.Error.AccessDenied");
                wire::answer(call.serial, BUS, &Err((name, "no".to_owned())))
            }
        }
    }

    /// A message like an answer, but to a call that nobody made.
    pub fn nonsense(&self) -> Vec<u8> {
        match self {
            Request::Auth => b"DATA 00\r\n".to_vec(),
            Request::Call(_) => wire::answer(u32::MAX, "", &Ok(Some("nonsense".to_owned()))),
        }
    }
}

#[derive(Debug)]
pub struct State {
    firewalld: Firewalld,
    resolved: Resolved,
    /// Services that have ended.
    ended: Vec<&'static str>,
    /// How often each was started: part of its unique name.
    starts: BTreeMap<&'static str, usize>,
    /// Those that are let in or about to be.
    pub clients: BTreeMap<usize, UnixStream>,
    /// How many there were.
    connections: usize,
    /// What went wrong.
    pub met: Option<String>,
    /// What goes wrong, and with which message.
    pub fault: Option<(Fault, usize)>,
    /// Whom there were messages for.
    pub messages: Vec<&'static str>,
    pub hangs: bool,
    /// Who does nothing, and what he is to do.
    pub stalls: Option<&'static str>,
    pub stalled: Vec<(usize, Request)>,
    /// Answers that wait.
    pub late: Vec<(usize, Vec<u8>)>,
}

impl State {
    pub fn start() -> State {
        State {
            firewalld: Firewalld::start(),
            resolved: Resolved::default(),
            ended: Vec::new(),
            starts: BTreeMap::new(),
            clients: BTreeMap::new(),
            connections: 0,
            met: None,
            fault: None,
            messages: Vec::new(),
            hangs: false,
            stalls: None,
            stalled: Vec::new(),
            late: Vec::new(),
        }
    }

    /// What the services know.
    pub fn known(&self) -> Value {
        json!({ "firewalld": self.firewalld.state(), "resolved": self.resolved.state() })
    }

    /// A new client's number.
    pub fn welcome(&mut self, stream: UnixStream) -> usize {
        self.connections += 1;
        self.clients.insert(self.connections, stream);
        self.connections
    }

    /// What goes wrong with this one.
    pub fn fault(&mut self, request: &Request) -> Option<Fault> {
        let number = self.messages.len();
        self.messages.push(request.service());
        let (fault, _) = self.fault.take_if(|(_, at)| *at == number)?;
        self.met = Some(request.name().to_owned());
        Some(fault)
    }

    /// Does it, where somebody is there who can; answers the answer's bytes.
    pub fn carry_out(&mut self, client: usize, request: &Request) -> Vec<u8> {
        let Request::Call(call) = request else {
            return b"OK 0123456789abcdef0123456789abcdef\r\n".to_vec();
        };
        let service = request.service();
        if self.ended.contains(&service) {
            let name = format!("{BUS}.Error.NameHasNoOwner");
            let text = format!("Name \"{service}\" does not exist");
            return wire::answer(call.serial, BUS, &Err((name, text)));
        }
        let answer = match service {
            firewalld::NAME => self.firewalld.call(call),
            resolved::NAME => self.resolved.call(call),
            _ => self.own(client, call),
        };
        let mut bytes = wire::answer(call.serial, &self.owner(service), &answer);
        if call.member == "Hello" {
            let name = [format!(":1.{client}")];
            bytes.extend(wire::signal(BUS, PATH, BUS, "NameAcquired", &name));
        }
        bytes
    }

    /// A method of the bus itself.
    fn own(&self, client: usize, call: &Call) -> Answer {
        match call.member.as_str() {
            "Hello" => Ok(Some(format!(":1.{client}"))),
            "AddMatch" => Ok(None),
            "GetNameOwner" => match wire::string(&call.body, &mut 0) {
                name if self.ended.iter().any(|ended| *ended == name) => Err((
                    format!("{BUS}.Error.NameHasNoOwner"),
                    format!("Could not get owner of name '{name}': no such name"),
                )),
                name => Ok(Some(self.owner(&name))),
            },
            other => panic!("the bus is asked for {other}"),
        }
    }

    /// The unique name of who has this name.
    fn owner(&self, service: &str) -> String {
        let starts = self.starts.get(service).copied().unwrap_or_default();
        match service {
            BUS => BUS.to_owned(),
            firewalld::NAME => format!(":2.{starts}"),
            _ => format!(":3.{starts}"),
        }
    }

    pub fn send(&mut self, client: usize, bytes: &[u8]) {
        if let Some(stream) = self.clients.get_mut(&client) {
            // It may have ended.
            let _ = stream.write_all(bytes);
        }
    }

    fn signal(&mut self, bytes: &[u8]) {
        let clients: Vec<usize> = self.clients.keys().copied().collect();
        clients
            .into_iter()
            .for_each(|client| self.send(client, bytes));
    }

    /// firewalld is reloaded, and forgets what it was told for as long as it runs.
    pub fn reload(&mut self) {
        self.firewalld = Firewalld::start();
        let from = self.owner(firewalld::NAME);
        let name = firewalld::NAME;
        let path = "/org/fedoraproject/FirewallD1";
        self.signal(&wire::signal(&from, path, name, "Reloaded", &[]));
    }

    /// A service ends.
    pub fn end(&mut self, service: &'static str) {
        if service == BUS || self.ended.contains(&service) {
            return;
        }
        self.ended.push(service);
        if service == firewalld::NAME {
            Firewalld::end();
        }
        let owners = [service.to_owned(), self.owner(service), String::new()];
        self.signal(&wire::signal(BUS, PATH, BUS, "NameOwnerChanged", &owners));
    }

    /// Services that have ended start.
    pub fn revive(&mut self) {
        for service in std::mem::take(&mut self.ended) {
            *self.starts.entry(service).or_default() += 1;
            match service {
                firewalld::NAME => self.firewalld = Firewalld::start(),
                _ => self.resolved = Resolved::default(),
            }
            let owners = [service.to_owned(), String::new(), self.owner(service)];
            self.signal(&wire::signal(BUS, PATH, BUS, "NameOwnerChanged", &owners));
        }
    }

    /// The bus ends. firewalld ends with it and leaves its rules, resolved waits for another one.
    pub fn die(&mut self) {
        fs::rename(SOCKET, away()).unwrap();
        for (_, stream) in std::mem::take(&mut self.clients) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.ended = vec![firewalld::NAME];
    }

    /// See [`super::Bus::go_on`].
    pub fn go_on(&mut self) {
        self.fault = None;
        self.hangs = false;
        let _ = fs::rename(away(), SOCKET);
        self.revive();
        self.stalls = None;
        for (client, request) in std::mem::take(&mut self.stalled) {
            let answer = self.carry_out(client, &request);
            self.send(client, &answer);
        }
        for (client, answer) in std::mem::take(&mut self.late) {
            self.send(client, &answer);
        }
    }
}

/// Where the socket is while nobody listens.
fn away() -> String {
    format!("{SOCKET}.away")
}
