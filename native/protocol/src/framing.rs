// SPDX-License-Identifier: Apache-2.0
//! One message is one line: UTF-8 JSON and LF. A request has at most [`MAX_REQUEST`] bytes with
//! its LF; what netd says is bounded by what the kernel holds.

use serde::Serialize;

/// The longest request with its LF, in bytes.
pub const MAX_REQUEST: usize = 65_536;

/// The longest reply or event that a client takes, in bytes: 40 times that of 1000 interfaces.
pub const MAX_REPLY: usize = 16 << 20;

/// A line passed the reader's limit; what remains of it is thrown away up to its LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line has more than {limit} bytes")]
pub struct TooLarge {
    /// The most that a line may have, with its LF.
    pub limit: usize,
}

/// Cuts a stream of bytes into lines. Never holds more than what was pushed last plus one line.
#[derive(Debug)]
pub struct LineReader {
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that hold no LF for sure, so that none is looked at twice.
    scanned: usize,
    /// Inside a line that was too large.
    skipping: bool,
}

impl LineReader {
    /// An empty reader of lines of at most `limit` bytes with their LF.
    pub fn new(limit: usize) -> Self {
        LineReader {
            limit,
            buffer: Vec::new(),
            scanned: 0,
            skipping: false,
        }
    }

    /// Whether nothing is left over: the next byte begins a line.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && !self.skipping
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
                    if line.len() > self.limit {
                        return Some(Err(self.too_large()));
                    }
                    line.pop();
                    Some(Ok(line))
                }
                None if self.buffer.len() >= self.limit => {
                    self.skipping = true;
                    Some(Err(self.too_large()))
                }
                None => {
                    self.scanned = self.buffer.len();
                    None
                }
            };
        }
    }
}

impl LineReader {
    fn too_large(&self) -> TooLarge {
        TooLarge { limit: self.limit }
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

    const LIMIT: usize = 100;
    const TOO_LARGE: TooLarge = TooLarge { limit: LIMIT };

    fn all(reader: &mut LineReader) -> Vec<Result<String, TooLarge>> {
        std::iter::from_fn(|| reader.next_line())
            .map(|line| line.map(|l| String::from_utf8_lossy(&l).into_owned()))
            .collect()
    }

    #[test]
    fn lines_in_pieces() {
        let mut reader = LineReader::new(LIMIT);
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
        let mut reader = LineReader::new(LIMIT);
        reader.push(&[b'a'; LIMIT - 1]);
        reader.push(b"\n");
        assert_eq!(reader.next_line().unwrap().unwrap().len(), LIMIT - 1);
        reader.push(&[b'a'; LIMIT]);
        assert_eq!(reader.next_line(), Some(Err(TOO_LARGE)));
        assert_eq!(reader.next_line(), None);
    }

    #[test]
    fn goes_on_after_a_large_line() {
        let mut reader = LineReader::new(LIMIT);
        for _ in 0..10 {
            reader.push(&[b'x'; LIMIT]);
        }
        assert_eq!(all(&mut reader), [Err(TOO_LARGE)]);
        reader.push(b"tail\nnext\n");
        assert_eq!(all(&mut reader), [Ok("next".into())]);
        let mut whole = vec![b'x'; LIMIT + 5];
        whole.extend_from_slice(b"\nnext\n");
        reader.push(&whole);
        assert_eq!(all(&mut reader), [Err(TOO_LARGE), Ok("next".into())]);
    }

    #[test]
    fn any_split_gives_the_same_lines() {
        let text: Vec<u8> = (0..4000u32).map(|i| (i * i % 251 % 17) as u8).collect();
        let mut whole = LineReader::new(LIMIT);
        whole.push(&text);
        let expected = all(&mut whole);
        for size in 1..40 {
            let mut reader = LineReader::new(LIMIT);
            let mut lines = Vec::new();
            for chunk in text.chunks(size) {
                reader.push(chunk);
                lines.extend(all(&mut reader));
            }
            assert_eq!(lines, expected);
        }
    }
}
