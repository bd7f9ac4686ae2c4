// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap exec` for one who is killed before it has noted what it started.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

use std::process::Command;

#[test]
fn executes_nothing_for_one_who_ends_without_a_word() {
    let mark = std::env::temp_dir().join(format!("tapyard-executed-{}", std::process::id()));
    // What is written there goes nowhere, and its end is at once.
    let done = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" 3<>/dev/null"])
        .arg(env!("CARGO_BIN_EXE_tapyard-tap"))
        .args(["exec", "--netd", "/nowhere/netd.sock", "--lab", "seed"])
        .args(["--guest", "web", "--report", "3", "--", "touch"])
        .arg(&mark)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("has not noted it"), "{said}");
    assert!(!mark.exists());
}
