// SPDX-License-Identifier: Apache-2.0
//! A door of nf_tables: labelled accepts at the head of somebody else's chain.
//!
//! In the chains of iptables they are what iptables itself would write, so that it can read them
//! back: ports by its own match, a counter in each rule.

use super::Wanted;
use super::rule::{Rule, UDATA_COMMENT};
use super::services::services;
use super::tables::{Family, Hook};
use crate::nft::Result;
use crate::nft::attr::Attrs;
use crate::nft::expr::{
    self, Expr, META_IIFNAME, META_L4PROTO, META_OIFNAME, PAYLOAD_NETWORK, PAYLOAD_TRANSPORT,
    Verdict,
};
use crate::nft::socket::{Message, NFNL_SUBSYS_NFTABLES, NLM_F_CREATE, Socket};
use serde::{Deserialize, Serialize};
use std::fmt;

const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;

/// A chain of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Chain {
    /// Its table's family.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

/// Whether iptables made the table and reads its rules.
pub(super) fn is_iptables(family: Family, chain: &str) -> bool {
    family != Family::Inet && matches!(chain, "FORWARD" | "INPUT" | "DOCKER-USER")
}

/// Adds the accepts of one network at the head of the chain, in the order in which they are here.
pub(super) fn open(at: &Chain, hook: Hook, network: &Wanted) -> Vec<Message> {
    let iptables = is_iptables(at.family, &at.chain);
    let interface = |meta| {
        let mut name = network.name.as_bytes().to_vec();
        name.resize(
            if iptables {
                name.len() + 1
            } else {
                libc::IFNAMSIZ
            },
            0,
        );
        vec![Expr::Meta(meta), Expr::Equal(name)]
    };
    let rules: Vec<_> = match hook {
        // Between its own ports only.
        Hook::Forward if !network.mode.forwards() => {
            vec![(
                0,
                [interface(META_IIFNAME), interface(META_OIFNAME)].concat(),
            )]
        }
        Hook::Forward => vec![(0, interface(META_IIFNAME)), (0, interface(META_OIFNAME))],
        Hook::Input => services(at.family, network)
            .map(|service| {
                let mut exprs = interface(META_IIFNAME);
                exprs.extend(match (service.port, iptables) {
                    (None, _) => protocol_of(service.protocol),
                    (Some((name, port)), true) => {
                        iptables_port(at.family, name, service.protocol, port)
                    }
                    (Some((_, port)), false) => native_port(service.protocol, port),
                });
                (service.protocol as u32, exprs)
            })
            .collect(),
    };
    // Each goes to the head, so the last is the first.
    let rules = rules.into_iter().rev();
    rules
        .map(|(protocol, mut exprs)| {
            exprs.extend([Expr::Counter, Expr::Verdict(Verdict::Accept)]);
            add(at, protocol, &exprs, &network.label)
        })
        .collect()
}

/// Removes one rule.
pub(super) fn remove(at: &Chain, handle: u64) -> Message {
    message(
        at,
        format!("delete rule {handle} in {at}"),
        DELRULE,
        0,
        |a| {
            _ = a.raw(3, &handle.to_be_bytes());
        },
    )
}

/// Handles of the rules in a chain that carry this label; none where there is no such chain.
pub(super) fn labelled(socket: &mut Socket, at: &Chain, label: &str) -> Result<Vec<u64>> {
    let rules = socket.dump(&message(
        at,
        format!("list rules of {at}"),
        GETRULE,
        0,
        |_| (),
    ))?;
    let rules = rules
        .iter()
        .filter_map(|attrs| Rule::parse(attrs, at.family.number(), &mut |_| None));
    Ok(rules
        .filter(|rule| rule.comment.as_deref() == Some(label))
        .map(|rule| rule.handle)
        .collect())
}

/// What a user would type to have the same.
pub(super) fn command(at: &Chain, hook: Hook, network: &Wanted) -> String {
    let bridge = &network.name;
    let matches: Vec<String> = match hook {
        Hook::Forward if !network.mode.forwards() => {
            vec![format!("iifname {bridge} oifname {bridge}")]
        }
        Hook::Forward => vec![format!("iifname {bridge}"), format!("oifname {bridge}")],
        Hook::Input => services(at.family, network)
            .map(|service| format!("iifname {bridge} {}", service.words))
            .collect(),
    };
    let commands: Vec<String> = matches
        .iter()
        .map(|wanted| format!("nft insert rule {at} {wanted} counter accept"))
        .collect();
    commands.join("; ")
}

fn protocol_of(protocol: i32) -> Vec<Expr> {
    vec![Expr::Meta(META_L4PROTO), Expr::Equal(vec![protocol as u8])]
}

fn native_port(protocol: i32, port: u16) -> Vec<Expr> {
    let mut exprs = protocol_of(protocol);
    exprs.extend([
        Expr::Payload {
            base: PAYLOAD_TRANSPORT,
            offset: 2,
            len: 2,
        },
        Expr::Equal(port.to_be_bytes().to_vec()),
    ]);
    exprs
}

/// `-p udp -m udp --dport 67`, as every iptables-nft can read it.
fn iptables_port(family: Family, name: &str, protocol: i32, port: u16) -> Vec<Expr> {
    let load = match family {
        Family::Ip => Expr::Payload {
            base: PAYLOAD_NETWORK,
            offset: 9,
            len: 1,
        },
        Family::Ip6 | Family::Inet => Expr::Meta(META_L4PROTO),
    };
    // struct xt_udp and the beginning of struct xt_tcp: source and destination ports from and to,
    // both padded to 16.
    let mut ports = Vec::with_capacity(16);
    for number in [0, u16::MAX, port, port] {
        ports.extend_from_slice(&number.to_ne_bytes());
    }
    ports.resize(16, 0);
    vec![
        load,
        Expr::Equal(vec![protocol as u8]),
        Expr::Match {
            name: name.to_owned(),
            info: ports,
        },
    ]
}

fn add(at: &Chain, protocol: u32, exprs: &[Expr], label: &str) -> Message {
    let operation = format!("insert rule in {at}");
    message(at, operation, NEWRULE, NLM_F_CREATE, |a| {
        a.nest(4, |list| expr::encode_all(exprs, list));
        if exprs.iter().any(|expr| matches!(expr, Expr::Match { .. })) {
            // NFTA_RULE_COMPAT: the matches of iptables want to know the rule's protocol.
            a.nest(5, |a| _ = a.be32(1, protocol).be32(2, 0));
        }
        let mut comment = vec![UDATA_COMMENT, label.len() as u8 + 1];
        comment.extend_from_slice(label.as_bytes());
        comment.push(0);
        a.raw(7, &comment);
    })
}

fn message(
    at: &Chain,
    operation: String,
    kind: u16,
    flags: u16,
    fill: impl FnOnce(&mut Attrs),
) -> Message {
    let mut attrs = Attrs::new();
    attrs.string(1, &at.table).string(2, &at.chain);
    fill(&mut attrs);
    Message {
        operation,
        kind: NFNL_SUBSYS_NFTABLES << 8 | kind,
        flags,
        family: at.family.number(),
        attrs: attrs.into_bytes(),
    }
}
