// SPDX-License-Identifier: Apache-2.0
//! `dial`: sockets to guests, and to nothing else.
//!
//! Runs again inside `unshare -Urn`; the guest is a namespace of its own behind a veth, with this
//! program in it as its server.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

mod kernel;

use kernel::{INSIDE, inside, netd_directory, start_netd};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tapyard_protocol::{
    ApplyNetwork, Client, ClientKind, Code, Dial, Error, Port, Reply, Shutdown, send_with_fds,
};

const TEST: &str = "guests_are_reached_and_nothing_else";
const SOON: Duration = Duration::from_secs(20);
const BYTES: usize = 8 << 20;

/// The guest: takes connections on port 80, sends back what it got once the client's end came.
fn be_guest() {
    let listener = TcpListener::bind("[::]:80").unwrap();
    for client in listener.incoming() {
        let mut client = client.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        client.write_all(&got).unwrap();
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dial(address: &str, port: u64) -> Dial {
    Dial {
        lab: "seed".parse().unwrap(),
        address: address.parse().unwrap(),
        port: Port::try_from(port).unwrap(),
    }
}

#[test]
fn guests_are_reached_and_nothing_else() {
    if std::env::var(INSIDE).as_deref() == Ok("guest") {
        return be_guest();
    }
    if !inside(TEST) {
        return;
    }
    let home = netd_directory("dial");
    let (netd, said) = start_netd(&["--scope", "private", "--lab", "seed"], &home);
    assert_eq!(said["ready"], true, "{said}");
    let _netd = Ended(netd);
    let socket = home.join("netd.sock");
    let connect = || Client::connect(&socket, ClientKind::Test, SOON).unwrap();
    let mut client = connect();
    let code = |client: &mut Client, address: &str, port| -> Error {
        client.call(&dial(address, port), SOON).unwrap_err()
    };
    assert_eq!(
        code(&mut client, "192.168.57.2", 80).code,
        Code::NoSuchNetwork
    );
    let apply: ApplyNetwork = serde_json::from_value(json!({
        "lab": "seed",
        "network": {
            "name": "br0", "subnet": "192.168.57.0/24", "address": "192.168.57.1",
            "ipv6": "fd12:3456:789a:1::/64", "mac": "52:54:00:00:00:01", "mtu": 1500, "nat": false,
            "domain": "lab", "dhcp": null,
        },
    }))
    .unwrap();
    client.call(&apply, SOON).unwrap();

    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.join("anchor.json")).unwrap()).unwrap();
    let keeper = record["keeper"]["pid"].to_string();
    let mut guest = Ended(
        Command::new("nsenter")
            .args(["-t", &keeper, "-U", "-n", "--preserve-credentials", "--"])
            .args(["unshare", "-n", "--", "sh", "-ec"])
            .arg("ip link set lo up; echo $$; read go; ip addr add 192.168.57.2/24 dev eth0; ip addr add fd12:3456:789a:1::2/64 dev eth0 nodad; ip link set eth0 up; exec \"$0\" --exact \"$1\" --nocapture")
            .arg(std::env::current_exe().unwrap())
            .arg(TEST)
            .env(INSIDE, "guest")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut pid = String::new();
    let mut said = BufReader::new(guest.0.stdout.take().unwrap());
    said.read_line(&mut pid).unwrap();
    let cable = format!(
        "ip link add g0 master br0 type veth peer name eth0 netns {}; ip link set g0 up",
        pid.trim()
    );
    let status = Command::new("nsenter")
        .args(["-t", &keeper, "-U", "-n", "--preserve-credentials", "--"])
        .args(["sh", "-ec", &cable])
        .status();
    assert!(status.unwrap().success());
    guest.0.stdin.take().unwrap().write_all(b"go\n").unwrap();

    for address in ["192.168.57.2", "fd12:3456:789a:1::2"] {
        // Half-close and a large transfer, both ways through the handed-over socket.
        let begin = Instant::now();
        let (reply, mut fds) = loop {
            match client.call(&dial(address, 80), SOON) {
                Ok(done) => break done,
                Err(error) => assert_eq!(error.code, Code::GuestUnreachable, "{error}"),
            }
            assert!(begin.elapsed() < SOON);
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(reply.network.as_str(), "br0");
        let mut stream = TcpStream::from(fds.pop().unwrap());
        assert!(fds.is_empty());
        assert_eq!(stream.peer_addr().unwrap().ip().to_string(), address);
        stream.set_nonblocking(false).unwrap();
        let bytes: Vec<u8> = (0..BYTES).map(|i| ((i * 31) >> 4) as u8).collect();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == bytes);

        // Refused, and why.
        let refused = code(&mut client, address, 81);
        assert_eq!(refused.code, Code::GuestUnreachable);
        let why = format!("{address} refuses connections to port 81");
        assert_eq!(refused.message, why);
    }
    // Not the host, not the network, not elsewhere, not another lab.
    for (address, expected) in [
        ("192.168.57.1", Code::BadArgs),
        ("192.168.57.0", Code::BadArgs),
        ("192.168.57.255", Code::BadArgs),
        ("127.0.0.1", Code::NoSuchNetwork),
        ("169.254.2.1", Code::NoSuchNetwork),
        ("192.168.58.2", Code::NoSuchNetwork),
        ("fd12:3456:789a:1::1", Code::BadArgs),
        ("fd12:3456:789a:1::", Code::BadArgs),
        ("fd12:3456:789a:2::2", Code::NoSuchNetwork),
        ("::1", Code::NoSuchNetwork),
        ("fe80::1", Code::NoSuchNetwork),
        ("::ffff:192.168.57.1", Code::NoSuchNetwork),
    ] {
        assert_eq!(code(&mut client, address, 80).code, expected, "{address}");
    }
    let other = Dial {
        lab: "other".parse().unwrap(),
        ..dial("192.168.57.2", 80)
    };
    assert_eq!(client.call(&other, SOON).unwrap_err().code, Code::WrongLab);

    // Nobody there: told within its deadline, others are served meanwhile, and what the same
    // client asks behind it is answered after it, in order.
    let mut raw = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let lines = [
        r#"{"id":1,"verb":"hello","args":{"protocol":1,"client":"test"}}"#,
        r#"{"id":2,"verb":"dial","args":{"lab":"seed","address":"192.168.57.9","port":80}}"#,
        r#"{"id":3,"verb":"dial","args":{"lab":"seed","address":"192.168.57.1","port":80}}"#,
        r#"{"id":4,"verb":"dial","args":{"lab":"seed","address":"192.168.57.2","port":0}}"#,
    ];
    send_with_fds(&raw, format!("{}\n", lines.join("\n")).as_bytes(), &[]).unwrap();
    let waiting = Instant::now();
    while waiting.elapsed() < Duration::from_secs(1) {
        let asked = Instant::now();
        connect();
        assert!(
            asked.elapsed() < Duration::from_millis(500),
            "netd was blocked"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    raw.set_read_timeout(Some(SOON)).unwrap();
    raw.write_all(b"\n").unwrap();
    let mut replies = BufReader::new(&raw).lines();
    replies.next().unwrap().unwrap();
    let codes: Vec<(Option<u32>, Code)> = (0..3)
        .map(|_| {
            let line = replies.next().unwrap().unwrap();
            match serde_json::from_str(&line).unwrap() {
                Reply::<serde_json::Value>::Error { id, error } => (id, error.code),
                Reply::Ok { .. } => panic!("{line}"),
            }
        })
        .collect();
    assert_eq!(
        codes,
        [
            (Some(2), Code::GuestUnreachable),
            (Some(3), Code::BadArgs),
            (Some(4), Code::BadArgs)
        ]
    );
    assert!(
        waiting.elapsed() < Duration::from_secs(7),
        "{:?}",
        waiting.elapsed()
    );

    client.call(&Shutdown {}, SOON).unwrap();
    let _ = std::fs::remove_dir_all(&home);
}
