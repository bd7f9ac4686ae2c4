// SPDX-License-Identifier: Apache-2.0
//! One message is one line: UTF-8 JSON and LF, at most [`MAX_LINE`] bytes together.

use serde::Serialize;

/// The longest line with its LF, in bytes.
pub const MAX_LINE: usize = 65_536;

/// A line passed [`MAX_LINE`]; what remains of it is thrown away up to its LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is one line of at most {MAX_LINE} bytes")]
pub struct TooLarge;

/// Cuts a stream of bytes into lines. Never holds more than what was pushed last plus one line.
#[derive(Debug, Default)]
pub struct LineReader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that hold no LF for sure, so that none is looked at twice.
    scanned: usize,
    /// Inside a line that was too large.
    skipping: bool,
}

impl LineReader {
    /// An empty reader.
    pub fn new() -> Self {
        LineReader::default()
    }

    /// Takes what came from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its LF; none until more is pushed. [`TooLarge`] is told once
    /// a line, as soon as it is known; the line after it is read as usual.
    pub fn next_line(&mut self) -> Option<Result<Vec<u8>, TooLarge>> {
        loop {
            let end = self.buffer[self.scanned..]
                .iter()
                .position(|&b| b == b'\n')
                .map(|at| self.scanned + at);
            if self.skipping {
                match end {
                    Some(end) => {
                        self.buffer.drain(..=end);
                        self.scanned = 0;
                        self.skipping = false;
                        continue;
                    }
                    None => {
                        self.buffer.clear();
                        self.scanned = 0;
                        return None;
                    }
                }
            }
            return match end {
                Some(end) => {
                    let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                    self.scanned = 0;
                    if line.len() > MAX_LINE {
                        return Some(Err(TooLarge));
                    }
                    line.pop();
                    Some(Ok(line))
                }
                None if self.buffer.len() >= MAX_LINE => {
                    self.skipping = true;
                    Some(Err(TooLarge))
                }
                None => {
                    self.scanned = self.buffer.len();
                    None
                }
            };
        }
    }
}

/// A message as its line, with LF. JSON escapes line feeds, so it is one line.
pub fn to_line<T: Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut LineReader) -> Vec<Result<String, TooLarge>> {
        std::iter::from_fn(|| reader.next_line())
            .map(|line| line.map(|l| String::from_utf8_lossy(&l).into_owned()))
            .collect()
    }

    #[test]
    fn lines_in_pieces() {
        let mut reader = LineReader::new();
        reader.push(b"ab");
        assert_eq!(all(&mut reader), []);
        reader.push(b"c\n\nd\ne");
        assert_eq!(
            all(&mut reader),
            [Ok("abc".into()), Ok("".into()), Ok("d".into())]
        );
        reader.push(b"\n");
        assert_eq!(all(&mut reader), [Ok("e".into())]);
    }

    #[test]
    fn the_limit_counts_the_lf() {
        let mut reader = LineReader::new();
        reader.push(&vec![b'a'; MAX_LINE - 1]);
        reader.push(b"\n");
        assert_eq!(reader.next_line().unwrap().unwrap().len(), MAX_LINE - 1);
        reader.push(&vec![b'a'; MAX_LINE]);
        assert_eq!(reader.next_line(), Some(Err(TooLarge)));
        assert_eq!(reader.next_line(), None);
    }

    #[test]
    fn goes_on_after_a_large_line() {
        let mut reader = LineReader::new();
        for _ in 0..10 {
            reader.push(&vec![b'x'; MAX_LINE]);
        }
        assert_eq!(all(&mut reader), [Err(TooLarge)]);
        reader.push(b"tail\nnext\n");
        assert_eq!(all(&mut reader), [Ok("next".into())]);
        let mut whole = vec![b'x'; MAX_LINE + 5];
        whole.extend_from_slice(b"\nnext\n");
        reader.push(&whole);
        assert_eq!(all(&mut reader), [Err(TooLarge), Ok("next".into())]);
    }

    #[test]
    fn any_split_gives_the_same_lines() {
        let text: Vec<u8> = (0..4000u32).map(|i| (i * i % 251 % 17) as u8).collect();
        let mut whole = LineReader::new();
        whole.push(&text);
        let expected = all(&mut whole);
        for size in 1..40 {
            let mut reader = LineReader::new();
            let mut lines = Vec::new();
            for chunk in text.chunks(size) {
                reader.push(chunk);
                lines.extend(all(&mut reader));
            }
            assert_eq!(lines, expected);
        }
    }
}
