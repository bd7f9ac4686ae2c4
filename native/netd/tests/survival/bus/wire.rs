// SPDX-License-Identifier: Apache-2.0
//! Messages of D-Bus as a bus reads and writes them (D-Bus specification, "Message Protocol").

use std::io::{self, Read};

const HEADER: usize = 16;
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

/// The name, the interface and the messages of the bus itself.
pub const BUS: &str = "org.freedesktop.DBus";

/// A call of netd's.
#[derive(Debug, Clone)]
pub struct Call {
    pub serial: u32,
    pub destination: String,
    pub member: String,
    pub body: Vec<u8>,
}

/// What a call is answered: a string or nothing, or an error's name and text.
pub type Answer = Result<Option<String>, (String, String)>;

impl Call {
    /// The next one of a connection.
    pub fn read(stream: &mut impl Read) -> io::Result<Call> {
        let mut bytes = vec![0; HEADER];
        stream.read_exact(&mut bytes)?;
        let fields_end = HEADER + number(&bytes, 12) as usize;
        let end = fields_end.next_multiple_of(8) + number(&bytes, 4) as usize;
        bytes.resize(end, 0);
        stream.read_exact(&mut bytes[HEADER..])?;
        Call::parse(&bytes).ok_or(io::ErrorKind::InvalidData.into())
    }

    /// The one that these bytes are, or begin with.
    pub fn parse(bytes: &[u8]) -> Option<Call> {
        if bytes.len() < HEADER || bytes[..4] != [b'l', CALL, bytes[2], 1] {
            return None;
        }
        let fields_end = HEADER + number(bytes, 12) as usize;
        let body = bytes.get(fields_end.next_multiple_of(8)..)?;
        let mut call = Call {
            serial: number(bytes, 8),
            destination: String::new(),
            member: String::new(),
            body: body.get(..number(bytes, 4) as usize)?.to_vec(),
        };
        let mut at = HEADER;
        while at < fields_end {
            at = at.next_multiple_of(8);
            let code = bytes[at];
            // Code, a signature of one letter, the value.
            at += 4;
            if code == SIGNATURE {
                at += usize::from(bytes[at]) + 2;
                continue;
            }
            let value = string(bytes, &mut at);
            match code {
                DESTINATION => call.destination = value,
                MEMBER => call.member = value,
                _ => {}
            }
        }
        Some(call)
    }
}

/// The number at this place.
pub fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The string that begins here or at the next multiple of 4; the place moves behind it.
pub fn string(bytes: &[u8], at: &mut usize) -> String {
    let begin = at.next_multiple_of(4) + 4;
    let end = begin + number(bytes, begin - 4) as usize;
    *at = end + 1;
    String::from_utf8(bytes[begin..end].to_vec()).unwrap()
}

/// The answer to a call, from who has this unique name.
pub fn answer(serial: u32, from: &str, answer: &Answer) -> Vec<u8> {
    let to = serial.to_string();
    match answer {
        Ok(text) => message(
            REPLY,
            &[(REPLY_SERIAL, 'u', &to), (SENDER, 's', from)],
            text.as_slice(),
        ),
        Err((name, text)) => message(
            ERROR,
            &[
                (ERROR_NAME, 's', name),
                (REPLY_SERIAL, 'u', &to),
                (SENDER, 's', from),
            ],
            std::slice::from_ref(text),
        ),
    }
}

/// A signal with strings.
pub fn signal(from: &str, path: &str, interface: &str, member: &str, args: &[String]) -> Vec<u8> {
    let fields = [
        (PATH, 'o', path),
        (INTERFACE, 's', interface),
        (MEMBER, 's', member),
        (SENDER, 's', from),
    ];
    message(SIGNAL, &fields, args)
}

fn message(kind: u8, fields: &[(u8, char, &str)], body: &[String]) -> Vec<u8> {
    let mut list = Vec::new();
    let signature = "s".repeat(body.len());
    let with_signature = [(SIGNATURE, 'g', signature.as_str())];
    let more = &with_signature[..usize::from(!body.is_empty())];
    for (code, kind, value) in fields.iter().chain(more) {
        list.resize(list.len().next_multiple_of(8), 0);
        list.extend_from_slice(&[*code, 1, *kind as u8, 0]);
        match kind {
            'u' => list.extend_from_slice(&value.parse::<u32>().unwrap().to_le_bytes()),
            'g' => {
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
    // Nobody wants an answer.
    let mut bytes = vec![b'l', kind, 1, 1];
    for number in [text.len() as u32, 1, list.len() as u32] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&list);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&text);
    bytes
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}
