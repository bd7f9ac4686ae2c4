// SPDX-License-Identifier: Apache-2.0
//! What netd did ("Acts" in the protocol page).

use crate::{ClientKind, Error, LabName, NetworkName, Verb};
use serde::{Deserialize, Serialize};

/// One change that netd made, tried to make or refused to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Counts up from 1 within one run of netd.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// The lab that it was done for; null where it concerns none or several.
    pub lab: Option<LabName>,
    /// The network that it was done for.
    pub network: Option<NetworkName>,
    /// Who asked.
    pub by: Asker,
    /// What was done, one line for people.
    pub what: String,
    /// What a user would type to the same end, a command a line; null where there is none, or
    /// where `recipe` names it.
    pub command: Option<String>,
    /// The step of the lab's recipe with the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeStep>,
    /// Null where it was done.
    pub error: Option<Error>,
}

/// A step whose command is long and told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecipeStep {
    /// All of both tables.
    Filter,
}

/// Why something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Asker {
    /// Somebody on a connection.
    Client {
        /// As in labels.
        uid: u32,
        /// Its process as netd sees it.
        pid: u32,
        /// What the process calls itself; "" where that cannot be read.
        program: String,
        /// What it said in `hello`; null before.
        client: Option<ClientKind>,
    },
    /// Nobody: netd by itself.
    Itself {
        /// What made it, in words.
        cause: String,
    },
}

/// `acts`: what netd did up to now, as far as it still knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acts {}

/// What `acts` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActsReply {
    /// The oldest first.
    pub acts: Vec<Act>,
}

impl Verb for Acts {
    const NAME: &'static str = "acts";
    type Reply = ActsReply;
}
