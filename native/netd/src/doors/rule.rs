// SPDX-License-Identifier: Apache-2.0
//! A rule of somebody else's, as far as it can be understood: what it asks of a packet, and what
//! becomes of one that answers.

use crate::nft::attr;

// linux/netfilter/nf_tables.h.
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const PAYLOAD_NETWORK: u32 = 1;
const PAYLOAD_TRANSPORT: u32 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// `IPS_DST_NAT`
const DNAT: u32 = 1 << 5;
const REG_VERDICT: u32 = 0;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const JUMP: i32 = -3;
const GOTO: i32 = -4;
const RETURN: i32 = -5;
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
/// libnftnl's udata.h: NFTNL_UDATA_RULE_COMMENT.
pub(super) const UDATA_COMMENT: u8 = 0;

/// What a rule asks of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// The interface by which it came.
    Incoming(Name),
    /// The interface by which it goes.
    Outgoing(Name),
    /// `NFPROTO_…`
    Family(u8),
    /// `IPPROTO_…`
    Protocol(u8),
    /// Its destination port.
    Port(u16),
    /// It passes any of these.
    Any(Vec<Test>),
    /// It fails the test that follows.
    Not(Box<Test>),
    /// Its connection's state is one of these bits.
    State(u32),
    /// Destination NAT has changed it.
    Translated,
    /// Something else.
    Unknown,
}

/// An interface's name, or how it begins (`br+` of iptables, `br*` of nft).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    text: Vec<u8>,
    whole: bool,
}

impl Name {
    fn parse(value: &[u8]) -> Name {
        let end = value.iter().position(|byte| *byte == 0);
        Name {
            text: value[..end.unwrap_or(value.len())].to_vec(),
            whole: end.is_some() || value.len() >= libc::IFNAMSIZ,
        }
    }

    /// As iptables writes it.
    pub(super) fn of_iptables(text: &str) -> Name {
        let beginning = text.strip_suffix('+');
        Name {
            text: beginning.unwrap_or(text).as_bytes().to_vec(),
            whole: beginning.is_none(),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        if self.whole {
            name.as_bytes() == self.text
        } else {
            name.as_bytes().starts_with(&self.text)
        }
    }
}

/// What becomes of a packet that passes all tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Accept,
    /// Dropped or rejected.
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) handle: u64,
    pub(super) comment: Option<String>,
    pub(super) tests: Vec<Test>,
    pub(super) decision: Option<Decision>,
}

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Incoming,
    Outgoing,
    Family,
    Protocol,
    Port,
    State(u32),
    Status(u32),
    Other,
}

impl Rule {
    /// From the attributes of a `NFT_MSG_NEWRULE`; `family` is the table's (`NFPROTO_…`), and
    /// `keys_of` tells the keys of its sets where they are worth knowing.
    pub(super) fn parse(attrs: &[u8], family: u8, keys_of: &mut KeysOf<'_>) -> Option<Rule> {
        let handle = u64::from_be_bytes(attr::find(attrs, 3)?.get(..8)?.try_into().ok()?);
        let mut rule = Rule {
            handle,
            comment: attr::find(attrs, 7).and_then(comment),
            tests: Vec::new(),
            decision: None,
        };
        let mut registers = Vec::new();
        for (_, expr) in attr::parse(attr::find(attrs, 4).unwrap_or_default()) {
            let name = attr::find(expr, 1)
                .and_then(attr::string)
                .unwrap_or_default();
            let data = attr::find(expr, 2).unwrap_or_default();
            rule.add(name, data, family, &mut registers, keys_of);
        }
        Some(rule)
    }

