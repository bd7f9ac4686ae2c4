// SPDX-License-Identifier: Apache-2.0
//! A capture file in the pcapng format (draft-ietf-opsawg-pcapng), of one Ethernet interface, in
//! this machine's byte order. Blocks are appended to a buffer; nothing here waits or fails.

// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const INTERFACE_STATISTICS: u32 = 5;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// LINKTYPE_ETHERNET (tcpdump.org/linktypes.html).
const ETHERNET: u16 = 1;
// Options.
const END_OF_OPTIONS: u16 = 0;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
const RECEIVED: u16 = 4;
const DROPPED: u16 = 5;
/// Ten to the minus ninth: nanoseconds.
const NANOSECONDS: u8 = 9;

/// Which way a packet went, as the host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the host: on a tap, from the guest.
    In,
    /// From the host.
    Out,
}

/// The head of the file: who wrote it, and of which interface.
pub fn head(out: &mut Vec<u8>, interface: &str, snap: u32) {
    block(out, SECTION_HEADER, |out| {
        word(out, BYTE_ORDER);
        out.extend(1u16.to_ne_bytes()); // version 1.0
        out.extend(0u16.to_ne_bytes());
        out.extend((-1i64).to_ne_bytes()); // a section of unknown length
        let application = concat!("tapyard-netd ", env!("CARGO_PKG_VERSION"));
        option(out, USER_APPLICATION, application.as_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend(ETHERNET.to_ne_bytes());
        out.extend(0u16.to_ne_bytes());
        word(out, snap);
        option(out, INTERFACE_NAME, interface.as_bytes());
        option(out, TIME_RESOLUTION, &[NANOSECONDS]);
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// One packet. `time`: nanoseconds since 1970. `pieces` follow each other; `length` is what the
/// packet had on the wire, which may be more than was kept.
pub fn packet(out: &mut Vec<u8>, time: u64, direction: Direction, length: usize, pieces: &[&[u8]]) {
    let kept: usize = pieces.iter().map(|piece| piece.len()).sum();
    block(out, ENHANCED_PACKET, |out| {
        word(out, 0); // the only interface
        stamp(out, time);
        word(out, u32::try_from(kept).unwrap_or(u32::MAX));
        word(out, u32::try_from(length).unwrap_or(u32::MAX));
        pieces.iter().for_each(|piece| out.extend(*piece));
        pad(out, kept);
        let flags: u32 = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        option(out, PACKET_FLAGS, &flags.to_ne_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// The foot: how many packets came by, and how many of them were lost because the reader was
/// slow. Always of [`FOOT`] bytes, so that it can be found from the end.
pub fn foot(out: &mut Vec<u8>, time: u64, received: u64, dropped: u64) {
    block(out, INTERFACE_STATISTICS, |out| {
        word(out, 0);
        stamp(out, time);
        option(out, RECEIVED, &received.to_ne_bytes());
        option(out, DROPPED, &dropped.to_ne_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    word(out, kind);
    word(out, 0); // its length, when it is known
    body(out);
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX);
    word(out, length);
    out[start + 4..start + 8].copy_from_slice(&length.to_ne_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_ne_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or(0).to_ne_bytes());
    out.extend(value);
    pad(out, value.len());
}

/// The higher half first, whatever the byte order.
fn stamp(out: &mut Vec<u8>, time: u64) {
    word(out, (time >> 32) as u32);
    word(out, time as u32);
}

fn word(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_ne_bytes());
}

/// Values end on a multiple of four bytes.
fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend(std::iter::repeat_n(0, length.next_multiple_of(4) - length));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapyard_protocol::capture;

    /// Walks over a file's blocks, as a reader does.
    fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
        let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = word(&file[4..8]) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(word(&file[length - 4..length]) as usize, length);
            found.push((word(&file[..4]), &file[8..length - 4]));
            file = &file[length..];
        }
        found
    }

    #[test]
    fn a_file_is_blocks() {
        let mut file = Vec::new();
        head(&mut file, "tap0", 4096);
        packet(
            &mut file,
            0x1_0000_0002,
            Direction::Out,
            9,
            &[b"abc", b"de"],
        );
        foot(&mut file, 3, 7, 2);
        let blocks = blocks(&file);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(
            kinds,
            [
                SECTION_HEADER,
                INTERFACE_DESCRIPTION,
                ENHANCED_PACKET,
                INTERFACE_STATISTICS
            ]
        );
        let mut expected = Vec::new();
        for value in [0u32, 1, 2, 5, 9] {
            word(&mut expected, value);
        }
        expected.extend(b"abcde\0\0\0");
        option(&mut expected, PACKET_FLAGS, &2u32.to_ne_bytes());
        option(&mut expected, END_OF_OPTIONS, &[]);
        assert_eq!(blocks[2].1, expected);
    }

    #[test]
    fn the_foot_is_read_back_from_the_end() {
        let mut file = Vec::new();
        head(&mut file, "a-name-of-15-by", 4096);
        assert_eq!(capture::counted(&file), None);
        foot(&mut file, u64::MAX, 7, 2);
        let counted = capture::counted(&file).unwrap();
        assert_eq!((counted.received, counted.dropped), (7, 2));
    }
}
