// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap dial`: standard input and output, connected to a guest's TCP port. An ssh
//! ProxyCommand, as `nc HOST PORT` is one, for guests that no route leads to.

use crate::args::{name, read};
use crate::copy::{Failed, copy};
use crate::fail;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tapyard_protocol::{Client, ClientKind, Code, Dial, Error, LabName, Port, Result};

/// How long netd may take to answer: it waits 5 s for the guest.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `dial` was asked for.
#[derive(Debug)]
struct Args {
    netd: PathBuf,
    lab: LabName,
    address: IpAddr,
    port: Port,
}

/// Runs `dial` with the words after it.
pub fn run(words: &[OsString]) -> ExitCode {
    let args = match parse(words) {
        Ok(args) => args,
        Err(sentence) => return fail::usage(&sentence),
    };
    match connect(&args.netd, &args.lab, args.address, args.port).and_then(converse) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::error(&error),
    }
}

/// A connected socket to a guest, from netd. It does not block.
pub fn connect(netd: &Path, lab: &LabName, address: IpAddr, port: Port) -> Result<OwnedFd> {
    let mut client = Client::connect(netd, ClientKind::Tap, PATIENCE)?;
    let request = Dial {
        lab: lab.clone(),
        address,
        port,
    };
    let (_, mut fds) = client.call(&request, PATIENCE)?;
    match (fds.pop(), fds.pop()) {
        (Some(fd), None) => Ok(fd),
        _ => Err(Error::new(
            Code::BadMessage,
            "netd sent no single descriptor for the connection",
        )),
    }
}

/// Copies both ways until both sides have said their end. Each direction has a thread, because
/// the standard streams are shared with whoever started us and must not be made non-blocking.
fn converse(socket: OwnedFd) -> Result<()> {
    std::thread::scope(|scope| {
        let upward = scope.spawn(|| {
            let done = copy(std::io::stdin().as_fd(), socket.as_fd());
            // The guest learns that no more comes; it may well go on talking.
            let _ = shutdown(&socket, Shutdown::Write);
            done
        });
        let downward = copy(socket.as_fd(), std::io::stdout().as_fd());
        match downward {
            Ok(_) => {}
            // Nobody hears us, or the guest broke off: waiting for more input serves nobody.
            Err(Failed::Write(Errno::PIPE)) => std::process::exit(0),
            Err(Failed::Write(errno) | Failed::Read(errno)) => {
                eprintln!("tapyard-tap: the connection broke: {errno}");
                std::process::exit(1);
            }
        }
        // Half-close: whoever reads us sees the end, and may still have something to say.
        close_stdout();
        match upward.join() {
            // The guest may close before it has read everything.
            Ok(Ok(_) | Err(Failed::Write(Errno::PIPE))) => Ok(()),
            Ok(Err(Failed::Write(errno) | Failed::Read(errno))) => {
                Err(Error::kernel("send to the guest", &errno.into()))
            }
            Err(_) => Err(Error::new(Code::Internal, "a thread of dial panicked")),
        }
    })
}

/// Puts /dev/null in stdout's place, which ends what we held.
fn close_stdout() {
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

fn parse(words: &[OsString]) -> std::result::Result<Args, String> {
    let mut netd = None;
    let mut lab = None;
    let plain = read(words, |option, value| {
        match option {
            "--netd" => netd = Some(PathBuf::from(value)),
            "--lab" => lab = Some(name(option, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let [address, port] = plain[..] else {
        return Err("ADDRESS and PORT are wanted".into());
    };
    Ok(Args {
        netd: netd.ok_or("--netd is missing")?,
        lab: lab.ok_or("--lab is missing")?,
        address: parse_address(address)?,
        port: parse_port(port)?,
    })
}

/// An address of either family.
fn parse_address(text: &str) -> std::result::Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an IP address"))
}

/// A TCP port.
fn parse_port(text: &str) -> std::result::Result<Port, String> {
    text.parse::<u64>()
        .ok()
        .and_then(|port| Port::try_from(port).ok())
        .ok_or_else(|| format!("{text:?} is not a port from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn reads_its_line() {
        let args = parse(&words("--netd /x/netd.sock --lab seed 192.168.57.2 22")).unwrap();
        assert_eq!(
            (args.address.to_string(), args.port.get()),
            ("192.168.57.2".into(), 22)
        );
        let args = parse(&words("--netd /x/netd.sock --lab seed fd00::2 22")).unwrap();
        assert_eq!(args.address.to_string(), "fd00::2");
        for wrong in [
            "--netd /x --lab seed 192.168.57.2",
            "--netd /x --lab seed 192.168.57.2 22 3",
            "--netd /x --lab seed guest 22",
            "--netd /x --lab seed 192.168.57.2 0",
            "--netd /x --lab seed 192.168.57.2 65536",
            "--netd /x --lab ../seed 192.168.57.2 22",
            "--lab seed 192.168.57.2 22",
            "--netd /x --what 1 --lab seed 192.168.57.2 22",
        ] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
