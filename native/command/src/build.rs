// SPDX-License-Identifier: Apache-2.0
//! Which build of Tapyard this program belongs to.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The command for Node, and what its build says of itself.
pub struct Build {
    /// `dist/cli/tapyard.mjs`.
    pub program: PathBuf,
    /// The contract's hash; none where the build does not say.
    pub contract: Option<String>,
    /// The hash of the sources.
    pub id: Option<String>,
}

impl Build {
    /// The one in the nearest directory at or above this program's that has `dist/cli`.
    pub fn find() -> Option<Self> {
        let own = env::current_exe().ok()?;
        let cli = own
            .ancestors()
            .map(|directory| directory.join("dist/cli"))
            .find(|cli| cli.join("tapyard.mjs").is_file())?;
        // Read anew each time: a build that is replaced must not go on speaking for itself.
        let text = fs::read_to_string(cli.join("build-id")).unwrap_or_default();
        let mut parts = text.split_whitespace().map(str::to_owned);
        Some(Self {
            program: cli.join("tapyard.mjs"),
            contract: parts.next(),
            id: parts.next(),
        })
    }
}
