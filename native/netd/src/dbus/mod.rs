// SPDX-License-Identifier: Apache-2.0
//! As much of D-Bus as a client needs that calls methods and is told of signals
//! (D-Bus specification, "Message Protocol"). It never waits but to connect and where it is told to.

mod arguments;
mod frames;
mod message;
mod trust;

pub(crate) use arguments::Arguments;
pub(crate) use message::{BUS, Message, Method, first_string};

use crate::wait;
use frames::Frames;
use message::{decode, encode};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use trust::Trust;

/// Where the system bus listens; no environment variable is asked.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// How long the bus may take to let us in: it answers within a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much is read at once, so that nobody who sends without end has all of our time.
const READS: usize = 64;
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
        authenticate(&mut stream)?;
        stream.set_nonblocking(true)?;
        let mut bus = Bus::on(stream, service);
        bus.hello = bus.call_bus("Hello", &[])?;
        for rule in matches {
            bus.call_bus("AddMatch", &[rule])?;
        }
        Ok(bus)
    }

    fn on(stream: UnixStream, service: &'static str) -> Bus {
        Bus {
            stream,
            frames: Frames::default(),
            serial: 0,
            hello: 0,
            trust: Trust::of(service),
        }
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
            // Somebody who sends without end makes it readable after the deadline as well.
            if Instant::now() >= deadline || !wait::readable(&self.stream, Some(deadline))? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

/// Says who we are, as the bus knows of the socket anyway (D-Bus specification,
/// "Authentication Protocol").
fn authenticate(stream: &mut UnixStream) -> io::Result<()> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
    let deadline = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        // Each byte may come in time, and the line not.
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
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
    stream.write_all(b"BEGIN\r\n")
}

#[cfg(test)]
mod tests {
    use super::message::tests::from_bus;
    use super::message::{INTERFACE, MEMBER, REPLY, REPLY_SERIAL, SENDER, SIGNAL, SIGNATURE};
    use super::*;

    #[test]
    fn hostile_messages_do_not_cost_the_connection() {
        let (stream, mut other) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut bus = Bus::on(stream, "org.s");
        let answer = Message::Answer {
            serial: 7,
            result: Ok(Vec::new()),
        };
        assert!(bus.trust.accepts(":1.4", &answer), "the owner is known");
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
        assert_eq!(all, [answer]);
        drop(other);
        assert!(bus.read().is_err());
    }

    #[test]
    fn a_bus_that_lets_us_in_byte_by_byte_is_not_waited_for() {
        let (mut stream, mut other) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            while other.write_all(b"O").is_ok() {
                std::thread::sleep(PATIENCE / 20);
            }
        });
        let error = authenticate(&mut stream).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Whatever a bus says, from its first word.
    #[test]
    fn any_bytes() {
        crate::fuzz::run("dbus", |bytes| {
            let (mut stream, mut other) = UnixStream::pair().unwrap();
            other.write_all(bytes).unwrap();
            other.shutdown(std::net::Shutdown::Write).unwrap();
            authenticate(&mut stream).ok()?;
            stream.set_nonblocking(true).unwrap();
            let mut bus = Bus::on(stream, "org.s");
            let mut all = Vec::new();
            let waited = bus.wait(9, PATIENCE, &mut all).is_ok();
            let text = all.iter().find_map(|message| match message {
                Message::Answer { result, .. } => first_string(result.as_ref().ok()?),
                Message::Signal { .. } => None,
            });
            Some((all, waited, text))
        });
    }
}
