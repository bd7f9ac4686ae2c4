// SPDX-License-Identifier: Apache-2.0
//! Any sequence of verbs, with arguments right and wrong, and then the removal of all: the kernel
//! is as it was. A sequence that fails is made shorter before it is shown.
//!
//! `TAPYARD_RANDOM_CASES=N` tries so many sequences, `TAPYARD_RANDOM_SEED=N` begins with that one.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tapyard_protocol::Shutdown;

use crate::script::START;
use crate::world::{Lab, PATIENCE, Scope, inside};
use crate::{kernel, world};

const CASES: u64 = 40;
const LENGTH: u64 = 14;

/// xorshift64*: the same seed, the same sequence, on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[(self.roll() % all.len() as u64) as usize].clone()
    }

    /// Right most of the time.
    fn mostly<T: Clone>(&mut self, right: &[T], wrong: &[T]) -> T {
        if self.roll().is_multiple_of(8) {
            self.of(wrong)
        } else {
            self.of(right)
        }
    }
}

fn request(dice: &mut Dice) -> (&'static str, Value) {
    let lab = dice.mostly(&["seed", "other"], &["", "../x", "Seed", "a b"]);
    let name = dice.mostly(
        &["br0", "br1", "br2", "br0.5"],
        &[
            "br00",
            "forged",
            "eth0",
            "lo",
            "all",
            "../x",
            "a name",
            "0123456789abcdef",
            "",
            "$(id)",
        ],
    );
    match dice.roll() % 11 {
        0..=3 => (
            "apply_network",
            json!({"lab": lab, "network": network(dice, name)}),
        ),
        4 => ("remove_network", json!({"lab": lab, "network": name})),
        5 | 6 => (
            "set_nat",
            json!({"lab": lab, "network": name, "nat": dice.of(&[true, false])}),
        ),
        7 | 8 => {
            let tap = dice.mostly(&["tap0", "tap7"], &["br0", "eth0", "t/p", ""]);
            let guest = dice.mostly(&["a", "b"], &["A", "-", "a.b"]);
            let nic = dice.mostly(&[0_i64, 1, 31], &[-1, 32, 1 << 40]);
            let mac = dice.mostly(
                &["52:54:00:00:00:02"],
                &["52:54:00:00:00:0g", "ff:ff:ff:ff:ff:ff"],
            );
            let args = json!({"lab": lab, "network": name, "guest": guest, "nic": nic,
                "mac": mac, "tap": tap});
            ("open_tap", args)
        }
        9 => {
            let guest = dice.mostly(&["a", "b"], &["A", "-", "a.b"]);
            let nic = dice.mostly(&[0_i64, 1, 31], &[-1, 32, 1 << 40]);
            let rate = dice.mostly(&[0_u64, 8000, 10_000_000], &[1, u64::MAX]);
            let delay = dice.mostly(&[0, 0, 20_000], &[10_000_001]);
            let args = json!({"lab": lab, "network": name, "guest": guest, "nic": nic,
                "shape": {"rate": rate, "delay": delay}});
            ("set_shape", args)
        }
        _ => dice.of(&[
            ("counters", json!({})),
            ("observe", json!({})),
            (
                "dial",
                json!({"lab": "seed", "address": "192.168.57.1", "port": 80}),
            ),
            ("hello", json!({"protocol": 1, "client": "test"})),
            ("no_such_verb", json!({})),
            ("set_nat", json!([])),
        ]),
    }
}

