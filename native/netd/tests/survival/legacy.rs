// SPDX-License-Identifier: Apache-2.0
//! The host's old iptables, IPv4's and IPv6's, in which somebody drops what is forwarded: what is in
//! them, and what is done while netd has doors there.

use std::process::Command;

use serde_json::{Value, json};
use tapyard_protocol::{ApplyNetwork, RemoveNetwork};

use crate::script::{Act, OPEN_TAP, SHUT_DOWN, complete, first, wait_for};
use crate::world::sh;

/// IPv4's program and IPv6's.
const PROGRAMS: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];

/// Somebody's rules: a reject for everybody, and accepts whose comments are no label of this lab's,
/// or stand in a chain in which netd has no door.
const RULES: &str = "*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
:mine -
-A FORWARD -j REJECT
-A FORWARD -i br00 -m comment --comment tapyard:0:seed:br00 -j ACCEPT
-A FORWARD -i br0 -m comment --comment tapyard:4711:seed:br0 -j ACCEPT
-A FORWARD -p tcp -j mine
-A mine -i br0 -m comment --comment tapyard:0:seed:br0 -j ACCEPT
COMMIT";

/// How the labels of this lab's networks begin.
const OURS: &str = "\"tapyard:0:seed:";

/// Somebody loads their rules.
pub fn load() {
    for program in PROGRAMS {
        sh(&format!("{program}-restore -w 10 <<'END'\n{RULES}\nEND"));
    }
}

/// What both tables have, in its order, without counters and dates. Accepts of this lab's that follow
/// each other are sorted: it is all one which network's is first.
pub fn tables() -> Value {
    let saved = PROGRAMS.map(|program| {
        let out = Command::new(format!("{program}-save")).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut lines: Vec<String> = lines
            .map(|line| line.split(" [").next().unwrap_or(line).to_owned())
            .collect();
        let is_ours = |line: &String| line.starts_with("-A FORWARD") && line.contains(OURS);
        for run in lines.chunk_by_mut(|a, b| is_ours(a) && is_ours(b)) {
            run.sort_unstable();
        }
        lines
    });
    json!(saved)
}

const MAKE: Act = Act {
    name: "make a network",
    verb: Some("apply_network"),
    run: |lab| {
        let mut args = first(1500, 1);
        args["network"]["ipv6"] = "fd12:3456:789a:1::/64".into();
        lab.ask::<ApplyNetwork>(args)?;
        complete(lab)
    },
};

const REJECT: Act = Act {
    name: "somebody's reject comes ahead",
    verb: None,
    run: |lab| {
        let known = tables();
        sh("iptables-legacy -w 10 -D FORWARD -j REJECT
            iptables-legacy -w 10 -I FORWARD -j REJECT");
        wait_for(lab, |_| tables() == known)
    },
};

/// What a netd that root lent a user does by other means than root's: it takes the lock itself.
pub const LENT_SCRIPT: &[Act] = &[MAKE, OPEN_TAP, REJECT, SHUT_DOWN];

/// While netd has doors there.
pub const SCRIPT: &[Act] = &[
    MAKE,
    OPEN_TAP,
    Act {
        name: "make another network",
        verb: Some("apply_network"),
        run: |lab| {
            let args = json!({"lab": "seed", "network": {
                "name": "br1", "subnet": "192.168.58.0/24", "address": "192.168.58.1",
                "mac": "52:54:00:00:01:01", "mtu": 1500, "nat": true, "domain": "lab",
                "dhcp": null }});
            lab.ask::<ApplyNetwork>(args)?;
            complete(lab)
        },
    },
    REJECT,
    Act {
        name: "remove a network",
        verb: Some("remove_network"),
        run: |lab| {
            let args = json!({"lab": "seed", "network": "br1"});
            let (removed, _) = lab.ask::<RemoveNetwork>(args)?;
            // Where its program was killed, it stays until it is removed again.
            removed.failed.into_iter().next().map_or(Ok(()), Err)
        },
    },
    SHUT_DOWN,
];
