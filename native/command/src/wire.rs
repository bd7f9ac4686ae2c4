// SPDX-License-Identifier: Apache-2.0
//! One call over the core's socket (docs/wire.md): hello, `command.run`, its answer.

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// As long as the command waits for a core to say hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// Longer than any brief command takes: `shutdown` gives a guest a minute.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);
/// A table of tens of thousands of rows, as in `core/host/socket-channel.ts`.
const LARGEST_ANSWER: u32 = 67_108_864;
const TEXT: u8 = 0;
const CALL: u32 = 1;

/// The input of `command.run`.
#[derive(Serialize)]
pub struct Request<'a> {
    pub build: &'a str,
    pub words: &'a [&'a str],
    pub cwd: &'a str,
}

/// What `command.run` answers.
#[derive(Deserialize)]
pub struct Answer {
    pub status: u8,
    pub out: String,
    pub err: String,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nothing was done: nobody was asked, or the core said so.
    NotDone,
    /// It was asked, and may have done it.
    MayBeDone,
}

/// Has the core at `path` do a command.
pub fn ask(
    path: &Path,
    contract: &str,
    request: &Request,
) -> std::result::Result<Answer, NoAnswer> {
    let mut core = asked(path, contract, request).map_err(|_| NoAnswer::NotDone)?;
    let answer = receive(&mut core).map_err(|_| NoAnswer::MayBeDone)?;
    read(answer)
}

/// The core, once the whole call is on its way.
fn asked(path: &Path, contract: &str, request: &Request) -> Result<UnixStream> {
    let mut core = connected(path)?;
    send(
        &mut core,
        &json!({ "t": "hello", "contract": contract, "role": "cli" }),
    )?;
    // Not before it has said hello: a core that is stopped must find no command when it wakes.
    if receive(&mut core)?["t"] != "hello" {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    core.set_read_timeout(Some(ANSWER_DEADLINE))?;
    // A core that has not all of it does nothing.
    send(
        &mut core,
        &json!({ "t": "call", "id": CALL, "leaf": "command.run", "in": request }),
    )?;
    Ok(core)
}

fn read(mut answer: Value) -> std::result::Result<Answer, NoAnswer> {
    if answer["id"] != CALL {
        return Err(NoAnswer::MayBeDone);
    }
    match (answer["t"].as_str(), answer["error"]["code"].as_str()) {
        (Some("ok"), _) => {
            Answer::deserialize(answer["out"].take()).map_err(|_| NoAnswer::MayBeDone)
        }
        (Some("error"), Some("CONTRACT_MISMATCH" | "USAGE")) => Err(NoAnswer::NotDone),
        _ => Err(NoAnswer::MayBeDone),
    }
}

/// The deadline is set before it connects: that waits too, where too many wait to be accepted.
fn connected(path: &Path) -> Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    for timeout in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, timeout, Some(HELLO_DEADLINE))?;
    }
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

fn send(to: &mut impl Write, message: &Value) -> Result<()> {
    let body = message.to_string();
    let length = u32::try_from(body.len()).map_err(Error::other)?;
    let mut frame = Vec::with_capacity(body.len() + 5);
    frame.push(TEXT);
    frame.extend(length.to_be_bytes());
    frame.extend(body.as_bytes());
    to.write_all(&frame)
}

fn receive(from: &mut impl Read) -> Result<Value> {
    let mut header = [0; 5];
    from.read_exact(&mut header)?;
    let [kind, length @ ..] = header;
    let length = u32::from_be_bytes(length);
    if kind != TEXT || length > LARGEST_ANSWER {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut body = Vec::new();
    from.take(length.into()).read_to_end(&mut body)?;
    if body.len() < length as usize {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_and_comes() {
        let message = json!({ "t": "hello", "contract": "é" });
        let mut frame = Vec::new();
        send(&mut frame, &message).unwrap();
        assert_eq!(frame[..5], [0, 0, 0, 0, 29]);
        assert_eq!(receive(&mut frame.as_slice()).unwrap(), message);
    }

    #[test]
    fn what_does_not_speak_the_wire_is_no_answer() {
        for wrong in [
            &b""[..],
            b"\x00\x00\x00\x00",
            b"\x01\x00\x00\x00\x02{}",
            b"\x00\xff\xff\xff\xff{}",
            b"\x00\x00\x00\x00\x05{}",
            b"\x00\x00\x00\x00\x02x}",
        ] {
            assert!(receive(&mut &*wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn node_is_for_what_was_not_done() {
        let error = |code: &str| json!({ "t": "error", "id": CALL, "error": { "code": code } });
        let done = json!({ "t": "ok", "id": CALL, "out": { "status": 3, "out": "", "err": "" } });
        assert_eq!(read(done).map(|answer| answer.status), Ok(3));
        for code in ["CONTRACT_MISMATCH", "USAGE"] {
            assert_eq!(read(error(code)).err(), Some(NoAnswer::NotDone), "{code}");
        }
        for other in [
            error("INTERNAL"),
            json!({ "t": "ok", "id": CALL, "out": {} }),
            json!({ "t": "ok", "id": 2 }),
            json!(7),
        ] {
            assert_eq!(
                read(other.clone()).err(),
                Some(NoAnswer::MayBeDone),
                "{other}"
            );
        }
    }
}
