// SPDX-License-Identifier: Apache-2.0
//! What there is to compare: interfaces, addresses, routes, rules, sysctls, processes. Counters,
//! lifetimes, numbers and timers are left out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Map, Value, json};

/// Keys that differ from run to run without meaning anything. Timers are known by their ending.
const VOLATILE: [&str; 14] = [
    "handle",
    "index",
    "packets",
    "bytes",
    "ifindex",
    "link_index",
    "link_netnsid",
    "valid_life_time",
    "preferred_life_time",
    "tentative",
    "stats64",
    "metainfo",
    "promiscuity",
    "allmulti",
];

/// The private scope's way out.
const UPLINK: &str = "up0";

/// A network namespace, seen through `ip`, `nft` and /proc/sys: the one of that process, or the
/// test's own.
pub fn namespace(of: Option<libc::pid_t>) -> Value {
    let Some(pid) = of else { return here() };
    // A thread moves there, and what it starts with it: quicker than nsenter before each command.
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let namespace = File::open(format!("/proc/{pid}/ns/net"))
                .unwrap_or_else(|e| panic!("the namespace of {pid}: {e}"));
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            here()
        });
        there.join().unwrap_or_else(|why| resume_unwind(why))
    })
}

/// The network namespace of this thread.
fn here() -> Value {
    let ip = |args: &[&str]| listing(&[&["ip", "-j"], args].concat());
    let mut links = ip(&["-d", "link"]);
    let mut addresses = ip(&["addr"]);
    let mut routes = ip(&["route", "show", "table", "all"]);
    let mut proxies = ip(&["neigh", "show", "proxy"]);
    if let Some(proxies) = proxies.as_array_mut() {
        proxies.sort_by_key(Value::to_string);
    }
    // pasta takes a MAC at random, and the kernel an address from that.
    let random = |address: &Value| {
        address
            .as_str()
            .is_some_and(|text| text.starts_with("fe80::") && !text.contains('/'))
    };
    for link in links.as_array_mut().into_iter().flatten() {
        if link["ifname"] == UPLINK {
            link["address"].take();
        }
    }
    sort(&mut links);
    let addresses: Vec<Value> = addresses
        .as_array_mut()
        .into_iter()
        .flatten()
        .map(|link| {
            let mut all = link["addr_info"].take();
            if let Some(all) = all.as_array_mut().filter(|_| link["ifname"] == UPLINK) {
                all.retain(|address| !random(&address["local"]));
            }
            json!({ "on": link["ifname"], "are": all })
        })
        .collect();
    if let Some(routes) = routes.as_array_mut() {
        routes.retain(|route| route["dev"] != UPLINK || !random(&route["dst"]));
        // The kernel's own: a router has one for each subnet, but where forwarding was switched while the
        // address was tentative (`dev_forward_change` passes over it), so how fast a script is decides.
        routes.retain(|route| route["type"] != "anycast");
    }
    json!({
        "links": links,
        "addresses": addresses,
        "routes": routes,
        "proxies": proxies,
        "disciplines": listing(&["tc", "-j", "qdisc"]),
        "rules": ruleset(&listing(&["nft", "-j", "list", "ruleset"])),
        "sysctls": sysctls(),
    })
}

/// The processes of this process namespace by name, and whether they are stopped, without the test's own.
pub fn processes() -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        if pid == 1 || pid == std::process::id() {
            continue;
        }
        // Gone meanwhile, or a zombie, which has no command line.
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let Some(title) = line.split('\0').next().filter(|title| !title.is_empty()) else {
            continue;
        };
        let title = title.rsplit('/').next().unwrap_or(title);
        let state = if is_stopped(pid) { " (stopped)" } else { "" };
        *found.entry(format!("{title}{state}")).or_default() += 1;
    }
    found
}

/// Whether a process is stopped by a signal; one that its tracer stopped is not.
pub fn is_stopped(pid: impl std::fmt::Display) -> bool {
    // The state stands after the name, which can hold all but a line's end.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

/// The numbers of the processes whose command line holds these words.
pub fn processes_of(words: &str) -> Vec<libc::pid_t> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        line.replace('\0', " ").contains(words).then_some(pid)
    });
    pids.filter(|pid| *pid != 1 && *pid != std::process::id() as libc::pid_t)
        .collect()
}

