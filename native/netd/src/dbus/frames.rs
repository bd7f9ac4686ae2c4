// SPDX-License-Identifier: Apache-2.0
//! Where a message of the bus ends and the next begins. Any user may send us messages, so what
//! cannot concern us is passed over by its length, and never held.

use super::message::{HEADER, u32_at};
use std::io;

/// Larger than anything that concerns us.
const MAX_MESSAGE: u64 = 1 << 20;
/// The largest message there is (D-Bus specification, "Message Format").
const MAX_OF_BUS: u64 = 128 << 20;

/// What has come and is not read yet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    unread: Vec<u8>,
    /// So much of what comes next belongs to a message that is passed over.
    skip: usize,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.unread.extend_from_slice(&bytes[skipped..]);
    }

    /// The next whole message in our byte order. An error where no more can be told apart.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(size) = size_of(&self.unread)? {
            let ours = self.unread[0] == b'l' && size as u64 <= MAX_MESSAGE;
            if !ours {
                let here = size.min(self.unread.len());
                self.unread.drain(..here);
                self.skip = size - here;
            } else if self.unread.len() < size {
                break;
            } else {
                return Ok(Some(self.unread.drain(..size).collect()));
            }
        }
        Ok(None)
    }
}

/// How long the message is that begins here, once that can be told.
fn size_of(bytes: &[u8]) -> io::Result<Option<usize>> {
    let (Some(body), Some(fields)) = (u32_at(bytes, 4), u32_at(bytes, 12)) else {
        return Ok(None);
    };
    let (body, fields) = match bytes[0] {
        b'l' => (body, fields),
        b'B' => (body.swap_bytes(), fields.swap_bytes()),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let size = (HEADER as u64 + u64::from(fields)).next_multiple_of(8) + u64::from(body);
    match usize::try_from(size) {
        Ok(whole) if size <= MAX_OF_BUS => Ok(Some(whole)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(order: u8, body: usize) -> Vec<u8> {
        let number = |number: u32| match order {
            b'B' => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        };
        let mut bytes = vec![order, 4, 0, 1];
        for value in [body as u32, 1, 0] {
            bytes.extend_from_slice(&number(value));
        }
        bytes.resize(HEADER + body, 7);
        bytes
    }

    fn all(stream: &[u8], step: usize) -> (Vec<usize>, usize) {
        let mut frames = Frames::default();
        let (mut sizes, mut held) = (Vec::new(), 0);
        for bytes in stream.chunks(step) {
            frames.push(bytes);
            while let Some(message) = frames.next().unwrap() {
                sizes.push(message.len());
            }
            held = held.max(frames.unread.len());
        }
        (sizes, held)
    }

    #[test]
    fn what_cannot_concern_us_is_passed_over_and_not_held() {
        let stream = [
            message(b'l', 8),
            message(b'B', 40),
            message(b'l', 3 << 20),
            message(b'B', 2 << 20),
            message(b'l', 24),
        ]
        .concat();
        for step in [1, 7, 16 * 1024, stream.len()] {
            let (sizes, held) = all(&stream, step);
            assert_eq!(sizes, [HEADER + 8, HEADER + 24], "in pieces of {step}");
            assert!(
                held <= step + HEADER + 24,
                "{held} held of pieces of {step}"
            );
        }
    }

    #[test]
    fn no_message_at_all() {
        assert!(size_of(&[0xff; 16]).is_err());
        assert!(size_of(&message(b'l', 0)).unwrap().is_some());
        let mut huge = message(b'l', 0);
        huge[4..8].copy_from_slice(&(128u32 << 20).to_le_bytes());
        assert!(size_of(&huge).is_err());
        assert_eq!(size_of(&[b'l'; 15]).unwrap(), None);
    }
}
