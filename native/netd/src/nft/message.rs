// SPDX-License-Identifier: Apache-2.0
//! The messages of nf_tables that netd sends, and what it reads out of dumps.

use super::attr::{self, Attrs};
use super::element::Element;
use super::expr::{self, Expr};
use super::layout::Layout;
use super::ruleset::{Chain, SETS, SetKind};
use super::socket::{Message, NEWRULE, NFNL_SUBSYS_NFTABLES, NLM_F_APPEND, NLM_F_CREATE};

/// `NFPROTO_INET` and `NFPROTO_BRIDGE`, with their names in nft.
pub(crate) const INET: (u8, &str) = (1, "inet");
pub(crate) const BRIDGE: (u8, &str) = (7, "bridge");
const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const DELCHAIN: u16 = 5;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const DELSET: u16 = 11;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;

/// A rule of a dump.
#[derive(Debug)]
pub(crate) struct DumpedRule {
    pub(crate) chain: String,
    pub(crate) exprs: Vec<Expr>,
}

/// Makes messages for one table.
#[derive(Debug)]
pub(crate) struct Table {
    /// [`INET`] or [`BRIDGE`].
    pub(crate) family: (u8, &'static str),
    pub(crate) name: String,
}

impl Table {
    fn message(
        &self,
        operation: String,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Attrs),
    ) -> Message {
        let mut attrs = Attrs::new();
        attrs.string(1, &self.name); // NFTA_…_TABLE is 1 everywhere
        fill(&mut attrs);
        Message {
            operation,
            kind: NFNL_SUBSYS_NFTABLES << 8 | kind,
            flags,
            family: self.family.0,
            attrs: attrs.into_bytes(),
        }
    }

    /// Family and name.
    fn words(&self) -> String {
        format!("{} {}", self.family.1, self.name)
    }

    pub(crate) fn add(&self) -> Message {
        self.message(
            format!("add table {}", self.words()),
            NEWTABLE,
            NLM_F_CREATE,
            |a| {
                a.be32(2, 0); // flags
            },
        )
    }

    pub(crate) fn get(&self) -> Message {
        let operation = format!("look for table {} {}", self.family.1, self.name);
        self.message(operation, GETTABLE, 0, |_| ())
    }

    /// All tables of the family.
    pub(crate) fn dump(&self) -> Message {
        let attrs = Vec::new();
        let operation = format!("list the tables of {}", self.family.1);
        Message {
            operation,
            kind: NFNL_SUBSYS_NFTABLES << 8 | GETTABLE,
            flags: 0,
            family: self.family.0,
            attrs,
        }
    }

    pub(crate) fn delete(&self) -> Message {
        let operation = format!("delete table {}", self.words());
        self.message(operation, DELTABLE, 0, |_| ())
    }

    pub(crate) fn add_set(&self, name: &str, kind: SetKind) -> Message {
        let id = SETS.iter().position(|(set, _)| *set == name);
        self.add_set_of(name, id.unwrap_or(SETS.len()) as u32 + 1, &kind.layout())
    }

    /// `id` is any number that no other set of the transaction has.
    pub(crate) fn add_set_of(&self, name: &str, id: u32, layout: &Layout) -> Message {
        self.message(format!("add set {name}"), NEWSET, NLM_F_CREATE, |a| {
            a.string(2, name)
                .be32(3, layout.flags)
                .be32(4, layout.key_type)
                .be32(5, layout.key_len);
            if let Some((data_type, len)) = layout.values {
                a.be32(6, data_type).be32(7, len);
            }
            // Without a size: the first rule that fills the set gives it 65 535 elements at most. With
            // one the kernel makes room for all of them, a megabyte that every dump walks through.
            if let Some(timeout) = layout.dynamic.filter(|timeout| *timeout > 0) {
                a.be64(11, timeout);
            }
            a.be32(10, id).raw(13, &layout.userdata);
        })
    }

    pub(crate) fn delete_set(&self, set: &str) -> Message {
        self.message(
            format!("delete set {} {set}", self.words()),
            DELSET,
            0,
            |a| _ = a.string(2, set),
        )
    }

    pub(crate) fn add_chain(&self, chain: &Chain) -> Message {
        self.message(
            format!("add chain {} {}", self.words(), chain.name),
            NEWCHAIN,
            NLM_F_CREATE,
            |a| {
                a.string(3, &chain.name);
                if let Some(hook) = chain.hook {
                    a.string(7, hook.kind).be32(5, expr::NF_ACCEPT);
                    a.nest(4, |a| {
                        _ = a.be32(1, hook.number).be32(2, hook.priority as u32)
                    });
                }
            },
        )
    }

