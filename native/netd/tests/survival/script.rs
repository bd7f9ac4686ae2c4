// SPDX-License-Identifier: Apache-2.0
//! What netd is made to do while it is killed: each verb that changes something, and what else
//! makes it change something by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tapyard_protocol::{
    ApplyNetwork, Code, Counters, DoorState, Error, Expose, HostNamesState, Network, OpenTap,
    RemoveNetwork, Result, SetNat, SetShape, Shutdown, Unexpose,
};

use crate::bus::{Bus, firewalld, resolved};
use crate::guest::Guest;
use crate::world::{GATEWAY_MAC, GUEST, GUEST6, Lab, PATIENCE, Scope, sh};

/// One step. It can be done again: after a kill in the middle it is.
pub struct Act {
    /// What happens, in words.
    pub name: &'static str,
    /// netd's verb, where it is one.
    pub verb: Option<&'static str>,
    /// Does it and waits until it is done.
    pub run: fn(&mut Lab) -> Result<()>,
}

impl Act {
    /// Nothing comes after it.
    pub fn is_last(&self) -> bool {
        self.verb == Some("shutdown")
    }
}

/// Verbs that leave everything as it is, so that there is nothing to be killed in.
pub const CHANGES_NOTHING: [&str; 6] = ["hello", "observe", "counters", "acts", "dial", "capture"];

/// The start, also of the netd that comes after one that was killed.
pub const START: Act = Act {
    name: "start",
    verb: None,
    run: |lab| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lab.start(None) {
                // A half that is not killed keeps the lock until it has noticed.
                Err(error) if error.code == Code::AlreadyRunning && Instant::now() < deadline => {
                    lab.wait_gone();
                }
                result => return result,
            }
        }
    },
};

/// The guest's NIC.
pub const OPEN_TAP: Act = Act {
    name: "open a tap",
    verb: Some("open_tap"),
    run: |lab| {
        let args = json!({"lab": "seed", "network": "br0", "guest": "guest", "nic": 0,
            "mac": "52:54:00:00:00:02", "tap": "tap0", "shape": {"rate": lab.rate}});
        let (_, mut fds) = lab.ask::<OpenTap>(args)?;
        let guest = Guest::new(
            fds.remove(0),
            [0x52, 0x54, 0, 0, 0, 2],
            (GUEST, GUEST6),
            GATEWAY_MAC,
        );
        *lab.guest.lock().unwrap() = Some(guest);
        Ok(())
    },
};

/// The end.
pub const SHUT_DOWN: Act = Act {
    name: "shut down",
    verb: Some("shutdown"),
    run: |lab| {
        let (removed, _) = lab.call(&Shutdown {})?;
        lab.wait_gone();
        match removed.failed.first() {
            None => Ok(()),
            // It has ended with that; what is left is for the next one.
            Some(error) => Err(Error::new(Code::Unreachable, error.message.clone())),
        }
    },
};

/// What is done of IPv6 alone after [`START`].
pub const IPV6_SCRIPT: &[Act] = &[
    Act {
        name: "make a network that sends IPv6 out",
        verb: Some("apply_network"),
        run: |lab| lab.ask::<ApplyNetwork>(with_ipv6("routed")).map(drop),
    },
    Act {
        name: "let it send none",
        verb: Some("apply_network"),
        run: |lab| lab.ask::<ApplyNetwork>(with_ipv6("isolated")).map(drop),
    },
    Act {
        name: "let it send some again",
        verb: Some("apply_network"),
        run: |lab| lab.ask::<ApplyNetwork>(with_ipv6("routed")).map(drop),
    },
    SHUT_DOWN,
];

/// What is done of proxy ARP alone after [`START`].
pub const PROXY_SCRIPT: &[Act] = &[
    Act {
        name: "make a network with addresses of the LAN",
        verb: Some("apply_network"),
        run: |lab| lab.ask::<ApplyNetwork>(on_lan(200)).map(drop),
    },
    Act {
        name: "let it have others",
        verb: Some("apply_network"),
        run: |lab| lab.ask::<ApplyNetwork>(on_lan(199)).map(drop),
    },
    Act {
        name: "the default route moves",
        verb: None,
        run: |lab| {
            sh("ip route replace default via 198.51.100.1");
            leads_out_by(lab, "eth1")?;
            wait_for(lab, |snapshot| {
                let mut proxies = snapshot.networks.iter().map(|n| n.proxy_arp.as_ref());
                proxies.all(|p| p.is_some_and(|p| p.device.as_deref() == Some("eth1")))
            })
        },
    },
    SHUT_DOWN,
];

