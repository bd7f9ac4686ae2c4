// SPDX-License-Identifier: Apache-2.0
//! tapyard-tap, the unprivileged companion of netd: it receives file descriptors over a unix
//! socket, which Node cannot. A verb a file.

mod args;
mod capture;
mod copy;
mod dial;
mod exec;
mod fail;
mod flow;
mod forward;
#[cfg(test)]
#[path = "../../netd/src/fuzz.rs"]
mod fuzz;
mod plug;
mod qmp;
mod watchers;

use std::process::ExitCode;

const HELP: &str = "\
tapyard-tap - get taps and connections to guests from netd

Usage:
  tapyard-tap exec --netd SOCKET --lab LAB --guest GUEST
                   [--tap FD:NIC:NETWORK:MAC:TAP]... [--shape NIC:RATE:DELAY:JITTER:LOSS]...
                   [--vhost FD]... [--report FD]
                   -- PROGRAM [ARGUMENT]...
  tapyard-tap plug --netd SOCKET --qmp SOCKET --lab LAB --guest GUEST
                   --nic NIC --network NETWORK --mac MAC --tap TAP [--shape RATE:DELAY:JITTER:LOSS]
  tapyard-tap dial --netd SOCKET --lab LAB ADDRESS PORT
  tapyard-tap capture --netd SOCKET --lab LAB [--output FILE] INTERFACE
  tapyard-tap forward --netd SOCKET --lab LAB --listen ADDRESS:PORT --to ADDRESS:PORT
                      [--watch SOCKET]
  tapyard-tap --help | --version

exec
  Asks netd for each tap, puts it at the number FD, closes every other descriptor above 2, and
  executes PROGRAM, which keeps this process's pid and session. Nothing is executed unless
  every tap was opened; a tap that was opened goes again with this process.

  --netd SOCKET   netd's socket
  --lab LAB       the lab's name
  --guest GUEST   the guest's name; with NIC it is the tap's label
  --tap FD:NIC:NETWORK:MAC:TAP
                  a tap at descriptor FD (3 or more) for NIC number NIC of the guest, as a port
                  of NETWORK; MAC is the guest's; TAP is the preferred name, else netd picks
                  the lowest free tapN
  --shape NIC:RATE:DELAY:JITTER:LOSS
                  what that tap's traffic is held to in each direction: bits per second,
                  microseconds twice, packets of a million; 0 is none
  --vhost FD      /dev/vhost-net, opened at descriptor FD, for vhost=on
  --report FD     write one line of JSON to that socket before PROGRAM is executed:
                  {\"taps\":[{\"nic\",\"tap\",\"ifindex\",\"fd\",\"steps\"}]} or {\"error\":{...}};
                  PROGRAM is executed once a line comes back, and never where the socket ends without

plug
  Asks netd for one more tap and hands it to a QEMU that runs, through a QMP monitor that nobody
  else holds: getfd, then netdev_add with the id netNIC. The device on it is the caller's to add.
  Writes {\"tap\":{\"nic\",\"tap\",\"ifindex\",\"steps\"}} or {\"error\":{...}} to standard output; where
  that cannot be written the netdev is taken away again.

  --qmp SOCKET    the monitor's socket; the other options are as in exec's --tap

dial
  Connects standard input and output to PORT of the guest at ADDRESS, which must be in one of
  the lab's networks. No route to the guest is needed: netd makes the connection. For ssh:
  ssh -o ProxyCommand='tapyard-tap dial --netd SOCKET --lab LAB %h %p' root@ADDRESS

capture
  Writes the packets of INTERFACE to standard output, or over FILE, in the pcapng format, until SIGINT, SIGTERM or
  SIGHUP, the interface's end, or the reader's: a bridge of the lab's, a tap of a guest, or up0, the
  private scope's way out. How many came and how many were lost is said on standard error. For
  Wireshark: tapyard-tap capture ... | wireshark -k -i -

forward
  Listens on --listen and connects each client to --to, a guest's address and port, through
  netd. 127.0.0.1 is this computer's programs only; another address is who reaches it. Writes
  {\"listening\":\"ADDRESS:PORT\"} to standard output once it does, or {\"error\":{...}}, and runs until
  it is killed. With
  --watch it listens on that unix socket too, and tells each client {\"flows\":N,\"failure\":null},
  the connections that it carries and why the last client was turned away, now and at changes; and
  it begins with a line on standard input, or ends where that ends without.

PROGRAM is looked for in PATH unless it has a slash.

Exit status: that of PROGRAM; 1 when a tap, a connection or a capture could not be had or PROGRAM could
not be executed, with the reason on standard error and in the report; 2 for a wrong command line.

See also: docs/netd-protocol.md, qemu(1) -netdev tap,fd=N, unix(7) SCM_RIGHTS.
";

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("exec") => exec::run(&arguments[1..]),
        Some("forward") => forward::run(&arguments[1..]),
        Some("plug") => plug::run(&arguments[1..]),
        Some("dial") => dial::run(&arguments[1..]),
        Some("capture") => capture::run(&arguments[1..]),
        Some("--help" | "-h" | "help") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some("--version" | "-V") => {
            println!("tapyard-tap {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("tapyard-tap: what is to be done?\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}
