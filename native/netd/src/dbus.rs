// SPDX-License-Identifier: Apache-2.0
//! As much of D-Bus as a client needs that calls methods and is told of signals
//! (D-Bus specification, "Message Protocol"). It never waits but to connect and where it is told to.

mod arguments;
mod frames;

pub(crate) use arguments::Arguments;

use frames::Frames;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Where the system bus listens; no environment variable is asked.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// How long the bus may take to let us in: it answers within a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much is read at once, so that nobody who sends without end has all of our time.
const READS: usize = 64;
const HEADER: usize = 16;
const NO_AUTO_START: u8 = 2;

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// A method of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    /// The bus may start the service for it.
    pub(crate) may_start: bool,
}

/// The bus itself.
pub(crate) const BUS: Method<'_> = Method {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "",
    may_start: false,
};

/// What the bus has for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// The answer to a call, which is its body, or why there is none: the error's name and text.
    Answer {
        serial: u32,
        result: std::result::Result<Vec<u8>, (String, String)>,
    },
    /// Interface and member, with the strings that its body begins with.
    Signal {
        interface: String,
        member: String,
        strings: Vec<String>,
    },
}

/// A connection to the system bus.
#[derive(Debug)]
pub(crate) struct Bus {
    stream: UnixStream,
    frames: Frames,
    serial: u32,
    /// The call that the bus answers with our own name.
    hello: u32,
    trust: Trust,
}

/// Whose signals count. The bus lets every user send us any signal, but writes the sender's unique
/// name on it; and it lets nobody answer whom we did not call.
#[derive(Debug)]
struct Trust {
    service: &'static str,
    /// The unique name of who has the service's name, once known.
    owner: Option<String>,
}

impl Trust {
    fn accepts(&mut self, sender: &str, message: &Message) -> bool {
        match message {
            Message::Answer { .. } => {
                if sender.starts_with(':') {
                    self.owner = Some(sender.to_owned());
                }
                true
            }
            Message::Signal {
                interface,
                member,
                strings,
            } if sender == BUS.destination => {
                let [name, _, owner] = strings.as_slice() else {
                    return false;
                };
                let ours = interface == BUS.interface
                    && member == "NameOwnerChanged"
                    && name == self.service;
                if ours {
                    self.owner = Some(owner.clone()).filter(|owner| !owner.is_empty());
                }
                ours
            }
            Message::Signal { .. } => self.owner.as_deref() == Some(sender),
        }
    }
}

