// SPDX-License-Identifier: Apache-2.0
//! Rate, delay and loss of a NIC, on real taps with real frames, as tc shows them.
//!
//! Each test runs again inside a user and network namespace of its own (`unshare -Urn`); where
//! that cannot be made, the test fails and says so.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "antispoof/frames.rs"]
mod frames;
mod kernel;
#[path = "antispoof/lab.rs"]
mod lab;

use frames::{BROADCAST, Mac, UDP, ether, packet4, udp};
use kernel::{inside, sh};
use lab::{Lab, PATIENCE, Tap, until, words};
use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tapyard_protocol::{
    Code, Error, Observe, OpenTap, RemoveNetwork, SetShape, SetShapeReply, Shape,
};

const SHAPED: Mac = [0x52, 0x54, 0, 0, 0, 2];
const OTHER: Mac = [0x52, 0x54, 0, 0, 0, 3];
const SHAPED_AT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const OTHER_AT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
/// Bits per second.
const RATE: u64 = 4_000_000;

/// A guarded network with two guests.
fn lab(test: &str) -> Lab {
    let mut lab = Lab::start(test);
    lab.network("br0", 1, true, &[(SHAPED, 2), (OTHER, 3)]);
    lab
}

fn set(lab: &mut Lab, shape: Value) -> Result<SetShapeReply, Error> {
    let args =
        json!({"lab": "seed", "network": "br0", "guest": "shaped", "nic": 0, "shape": shape});
    let args: SetShape = serde_json::from_value(args).unwrap();
    Ok(lab.client.call(&args, PATIENCE)?.0)
}

fn open(lab: &mut Lab, shape: Value) -> Result<Tap, Error> {
    let args = json!({"lab": "seed", "network": "br0", "guest": "shaped", "nic": 0,
        "mac": words(SHAPED), "tap": "tap0", "shape": shape});
    let args: OpenTap = serde_json::from_value(args).unwrap();
    let (reply, mut fds) = lab.client.call(&args, PATIENCE)?;
    let steps: Vec<_> = reply.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["tap", "tap_shape", "tap_port"]);
    let fd = fds.remove(0);
    fcntl_setfl(&fd, OFlags::NONBLOCK).unwrap();
    Ok(Tap { fd, mac: SHAPED })
}

/// Each discipline of the namespace that is not the kernel's own choice, in tc's words.
fn disciplines() -> Vec<String> {
    let all: Vec<Value> = serde_json::from_str(&sh("tc -j qdisc show")).unwrap();
    let mut told: Vec<String> = all
        .iter()
        .filter(|one| matches!(one["kind"].as_str(), Some("tbf" | "netem" | "ingress")))
        .map(|one| {
            let rate = one["options"]["rate"]
                .as_u64()
                .map(|rate| format!(" {}", rate * 8));
            format!(
                "{} {}{}",
                one["dev"].as_str().unwrap(),
                one["kind"].as_str().unwrap(),
                rate.unwrap_or_default()
            )
        })
        .collect();
    told.sort();
    told
}

fn held_to(rate: u64) -> Vec<String> {
    vec![
        format!("ifb-tap0 tbf {rate}"),
        "tap0 ingress".to_owned(),
        format!("tap0 tbf {rate}"),
    ]
}

/// Where what comes in by tap0 is sent to.
fn redirected() -> Vec<String> {
    let filters: Vec<Value> =
        serde_json::from_str(&sh("tc -j filter show dev tap0 ingress")).unwrap();
    filters
        .iter()
        .filter_map(|filter| filter["options"]["actions"][0]["to_dev"].as_str())
        .map(str::to_owned)
        .collect()
}

/// What netd tells of tap0.
fn told(lab: &mut Lab) -> Shape {
    let (snapshot, _) = lab.client.call(&Observe {}, PATIENCE).unwrap();
    let tap = snapshot.links.into_iter().find(|link| link.name == "tap0");
    tap.unwrap().shape
}

fn nothing_is_left() -> bool {
    disciplines().is_empty() && !sh("ip -br link").contains("ifb-")
}

