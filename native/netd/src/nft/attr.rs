// SPDX-License-Identifier: Apache-2.0
//! Netlink attributes: length, type, value, padded to four bytes (`struct nlattr`).

/// Set in an attribute's type when its value is attributes (`NLA_F_NESTED`).
const NESTED: u16 = 1 << 15;
/// What remains of a type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 4;

/// Writes attributes one after the other.
#[derive(Debug, Default)]
pub(crate) struct Attrs {
    bytes: Vec<u8>,
}

impl Attrs {
    pub(crate) fn new() -> Attrs {
        Attrs::default()
    }

    /// Everything written so far, padded.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn put(&mut self, kind: u16, value: &[u8]) -> &mut Attrs {
        // Values here are names, keys and a few expressions: far below the 64 KiB of the field.
        let len = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn raw(&mut self, kind: u16, value: &[u8]) -> &mut Attrs {
        self.put(kind, value)
    }

    /// A name with its NUL.
    pub(crate) fn string(&mut self, kind: u16, value: &str) -> &mut Attrs {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// nfnetlink's numbers are big-endian.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Attrs {
        self.put(kind, &value.to_be_bytes())
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Attrs {
        self.put(kind, &value.to_be_bytes())
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attrs)) -> &mut Attrs {
        let mut inner = Attrs::new();
        fill(&mut inner);
        self.nested_raw(kind, &inner.bytes)
    }

    /// A value that holds attributes already.
    pub(crate) fn nested_raw(&mut self, kind: u16, value: &[u8]) -> &mut Attrs {
        self.put(kind | NESTED, value)
    }
}

/// Walks over attributes as (type, value); stops at the first that does not fit.
pub(crate) fn parse(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, value))
    })
}

/// The first attribute of this type.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    parse(bytes)
        .find(|(k, _)| *k == kind)
        .map(|(_, value)| value)
}

/// A big-endian number.
pub(crate) fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(0..4)?.try_into().ok()?))
}

/// A big-endian number of eight bytes.
pub(crate) fn be64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(0..8)?.try_into().ok()?))
}

/// A name up to its NUL.
pub(crate) fn string(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut attrs = Attrs::new();
        attrs.string(1, "br0").be32(2, 7).nest(3, |a| {
            a.raw(4, &[1, 2, 3]);
        });
        let bytes = attrs.into_bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(find(&bytes, 1).and_then(string), Some("br0"));
        assert_eq!(find(&bytes, 2).and_then(be32), Some(7));
        assert_eq!(
            find(&bytes, 3).and_then(|b| find(b, 4)),
            Some([1, 2, 3].as_slice())
        );
    }

    #[test]
    fn hostile_lengths_end_the_walk() {
        for bytes in [
            vec![],
            vec![3, 0, 1, 0],
            vec![0, 0, 1, 0],
            vec![255, 255, 1, 0, 9],
            vec![4, 0],
        ] {
            assert_eq!(parse(&bytes).count(), 0, "{bytes:?}");
        }
        // A last attribute without its padding still counts.
        assert_eq!(parse(&[5, 0, 1, 0, 42]).next(), Some((1, [42].as_slice())));
    }
}