fn network(dice: &mut Dice, name: &str) -> Value {
    let net = dice.mostly(
        &["192.168.57", "192.168.58", "10.1.2"],
        &["203.0.113", "10.99.0", "8.8.8"],
    );
    let at = |host: u64| format!("{net}.{host}");
    let prefix = dice.mostly(&[24, 25, 16], &[0, 31, 33]);
    let host = dice.mostly(&[1, 100], &[0, 255]);
    let dhcp = match dice.roll() % 3 {
        0 => Value::Null,
        _ => {
            let reservation = json!({"mac": "52:54:00:00:00:02", "address": at(dice.mostly(&[2, 3], &[1, 255])),
                "guest": "a"});
            let reservations = dice.of(&[json!([]), json!([reservation])]);
            json!({"from": at(dice.mostly(&[10, 20], &[0, 240])), "to": at(dice.of(&[120, 110])),
                "reservations": reservations})
        }
    };
    let mut spec = json!({
        "name": name, "subnet": format!("{}/{prefix}", at(0)), "address": at(host),
        "mac": dice.mostly(&["52:54:00:00:01:01"], &["00:00:00:00:00:00", "x"]),
        "mtu": dice.mostly(&[1500, 1400, 9000], &[0, 575, 65_536]),
        "nat": dice.of(&[true, true, false]), "dhcp": dhcp, "domain": "lab",
    });
    match dice.roll() % 6 {
        0 => {
            spec["mode"] = dice
                .of(&["nat", "routed", "isolated", "bridged", "x"])
                .into()
        }
        1 => spec["more"] = 1.into(),
        _ => {}
    }
    spec
}

/// Does the sequence; why it is wrong, if it is.
fn attempt(sequence: &[(&'static str, Value)], before: &Value) -> Result<(), String> {
    let mut lab = Lab::new(Scope::Host);
    (START.run)(&mut lab).map_err(|e| e.to_string())?;
    let mut socket = UnixStream::connect(lab.directory.join("netd.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut replies = BufReader::new(socket.try_clone().unwrap());
    let hello = ("hello", json!({"protocol": 1, "client": "test"}));
    for (id, (verb, args)) in std::iter::once(&hello).chain(sequence).enumerate() {
        let line = json!({"id": id, "verb": verb, "args": args}).to_string() + "\n";
        socket
            .write_all(line.as_bytes())
            .map_err(|e| e.to_string())?;
        loop {
            let mut line = String::new();
            replies
                .read_line(&mut line)
                .map_err(|e| format!("{verb}: {e}"))?;
            let reply: Value = serde_json::from_str(&line).map_err(|e| format!("{verb}: {e}"))?;
            if reply.get("event").is_some() {
                continue;
            }
            if reply["error"]["code"] == "INTERNAL" {
                return Err(format!("{verb}: {reply}"));
            }
            break;
        }
    }
    drop((socket, replies));
    let (removed, _) = lab.call(&Shutdown {}).map_err(|e| e.to_string())?;
    lab.wait_gone();
    if !removed.failed.is_empty() {
        return Err(format!("shutdown: {:?}", removed.failed));
    }
    // A guest that died with its connection takes its tap a moment later.
    let deadline = std::time::Instant::now() + world::SOON;
    loop {
        let found = lab.picture();
        match kernel::difference(before, &found) {
            _ if found == *before => break,
            difference if std::time::Instant::now() > deadline => return Err(difference),
            _ => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
    match lab.files()[..] {
        [] => Ok(()),
        ref left => Err(format!("files: {left:?}")),
    }
}

#[test]
fn any_sequence_of_verbs_and_then_the_removal_of_all() {
    if !inside("random::any_sequence_of_verbs_and_then_the_removal_of_all") {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let first = number("TAPYARD_RANDOM_SEED").unwrap_or(1);
    let cases = number("TAPYARD_RANDOM_CASES").unwrap_or(CASES);
    let before = Lab::new(Scope::Host).picture();
    for seed in first..first + cases {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut sequence: Vec<_> = (0..LENGTH).map(|_| request(&mut dice)).collect();
        let Err(mut why) = attempt(&sequence, &before) else {
            continue;
        };
        let mut at = 0;
        while at < sequence.len() {
            let mut shorter = sequence.clone();
            shorter.remove(at);
            match attempt(&shorter, &before) {
                Ok(()) => at += 1,
                Err(same) => (sequence, why) = (shorter, same),
            }
        }
        panic!("seed {seed}: {why}\nafter {sequence:#?}");
    }
    println!("random verbs: {cases} sequences of {LENGTH}, seeds from {first}");
}