/// A frame to everybody that a kernel with br_netfilter lets pass.
fn datagram(from: Mac, address: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let payload = udp(5000, 5001, payload);
    let packet = packet4(UDP, address, Ipv4Addr::BROADCAST, &payload);
    ether(BROADCAST, from, 0x0800, &packet)
}

/// How long so many bytes take from one to the other, a few frames on the way at a time.
fn transfer(from: &Tap, address: Ipv4Addr, to: &Tap, bytes: usize) -> Duration {
    let frame = datagram(from.mac, address, &[7; 1000]);
    to.received();
    let begin = Instant::now();
    let (mut sent, mut got) = (0, 0);
    while got < bytes {
        while sent < bytes && sent < got + 4 * frame.len() {
            from.send(&frame);
            sent += frame.len();
        }
        got += to
            .received()
            .iter()
            .filter(|one| **one == frame)
            .map(Vec::len)
            .sum::<usize>();
        assert!(begin.elapsed() < PATIENCE, "{got} of {sent} bytes came");
        std::thread::yield_now();
    }
    begin.elapsed()
}

#[test]
fn a_rate_holds_in_both_directions_until_it_is_taken_off() {
    if !inside("a_rate_holds_in_both_directions_until_it_is_taken_off") {
        return;
    }
    let mut lab = lab("shape-rate");
    let shaped = lab.tap("br0", "shaped", SHAPED, "tap0");
    let other = lab.tap("br0", "other", OTHER, "tap1");
    assert!(nothing_is_left());

    let reply = set(&mut lab, json!({"rate": RATE})).unwrap();
    assert!(reply.changed);
    assert_eq!(disciplines(), held_to(RATE));
    assert_eq!(redirected(), ["ifb-tap0"]);
    assert_eq!(told(&mut lab).rate, RATE);
    assert!(
        !set(&mut lab, json!({"rate": RATE})).unwrap().changed,
        "it was so already"
    );

    // What goes faster than 1.5 times the rate is not held. Slower is the machine's business.
    let bytes = 300_000;
    let least = Duration::from_secs_f64(bytes as f64 * 8.0 / RATE as f64 / 1.5);
    for (way, took) in [
        (
            "from the guest",
            transfer(&shaped, SHAPED_AT, &other, bytes),
        ),
        ("to the guest", transfer(&other, OTHER_AT, &shaped, bytes)),
    ] {
        println!(
            "{way}: {:.2} Mbit/s",
            bytes as f64 * 8.0 / 1e6 / took.as_secs_f64()
        );
        assert!(took >= least, "{way}: {took:?}");
    }

    // The guard stands behind it as before: the liar's frame does not come, the true one does.
    let lie = datagram(SHAPED, OTHER_AT, b"lie");
    let truth = datagram(SHAPED, SHAPED_AT, b"truth");
    shaped.send(&lie);
    shaped.send(&truth);
    let mut came = Vec::new();
    until("the true frame", || {
        came.extend(other.received());
        came.contains(&truth)
    });
    assert!(!came.contains(&lie));

    assert!(set(&mut lab, json!({"rate": 2 * RATE})).unwrap().changed);
    assert_eq!(disciplines(), held_to(2 * RATE));
    assert!(set(&mut lab, json!({})).unwrap().changed);
    assert!(nothing_is_left());
    assert!(told(&mut lab).is_none());
    transfer(&shaped, SHAPED_AT, &other, bytes);
    transfer(&other, OTHER_AT, &shaped, bytes);
    assert!(!set(&mut lab, json!({})).unwrap().changed);
}

