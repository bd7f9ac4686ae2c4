// SPDX-License-Identifier: Apache-2.0
//! From a line to a verb, and from its result to a line.

use crate::acts::{self, deed};
use crate::engine::{Dialling, Engine};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::os::fd::OwnedFd;
use tapyard_protocol::{
    Acts, ActsReply, ClientKind, Code, Counters, Error, Hello, HelloReply, LabName, NetworkName,
    Observe, PROTOCOL, Reply, Request, Result, Shutdown, Verb, to_line,
};

/// What a line asks for, once it is known to be a request.
#[derive(Debug)]
pub struct Asked {
    /// Its number.
    pub id: u32,
    verb: String,
    args: Value,
}

/// What the loop has to do after a request.
#[derive(Debug)]
pub enum Outcome {
    /// Send this line, with an fd where there is one.
    Answer(Vec<u8>, Option<OwnedFd>),
    /// Send this line; the client has said hello.
    Greeted(ClientKind, Vec<u8>),
    /// Answer when the connection to the guest is there, or will not be.
    Dial(Box<Dialling>),
    /// Answer with the snapshot and send events from now on.
    Observe,
    /// Remove everything, answer, and end.
    Shutdown,
}

/// Reads a line. `BAD_MESSAGE` with the request's number where one could be read.
pub fn parse(line: &[u8]) -> std::result::Result<Asked, (Option<u32>, Error)> {
    let bad = |why: &dyn std::fmt::Display| {
        Error::new(Code::BadMessage, format!("not a request: {why}"))
            .hint(r#"A request is one line: {"id": 1, "verb": "…", "args": {…}}"#)
    };
    let value: Value = serde_json::from_slice(line).map_err(|e| (None, bad(&e)))?;
    let id = value.get("id").and_then(Value::as_u64);
    let id = id.and_then(|id| u32::try_from(id).ok());
    if !value.is_object() {
        return Err((None, bad(&"it is no object")));
    }
    let request: Request<Value> = serde_json::from_value(value).map_err(|e| (id, bad(&e)))?;
    Ok(Asked {
        id: request.id,
        verb: request.verb,
        args: request.args,
    })
}

/// The reply to a request that was refused before it was a request.
pub fn refuse(id: Option<u32>, error: Error) -> Vec<u8> {
    line(&Reply::<()>::Error { id, error })
}

/// The reply to a request.
pub fn answer<T: Serialize>(id: u32, result: Result<T>) -> Vec<u8> {
    match result {
        Ok(ok) => line(&Reply::Ok { id, ok }),
        Err(error) => line(&Reply::<T>::Error {
            id: Some(id),
            error,
        }),
    }
}

/// Does what is asked.
pub fn dispatch(engine: &mut Engine, greeted: bool, asked: Asked) -> Outcome {
    let Asked { id, verb, args } = asked;
    if verb == Hello::NAME {
        return match hello(engine, args) {
            Ok((client, reply)) => Outcome::Greeted(client, answer(id, Ok(reply))),
            Err(error) => Outcome::Answer(refuse(Some(id), refused(&verb, error)), None),
        };
    }
    if !greeted {
        let error = Error::new(Code::HelloFirst, "the first request is hello");
        return Outcome::Answer(refuse(Some(id), refused(&verb, error)), None);
    }
    let _about = about(&args);
    let refused = |error| refused(&verb, error);
    let reply = match verb.as_str() {
        "apply_network" => {
            let done = read(args).and_then(|args| engine.apply_network(args));
            answer(id, done.map_err(refused))
        }
        "remove_network" => {
            let done = read(args).and_then(|args| engine.remove_network(&args));
            answer(id, done.map_err(refused))
        }
        "set_nat" => {
            let done = read(args).and_then(|args| engine.set_nat(&args));
            answer(id, done.map_err(refused))
        }
        "expose" => {
            let done = read(args).and_then(|args| engine.expose(&args));
            answer(id, done.map_err(refused))
        }
        "unexpose" => {
            let done = read(args).and_then(|args| engine.unexpose(&args));
            answer(id, done.map_err(refused))
        }
        "set_shape" => {
            let done = read(args).and_then(|args| engine.set_shape(&args));
            answer(id, done.map_err(refused))
        }
        "counters" => answer(id, read(args).and_then(|Counters {}| engine.counters())),
        "acts" => answer(
            id,
            read(args).map(|Acts {}| ActsReply { acts: acts::all() }),
        ),
        "open_tap" => match read(args).and_then(|args| engine.open_tap(&args)) {
            Ok((reply, fd)) => return Outcome::Answer(answer(id, Ok(reply)), Some(fd)),
            Err(error) => refuse(Some(id), refused(error)),
        },
        "capture" => match read(args).and_then(|args| engine.capture(&args)) {
            Ok((reply, fd)) => return Outcome::Answer(answer(id, Ok(reply)), Some(fd)),
            Err(error) => refuse(Some(id), refused(error)),
        },
        "dial" => match read(args).and_then(|args| engine.dial(&args)) {
            Ok(dialling) => return Outcome::Dial(Box::new(dialling)),
            Err(error) => refuse(Some(id), refused(error)),
        },
        "observe" => match read(args) {
            Ok(Observe {}) => return Outcome::Observe,
            Err(error) => refuse(Some(id), refused(error)),
        },
        "shutdown" => match read(args) {
            Ok(Shutdown {}) => return Outcome::Shutdown,
            Err(error) => refuse(Some(id), refused(error)),
        },
        _ => {
            let error = Error::new(Code::NoSuchVerb, "netd has no such verb")
                .hint("The core and netd are of different versions: bring the lab down and up.");
            refuse(Some(id), refused(error))
        }
    };
    Outcome::Answer(reply, None)
}

/// Tells a request that was not done, and hands its error on. A verb that netd does not know may
/// be any text.
fn refused(verb: &str, error: Error) -> Error {
    let what = match error.code {
        Code::NoSuchVerb => "refused a request that netd does not know".to_owned(),
        _ => format!("refused {verb}"),
    };
    deed(what).failed(error.clone());
    error
}

/// Which network a request names, well or badly.
fn about(args: &Value) -> Option<acts::Until<(LabName, NetworkName)>> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let network = args.get("network")?;
    let name = text(network.get("name").or(Some(network)));
    Some(acts::about(
        &text(args.get("lab"))?.parse().ok()?,
        &name?.parse().ok()?,
    ))
}