    fn add(
        &mut self,
        name: &str,
        data: &[u8],
        family: u8,
        registers: &mut Vec<(u32, Load)>,
        keys_of: &mut KeysOf<'_>,
    ) {
        let number = |kind| attr::find(data, kind).and_then(attr::be32);
        let mut load = |register: Option<u32>, what| {
            // A register that is written again holds the new value only.
            if let Some(register) = register {
                registers.retain(|(other, _)| *other != register);
                registers.push((register, what));
            }
        };
        match name {
            // Without a destination they set something.
            "meta" => load(
                number(1),
                match number(2) {
                    Some(META_IIFNAME) => Load::Incoming,
                    Some(META_OIFNAME) => Load::Outgoing,
                    Some(META_NFPROTO) => Load::Family,
                    Some(META_L4PROTO) => Load::Protocol,
                    _ => Load::Other,
                },
            ),
            "ct" => load(
                number(1),
                match number(2) {
                    Some(CT_STATE) => Load::State(u32::MAX),
                    Some(CT_STATUS) => Load::Status(u32::MAX),
                    _ => Load::Other,
                },
            ),
            "payload" => load(
                number(1),
                match (number(2), number(3), number(4)) {
                    (Some(PAYLOAD_NETWORK), Some(9), Some(1))
                        if family == libc::NFPROTO_IPV4 as u8 =>
                    {
                        Load::Protocol
                    }
                    (Some(PAYLOAD_TRANSPORT), Some(2), Some(2)) => Load::Port,
                    _ => Load::Other,
                },
            ),
            "bitwise" => {
                let from = number(1).and_then(|source| held(registers, source));
                let mask = attr::find(data, 4).and_then(|mask| attr::find(mask, 1));
                let mask = mask.and_then(|mask| Some(u32::from_ne_bytes(mask.try_into().ok()?)));
                let what = match (from, mask) {
                    (Some(Load::State(_)), Some(mask)) => Load::State(mask),
                    (Some(Load::Status(_)), Some(mask)) => Load::Status(mask),
                    _ => Load::Other,
                };
                if let Some(register) = number(2) {
                    registers.retain(|(other, _)| *other != register);
                    registers.push((register, what));
                }
            }
            "cmp" => {
                let what = number(1).and_then(|source| held(registers, source));
                let value = attr::find(data, 3).and_then(|value| attr::find(value, 1));
                self.tests.push(compare(what, number(2), value));
            }
            // NFTA_LOOKUP_DREG: a map, whose values are not looked at.
            "lookup" if number(3).is_none() => {
                let what = number(2).and_then(|source| held(registers, source));
                let set = attr::find(data, 1).and_then(attr::string);
                let test = one_of(what, set, keys_of);
                self.tests.push(match number(5).unwrap_or(0) {
                    0 => test,
                    _ => Test::Not(Box::new(test)),
                });
            }
            "immediate" if number(1) == Some(REG_VERDICT) => {
                let verdict = attr::find(data, 2).and_then(|data| attr::find(data, 2));
                self.decision = verdict.and_then(decision);
            }
            "reject" => self.decision = Some(Decision::Drop),
            "target" => {
                // Most targets of iptables let the packet go on: LOG, MARK, TCPMSS …
                let target = attr::find(data, 1).and_then(attr::string);
                if matches!(target, Some("REJECT" | "DROP")) {
                    self.decision = Some(Decision::Drop);
                }
            }
            // Whoever restores what iptables saved has comments in a match.
            "match" if attr::find(data, 1).and_then(attr::string) == Some("comment") => {
                let text = attr::find(data, 3).and_then(attr::string);
                self.comment = self.comment.take().or(text.map(str::to_owned));
            }
            "counter" | "log" | "notrack" | "immediate" => {}
            _ => self.tests.push(Test::Unknown),
        }
    }
}

fn held(registers: &[(u32, Load)], register: u32) -> Option<Load> {
    let found = registers.iter().find(|(other, _)| *other == register);
    found.map(|(_, load)| *load)
}

/// The keys of a set, by its name; none where they are not known.
pub(super) type KeysOf<'a> = dyn FnMut(&str) -> Option<Vec<Vec<u8>>> + 'a;

