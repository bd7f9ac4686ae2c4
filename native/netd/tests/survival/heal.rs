// SPDX-License-Identifier: Apache-2.0
//! What a new netd makes of what it finds: after a reboot, after others have changed things behind
//! its back, and beside what is not its own.

use std::fs;
use std::process::Command;

use serde_json::json;
use tapyard_protocol::{ApplyNetwork, Code, RemoveNetwork, Removed, Shutdown};

use crate::script::{OPEN_TAP, SCRIPT, START, complete};
use crate::world::{Lab, PATIENCE, Scope, WAN, inside, sh};
use crate::{assert_left, converges, kernel, trace};

const MAKE_NETWORK: usize = 0;

/// A lab in the host scope with a network and a guest.
fn lab_with_guest() -> Lab {
    let mut lab = Lab::new(Scope::Host);
    (START.run)(&mut lab).unwrap();
    (SCRIPT[MAKE_NETWORK].run)(&mut lab).unwrap();
    (OPEN_TAP.run)(&mut lab).unwrap();
    complete(&mut lab).unwrap();
    lab
}

fn kill_netd(lab: &mut Lab) {
    trace::kill(lab.pid);
    lab.wait_gone();
}

fn shut_down(lab: &mut Lab) -> Removed {
    let (removed, _) = lab.call(&Shutdown {}).unwrap();
    lab.wait_gone();
    removed
}

#[test]
fn what_others_took_away_while_netd_was_dead_comes_back() {
    if !inside("heal::what_others_took_away_while_netd_was_dead_comes_back") {
        return;
    }
    let before = Lab::new(Scope::Host).picture();
    let mut lab = lab_with_guest();
    let whole = lab.picture();
    for harm in [
        "ip link delete br0",
        "nft delete table inet tapyard_0",
        "nft flush chain inet firewall forward
         nft add rule inet firewall forward iifname '\"br00\"' counter accept",
        "echo 0 > /proc/sys/net/ipv4/conf/br0/forwarding
         echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding",
        "ip -4 addr flush dev br0",
        "ip link set br0 down",
        "ip link set tap0 nomaster",
        "ip link set br0 mtu 1300",
        "nft add element inet tapyard_0 nat_off '{ \"br0\" }'",
    ] {
        kill_netd(&mut lab);
        for dnsmasq in kernel::processes_of("--keep-in-foreground") {
            trace::kill(dnsmasq);
        }
        sh(harm);
        (START.run)(&mut lab).unwrap();
        converges(&lab, &whole, harm);
        lab.check_guest(harm);
    }
    assert_eq!(shut_down(&mut lab).failed, []);
    assert_left(&lab, &before);
}

