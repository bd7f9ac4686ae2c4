// SPDX-License-Identifier: Apache-2.0
//! The arguments of a call, in the order that they are put there.

use super::message::put_string;
use std::net::IpAddr;

/// What a call carries, with its signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    signature: String,
    body: Vec<u8>,
}

impl Arguments {
    /// Strings only.
    pub(crate) fn strings(texts: &[&str]) -> Arguments {
        let none = Arguments::default();
        texts.iter().fold(none, |args, text| args.string(text))
    }

    /// `s`
    pub(crate) fn string(mut self, text: &str) -> Arguments {
        self.signature.push('s');
        put_string(&mut self.body, text);
        self
    }

    /// `i`, of numbers that the kernel counts from 1.
    pub(crate) fn number(self, number: u32) -> Arguments {
        self.word("i", number)
    }

    /// `u`
    pub(crate) fn flags(self, flags: u32) -> Arguments {
        self.word("u", flags)
    }

    /// `b`
    pub(crate) fn boolean(self, is: bool) -> Arguments {
        self.word("b", u32::from(is))
    }

    /// `a(iay)`: addresses with their families.
    pub(crate) fn addresses(self, addresses: &[IpAddr]) -> Arguments {
        self.array("(iay)", addresses, |body, address| match address {
            IpAddr::V4(address) => put_address(body, libc::AF_INET, &address.octets()),
            IpAddr::V6(address) => put_address(body, libc::AF_INET6, &address.octets()),
        })
    }

    /// `a(sb)`: names, each with the same answer.
    pub(crate) fn names(self, names: &[&str], is: bool) -> Arguments {
        self.array("(sb)", names, |body, name| {
            put_string(body, name);
            put_word(body, is.into());
        })
    }

    /// `a{ss}`: none.
    pub(crate) fn no_details(self) -> Arguments {
        self.array::<()>("{ss}", &[], |_, ()| {})
    }

    /// `(sa{sv})`: a kind, and one property of it, which is a string.
    pub(crate) fn subject(mut self, kind: &str, property: &str, value: &str) -> Arguments {
        self.body.resize(self.body.len().next_multiple_of(8), 0);
        put_string(&mut self.body, kind);
        let mut args = self.array("{sv}", &[(property, value)], |body, (property, value)| {
            put_string(body, property);
            // A variant: its signature, and the value.
            body.extend_from_slice(&[1, b's', 0]);
            put_string(body, value);
        });
        let begins = args.signature.len() - "a{sv}".len();
        args.signature.insert_str(begins, "(s");
        args.signature.push(')');
        args
    }

    pub(super) fn signature(&self) -> &str {
        &self.signature
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn word(mut self, kind: &str, word: u32) -> Arguments {
        self.signature.push_str(kind);
        put_word(&mut self.body, word);
        self
    }

    /// An array of what begins at multiples of 8. Its length is told without the gap before them.
    fn array<T>(mut self, kind: &str, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) -> Arguments {
        self.signature.push('a');
        self.signature.push_str(kind);
        let body = &mut self.body;
        put_word(body, 0);
        let length = body.len() - 4..body.len();
        body.resize(body.len().next_multiple_of(8), 0);
        let begins = body.len();
        for item in items {
            body.resize(body.len().next_multiple_of(8), 0);
            put(body, item);
        }
        let size = (body.len() - begins) as u32;
        body[length].copy_from_slice(&size.to_le_bytes());
        self
    }
}

fn put_word(bytes: &mut Vec<u8>, word: u32) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&word.to_le_bytes());
}

fn put_address(bytes: &mut Vec<u8>, family: i32, octets: &[u8]) {
    put_word(bytes, family as u32);
    put_word(bytes, octets.len() as u32);
    bytes.extend_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_begin_at_eights() {
        let args = Arguments::default()
            .number(7)
            .addresses(&["192.0.2.1".parse().unwrap()]);
        assert_eq!(args.signature(), "ia(iay)");
        // ifindex, length of the array, family, length of the bytes, bytes.
        let expected = [
            [7, 0, 0, 0, 12, 0, 0, 0],
            [2, 0, 0, 0, 4, 0, 0, 0],
            [192, 0, 2, 1, 0, 0, 0, 0],
        ];
        assert_eq!(args.body(), &expected.concat()[..20]);

        let args = Arguments::default().number(7).names(&["lab"], true);
        assert_eq!(args.signature(), "ia(sb)");
        let expected = b"\x07\0\0\0\x0c\0\0\0\x03\0\0\0lab\0\x01\0\0\0";
        assert_eq!(args.body(), expected);
    }

    #[test]
    fn a_subject_of_polkits() {
        let args = Arguments::default()
            .subject("n", "name", ":1.4")
            .string("org.a")
            .no_details()
            .flags(0)
            .string("");
        assert_eq!(args.signature(), "(sa{sv})sa{ss}us");
        let expected = [
            &b"\x01\0\0\0n\0\0\0"[..],
            b"\x15\0\0\0\0\0\0\0",
            b"\x04\0\0\0name\0\x01s\0",
            b"\x04\0\0\0:1.4\0\0\0\0",
            b"\x05\0\0\0org.a\0\0\0",
            b"\0\0\0\0",
            b"\0\0\0\0\0\0\0\0\0",
        ]
        .concat();
        assert_eq!(args.body(), expected);
    }
}