/// What is done after [`START`].
pub const SCRIPT: &[Act] = &[
    Act {
        name: "make a network",
        verb: Some("apply_network"),
        run: |lab| lab.ask::<ApplyNetwork>(first(1500, 1)).map(drop),
    },
    OPEN_TAP,
    Act {
        name: "make another network",
        verb: Some("apply_network"),
        run: |lab| {
            let args = json!({"lab": "seed", "network": {
                "name": "br1", "subnet": "192.168.58.0/24", "address": "192.168.58.1",
                "ipv6": "fd12:3456:789a:1::/64", "mac": "52:54:00:00:01:01", "mtu": 1500,
                "mode": "isolated", "nat": false, "domain": "lab", "dhcp": null }});
            lab.ask::<ApplyNetwork>(args).map(drop)
        },
    },
    Act {
        name: "move that to other subnets and another mode, unguarded",
        verb: Some("apply_network"),
        run: |lab| {
            // The private scope routes nothing. With NAT off it leaves the way out to the first network.
            let mode = match lab.scope {
                Scope::Host => "routed",
                Scope::Private => "nat",
            };
            let args = json!({"lab": "seed", "network": {
                "name": "br1", "subnet": "192.168.59.0/24", "address": "192.168.59.1",
                "ipv6": "fd12:3456:789a:2::/64", "mode": mode, "antispoof": false,
                "mac": "52:54:00:00:01:01", "mtu": 1500, "nat": false, "domain": "lab",
                "dhcp": {"from": "192.168.59.100", "to": "192.168.59.200", "reservations": []} }});
            lab.ask::<ApplyNetwork>(args).map(drop)
        },
    },
    Act {
        name: "put guests on the administrator's bridge",
        verb: Some("apply_network"),
        run: |lab| {
            let args = json!({"lab": "seed", "network": {
                "name": "lan", "mode": "bridged", "uplink": "br-lan", "mac": "52:54:00:00:02:01",
                "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null }});
            needs_host_scope(lab.scope, lab.ask::<ApplyNetwork>(args).map(drop))
        },
    },
    Act {
        name: "put guests on the network behind an interface",
        verb: Some("apply_network"),
        run: |lab| {
            let args = json!({"lab": "seed", "network": {
                "name": "bench", "mode": "bridged", "interface": "spare", "mac": "52:54:00:00:03:01",
                "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null }});
            needs_host_scope(lab.scope, lab.ask::<ApplyNetwork>(args).map(drop))
        },
    },
    Act {
        name: "change the first",
        verb: Some("apply_network"),
        run: |lab| lab.ask::<ApplyNetwork>(first(1400, 2)).map(drop),
    },
    Act {
        name: "switch NAT off",
        verb: Some("set_nat"),
        run: |lab| lab.ask::<SetNat>(nat(false)).map(drop),
    },
    Act {
        name: "switch NAT on",
        verb: Some("set_nat"),
        run: |lab| lab.ask::<SetNat>(nat(true)).map(drop),
    },
    Act {
        name: "hold the guest to a rate",
        verb: Some("set_shape"),
        run: |lab| hold(lab, 1_000_000),
    },
    Act {
        name: "hold it to another",
        verb: Some("set_shape"),
        run: |lab| hold(lab, 8_000_000),
    },
    Act {
        name: "let it go",
        verb: Some("set_shape"),
        run: |lab| hold(lab, 0),
    },
    Act {
        name: "hold it once more",
        verb: Some("set_shape"),
        run: |lab| hold(lab, 8_000_000),
    },
    Act {
        name: "lead a port to the guest",
        verb: Some("expose"),
        run: |lab| expose(lab, 8080),
    },
    Act {
        name: "lead it to another port of his",
        verb: Some("expose"),
        run: |lab| expose(lab, 8081),
    },
    Act {
        name: "somebody takes the filter away",
        verb: None,
        run: |lab| {
            if lab.scope == Scope::Host {
                sh("nft delete table inet tapyard_0 2>/dev/null || true");
            }
            wait_for(lab, |snapshot| {
                snapshot.networks.iter().all(|network| network.filter)
            })
        },
    },
    Act {
        name: "the default route moves",
        verb: None,
        run: |lab| {
            sh("ip route replace default via 198.51.100.1");
            leads_out_by(lab, "eth1")
        },
    },
    Act {
        name: "the default route moves back",
        verb: None,
        run: |lab| {
            sh("ip route replace default via 203.0.113.1");
            leads_out_by(lab, "eth0")
        },
    },
    Act {
        name: "lead the port nowhere",
        verb: Some("unexpose"),
        run: |lab| {
            let args =
                json!({"lab": "seed", "address": "0.0.0.0", "protocol": "tcp", "port": 8022});
            lab.ask::<Unexpose>(args).map(drop)
        },
    },
    Act {
        name: "lead it once more",
        verb: Some("expose"),
        run: |lab| expose(lab, 8080),
    },
    Act {
        name: "remove a network",
        verb: Some("remove_network"),
        run: |lab| {
            let args = json!({"lab": "seed", "network": "br1"});
            let (removed, _) = lab.ask::<RemoveNetwork>(args)?;
            assert_eq!(removed.failed, []);
            Ok(())
        },
    },
    SHUT_DOWN,
];

/// Where the host has a firewalld and a systemd-resolved, on a system bus.
pub const BUS_SCRIPT: &[Act] = &[
    Act {
        name: "make a network",
        verb: Some("apply_network"),
        run: |lab| {
            lab.ask::<ApplyNetwork>(first(1500, 1))?;
            complete(lab)
        },
    },
    OPEN_TAP,
    Act {
        name: "firewalld is reloaded",
        verb: None,
        run: |lab| by_others(lab, Bus::reload),
    },
    Act {
        name: "firewalld is restarted",
        verb: None,
        run: |lab| by_others(lab, |bus| bus.restart(firewalld::NAME)),
    },
    Act {
        name: "resolved is restarted",
        verb: None,
        run: |lab| by_others(lab, |bus| bus.restart(resolved::NAME)),
    },
    Act {
        name: "the bus is restarted",
        verb: None,
        run: |lab| by_others(lab, Bus::restart_all),
    },
    Act {
        name: "it gives no addresses any more",
        verb: Some("apply_network"),
        run: |lab| {
            let mut args = first(1500, 1);
            args["network"]["dhcp"] = Value::Null;
            lab.ask::<ApplyNetwork>(args)?;
            complete(lab)
        },
    },
    Act {
        name: "it gives addresses again",
        verb: Some("apply_network"),
        run: |lab| {
            lab.ask::<ApplyNetwork>(first(1500, 1))?;
            complete(lab)
        },
    },
    SHUT_DOWN,
];

/// What others do to what netd was told, which it hears of and tells again.
fn by_others(lab: &mut Lab, act: impl Fn(&Bus)) -> Result<()> {
    let bus = lab.bus.clone();
    let known = bus.as_ref().map(Bus::state);
    bus.as_ref().inspect(|bus| act(bus));
    wait_for(lab, |_| bus.as_ref().map(Bus::state) == known)?;
    complete(lab)
}

/// The first network, whose guest has an address of its own.
pub fn first(mtu: u32, reservations: u8) -> Value {
    let reservations: Vec<Value> = (0..reservations)
        .map(|n| {
            json!({"mac": format!("52:54:00:00:00:0{}", n + 2),
                "address": format!("192.168.57.{}", n + 2), "guest": format!("guest{n}")})
        })
        .collect();
    json!({"lab": "seed", "network": {
        "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1",
        "mac": "52:54:00:00:00:01", "mtu": mtu, "nat": true, "domain": "lab",
        "dhcp": {"from": "192.168.57.100", "to": "192.168.57.200", "reservations": reservations},
    }})
}

fn on_lan(from: u8) -> Value {
    json!({"lab": "seed", "network": {
        "name": "br1", "subnet": "192.168.1.192/28", "address": "192.168.1.193", "mode": "routed",
        "proxy_arp": true, "mac": "52:54:00:00:01:01", "mtu": 1500, "nat": false, "domain": "lab",
        "dhcp": {"from": format!("192.168.1.{from}"), "to": "192.168.1.201", "reservations": [
            {"mac": "52:54:00:00:00:02", "address": "192.168.1.194", "guest": "guest0"}]}}})
}

fn with_ipv6(mode: &str) -> Value {
    json!({"lab": "seed", "network": {
        "name": "br1", "subnet": "192.168.59.0/24", "address": "192.168.59.1",
        "ipv6": "fd12:3456:789a:2::/64", "mode": mode, "antispoof": false,
        "mac": "52:54:00:00:01:01", "mtu": 1500, "nat": false, "domain": "lab", "dhcp": null}})
}

fn nat(on: bool) -> Value {
    json!({"lab": "seed", "network": "br0", "nat": on})
}

/// The guest that runs, or one that has ended since and starts anew.
fn hold(lab: &mut Lab, rate: u64) -> Result<()> {
    lab.rate = rate;
    if lab.guest.lock().unwrap().is_none() {
        return (OPEN_TAP.run)(lab);
    }
    let args = json!({"lab": "seed", "network": "br0", "guest": "guest", "nic": 0,
        "shape": {"rate": rate}});
    lab.ask::<SetShape>(args).map(drop)
}

/// What there is on the host alone is refused in the private scope, and netd says so.
fn needs_host_scope(scope: Scope, answer: Result<()>) -> Result<()> {
    match answer {
        Err(error) if scope == Scope::Private && error.code == Code::ModeNeedsHostScope => Ok(()),
        answer => answer,
    }
}

fn expose(lab: &mut Lab, to_port: u16) -> Result<()> {
    let args = json!({"lab": "seed", "exposure": {"address": "0.0.0.0", "protocol": "tcp",
        "port": 8022, "to": "192.168.57.2", "to_port": to_port}});
    needs_host_scope(lab.scope, lab.ask::<Expose>(args).map(drop))
}

fn leads_out_by(lab: &mut Lab, device: &str) -> Result<()> {
    wait_for(lab, |snapshot| {
        let uplink = &snapshot.uplink;
        uplink.device.is_some() && uplink.host_device.as_deref() == Some(device)
    })
}

/// Waits until netd says so.
pub fn wait_for(lab: &mut Lab, so: impl Fn(&tapyard_protocol::Snapshot) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let snapshot = lab.snapshot()?;
        if so(&snapshot) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let message = format!("netd does not come to it: {snapshot:?}");
            return Err(Error::new(Code::TimedOut, message));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything that netd is to hold is there.
pub fn complete(lab: &mut Lab) -> Result<()> {
    lab.call(&Counters {})?;
    let with_bus = lab.bus.is_some();
    wait_for(lab, |snapshot| {
        let port_of = |network: &tapyard_protocol::Network| {
            let mut links = snapshot.links.iter();
            let port = network.interface.as_deref();
            port.is_none_or(|port| links.any(|l| l.name == port && l.master == network.bridge))
        };
        snapshot.uplink.device.is_some()
            && snapshot.networks.iter().all(port_of)
            && snapshot.networks.iter().all(|network| {
                let dns = network.dns.as_ref().is_none_or(|dns| dns.pid.is_some());
                let forwards = network.forwarding == network.mode.forwards();
                let open = network
                    .doors
                    .iter()
                    .all(|door| door.state == DoorState::Open);
                let named = !with_bus || network.dns.is_some() == are_set(network);
                let proxy = network.proxy_arp.as_ref();
                let proxied = proxy.is_none_or(|proxy| proxy.device.is_some());
                proxied
                    && network.bridge.is_some()
                    && network.filter
                    && forwards
                    && dns
                    && open
                    && named
            })
    })
}

/// The host asks for the names of its guests.
pub fn are_set(network: &Network) -> bool {
    let names = network.host_names.as_ref();
    names.is_some_and(|names| names.state == HostNamesState::Set)
}
