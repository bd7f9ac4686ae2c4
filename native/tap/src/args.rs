// SPDX-License-Identifier: Apache-2.0
//! Command lines: what all have in common, and that of `exec`.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use tapyard_protocol::{GuestName, LabName, Mac, NetworkName, Nic, Shape, TapName};

/// One `--tap`.
#[derive(Debug, Clone)]
pub struct WantedTap {
    /// The number that the program expects it at.
    pub fd: i32,
    /// Index of the NIC within the guest.
    pub nic: Nic,
    /// The network, whose bridge it is a port of.
    pub network: NetworkName,
    /// The guest's hardware address.
    pub mac: Mac,
    /// The preferred name.
    pub tap: TapName,
    /// What its traffic is held to.
    pub shape: Shape,
}

/// What `exec` was asked for.
#[derive(Debug)]
pub struct Args {
    /// netd's socket.
    pub netd: PathBuf,
    /// The lab.
    pub lab: LabName,
    /// The guest.
    pub guest: GuestName,
    /// In the order of the command line.
    pub taps: Vec<WantedTap>,
    /// The numbers for /dev/vhost-net.
    pub vhosts: Vec<i32>,
    /// Where the report goes.
    pub report: Option<i32>,
    /// The program and its arguments.
    pub program: Vec<OsString>,
}

/// The largest number that a descriptor may be put at; far under every limit (RLIMIT_NOFILE).
const MAX_FD: i32 = 255;

