// SPDX-License-Identifier: Apache-2.0
//! The end of what `capture` streams: the last block of its pcapng says what was counted.

/// Bytes of that block: type, length, interface, time, two options of eight bytes, the end of the
/// options, length.
pub const FOOT: usize = 4 + 4 + 4 + 8 + 12 + 12 + 4 + 4;
/// An Interface Statistics Block (draft-ietf-opsawg-pcapng).
const INTERFACE_STATISTICS: u32 = 5;

/// What a capture saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Packets that came by.
    pub received: u64,
    /// Those of them that were lost, because the reader was slow.
    pub dropped: u64,
}

/// What the last bytes of a stream say; none where the stream was cut off.
pub fn counted(stream: &[u8]) -> Option<Counted> {
    let foot = stream.get(stream.len().checked_sub(FOOT)?..)?;
    let word = |at: usize| Some(u32::from_ne_bytes(foot.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(foot.get(at..at + 8)?.try_into().ok()?));
    let length = u32::try_from(FOOT).ok()?;
    if (word(0)?, word(4)?, word(FOOT - 4)?) != (INTERFACE_STATISTICS, length, length) {
        return None;
    }
    Some(Counted {
        received: long(24)?,
        dropped: long(36)?,
    })
}