#[test]
fn it_is_there_before_the_guest_and_goes_with_it() {
    if !inside("it_is_there_before_the_guest_and_goes_with_it") {
        return;
    }
    let mut lab = lab("shape-open");
    for _ in 0..2 {
        let tap = open(&mut lab, json!({"rate": RATE})).unwrap();
        assert_eq!(disciplines(), held_to(RATE));
        drop(tap);
        until("nothing is left of it", nothing_is_left);
    }
    // One that follows at once, before netd has noticed.
    let tap = open(&mut lab, json!({"rate": RATE})).unwrap();
    lab.pause_netd();
    drop(tap);
    lab.restart_netd();
    let tap = open(&mut lab, json!({"rate": 2 * RATE})).unwrap();
    assert_eq!(disciplines(), held_to(2 * RATE));
    let args = json!({"lab": "seed", "network": "br0"});
    let args: RemoveNetwork = serde_json::from_value(args).unwrap();
    let (removed, _) = lab.client.call(&args, PATIENCE).unwrap();
    assert_eq!(removed.failed, []);
    assert!(nothing_is_left(), "a network takes its shapes along");
    drop(tap);
}

#[test]
fn it_outlives_netd_and_is_mended() {
    if !inside("it_outlives_netd_and_is_mended") {
        return;
    }
    let mut lab = lab("shape-heal");
    let _tap = open(&mut lab, json!({"rate": RATE})).unwrap();
    lab.restart_netd();
    assert_eq!(disciplines(), held_to(RATE));
    assert_eq!(told(&mut lab).rate, RATE);
    let whole = || disciplines() == held_to(RATE) && redirected() == ["ifb-tap0"];
    for spoil in [
        "tc qdisc del dev tap0 root",
        "tc qdisc del dev tap0 ingress",
        "tc qdisc replace dev ifb-tap0 root pfifo",
        "ip link del ifb-tap0",
        "ip link set ifb-tap0 down",
    ] {
        sh(spoil);
        until(spoil, || {
            whole() && sh("ip -br link show dev ifb-tap0").contains("UP")
        });
    }
    // And what happened while there was none.
    lab.pause_netd();
    sh("ip link del ifb-tap0; tc qdisc del dev tap0 root");
    lab.restart_netd();
    assert!(whole());
}

/// Where the kernel has no netem, delay and loss are refused before anything is changed.
#[test]
fn delay_and_loss_are_held_or_refused() {
    if !inside("delay_and_loss_are_held_or_refused") {
        return;
    }
    let mut lab = lab("shape-netem");
    let probe = "ip link add probe type dummy; tc qdisc add dev probe root netem delay 1ms";
    let has_netem = std::process::Command::new("sh")
        .args(["-ec", probe])
        .output();
    let has_netem = has_netem.unwrap().status.success();
    sh("ip link del probe 2>/dev/null || true");
    println!(
        "this kernel has {}netem",
        if has_netem { "" } else { "no " }
    );
    let wanted = json!({"rate": RATE, "delay": 20_000, "jitter": 5000, "loss": 10_000});
    if !has_netem {
        let refused = open(&mut lab, wanted.clone()).err().unwrap();
        assert_eq!(refused.code, Code::NetemMissing);
        assert!(!sh("ip -br link").contains("tap0"));
    }
    let _tap = open(&mut lab, json!({"rate": RATE})).unwrap();
    for shape in [wanted, json!({"delay": 20_000}), json!({"loss": 1_000_000})] {
        let set = set(&mut lab, shape.clone());
        if has_netem {
            let shape: Shape = serde_json::from_value(shape).unwrap();
            assert_eq!(set.unwrap().shape, shape);
            assert_eq!(told(&mut lab), shape);
        } else {
            let refused = set.unwrap_err();
            assert_eq!(refused.code, Code::NetemMissing);
            assert!(refused.hint.unwrap().contains("modprobe sch_netem"));
            assert_eq!(disciplines(), held_to(RATE), "as before");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    if !inside("what_cannot_be_is_refused") {
        return;
    }
    let mut lab = lab("shape-refused");
    let refused = set(&mut lab, json!({"rate": RATE})).unwrap_err();
    assert_eq!(refused.code, Code::NoSuchNic);
    // A user's own experiment on a tap that netd does not shape is theirs.
    let _tap = lab.tap("br0", "shaped", SHAPED, "tap0");
    sh("tc qdisc replace dev tap0 root tbf rate 1mbit burst 16k latency 50ms");
    assert!(!set(&mut lab, json!({})).unwrap().changed);
    lab.restart_netd();
    assert_eq!(disciplines(), ["tap0 tbf 1000000"]);
}