/// Reads the words after `exec`. The error is a sentence for the user.
pub fn parse(words: &[OsString]) -> Result<Args, String> {
    let mut netd = None;
    let mut lab = None;
    let mut guest = None;
    let mut taps: Vec<WantedTap> = Vec::new();
    let mut shapes = Vec::new();
    let mut vhosts = Vec::new();
    let mut report = None;
    let dashes = words.iter().position(|word| word == "--");
    let (words, program) = words.split_at(dashes.ok_or("`-- PROGRAM` is missing")?);
    let program = program[1..].to_vec();
    options(words, |option, value| {
        match option {
            "--netd" => netd = Some(PathBuf::from(value)),
            "--lab" => lab = Some(name::<LabName>(option, value)?),
            "--guest" => guest = Some(name::<GuestName>(option, value)?),
            "--tap" => taps.push(wanted_tap(text(option, value)?)?),
            "--shape" => shapes.push(shape(text(option, value)?)?),
            "--vhost" => vhosts.push(descriptor(option, text(option, value)?)?),
            "--report" => report = Some(descriptor(option, text(option, value)?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if program.is_empty() {
        return Err("`-- PROGRAM` is missing".into());
    }
    for (nic, shape) in shapes {
        let tap = taps.iter_mut().find(|tap| tap.nic == nic);
        tap.ok_or_else(|| format!("--shape: NIC {} has no --tap", nic.get()))?
            .shape = shape;
    }
    let mut numbers = HashSet::new();
    let used = taps
        .iter()
        .map(|tap| tap.fd)
        .chain(vhosts.iter().copied())
        .chain(report);
    for fd in used {
        if !numbers.insert(fd) {
            return Err(format!("descriptor {fd} is wanted twice"));
        }
    }
    Ok(Args {
        netd: netd.ok_or("--netd is missing")?,
        lab: lab.ok_or("--lab is missing")?,
        guest: guest.ok_or("--guest is missing")?,
        taps,
        vhosts,
        report,
        program,
    })
}

/// Reads a command line: options, each of which has a value, and plain words, which are given back.
/// `take` says whether it knows the option.
pub fn read<'a>(
    words: &'a [OsString],
    mut take: impl FnMut(&str, &'a OsStr) -> Result<bool, String>,
) -> Result<Vec<&'a str>, String> {
    let mut plain = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let word = word
            .to_str()
            .ok_or_else(|| format!("{} is not UTF-8", word.display()))?;
        if !word.starts_with('-') {
            plain.push(word);
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{word} needs a value"))?;
        if !take(word, value)? {
            return Err(format!("unknown option {word}"));
        }
    }
    Ok(plain)
}

/// Reads a command line of options alone.
pub fn options<'a>(
    words: &'a [OsString],
    take: impl FnMut(&str, &'a OsStr) -> Result<bool, String>,
) -> Result<(), String> {
    match read(words, take)?.first() {
        Some(word) => Err(format!("{word}: an option is wanted")),
        None => Ok(()),
    }
}

fn text<'a>(option: &str, value: &'a OsStr) -> Result<&'a str, String> {
    value
        .to_str()
        .ok_or_else(|| format!("{option} {} is not UTF-8", value.display()))
}

/// A value that its type reads and checks.
pub fn name<T: FromStr>(option: &str, value: &OsStr) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text(option, value)?
        .parse()
        .map_err(|e| format!("{option} {}: {e}", value.display()))
}

fn descriptor(option: &str, value: &str) -> Result<i32, String> {
    value
        .parse()
        .ok()
        .filter(|fd| (3..=MAX_FD).contains(fd))
        .ok_or_else(|| format!("{option} {value}: a descriptor from 3 to {MAX_FD} is wanted"))
}

/// `FD:NIC:NETWORK:MAC:TAP`; a MAC address has five colons of its own, the names have none.
fn wanted_tap(value: &str) -> Result<WantedTap, String> {
    let wrong = || format!("--tap {value}: FD:NIC:NETWORK:MAC:TAP is wanted");
    let mut parts = value.splitn(4, ':');
    let mut part = || parts.next().ok_or_else(wrong);
    let fd = descriptor("--tap", part()?)?;
    let nic = part()?;
    let network = part()?;
    let (mac, tap) = part()?.rsplit_once(':').ok_or_else(wrong)?;
    let field = |what: &str, e: &dyn std::fmt::Display| format!("--tap {value}: {what}: {e}");
    Ok(WantedTap {
        fd,
        nic: nic
            .parse::<u64>()
            .map_err(|e| e.to_string())
            .and_then(|nic| Nic::try_from(nic).map_err(|e| e.to_string()))
            .map_err(|e| field("NIC", &e))?,
        network: network.parse().map_err(|e| field("NETWORK", &e))?,
        mac: Mac::try_from(mac.to_owned()).map_err(|e| field("MAC", &e))?,
        tap: tap.parse().map_err(|e| field("TAP", &e))?,
        shape: Shape::default(),
    })
}

/// `NIC:RATE:DELAY:JITTER:LOSS`, in bits a second, microseconds and packets of a million.
fn shape(value: &str) -> Result<(Nic, Shape), String> {
    let wrong = || format!("--shape {value}: NIC:RATE:DELAY:JITTER:LOSS is wanted");
    let (nic, shape) = value.split_once(':').ok_or_else(wrong)?;
    let nic = nic.parse::<u64>().map_err(|_| wrong())?;
    let nic = Nic::try_from(nic).map_err(|e| format!("--shape {value}: {e}"))?;
    let shape = shape.parse().map_err(|e| format!("--shape {value}: {e}"))?;
    Ok((nic, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_whole_line() {
        let args = parse(&words(
            "--netd /run/x/netd.sock --lab seed --guest web --tap 10:0:br0:52:54:00:00:00:02:tap0 \
             --tap 11:1:br-1.x:52:54:00:00:00:03:tap1 --shape 1:10000000:20000:0:0 --vhost 12 --report 3 -- qemu --netd y",
        ))
        .unwrap();
        assert_eq!(args.taps.len(), 2);
        assert_eq!(args.taps[1].fd, 11);
        assert_eq!(args.taps[1].network.as_str(), "br-1.x");
        assert!(args.taps[0].shape.is_none());
        assert_eq!(args.taps[1].shape.rate, 10_000_000);
        assert_eq!((args.vhosts, args.report), (vec![12], Some(3)));
        assert_eq!(args.program, words("qemu --netd y"));
    }

    #[test]
    fn wrong_lines_are_refused() {
        let base = "--netd s --lab seed --guest web";
        for wrong in [
            "--netd s --lab seed -- qemu".to_owned(),
            base.to_owned(),
            format!("{base} --"),
            format!("{base} --what 1 -- qemu"),
            format!("{base} --tap 2:0:br0:52:54:00:00:00:02:tap0 -- qemu"),
            format!("{base} --tap 10:0:br0:52:54:00:00:00:02 -- qemu"),
            format!("{base} --tap 10:0:../br0:52:54:00:00:00:02:tap0 -- qemu"),
            format!("{base} --tap 10:99:br0:52:54:00:00:00:02:tap0 -- qemu"),
            format!("{base} --shape 0:10000000:0:0:0 -- qemu"),
            format!("{base} --tap 10:0:br0:52:54:00:00:00:02:tap0 --shape 0:1:0:0:0 -- qemu"),
            format!("{base} --tap 10:0:br0:52:54:00:00:00:02:tap0 --shape 0:1 -- qemu"),
            format!("{base} --vhost 10 --report 10 -- qemu"),
            format!("{base} --report"),
        ] {
            assert!(parse(&words(&wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        crate::fuzz::run("tap-args", |bytes| {
            let words: Vec<OsString> = bytes
                .split(|&byte| byte == b'\n')
                .map(|word| OsString::from_vec(word.to_vec()))
                .collect();
            parse(&words).is_ok()
        });
    }
}
