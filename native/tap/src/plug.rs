// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap plug`: one more tap for a QEMU that runs. A descriptor that QEMU got belongs to the
//! monitor that it came by, so the netdev is made on the same connection.

use crate::args::{name, options};
use crate::fail;
use crate::qmp::Monitor;
use serde::Serialize;
use serde_json::json;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tapyard_protocol::{
    Client, ClientKind, Code, Error, GuestName, LabName, Mac, NetworkName, Nic, OpenTap, Result,
    Shape, Step, TapName,
};

/// How long netd may take to answer, and then QEMU; both answer in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `plug` was asked for.
#[derive(Debug)]
struct Args {
    netd: PathBuf,
    monitor: PathBuf,
    request: OpenTap,
}

#[derive(Debug, Serialize)]
struct Opened {
    nic: Nic,
    tap: TapName,
    ifindex: u32,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Report<'a> {
    Tap(&'a Opened),
    Error(&'a Error),
}

/// Runs `plug` with the words after it.
pub fn run(words: &[OsString]) -> ExitCode {
    let args = match parse(words) {
        Ok(args) => args,
        Err(sentence) => return fail::usage(&sentence),
    };
    match plug(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it: then it stands on standard error alone.
            let _ = tell(&Report::Error(&error));
            fail::error(&error)
        }
    }
}

fn plug(args: &Args) -> Result<()> {
    // The monitor first: where QEMU does not answer, no tap is made.
    let mut monitor = Monitor::connect(&args.monitor, PATIENCE)?;
    let (opened, fd) = open(args)?;
    let netdev = format!("net{}", args.request.nic.get());
    monitor.execute("getfd", &json!({"fdname": netdev}), Some(fd.as_fd()))?;
    // QEMU has it now: from here on the tap lives and dies with QEMU's descriptor.
    drop(fd);
    let tap = json!({"type": "tap", "id": netdev, "fd": netdev});
    if let Err(error) = monitor.execute("netdev_add", &tap, None) {
        // What is not used would stay open in QEMU for ever.
        let _ = monitor.execute("closefd", &json!({"fdname": netdev}), None);
        return Err(error);
    }
    tell(&Report::Tap(&opened)).inspect_err(|_| {
        // Whoever asked is gone, and nobody would give it a NIC.
        let _ = monitor.execute("netdev_del", &json!({"id": netdev}), None);
    })
}

fn open(args: &Args) -> Result<(Opened, OwnedFd)> {
    let mut netd = Client::connect(&args.netd, ClientKind::Tap, PATIENCE)?;
    let (reply, mut fds) = netd.call(&args.request, PATIENCE)?;
    let (Some(fd), None) = (fds.pop(), fds.pop()) else {
        return Err(Error::new(
            Code::BadMessage,
            "netd sent no single descriptor for the tap",
        ));
    };
    let opened = Opened {
        nic: args.request.nic,
        tap: reply.tap,
        ifindex: reply.ifindex,
        steps: reply.steps,
    };
    Ok((opened, fd))
}

fn tell(what: &Report<'_>) -> Result<()> {
    let mut line = serde_json::to_vec(what)
        .map_err(|e| Error::new(Code::Internal, format!("cannot write the report: {e}")))?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(&line)
        .and_then(|()| stdout.flush())
        .map_err(|e| Error::kernel("write the report", &e))
}

fn parse(words: &[OsString]) -> std::result::Result<Args, String> {
    let (mut netd, mut monitor) = (None, None);
    let (mut lab, mut guest) = (None, None);
    let mut shape = Shape::default();
    let (mut nic, mut network, mut mac, mut tap) = (None, None, None, None);
    options(words, |option, value| {
        match option {
            "--netd" => netd = Some(PathBuf::from(value)),
            "--qmp" => monitor = Some(PathBuf::from(value)),
            "--lab" => lab = Some(name::<LabName>(option, value)?),
            "--guest" => guest = Some(name::<GuestName>(option, value)?),
            "--nic" => nic = Some(nic_number(name::<u64>(option, value)?)?),
            "--network" => network = Some(name::<NetworkName>(option, value)?),
            "--mac" => {
                let text = name::<String>(option, value)?;
                mac = Some(Mac::try_from(text).map_err(|e| format!("--mac: {e}"))?);
            }
            "--tap" => tap = Some(name::<TapName>(option, value)?),
            "--shape" => shape = name::<Shape>(option, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Args {
        netd: netd.ok_or("--netd is missing")?,
        monitor: monitor.ok_or("--qmp is missing")?,
        request: OpenTap {
            lab: lab.ok_or("--lab is missing")?,
            network: network.ok_or("--network is missing")?,
            guest: guest.ok_or("--guest is missing")?,
            nic: nic.ok_or("--nic is missing")?,
            mac: mac.ok_or("--mac is missing")?,
            tap: tap.ok_or("--tap is missing")?,
            shape,
        },
    })
}

fn nic_number(number: u64) -> std::result::Result<Nic, String> {
    Nic::try_from(number).map_err(|e| format!("--nic {number}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn reads_its_line() {
        let line = "--netd /x/netd.sock --qmp /x/nic.sock --lab seed --guest web --nic 1 \
                    --network br1 --mac 52:54:00:00:00:02 --tap tap1 --shape 10000000:0:0:0";
        let args = parse(&words(line)).unwrap();
        assert_eq!(args.request.shape.rate, 10_000_000);
        assert_eq!(args.request.network.as_str(), "br1");
        assert_eq!(args.request.nic.get(), 1);
        for wrong in [
            line.replace("--nic 1", "--nic 99"),
            line.replace("10000000:", "1:"),
            line.replace("br1", "../br1"),
            line.replace("52:54:00:00:00:02", "x"),
            line.replace(" --tap tap1", ""),
            line.replace(" --qmp /x/nic.sock", ""),
            line.replace("--lab", "--what"),
            format!("{line} --nic"),
        ] {
            assert!(parse(&words(&wrong)).is_err(), "{wrong}");
        }
    }
}