impl Bus {
    /// Connects, says who we are, and asks for these signals, of the bus and of this service.
    pub(crate) fn open(service: &'static str, matches: &[&str]) -> io::Result<Bus> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Before it connects: a bus that does not accept would keep us waiting there.
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        connect(&socket, &SocketAddrUnix::new(SOCKET)?)?;
        let mut stream = UnixStream::from(socket);
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
            if answer.len() > 256 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if !answer.starts_with(b"OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.write_all(b"BEGIN\r\n")?;
        stream.set_nonblocking(true)?;
        let mut bus = Bus {
            stream,
            frames: Frames::default(),
            serial: 0,
            hello: 0,
            trust: Trust {
                service,
                owner: None,
            },
        };
        bus.hello = bus.call_bus("Hello", &[])?;
        for rule in matches {
            bus.call_bus("AddMatch", &[rule])?;
        }
        Ok(bus)
    }

    /// Readable when there is something for [`Bus::read`].
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The serial of the answer that begins with our own name on the bus.
    pub(crate) fn hello(&self) -> u32 {
        self.hello
    }

    /// Calls a method; its answer comes with the serial that this returns.
    pub(crate) fn call(&mut self, method: Method<'_>, args: &Arguments) -> io::Result<u32> {
        self.serial += 1;
        let bytes = encode(self.serial, method, args);
        // A request is a few hundred bytes: a bus whose buffer has no room for it is stuck.
        self.stream.write_all(&bytes)?;
        Ok(self.serial)
    }

    /// Calls a method of the bus itself.
    pub(crate) fn call_bus(&mut self, member: &'static str, args: &[&str]) -> io::Result<u32> {
        self.call(Method { member, ..BUS }, &Arguments::strings(args))
    }

    /// What has come, without waiting. An error where the connection is of no use any more.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Message>> {
        let mut buffer = [0; 16 * 1024];
        let mut messages = Vec::new();
        for _ in 0..READS {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(size) => self.frames.push(&buffer[..size]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            while let Some(bytes) = self.frames.next()? {
                // What cannot be read is no answer to us, and nobody's whom we trust.
                if let Some((sender, message)) = decode(&bytes).flatten()
                    && self.trust.accepts(&sender, &message)
                {
                    messages.push(message);
                }
            }
        }
        Ok(messages)
    }

    /// Waits for the answer to a call, and adds it to `all`, with all that came before.
    pub(crate) fn wait(
        &mut self,
        serial: u32,
        patience: Duration,
        all: &mut Vec<Message>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            all.extend(self.read()?);
            let answered = |message: &Message| matches!(message, Message::Answer { serial: of, .. } if *of == serial);
            if all.iter().any(answered) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(0),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(
                &mut [PollFd::new(&self.stream, PollFlags::IN)],
                Some(&timeout),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn encode(serial: u32, method: Method<'_>, args: &Arguments) -> Vec<u8> {
    let body = args.body();
    let mut fields = Vec::new();
    for (code, kind, value) in [
        (PATH, "o", method.path),
        (INTERFACE, "s", method.interface),
        (MEMBER, "s", method.member),
        (DESTINATION, "s", method.destination),
    ] {
        put_field(&mut fields, code, kind);
        put_string(&mut fields, value);
    }
    if !args.signature().is_empty() {
        put_field(&mut fields, SIGNATURE, "g");
        fields.push(args.signature().len() as u8);
        fields.extend_from_slice(args.signature().as_bytes());
        fields.push(0);
    }
    let flags = if method.may_start { 0 } else { NO_AUTO_START };
    let mut bytes = vec![b'l', CALL, flags, 1];
    for number in [body.len() as u32, serial, fields.len() as u32] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(body);
    bytes
}

/// Fields begin at multiples of 8 of the message; the 16 bytes before them do as well.
fn put_field(fields: &mut Vec<u8>, code: u8, kind: &str) {
    fields.resize(fields.len().next_multiple_of(8), 0);
    fields.extend_from_slice(&[code, 1, kind.as_bytes()[0], 0]);
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

/// Reads values one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        let number = u32_at(self.bytes, self.at)?;
        self.at += 4;
        Some(number)
    }

    fn text(&mut self, len: usize) -> Option<&'a str> {
        let end = self.at.checked_add(len)?;
        let text = self.bytes.get(self.at..end)?;
        // With its NUL.
        self.at = end + 1;
        std::str::from_utf8(text).ok()
    }

    fn string(&mut self) -> Option<&'a str> {
        let len = self.number()? as usize;
        self.text(len)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let len = usize::from(self.byte()?);
        self.text(len)
    }
}

/// The string that the body of an answer begins with.
pub(crate) fn first_string(body: &[u8]) -> Option<String> {
    let mut body = Reader { bytes: body, at: 0 };
    body.string().map(str::to_owned)
}

/// A message with its sender. Nothing inside where it is one that does not concern us; none where
/// it is no message.
fn decode(message: &[u8]) -> Option<Option<(String, Message)>> {
    let fields_end = HEADER + u32_at(message, 12)? as usize;
    let mut fields = Reader {
        bytes: message.get(..fields_end)?,
        at: HEADER,
    };
    let (mut interface, mut member, mut error, mut signature) = ("", "", "", "");
    let mut sender = "";
    let mut reply_to = None;
    loop {
        fields.align(8);
        if fields.at >= fields_end {
            break;
        }
        let code = fields.byte()?;
        match (code, fields.signature()?) {
            (REPLY_SERIAL, "u") => reply_to = Some(fields.number()?),
            (_, "u") => _ = fields.number()?,
            (SIGNATURE, "g") => signature = fields.signature()?,
            (_, "s" | "o") => {
                let value = fields.string()?;
                match code {
                    INTERFACE => interface = value,
                    MEMBER => member = value,
                    ERROR_NAME => error = value,
                    SENDER => sender = value,
                    _ => {}
                }
            }
            _ => return None,
        }
    }
    let body = message.get(fields_end.next_multiple_of(8)..);
    let body = body.unwrap_or_default();
    let strings = || {
        let mut body = Reader { bytes: body, at: 0 };
        let count = signature.bytes().take_while(|kind| *kind == b's').count();
        let found: Option<Vec<String>> = (0..count)
            .map(|_| body.string().map(str::to_owned))
            .collect();
        found
    };
    let answer = |result| {
        Some(Message::Answer {
            serial: reply_to?,
            result,
        })
    };
    let message = match *message.get(1)? {
        REPLY => answer(Ok(body.to_vec())),
        ERROR => {
            let text = strings()?.into_iter().next().unwrap_or_default();
            answer(Err((error.to_owned(), text)))
        }
        SIGNAL => Some(Message::Signal {
            interface: interface.to_owned(),
            member: member.to_owned(),
            strings: strings()?,
        }),
        _ => None,
    };
    Some(message.map(|message| (sender.to_owned(), message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as the bus would send it: our own call with another type and more fields.
    fn from_bus(kind: u8, fields: &[(u8, &str, &str)], body: &[&str]) -> Vec<u8> {
        let mut list = Vec::new();
        for (code, signature, value) in fields {
            put_field(&mut list, *code, signature);
            match *signature {
                "u" => {
                    let number: u32 = value.parse().unwrap();
                    list.extend_from_slice(&number.to_le_bytes());
                }
                "g" => {
                    list.push(value.len() as u8);
                    list.extend_from_slice(value.as_bytes());
                    list.push(0);
                }
                _ => put_string(&mut list, value),
            }
        }
        let mut text = Vec::new();
        for value in body {
            put_string(&mut text, value);
        }
        let mut bytes = vec![b'l', kind, 0, 1];
        for number in [text.len() as u32, 1, list.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&list);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(&text);
        bytes
    }

    #[test]
    fn answers_errors_and_signals() {
        let reply = from_bus(
            REPLY,
            &[(REPLY_SERIAL, "u", "7"), (SENDER, "s", ":1.1")],
            &[],
        );
        assert_eq!(
            decode(&reply),
            Some(Some((
                ":1.1".into(),
                Message::Answer {
                    serial: 7,
                    result: Ok(Vec::new())
                }
            )))
        );
        let error = from_bus(
            ERROR,
            &[
                (ERROR_NAME, "s", "org.x"),
                (REPLY_SERIAL, "u", "8"),
                (SIGNATURE, "g", "s"),
            ],
            &["INVALID_ZONE: libvirt"],
        );
        assert_eq!(
            decode(&error),
            Some(Some((
                String::new(),
                Message::Answer {
                    serial: 8,
                    result: Err(("org.x".into(), "INVALID_ZONE: libvirt".into())),
                }
            )))
        );
        let signal = from_bus(
            SIGNAL,
            &[
                (INTERFACE, "s", "org.i"),
                (MEMBER, "s", "NameOwnerChanged"),
                (SENDER, "s", ":1.9"),
                (SIGNATURE, "g", "sss"),
            ],
            &["name", "", ":1.4"],
        );
        assert_eq!(
            decode(&signal),
            Some(Some((
                ":1.9".into(),
                Message::Signal {
                    interface: "org.i".into(),
                    member: "NameOwnerChanged".into(),
                    strings: vec!["name".into(), String::new(), ":1.4".into()],
                }
            )))
        );
    }

    fn signal(interface: &str, member: &str, strings: &[&str]) -> Message {
        Message::Signal {
            interface: interface.to_owned(),
            member: member.to_owned(),
            strings: strings.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn only_the_bus_and_the_owner_are_heard() {
        let mut trust = Trust {
            service: "org.s",
            owner: None,
        };
        let reloaded = signal("org.s", "Reloaded", &[]);
        let changed = |owner| signal(BUS.interface, "NameOwnerChanged", &["org.s", ":1.4", owner]);
        // Anybody may send these, but not in another's name.
        assert!(!trust.accepts(":1.66", &reloaded));
        assert!(!trust.accepts(":1.66", &changed(":1.66")));
        assert!(!trust.accepts("", &reloaded));
        let answer = Message::Answer {
            serial: 1,
            result: Ok(Vec::new()),
        };
        assert!(trust.accepts(":1.4", &answer));
        assert!(trust.accepts(":1.4", &reloaded));
        assert!(
            trust.accepts(BUS.destination, &answer),
            "an error of the bus"
        );
        assert!(trust.accepts(":1.4", &reloaded), "the owner is still known");
        assert!(!trust.accepts(":1.66", &reloaded));
        assert!(trust.accepts(BUS.destination, &changed(":1.5")));
        assert!(trust.accepts(":1.5", &reloaded));
        assert!(!trust.accepts(":1.4", &reloaded));
        assert!(trust.accepts(BUS.destination, &changed("")));
        assert!(!trust.accepts("", &reloaded));
        assert!(!trust.accepts(":1.5", &reloaded));
        let other = signal(
            BUS.interface,
            "NameOwnerChanged",
            &["org.other", "", ":1.7"],
        );
        assert!(!trust.accepts(BUS.destination, &other));
        assert!(!trust.accepts(
            BUS.destination,
            &signal(BUS.interface, "NameAcquired", &[":1.2"])
        ));
    }

    #[test]
    fn hostile_messages_do_not_cost_the_connection() {
        let (stream, mut other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut bus = Bus {
            stream,
            frames: Frames::default(),
            serial: 0,
            hello: 0,
            trust: Trust {
                service: "org.s",
                owner: Some(":1.4".to_owned()),
            },
        };
        let forged = [
            (INTERFACE, "s", "org.s"),
            (MEMBER, "s", "Reloaded"),
            (SENDER, "s", ":1.66"),
        ];
        let big_endian = [
            &[b'B', SIGNAL, 0, 1][..],
            &4u32.to_be_bytes(),
            &1u32.to_be_bytes(),
            &0u32.to_be_bytes(),
            b"body",
        ];
        other.write_all(&from_bus(SIGNAL, &forged, &[])).unwrap();
        other.write_all(&big_endian.concat()).unwrap();
        // A field of a kind that there is none of, and a body that is shorter than it says.
        other
            .write_all(&from_bus(SIGNAL, &[(99, "v", "")], &[]))
            .unwrap();
        let short = [(SENDER, "s", ":1.4"), (SIGNATURE, "g", "sss")];
        other
            .write_all(&from_bus(SIGNAL, &short, &["one"]))
            .unwrap();
        let reply = [(REPLY_SERIAL, "u", "7"), (SENDER, "s", ":1.4")];
        other.write_all(&from_bus(REPLY, &reply, &[])).unwrap();
        let mut all = Vec::new();
        bus.wait(7, PATIENCE, &mut all).unwrap();
        let answer = Message::Answer {
            serial: 7,
            result: Ok(Vec::new()),
        };
        assert_eq!(all, [answer]);
        drop(other);
        assert!(bus.read().is_err());
    }

    #[test]
    fn torn_and_hostile_messages() {
        let whole = from_bus(
            ERROR,
            &[(ERROR_NAME, "s", "org.x"), (SIGNATURE, "g", "s")],
            &["text"],
        );
        for end in 0..whole.len() {
            // Whatever it says, it says it without reading beyond the end.
            let _ = decode(&whole[..end]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = decode(&bytes);
            }
        }
    }
}