fn one_of(what: Option<Load>, set: Option<&str>, keys_of: &mut KeysOf<'_>) -> Test {
    let (Some(what), Some(set)) = (what, set) else {
        return Test::Unknown;
    };
    // Sets of addresses may be large, and say nothing of a packet whose addresses are not known.
    if what == Load::Other {
        return Test::Unknown;
    }
    let tests: Option<Vec<Test>> = keys_of(set).map(|keys| {
        let keys = keys.iter();
        keys.map(|key| compare(Some(what), Some(CMP_EQ), Some(key)))
            .collect()
    });
    tests.map_or(Test::Unknown, Test::Any)
}

fn compare(what: Option<Load>, op: Option<u32>, value: Option<&[u8]>) -> Test {
    let (Some(what), Some(value)) = (what, value) else {
        return Test::Unknown;
    };
    let byte = || value.first().copied().filter(|_| value.len() == 1);
    let test = match what {
        Load::Incoming => Some(Test::Incoming(Name::parse(value))),
        Load::Outgoing => Some(Test::Outgoing(Name::parse(value))),
        Load::Family => byte().map(Test::Family),
        Load::Protocol => byte().map(Test::Protocol),
        Load::Port => value
            .try_into()
            .ok()
            .map(|v| Test::Port(u16::from_be_bytes(v))),
        // `ct state new,established` is a mask that is not zero; `ct state new` alone is that, too.
        Load::State(mask) if value.iter().all(|byte| *byte == 0) => {
            Some(Test::Not(Box::new(Test::State(mask))))
        }
        Load::State(_) => value
            .try_into()
            .ok()
            .map(|v| Test::State(u32::from_ne_bytes(v))),
        // The other bits say how far a connection has come.
        Load::Status(DNAT) if value.iter().all(|byte| *byte == 0) => {
            Some(Test::Not(Box::new(Test::Translated)))
        }
        Load::Status(_) | Load::Other => None,
    };
    match (test, op) {
        (Some(test), Some(CMP_EQ)) => test,
        (Some(Test::Not(test)), Some(CMP_NEQ)) => *test,
        (Some(test), Some(CMP_NEQ)) => Test::Not(Box::new(test)),
        _ => Test::Unknown,
    }
}

fn decision(verdict: &[u8]) -> Option<Decision> {
    let code = attr::find(verdict, 1).and_then(attr::be32)? as i32;
    let chain = || {
        attr::find(verdict, 2)
            .and_then(attr::string)
            .map(str::to_owned)
    };
    match code {
        DROP => Some(Decision::Drop),
        ACCEPT => Some(Decision::Accept),
        RETURN => Some(Decision::Return),
        JUMP => chain().map(Decision::Jump),
        GOTO => chain().map(Decision::Goto),
        _ => None,
    }
}

/// The comment among a rule's userdata: type, length, value.
fn comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, len, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*len))?;
        if *kind == UDATA_COMMENT {
            return attr::string(value).map(str::to_owned);
        }
        userdata = rest.get(usize::from(*len)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_how_they_begin() {
        let whole = Name::parse(b"br0\0");
        assert!(whole.is("br0") && !whole.is("br01") && !whole.is("br"));
        let begins = Name::parse(b"br");
        assert!(begins.is("br0") && begins.is("br") && !begins.is("b"));
        assert!(Name::parse(b"0123456789abcdef").whole);
    }

    #[test]
    fn comments_among_other_userdata() {
        assert_eq!(comment(&[0, 3, b'a', b'b', 0]).as_deref(), Some("ab"));
        assert_eq!(
            comment(&[9, 1, 7, 0, 2, b'x', 0, 1, 0]).as_deref(),
            Some("x")
        );
        for hostile in [&[][..], &[0], &[0, 9, 1], &[7, 0], &[1, 255, 0]] {
            assert_eq!(comment(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("nft-rule", |rule| {
            Rule::parse(rule, 2, &mut |_| None).is_some()
        });
    }
}
