// SPDX-License-Identifier: Apache-2.0
//! One message of the bus, and its bytes.

use super::Arguments;

/// What every message begins with, in bytes.
pub(super) const HEADER: usize = 16;
const NO_AUTO_START: u8 = 2;

const CALL: u8 = 1;
pub(super) const REPLY: u8 = 2;
const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

const PATH: u8 = 1;
pub(super) const INTERFACE: u8 = 2;
pub(super) const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
pub(super) const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
pub(super) const SENDER: u8 = 7;
pub(super) const SIGNATURE: u8 = 8;

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

/// A call, as it goes over the wire.
pub(super) fn encode(serial: u32, method: Method<'_>, args: &Arguments) -> Vec<u8> {
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

pub(super) fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
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

/// The header fields that concern us; texts are empty where there are none.
#[derive(Default)]
struct Fields<'a> {
    reply_to: Option<u32>,
    interface: &'a str,
    member: &'a str,
    error: &'a str,
    sender: &'a str,
    signature: &'a str,
}

impl<'a> Fields<'a> {
    /// Of the message's bytes up to the fields' end.
    fn read(header: &'a [u8]) -> Option<Fields<'a>> {
        let mut fields = Fields::default();
        let mut reader = Reader {
            bytes: header,
            at: HEADER,
        };
        loop {
            reader.align(8);
            if reader.at >= header.len() {
                return Some(fields);
            }
            let code = reader.byte()?;
            match (code, reader.signature()?) {
                (REPLY_SERIAL, "u") => fields.reply_to = Some(reader.number()?),
                (_, "u") => _ = reader.number()?,
                (SIGNATURE, "g") => fields.signature = reader.signature()?,
                (_, "s" | "o") => {
                    let value = reader.string()?;
                    match code {
                        INTERFACE => fields.interface = value,
                        MEMBER => fields.member = value,
                        ERROR_NAME => fields.error = value,
                        SENDER => fields.sender = value,
                        _ => {}
                    }
                }
                _ => return None,
            }
        }
    }

    /// The strings that the body begins with.
    fn strings(&self, body: &[u8]) -> Option<Vec<String>> {
        let mut body = Reader { bytes: body, at: 0 };
        let kinds = self.signature.bytes();
        kinds
            .take_while(|kind| *kind == b's')
            .map(|_| body.string().map(str::to_owned))
            .collect()
    }
}

/// A message with its sender. Nothing inside where it is one that does not concern us; none where
/// it is no message.
pub(super) fn decode(message: &[u8]) -> Option<Option<(String, Message)>> {
    let fields_end = HEADER + u32_at(message, 12)? as usize;
    let fields = Fields::read(message.get(..fields_end)?)?;
    let body = message.get(fields_end.next_multiple_of(8)..);
    let body = body.unwrap_or_default();
    let answer = |result| {
        Some(Message::Answer {
            serial: fields.reply_to?,
            result,
        })
    };
    let decoded = match *message.get(1)? {
        REPLY => answer(Ok(body.to_vec())),
        ERROR => {
            let text = fields.strings(body)?.into_iter().next().unwrap_or_default();
            answer(Err((fields.error.to_owned(), text)))
        }
        SIGNAL => Some(Message::Signal {
            interface: fields.interface.to_owned(),
            member: fields.member.to_owned(),
            strings: fields.strings(body)?,
        }),
        _ => None,
    };
    Some(decoded.map(|decoded| (fields.sender.to_owned(), decoded)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message as the bus would send it: our own call with another type and more fields.
    pub(in crate::dbus) fn from_bus(
        kind: u8,
        fields: &[(u8, &str, &str)],
        body: &[&str],
    ) -> Vec<u8> {
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
