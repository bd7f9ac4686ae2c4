// SPDX-License-Identifier: Apache-2.0
//! Any sequence of verbs, with arguments right and wrong, and then the removal of all, by a shutdown
//! or of one network after the other, guests still running: the kernel is as it was. A sequence that fails is made shorter before it is shown.
//!
//! `TAPYARD_RANDOM_CASES=N` tries so many sequences, `TAPYARD_RANDOM_SEED=N` begins with that one.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tapyard_protocol::{LineReader, MAX_REPLY, RemoveNetwork, Shutdown, recv_with_fds};

use crate::script::START;
use crate::world::{Lab, PATIENCE, Scope, inside};
use crate::{kernel, trace, world};

const CASES: u64 = 40;
const LENGTH: u64 = 14;
/// The first way out has addresses that a lab may have a part of, too.
const LAN: &str = "ip -n wan addr add 198.18.0.1/24 dev eth0; ip addr add 198.18.0.2/24 dev eth0";
/// Not a verb: the guest that has run longest ends, and its tap with it.
const GUEST_ENDS: &str = "a guest ends";

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
        if self.roll().is_multiple_of(16) {
            self.of(wrong)
        } else {
            self.of(right)
        }
    }
}

/// What is done next. `earlier` is what was done so far, to aim at.
fn request(dice: &mut Dice, earlier: &[(&'static str, Value)]) -> (&'static str, Value) {
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
    match dice.roll() % 16 {
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
            let mut args = json!({"lab": lab, "network": name, "guest": guest, "nic": nic,
                "mac": mac, "tap": tap});
            if let Some(applied) = aim(dice, earlier, "apply_network") {
                args["lab"] = applied["lab"].clone();
                args["network"] = applied["network"]["name"].clone();
            }
            ("open_tap", args)
        }
        9 | 10 => {
            let guest = dice.mostly(&["a", "b"], &["A", "-", "a.b"]);
            let nic = dice.mostly(&[0_i64, 1, 31], &[-1, 32, 1 << 40]);
            let rate = dice.mostly(&[0_u64, 8000, 10_000_000], &[1, u64::MAX]);
            let delay = dice.mostly(&[0, 0, 20_000], &[10_000_001]);
            let mut args = json!({"lab": lab, "network": name, "guest": guest, "nic": nic,
                "shape": {"rate": rate, "delay": delay}});
            if let Some(opened) = aim(dice, earlier, "open_tap") {
                for key in ["lab", "network", "guest", "nic"] {
                    args[key] = opened[key].clone();
                }
            }
            ("set_shape", args)
        }
        11 | 12 => ("expose", exposure(dice, lab)),
        13 => {
            let (address, protocol, port) = published(dice);
            let args = json!({"lab": lab, "address": address, "protocol": protocol, "port": port});
            ("unexpose", args)
        }
        14 => (GUEST_ENDS, Value::Null),
        _ => dice.of(&[
            ("acts", json!({})),
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

/// The arguments of an earlier one of these, most of the time.
fn aim(dice: &mut Dice, earlier: &[(&'static str, Value)], verb: &str) -> Option<Value> {
    let such = earlier.iter().filter(|(other, _)| *other == verb);
    let all: Vec<_> = such.map(|(_, args)| Some(args.clone())).collect();
    if all.is_empty() {
        return None;
    }
    dice.mostly(&all, &[None])
}

/// A port of the host's.
fn published(dice: &mut Dice) -> (&'static str, &'static str, i64) {
    let address = dice.mostly(
        &["0.0.0.0", "203.0.113.2"],
        &["127.0.0.1", "8.8.8.8", "::", "x"],
    );
    let protocol = dice.mostly(&["tcp", "udp"], &["icmp", ""]);
    (address, protocol, dice.mostly(&[8022, 8023], &[0, 70_000]))
}

fn exposure(dice: &mut Dice, lab: &str) -> Value {
    let (address, protocol, port) = published(dice);
    let to = dice.mostly(
        &["192.168.57.2", "192.168.58.2", "10.1.2.3"],
        &["192.168.57.1", "203.0.113.1", "8.8.8.8", "x"],
    );
    let to_port = dice.mostly(&[22, 80], &[0, 65_536]);
    json!({"lab": lab, "exposure": {"address": address, "protocol": protocol, "port": port,
        "to": to, "to_port": to_port}})
}

fn network(dice: &mut Dice, name: &str) -> Value {
    match dice.roll() % 36 {
        0..=5 => return bridged(dice, name),
        // netd asks the LAN for a second.
        6 => return proxied(dice, name),
        _ => {}
    }
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
        0 | 1 => {
            let mode = dice.of(&["nat", "routed", "isolated", "bridged", "x"]);
            spec["mode"] = mode.into();
            if matches!(mode, "routed" | "isolated") {
                spec["nat"] = false.into();
            }
        }
        2 => spec["more"] = 1.into(),
        _ => {}
    }
    if dice.roll().is_multiple_of(3) {
        let prefixes = ["fd12:3456:789a:1::/64", "fd12:3456:789a:2::/64"];
        let wrong = ["2001:db8::/64", "fd12::/48", "fe80::/64", "::1"];
        spec["ipv6"] = dice.mostly(&prefixes, &wrong).into();
    }
    if dice.roll().is_multiple_of(3) {
        spec["antispoof"] = dice.of(&[true, false]).into();
    }
    spec
}

/// Guests on the administrator's bridge, behind an interface, or on what is neither.
fn bridged(dice: &mut Dice, name: &str) -> Value {
    let none = ["cable", "eth0", "nothing", "br0", "forged"];
    let (key, on) = dice.of(&[("uplink", "br-lan"), ("interface", "spare")]);
    let on = dice.mostly(&[on], &none);
    json!({
        "name": name, "mode": "bridged", key: on, "mac": "52:54:00:00:01:01",
        "mtu": dice.mostly(&[1500], &[0]), "nat": dice.mostly(&[false], &[true]), "dhcp": null,
        "domain": "lab", "antispoof": dice.of(&[true, false]),
    })
}

/// Guests with addresses of the LAN's, or of what is none.
fn proxied(dice: &mut Dice, name: &str) -> Value {
    let (net, prefix) = dice.mostly(
        &[("198.18.0.64", 29), ("198.18.0.128", 30)],
        &[("198.18.0.0", 24), ("198.18.0.0", 29), ("192.168.57.0", 29)],
    );
    let address = Ipv4Addr::from_bits(net.parse::<Ipv4Addr>().unwrap().to_bits() + 1);
    json!({
        "name": name, "mode": dice.mostly(&["routed"], &["nat"]), "proxy_arp": true,
        "subnet": format!("{net}/{prefix}"), "address": address, "mac": "52:54:00:00:01:01",
        "mtu": 1500, "nat": false, "dhcp": null, "domain": "lab",
    })
}

/// How all is removed.
#[derive(Debug, Clone, Copy)]
enum End {
    Shutdown,
    /// `remove_network` of all that there are, and netd runs on until everything was looked at.
    EachNetwork,
}

/// What netd is to have done at least once in all the sequences, lest they try nothing.
const DONE: [&str; 13] = [
    "apply_network",
    "apply_network, bridged",
    "apply_network, with an interface",
    "apply_network, routed",
    "apply_network, with proxy ARP",
    "apply_network, with IPv6",
    "apply_network, without antispoof",
    "remove_network",
    "set_nat",
    "open_tap",
    "set_shape",
    "expose",
    "unexpose",
];

/// As in [`DONE`].
fn kinds(verb: &str, args: &Value) -> Vec<String> {
    let network = &args["network"];
    let mode = network["mode"].as_str().map(str::to_owned);
    let ipv6 = network["ipv6"].is_string().then(|| "with IPv6".to_owned());
    let interface = network["interface"]
        .is_string()
        .then(|| "with an interface".to_owned());
    let unguarded = (network["antispoof"] == false).then(|| "without antispoof".to_owned());
    let proxied = (network["proxy_arp"] == true).then(|| "with proxy ARP".to_owned());
    let more = [mode, ipv6, interface, unguarded, proxied]
        .into_iter()
        .flatten();
    std::iter::once(verb.to_owned())
        .chain(more.map(|what| format!("{verb}, {what}")))
        .collect()
}

/// Does the sequence, and what of it was done; why it is wrong, if it is.
fn attempt(
    sequence: &[(&'static str, Value)],
    end: End,
    before: &Value,
) -> Result<BTreeSet<String>, String> {
    let mut lab = Lab::new(Scope::Host);
    let result = carry_out(&mut lab, sequence, end, before);
    if result.is_err() {
        // The next attempt begins without this one's netd.
        trace::kill(lab.pid);
        lab.wait_gone();
    }
    result
}

fn carry_out(
    lab: &mut Lab,
    sequence: &[(&'static str, Value)],
    end: End,
    before: &Value,
) -> Result<BTreeSet<String>, String> {
    let mut done = BTreeSet::new();
    (START.run)(lab).map_err(|e| e.to_string())?;
    let mut socket = UnixStream::connect(lab.directory.join("netd.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = LineReader::new(MAX_REPLY);
    // As their guests hold them: they are there until somebody drops them.
    let mut taps = VecDeque::new();
    let hello = ("hello", json!({"protocol": 1, "client": "test"}));
    for (id, (verb, args)) in std::iter::once(&hello).chain(sequence).enumerate() {
        if *verb == GUEST_ENDS {
            taps.pop_front();
            continue;
        }
        let line = json!({"id": id, "verb": verb, "args": args}).to_string() + "\n";
        socket
            .write_all(line.as_bytes())
            .map_err(|e| e.to_string())?;
        let reply = reply(&socket, &mut reader, &mut taps).map_err(|e| format!("{verb}: {e}"))?;
        if reply["error"]["code"] == "INTERNAL" {
            return Err(format!("{verb}: {reply}"));
        }
        if reply.get("ok").is_some() {
            done.extend(kinds(verb, args));
        }
    }
    drop(socket);
    if matches!(end, End::EachNetwork) {
        remove_each(lab)?;
        taps.clear();
        let mut running = before.clone();
        running["processes"]["tapyard-netd"] = 1.into();
        comes_to(lab, &running).map_err(|why| format!("netd runs on: {why}"))?;
    }
    let (removed, _) = lab.call(&Shutdown {}).map_err(|e| e.to_string())?;
    lab.wait_gone();
    drop(taps);
    if !removed.failed.is_empty() {
        return Err(format!("shutdown: {:?}", removed.failed));
    }
    comes_to(lab, before)?;
    match lab.files()[..] {
        [] => Ok(done),
        ref left => Err(format!("files: {left:?}")),
    }
}

/// The next line that is no event; the taps that come with it are held.
fn reply(
    socket: &UnixStream,
    reader: &mut LineReader,
    taps: &mut VecDeque<OwnedFd>,
) -> Result<Value, String> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some(line) = reader.next_line() {
            let line = line.map_err(|e| e.to_string())?;
            let reply: Value = serde_json::from_slice(&line).map_err(|e| e.to_string())?;
            if reply.get("event").is_none() {
                return Ok(reply);
            }
        }
        let received = recv_with_fds(socket, &mut buffer).map_err(|e| e.to_string())?;
        if received.bytes == 0 {
            return Err("netd hung up".to_owned());
        }
        reader.push(&buffer[..received.bytes]);
        taps.extend(received.fds);
    }
}

fn remove_each(lab: &mut Lab) -> Result<(), String> {
    let networks = lab.snapshot().map_err(|e| e.to_string())?.networks;
    for network in networks {
        let args = RemoveNetwork {
            lab: network.lab,
            network: network.name,
        };
        let (removed, _) = lab.call(&args).map_err(|e| e.to_string())?;
        if !removed.failed.is_empty() {
            return Err(format!("remove_network: {:?}", removed.failed));
        }
    }
    let left = lab.snapshot().map_err(|e| e.to_string())?.networks;
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("networks are left: {left:?}")),
    }
}

/// A guest that died with its connection takes its tap a moment later.
fn comes_to(lab: &Lab, expected: &Value) -> Result<(), String> {
    let deadline = std::time::Instant::now() + world::SOON;
    loop {
        let found = lab.picture();
        match kernel::difference(expected, &found) {
            _ if found == *expected => return Ok(()),
            difference if std::time::Instant::now() > deadline => return Err(difference),
            _ => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
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
    world::sh(LAN);
    let before = Lab::new(Scope::Host).picture();
    let mut done = BTreeSet::new();
    for seed in first..first + cases {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut sequence = Vec::new();
        for _ in 0..LENGTH {
            let next = request(&mut dice, &sequence);
            sequence.push(next);
        }
        let end = match seed % 2 {
            0 => End::Shutdown,
            _ => End::EachNetwork,
        };
        let mut why = match attempt(&sequence, end, &before) {
            Ok(what) => {
                done.extend(what);
                continue;
            }
            Err(why) => why,
        };
        let mut at = 0;
        while at < sequence.len() {
            let mut shorter = sequence.clone();
            shorter.remove(at);
            match attempt(&shorter, end, &before) {
                Ok(_) => at += 1,
                Err(same) => (sequence, why) = (shorter, same),
            }
        }
        panic!("seed {seed}: {why}\nafter {sequence:#?} and {end:?}");
    }
    let never = DONE.iter().find(|what| !done.contains(**what));
    assert!(cases < CASES || never.is_none(), "never done: {never:?}");
    println!("random verbs: {cases} sequences of {LENGTH}, seeds from {first}");
}
