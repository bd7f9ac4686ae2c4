// SPDX-License-Identifier: Apache-2.0
//! What the filter and the guard do alike with their tables: read chains and rules, write them, and
//! delete the whole.

use std::collections::{BTreeMap, BTreeSet};

use super::expr::Expr;
use super::message::Table;
use super::ruleset::Chain;
use super::socket::{Message, Socket};
use super::{Error, Result};

/// Rules by chain.
pub(super) type Rules = BTreeMap<String, Vec<Vec<Expr>>>;

/// Looks before it deletes: a transaction that the kernel refuses waits until no processor runs the
/// old rules any more (RCU), which takes longer than all the rest of a network.
pub(super) fn delete_table(socket: &mut Socket, table: &Table) -> Result<bool> {
    if socket.get(&table.get())?.is_none() {
        return Ok(false);
    }
    match socket.commit(&[table.delete()]) {
        // Somebody was quicker.
        Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {
            Ok(false)
        }
        done => done.map(|()| true),
    }
}

/// The names of the chains that are there.
pub(super) fn read_chains(socket: &mut Socket, table: &Table) -> Result<BTreeSet<String>> {
    let dump = socket.dump(&table.dump_chains())?;
    Ok(dump
        .iter()
        .filter_map(|attrs| table.chain_name(attrs))
        .collect())
}

/// The rules of one chain, or of all.
pub(super) fn read_rules(socket: &mut Socket, table: &Table, chain: Option<&str>) -> Result<Rules> {
    let mut rules = Rules::new();
    for attrs in socket.dump(&table.dump_rules(chain))? {
        if let Some(rule) = table.rule(&attrs) {
            rules.entry(rule.chain).or_default().push(rule.exprs);
        }
    }
    Ok(rules)
}

/// Plans to have exactly the chain's rules in it; `flush` where it may have others.
pub(super) fn plan_rules(table: &Table, chain: &Chain, flush: bool, plan: &mut Vec<Message>) {
    if flush {
        plan.push(table.flush_chain(&chain.name));
    }
    let rules = chain.rules.iter();
    plan.extend(rules.map(|rule| table.add_rule(&chain.name, rule)));
}

/// None where the chain is not there.
pub(super) fn rules_of<'a>(rules: &'a Rules, chain: &str) -> &'a [Vec<Expr>] {
    rules.get(chain).map_or(&[], Vec::as_slice)
}