    pub(crate) fn delete_chain(&self, chain: &str) -> Message {
        self.message(
            format!("delete chain {} {chain}", self.words()),
            DELCHAIN,
            0,
            |a| _ = a.string(3, chain),
        )
    }

    pub(crate) fn add_rule(&self, chain: &str, exprs: &[Expr]) -> Message {
        let operation = format!("add rule in chain {chain}");
        self.message(operation, NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |a| {
            a.string(2, chain)
                .nest(4, |list| expr::encode_all(exprs, list));
        })
    }

    pub(crate) fn flush_chain(&self, chain: &str) -> Message {
        self.message(
            format!("flush chain {} {chain}", self.words()),
            DELRULE,
            0,
            |a| _ = a.string(2, chain),
        )
    }

    pub(crate) fn add_element(&self, set: &str, element: &Element) -> Message {
        self.elements(
            format!(
                "add element {} {set} {{ {} }}",
                self.words(),
                element.words()
            ),
            NEWSETELEM,
            NLM_F_CREATE,
            set,
            |list| element.encode(list),
        )
    }

    pub(crate) fn delete_element(&self, set: &str, element: &Element) -> Message {
        self.elements(
            format!(
                "delete element {} {set} {{ {} }}",
                self.words(),
                element.words()
            ),
            DELSETELEM,
            0,
            set,
            |list| element.encode(list),
        )
    }

    fn elements(
        &self,
        operation: String,
        kind: u16,
        flags: u16,
        set: &str,
        encode: impl FnOnce(&mut Attrs),
    ) -> Message {
        self.message(operation, kind, flags, |a| {
            a.string(2, set).nest(3, encode);
        })
    }

    /// Adds or deletes elements that the caller writes with [`super::element::encode_element`].
    pub(crate) fn change_elements(
        &self,
        set: &str,
        add: bool,
        encode: impl FnOnce(&mut Attrs),
    ) -> Message {
        if add {
            let operation = format!("add elements to {set}");
            self.elements(operation, NEWSETELEM, NLM_F_CREATE, set, encode)
        } else {
            let operation = format!("delete elements from {set}");
            self.elements(operation, DELSETELEM, 0, set, encode)
        }
    }

    pub(crate) fn dump_chains(&self) -> Message {
        self.message("list chains".into(), GETCHAIN, 0, |_| ())
    }

    /// Rules of one chain, or of all; the kernel filters, and knows no chain as an empty one.
    pub(crate) fn dump_rules(&self, chain: Option<&str>) -> Message {
        self.message("list rules".into(), GETRULE, 0, |a| {
            if let Some(chain) = chain {
                a.string(2, chain);
            }
        })
    }

    /// The element of this interface.
    pub(crate) fn get_element(&self, set: &str, element: &Element) -> Message {
        self.elements(
            format!("look for {} in {set}", element.words()),
            GETSETELEM,
            0,
            set,
            |list| element.encode(list),
        )
    }

    pub(crate) fn dump_elements(&self, set: &str) -> Message {
        self.message(format!("list set {set}"), GETSETELEM, 0, |a| {
            _ = a.string(2, set)
        })
    }

    /// The chain's name, if it is one of this table's (a dump of chains has every table's).
    pub(crate) fn chain_name(&self, attrs: &[u8]) -> Option<String> {
        let table = attr::find(attrs, 1).and_then(attr::string)?;
        let name = attr::find(attrs, 3).and_then(attr::string)?;
        (table == self.name).then(|| name.to_owned())
    }

    /// A rule, if it is one of this table's.
    pub(crate) fn rule(&self, attrs: &[u8]) -> Option<DumpedRule> {
        let table = attr::find(attrs, 1).and_then(attr::string)?;
        let chain = attr::find(attrs, 2).and_then(attr::string)?.to_owned();
        let exprs = expr::decode_all(attr::find(attrs, 4).unwrap_or_default());
        (table == self.name).then_some(DumpedRule { chain, exprs })
    }
}

/// A table's name in a dump of tables.
pub(crate) fn table_name(attrs: &[u8]) -> Option<&str> {
    attr::find(attrs, 1).and_then(attr::string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes() {
        let table = Table {
            family: INET,
            name: "tapyard_1000".to_owned(),
        };
        crate::fuzz::run("nft-chain", |bytes| table.chain_name(bytes));
        crate::fuzz::run("nft-rule", |bytes| table.rule(bytes).is_some());
    }
}
