// SPDX-License-Identifier: Apache-2.0
//! The system bus, firewalld or systemd-resolved fail at each message of netd's, in every way that
//! there is. Guests get through all the same, no verb fails for it, `shutdown` ends and says what it
//! could not do, and once all is well again nothing is left, at the latest with the next netd.

use std::time::Instant;

use serde_json::Value;
use tapyard_protocol::{ApplyNetwork, Code, DoorState, HostNamesState, Shutdown};

use crate::bus::{Bus, FAULTS, Fault, firewalld};
use crate::script::{OPEN_TAP, SHUT_DOWN, START, complete, first, wait_for};
use crate::world::{Lab, on_hosts, shard, wait_until};
use crate::{Course, SAMPLE, Watchdog, assert_left};

/// Waiting for who does not answer is most of it.
const HOSTS: usize = 6;

/// When all is well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Well {
    /// Once netd has come to terms with it.
    Before,
    /// After its end.
    After,
}

/// What goes wrong, with which message, and until when.
#[derive(Debug, Clone, Copy)]
struct Case {
    fault: Fault,
    at: usize,
    well: Well,
}

/// All there are, where a run without faults has messages for these services, one after the other.
fn cases(messages: &[&str]) -> Vec<Case> {
    let mut all = Vec::new();
    for (at, service) in messages.iter().enumerate() {
        let like = |other: Option<&&str>| other == Some(service);
        let amid =
            like(at.checked_sub(1).and_then(|at| messages.get(at))) && like(messages.get(at + 1));
        for fault in FAULTS.into_iter().filter(|fault| fault.is_of(service)) {
            // Who falls silent between two of the same calls does so before the second.
            if fault.lasts() && amid {
                continue;
            }
            let mut add = |well| all.push(Case { fault, at, well });
            add(Well::Before);
            // What resolved was told goes with the bridge.
            if fault.lasts() && *service == firewalld::NAME {
                add(Well::After);
            }
        }
    }
    all
}

/// Makes a network, takes its DNS away, and then the network.
fn run(case: Case, bus: &Bus, lab: &mut Lab, before: &Value) -> Option<String> {
    bus.fail(case.fault, case.at);
    (START.run)(lab).unwrap();
    lab.ask::<ApplyNetwork>(first(1500, 1)).unwrap();
    (OPEN_TAP.run)(lab).unwrap();
    if case.well == Well::Before {
        settles(lab);
        lab.check_guest("with its names");
        heals(case, bus, lab);
    }
    let mut nameless = first(1500, 1);
    nameless["network"]["dhcp"] = Value::Null;
    lab.ask::<ApplyNetwork>(nameless).unwrap();
    settles(lab);
    lab.check_guest("without its names");
    if case.well == Well::Before {
        heals(case, bus, lab);
    }
    let (removed, _) = lab.call(&Shutdown {}).unwrap();
    lab.wait_gone();
    bus.go_on();
    // What it has asked for is done, though nobody waits for it any more.
    wait_until("the bus has heard all", || bus.is_alone());
    for error in &removed.failed {
        assert_eq!(error.code, Code::Kernel, "{error:?}");
        assert!(
            error
                .message
                .starts_with("firewalld keeps br0 in its zone "),
            "{error:?}"
        );
        assert!(error.hint.is_some(), "{error:?}");
    }
    if !removed.failed.is_empty() {
        (START.run)(lab).unwrap();
        (SHUT_DOWN.run)(lab).unwrap();
    }
    assert_left(lab, before);
    bus.met()
}

/// Where it went wrong, it is well again, and netd sees to what it could not do before, unless it
/// was told no or nothing.
fn heals(case: Case, bus: &Bus, lab: &mut Lab) {
    bus.go_on_if_met();
    match case.fault.is_answer() {
        true => settles(lab),
        false => complete(lab).unwrap(),
    }
}

/// netd has come to terms with it: whoever was asked has answered or is given up, and what it says
/// of names is so or can be done by hand.
fn settles(lab: &mut Lab) {
    wait_for(lab, |snapshot| {
        snapshot.networks.iter().all(|network| {
            let open = network
                .doors
                .iter()
                .all(|door| door.state == DoorState::Open);
            let names = network.host_names.as_ref();
            let told = names.is_none_or(|names| match names.state {
                HostNamesState::Asking => false,
                HostNamesState::Set => true,
                HostNamesState::Refused => names.reason.is_some() && names.command.is_some(),
            });
            open && told
        })
    })
    .unwrap();
}

#[test]
fn the_system_bus_fails_at_every_message() {
    if !on_hosts("faults::the_system_bus_fails_at_every_message", HOSTS) {
        return;
    }
    let begin = Instant::now();
    let course = Course::of_bus();
    let bus = course.bus.clone().unwrap();
    let before = course.lab().picture();
    let none = Case {
        fault: Fault::Cut,
        at: usize::MAX,
        well: Well::Before,
    };
    run(none, &bus, &mut course.lab(), &before);
    let cases = cases(&bus.messages());
    let every = std::env::var("TAPYARD_FAULT_EVERY").map_or(SAMPLE, |n| n.parse().unwrap());
    let mut met = 0;
    let mut of = 0;
    // Those that wait stand beside each other, and each host gets as many.
    let cases = cases.iter().step_by(every).skip(shard()).step_by(HOSTS);
    for case in cases {
        let watch = Watchdog::start(format!("{case:?}"));
        let done = run(*case, &bus, &mut course.lab(), &before);
        drop(watch);
        met += usize::from(done.is_some());
        of += 1;
    }
    println!(
        "bus faults: {met} of {of} points met (part {} of {HOSTS}, one of {every} points), {} s",
        shard() + 1,
        begin.elapsed().as_secs()
    );
    assert!(met > 0 || every > 1, "no points");
}