/// The machine has started anew: nothing is left of the kernel's objects, and a process may have
/// any number.
#[test]
fn after_a_reboot_files_of_the_last_boot_mean_nothing() {
    if !inside("heal::after_a_reboot_files_of_the_last_boot_mean_nothing") {
        return;
    }
    for scope in [Scope::Host, Scope::Private] {
        let mut lab = Lab::new(scope);
        let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
        let before = lab.picture();
        let stat = fs::read_to_string(format!("/proc/{}/stat", bystander.id())).unwrap();
        let start: u64 = stat.split(' ').nth(21).unwrap().parse().unwrap();
        let process = json!({"pid": bystander.id(), "start": start});
        let network = json!({"network": {"lab": "seed", "network": {
            "name": "br00", "subnet": "10.99.0.0/24", "address": "10.99.0.1",
            "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "dhcp": null, "domain": "lab"}}});
        let begin =
            json!({"begin": {"version": 1, "boot": "00000000-0000-4000-8000-000000000000"}});
        let opened = json!({"opened": {"device": "br00"}});
        fs::create_dir_all(lab.directory.join("dns/br0")).unwrap();
        for (file, text) in [
            ("journal", format!("{begin}\n{opened}\n{network}\n")),
            // Its start time fits, so that only the boot tells.
            (
                "anchor.json",
                json!({"version": 1, "boot": "00000000-0000-4000-8000-000000000000", "lab": "seed",
                    "anchor": process, "keeper": process, "pasta": process})
                .to_string(),
            ),
            ("netd.lock", String::new()),
            ("journal.new", "{".to_owned()),
            // Of a process with another start time.
            ("dns/br0/process", stat.replace(&start.to_string(), "1")),
            ("dns/br0/pid", bystander.id().to_string()),
            ("dns/br0/leases", "x\n".to_owned()),
        ] {
            // The host scope has no anchor.
            if scope == Scope::Private || file != "anchor.json" {
                fs::write(lab.directory.join(file), text).unwrap();
            }
        }
        sh("echo 1 > /proc/sys/net/ipv4/conf/br00/forwarding");
        (START.run)(&mut lab).unwrap();
        let snapshot = lab.snapshot().unwrap();
        assert_eq!(snapshot.networks, []);
        (SCRIPT[MAKE_NETWORK].run)(&mut lab).unwrap();
        assert_eq!(shut_down(&mut lab).failed, []);
        let forwards = fs::read_to_string("/proc/sys/net/ipv4/conf/br00/forwarding").unwrap();
        assert_eq!(forwards.trim(), "1", "another boot's business");
        sh("echo 0 > /proc/sys/net/ipv4/conf/br00/forwarding");
        assert_left(&lab, &before);
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}

/// The directory is gone, so what is there is nobody's: it is told, and stays.
#[test]
fn without_a_journal_nothing_is_taken_for_our_own() {
    if !inside("heal::without_a_journal_nothing_is_taken_for_our_own") {
        return;
    }
    let mut lab = lab_with_guest();
    kill_netd(&mut lab);
    for dnsmasq in kernel::processes_of("--keep-in-foreground") {
        trace::kill(dnsmasq);
    }
    fs::remove_dir_all(&lab.directory).unwrap();
    let mut next = Lab::new(Scope::Host);
    let orphaned = next.picture();
    (START.run)(&mut next).unwrap();
    assert_eq!(next.snapshot().unwrap().networks, []);
    let error = (SCRIPT[MAKE_NETWORK].run)(&mut next).unwrap_err();
    assert_eq!(error.code, Code::NameTaken);
    assert_eq!(error.subject.as_deref(), Some("br0"));
    assert!(error.hint.unwrap().contains("ip -d link show br0"));
    assert_eq!(shut_down(&mut next).failed, []);
    assert_eq!(next.picture(), orphaned);
    // The guest notices nothing of it all.
    let mut guest = lab.guest.lock().unwrap().take().unwrap();
    assert!(guest.pings(WAN, PATIENCE));
}

#[test]
fn a_foreign_bridge_is_never_touched_whatever_it_is_called_or_labelled() {
    if !inside("heal::a_foreign_bridge_is_never_touched_whatever_it_is_called_or_labelled") {
        return;
    }
    let mut lab = Lab::new(Scope::Host);
    sh("ip link add br0 type bridge; ip addr add 192.168.99.1/24 dev br0; ip link set br0 up");
    for forged in ["", "tapyard:0:seed:br0", "tapyard:0:seed:br0:guest/0"] {
        sh(&format!("ip link set dev br0 alias '{forged}'"));
        let before = lab.picture();
        (START.run)(&mut lab).unwrap();
        let error = (SCRIPT[MAKE_NETWORK].run)(&mut lab).unwrap_err();
        assert_eq!(error.code, Code::NameTaken, "{forged}");
        let args = json!({"lab": "seed", "network": "br0"});
        let (removed, _) = lab.ask::<RemoveNetwork>(args).unwrap();
        assert_eq!(removed, Removed::default(), "{forged}");
        kill_netd(&mut lab);
        (START.run)(&mut lab).unwrap();
        assert_eq!(shut_down(&mut lab).failed, [], "{forged}");
        assert_left(&lab, &before);
    }
}

/// Somebody replaced a bridge of ours by their own: it stays, and the rest goes all the same.
#[test]
fn teardown_goes_on_past_what_fails_and_tells_all_of_it() {
    if !inside("heal::teardown_goes_on_past_what_fails_and_tells_all_of_it") {
        return;
    }
    let mut lab = Lab::new(Scope::Host);
    let before = lab.picture();
    (START.run)(&mut lab).unwrap();
    for n in 0..3 {
        let args = json!({"lab": "seed", "network": {
            "name": format!("br{n}"), "subnet": format!("192.168.{}.0/24", 60 + n),
            "address": format!("192.168.{}.1", 60 + n), "mac": format!("52:54:00:00:0{n}:01"),
            "mtu": 1500, "nat": true, "domain": "lab",
            "dhcp": {"from": format!("192.168.{}.100", 60 + n),
                "to": format!("192.168.{}.200", 60 + n), "reservations": []}}});
        lab.ask::<ApplyNetwork>(args).unwrap();
    }
    let foreign = "for n in 0 2; do ip link delete br$n; ip link add br$n type bridge; done";
    sh(foreign);
    let removed = shut_down(&mut lab);
    let stay: Vec<_> = removed
        .failed
        .iter()
        .map(|e| e.subject.clone().unwrap())
        .collect();
    assert_eq!(stay, ["br0", "br2"]);
    assert!(
        removed
            .failed
            .iter()
            .all(|error| error.code == Code::NameTaken)
    );
    assert!(
        removed.removed.contains(&"bridge br1".to_owned()),
        "{removed:?}"
    );
    sh("ip link show br0; ip link show br2; ip link delete br0; ip link delete br2");
    assert_left(&lab, &before);
}

/// While others make interfaces of their own, ours get our labels and theirs do not.
#[test]
fn a_label_meets_no_interface_that_somebody_makes_meanwhile() {
    if !inside("heal::a_label_meets_no_interface_that_somebody_makes_meanwhile") {
        return;
    }
    let mut lab = Lab::new(Scope::Host);
    (START.run)(&mut lab).unwrap();
    let mut others = Command::new("sh")
        .args([
            "-ec",
            "for i in $(seq 300); do echo link add name x$i type bridge; done | ip -batch -",
        ])
        .spawn()
        .unwrap();
    let mut made = 0;
    while others.try_wait().unwrap().is_none() {
        let args = json!({"lab": "seed", "network": {
            "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1",
            "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": true, "domain": "lab", "dhcp": null}});
        match lab.ask::<ApplyNetwork>(args) {
            Ok(_) => made += 1,
            // Interfaces come faster than they can be listed, which is told.
            Err(error) => assert!(error.message.contains("Interrupted"), "{error}"),
        }
        let args = json!({"lab": "seed", "network": "br0"});
        let (removed, _) = lab.ask::<RemoveNetwork>(args).unwrap();
        assert_eq!(removed.failed, []);
    }
    assert!(made > 0);
    let snapshot = lab.snapshot().unwrap();
    let ours = "tapyard:0:seed:br0";
    let labelled: Vec<_> = snapshot
        .links
        .iter()
        .filter(|link| link.alias == ours)
        .collect();
    assert!(labelled.is_empty(), "after {made} bridges: {labelled:?}");
    assert_eq!(shut_down(&mut lab).failed, []);
}