/// Where two pictures differ, in words.
pub fn difference(expected: &Value, found: &Value) -> String {
    fn walk(path: &str, a: &Value, b: &Value, out: &mut Vec<String>) {
        match (a, b) {
            (Value::Object(a), Value::Object(b)) => {
                let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
                keys.sort_unstable();
                keys.dedup();
                for key in keys {
                    let get = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                    walk(&format!("{path}/{key}"), &get(a), &get(b), out);
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                for gone in a.iter().filter(|item| !b.contains(item)) {
                    out.push(format!("{path}: missing {gone}"));
                }
                for new in b.iter().filter(|item| !a.contains(item)) {
                    out.push(format!("{path}: too much {new}"));
                }
                if out.is_empty() && a != b {
                    out.push(format!("{path}: another order"));
                }
            }
            (a, b) if a == b => {}
            (a, b) => out.push(format!("{path}: {a} was expected, not {b}")),
        }
    }
    let mut out = Vec::new();
    walk("", expected, found, &mut out);
    out.join("\n")
}

/// Those of the interfaces, and whether the kernel routes, as `name:value` in the order of the names.
fn sysctls() -> Vec<String> {
    let mut found = Vec::new();
    let mut read = |name: String| {
        // Some cannot be read before they are set, and an interface may be gone meanwhile.
        let value = fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap_or_default();
        let lines = value.lines().filter(|line| !line.is_empty());
        found.extend(lines.map(|line| format!("{name}:{line}")));
    };
    read("ipv4/ip_forward".to_owned());
    for family in ["ipv4/conf", "ipv6/conf"] {
        let interfaces = names(&format!("/proc/sys/net/{family}"));
        for interface in interfaces.unwrap() {
            let folder = format!("{family}/{interface}");
            let all = names(&format!("/proc/sys/net/{folder}")).unwrap_or_default();
            all.iter().for_each(|one| read(format!("{folder}/{one}")));
        }
    }
    found.sort_unstable();
    found
}

/// What is in a folder.
fn names(folder: &str) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().unwrap());
    fs::read_dir(folder)?.map(name).collect()
}

fn run(command: &[&str]) -> String {
    let out = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}");
    String::from_utf8(out.stdout).unwrap()
}

/// ip(8) says nothing where there is nothing to list.
fn listing(command: &[&str]) -> Value {
    let said = run(command);
    let mut value = match said.trim() {
        "" => json!([]),
        said => serde_json::from_str(said).unwrap_or_else(|e| panic!("{command:?}: {e}: {said}")),
    };
    strip(&mut value);
    sort(&mut value);
    value
}

fn sort(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.sort_by_key(Value::to_string);
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !VOLATILE.contains(&key.as_str()) && !key.ends_with("_timer"));
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Objects sorted, without what packets put into a set of some size, but each chain's rules in their order, which is the one that means something.
fn ruleset(listing: &Value) -> Value {
    let mut others = Vec::new();
    let mut rules: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for item in listing["nftables"].as_array().into_iter().flatten() {
        if let Some(rule) = item.get("rule") {
            let chain = format!("{} {} {}", rule["family"], rule["table"], rule["chain"]);
            rules.entry(chain).or_default().push(rule["expr"].clone());
        } else {
            let mut item = item.clone();
            if let Some(set) = item.get_mut("set").and_then(Value::as_object_mut)
                && set.contains_key("size")
            {
                set.remove("elem");
            }
            for kind in ["set", "map"] {
                if let Some(elements) = item.pointer_mut(&format!("/{kind}/elem"))
                    && let Some(elements) = elements.as_array_mut()
                {
                    elements.sort_by_key(Value::to_string);
                }
            }
            others.push(item.to_string());
        }
    }
    others.sort_unstable();
    json!({ "objects": others, "rules": rules })
}

#[test]
#[should_panic(expected = "cannot look")]
fn a_picture_that_cannot_be_taken_is_no_picture() {
    listing(&["sh", "-c", "echo cannot look >&2; exit 1"]);
}

#[test]
#[should_panic(expected = "the namespace of 0")]
fn nor_is_one_of_a_process_that_is_gone() {
    namespace(Some(0));
}
