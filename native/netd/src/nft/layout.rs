// SPDX-License-Identifier: Apache-2.0
//! What sets are made with: the types of their keys and values, and what nft prints them by.

use super::element::{IFNAME, SERVICE_KEY, SERVICE_VALUE};
use super::ruleset::SetKind;

pub(crate) const SET_INTERVAL: u32 = 0x4;
pub(crate) const SET_MAP: u32 = 0x8;
pub(crate) const SET_TIMEOUT: u32 = 0x10;
/// `NFT_DATA_VERDICT` as the type of a map's values, which have no length.
pub(crate) const VERDICTS: (u32, u32) = (0xffff_ff00, 0);
/// nft's own numbers of its datatypes (`enum datatypes` of its sources); the kernel only keeps them.
const NFT_TYPE_NF_PROTO: u32 = 2;
pub(crate) const NFT_TYPE_IPV4_ADDR: u32 = 7;
pub(crate) const NFT_TYPE_IPV6_ADDR: u32 = 8;
const NFT_TYPE_INET_PROTO: u32 = 12;
const NFT_TYPE_INET_SERVICE: u32 = 13;
const NFT_TYPE_IFNAME: u32 = 41;
/// How far each part of a concatenated type is shifted.
const NFT_TYPE_BITS: u32 = 6;
/// Userdata of sets, by which nft knows the byte order to print in (libnftnl's udata.h).
pub(crate) const UDATA_KEY_BYTEORDER: u8 = 0;
const UDATA_DATA_BYTEORDER: u8 = 1;
/// The expression that a key is, where its type has no name (`typeof`).
pub(crate) const UDATA_KEY_TYPEOF: u8 = 3;
const UDATA_DATA_INTERVAL: u8 = 6;
pub(crate) const HOST_ENDIAN: u32 = 1;
pub(crate) const BIG_ENDIAN: u32 = 2;

/// What a set is made with.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) flags: u32,
    /// nft's number of the key's type.
    pub(crate) key_type: u32,
    pub(crate) key_len: u32,
    /// The type of a map's values and their length.
    pub(crate) values: Option<(u32, u32)>,
    /// Packets add elements, which go after so many milliseconds; 0 is never.
    pub(crate) dynamic: Option<u64>,
    /// By which nft knows how to print it.
    pub(crate) userdata: Vec<u8>,
}

impl SetKind {
    pub(super) fn layout(self) -> Layout {
        let (flags, key_type, key_len, byteorder) = match self {
            SetKind::Interfaces => (0, NFT_TYPE_IFNAME, IFNAME as u32, HOST_ENDIAN),
            SetKind::Timed => (SET_TIMEOUT, NFT_TYPE_IFNAME, IFNAME as u32, HOST_ENDIAN),
            SetKind::Pairs => (
                0,
                concatenated(&[NFT_TYPE_IFNAME, NFT_TYPE_IFNAME]),
                2 * IFNAME as u32,
                0,
            ),
            SetKind::Subnets => (SET_INTERVAL, NFT_TYPE_IPV4_ADDR, 4, BIG_ENDIAN),
            SetKind::Subnets6 => (SET_INTERVAL, NFT_TYPE_IPV6_ADDR, 16, BIG_ENDIAN),
            SetKind::Addresses => (0, NFT_TYPE_IPV4_ADDR, 4, BIG_ENDIAN),
            SetKind::Families => (0, NFT_TYPE_NF_PROTO, 1, 0),
            SetKind::Addresses6 => (0, NFT_TYPE_IPV6_ADDR, 16, BIG_ENDIAN),
            SetKind::Services => (
                SET_MAP,
                concatenated(&[
                    NFT_TYPE_IPV4_ADDR,
                    NFT_TYPE_INET_PROTO,
                    NFT_TYPE_INET_SERVICE,
                ]),
                SERVICE_KEY as u32,
                0,
            ),
            SetKind::Verdicts => (SET_MAP, NFT_TYPE_IFNAME, IFNAME as u32, HOST_ENDIAN),
        };
        let values = match self {
            SetKind::Verdicts => Some(VERDICTS),
            SetKind::Services => Some((
                concatenated(&[NFT_TYPE_IPV4_ADDR, NFT_TYPE_INET_SERVICE]),
                SERVICE_VALUE as u32,
            )),
            _ => None,
        };
        let mut userdata = udata(UDATA_KEY_BYTEORDER, byteorder);
        if self == SetKind::Pairs {
            userdata.extend(udata_of_concatenation(&[]));
        }
        if self == SetKind::Services {
            userdata.extend(udata(UDATA_DATA_BYTEORDER, 0));
        }
        if self == SetKind::Verdicts {
            userdata.extend(udata_of_verdicts());
        }
        Layout {
            flags,
            key_type,
            key_len,
            values,
            dynamic: None,
            userdata,
        }
    }
}

/// nft's number of a concatenation: six bits for each part.
pub(crate) fn concatenated(types: &[u32]) -> u32 {
    types
        .iter()
        .fold(0, |whole, part| whole << NFT_TYPE_BITS | part)
}

/// What follows the byte order of a concatenation: its parts, where nft needs them (`typeof`).
pub(crate) fn udata_of_concatenation(parts: &[u8]) -> Vec<u8> {
    const EXPR_CONCAT: u32 = 13;
    let concatenation = [udata(0, EXPR_CONCAT), udata_nested(1, parts)].concat();
    udata_nested(UDATA_KEY_TYPEOF, &concatenation)
}

/// Userdata within userdata; at most 64 bytes here.
pub(crate) fn udata_nested(kind: u8, inner: &[u8]) -> Vec<u8> {
    let len = u8::try_from(inner.len()).unwrap_or(u8::MAX);
    [&[kind, len], inner].concat()
}

/// What follows the byte order of a verdict map's key.
pub(crate) fn udata_of_verdicts() -> Vec<u8> {
    let mut userdata = udata(UDATA_DATA_BYTEORDER, 0);
    userdata.extend(udata(UDATA_DATA_INTERVAL, 0));
    userdata
}

pub(crate) fn udata(kind: u8, value: u32) -> Vec<u8> {
    let mut bytes = vec![kind, 4];
    bytes.extend_from_slice(&value.to_ne_bytes());
    bytes
}
