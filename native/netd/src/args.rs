// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use tapyard_protocol::{Code, Error, LabName, Result};

/// How netd is called.
pub const USAGE: &str = "tapyard-netd --scope private --lab NAME --dir DIR\n\
                         tapyard-netd --scope host --dir DIR";

/// Where it is to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// In namespaces of this lab's own.
    Private(LabName),
    /// In the network namespace that it was started in.
    Host,
}

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// Where to work.
    pub place: Where,
    /// Its directory.
    pub directory: PathBuf,
}

/// Reads the arguments, without the program's name. `USAGE`.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let (mut scope, mut lab, mut directory) = (None, None, None);
    let mut args = args.into_iter();
    while let Some(option) = args.next() {
        let slot = match option.to_str() {
            Some("--scope") => &mut scope,
            Some("--lab") => &mut lab,
            Some("--dir") => &mut directory,
            _ => return Err(usage(format!("what is {}?", option.display()))),
        };
        if slot
            .replace(
                args.next()
                    .ok_or_else(|| usage("a value is missing".into()))?,
            )
            .is_some()
        {
            return Err(usage(format!("{} is there twice", option.display())));
        }
    }
    let directory = directory
        .ok_or_else(|| usage("--dir is missing".into()))?
        .into();
    let place = match (scope.as_deref().and_then(|scope| scope.to_str()), lab) {
        (Some("host"), None) => Where::Host,
        (Some("host"), Some(_)) => return Err(usage("--lab is for the private scope".into())),
        (Some("private"), Some(lab)) => {
            let lab = lab
                .into_string()
                .map_err(|_| usage("--lab is not UTF-8".into()))?;
            Where::Private(lab.try_into().map_err(|e| usage(format!("--lab: {e}")))?)
        }
        (Some("private"), None) => return Err(usage("--lab is missing".into())),
        _ => return Err(usage("--scope is private or host".into())),
    };
    Ok(Args { place, directory })
}

fn usage(message: String) -> Error {
    Error::new(Code::Usage, message).hint(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args> {
        parse(line.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn the_two_ways_and_no_other() {
        let host = read("--scope host --dir /d").unwrap();
        assert_eq!(
            (host.place, host.directory),
            (Where::Host, PathBuf::from("/d"))
        );
        let private = read("--dir d --lab seed --scope private").unwrap();
        assert_eq!(private.place, Where::Private("seed".parse().unwrap()));
        for line in [
            "",
            "--dir /d",
            "--scope host",
            "--scope host --dir",
            "--scope x --dir /d",
            "--scope private --dir /d",
            "--scope private --lab ../x --dir /d",
            "--scope host --lab a --dir /d",
            "--scope host --dir /d --dir /e",
            "--help",
        ] {
            assert_eq!(read(line).unwrap_err().code, Code::Usage, "{line}");
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("netd-args", |bytes| {
            use std::os::unix::ffi::OsStringExt;
            parse(
                bytes
                    .split(|&byte| byte == b'\n')
                    .map(|word| OsString::from_vec(word.to_vec())),
            )
            .is_ok()
        });
    }
}