/// The number is looked at first: another version's hello may have other keys.
fn hello(engine: &Engine, args: Value) -> Result<(ClientKind, HelloReply)> {
    if let Some(number) = args.get("protocol").and_then(Value::as_u64)
        && number != u64::from(PROTOCOL)
    {
        return Err(Error::new(
            Code::ProtocolMismatch,
            format!("you speak protocol {number}, this netd speaks {PROTOCOL}"),
        )
        .hint("One of the two was upgraded: bring the lab down and up."));
    }
    let Hello { client, .. } = read(args)?;
    match client {
        ClientKind::Core | ClientKind::Tap | ClientKind::Test => Ok((client, engine.hello())),
    }
}

/// The arguments of a verb; `BAD_ARGS`, subject: the field.
fn read<T: DeserializeOwned>(args: Value) -> Result<T> {
    if !args.is_object() {
        return Err(Error::new(Code::BadArgs, "args is an object").subject("args"));
    }
    serde_path_to_error::deserialize(args).map_err(|e| {
        let path = e.path().to_string();
        let error = Error::new(Code::BadArgs, format!("{path}: {}", e.inner()));
        if path == "." {
            Error::new(Code::BadArgs, e.inner().to_string())
        } else {
            error.subject(path)
        }
    })
}

fn line<T: Serialize>(message: &T) -> Vec<u8> {
    to_line(message).unwrap_or_else(|e| {
        // Types of ours serialise; this keeps a defect from being silence.
        eprintln!("a reply cannot be written: {e}");
        b"{\"id\":null,\"error\":{\"code\":\"INTERNAL\",\"message\":\"a reply cannot be written\"}}\n"
            .to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapyard_protocol::{ApplyNetwork, OpenTap};

    #[test]
    fn what_is_no_request() {
        for (text, id) in [
            ("garbage", None),
            ("", None),
            ("[]", None),
            (r#"[1,"hello",{}]"#, None),
            ("null", None),
            (r#"{"id":1}"#, Some(1)),
            (r#"{"id":-1,"verb":"hello","args":{}}"#, None),
            (r#"{"id":1.5,"verb":"hello","args":{}}"#, None),
            (r#"{"id":4294967296,"verb":"hello","args":{}}"#, None),
            (r#"{"id":7,"verb":"hello","args":{},"more":1}"#, Some(7)),
            ("\u{0}\u{1}", None),
        ] {
            let (found, error) = parse(text.as_bytes()).unwrap_err();
            assert_eq!((found, error.code), (id, Code::BadMessage), "{text}");
        }
        assert!(parse(&[0xff, 0xfe]).is_err());
        let deep = "[".repeat(60_000);
        assert!(parse(deep.as_bytes()).is_err());
        assert_eq!(
            parse(br#"{"id":4294967295,"verb":"x","args":{}}"#)
                .unwrap()
                .id,
            u32::MAX
        );
    }

    #[test]
    fn wrong_arguments_name_their_field() {
        let args = serde_json::json!({"lab": "seed", "network": "br0", "guest": "g", "nic": 32,
            "mac": "52:54:00:00:00:02", "tap": "tap0"});
        let error = read::<OpenTap>(args).unwrap_err();
        assert_eq!(
            (error.code, error.subject.as_deref()),
            (Code::BadArgs, Some("nic"))
        );
        for args in [
            Value::Null,
            Value::Array(Vec::new()),
            serde_json::json!({"lab": "seed"}),
        ] {
            assert_eq!(read::<ApplyNetwork>(args).unwrap_err().code, Code::BadArgs);
        }
        assert_eq!(
            read::<Observe>(Value::Array(Vec::new())).unwrap_err().code,
            Code::BadArgs
        );
    }

    #[test]
    fn any_bytes() {
        use tapyard_protocol::{
            Capture, Dial, Expose, LineReader, RemoveNetwork, SetNat, SetShape, Unexpose,
        };
        crate::fuzz::run("request", |bytes| {
            // As they come: in pieces, and more than fits.
            let mut reader = LineReader::new(512);
            for piece in bytes.chunks(100) {
                reader.push(piece);
                while let Some(Ok(line)) = reader.next_line() {
                    let _ = parse(&line);
                }
            }
            if let Ok(asked) = parse(bytes) {
                let args = || asked.args.clone();
                let _ = read::<ApplyNetwork>(args()).map(|args| args.network.check());
                let _ = read::<OpenTap>(args());
                let _ = read::<RemoveNetwork>(args());
                let _ = read::<SetNat>(args());
                let _ = read::<SetShape>(args());
                let _ = read::<Dial>(args());
                let _ = read::<Capture>(args());
                let _ = read::<Expose>(args());
                let _ = read::<Unexpose>(args());
                let _ = read::<Hello>(args());
            }
        });
    }
}
