// SPDX-License-Identifier: Apache-2.0
//! Becoming another program, in a process that netd forked. Everything here is async-signal-safe.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A program with its arguments, as execve(2) wants them.
#[derive(Debug)]
pub struct Program {
    path: CString,
    argv: Vec<CString>,
}

impl Program {
    /// `name` is what the program is told that it is called.
    pub fn new(
        path: &Path,
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> io::Result<Program> {
        let nul = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let mut argv = vec![CString::new(name).map_err(nul)?];
        for argument in arguments {
            argv.push(CString::new(argument.as_ref().as_bytes()).map_err(nul)?);
        }
        Ok(Program {
            path: CString::new(path.as_os_str().as_bytes()).map_err(nul)?,
            argv,
        })
    }

    /// The pointers for [`Become::execute`], made before the fork: making them takes memory.
    pub fn prepare(&self) -> Become<'_> {
        let mut argv: Vec<*const libc::c_char> = self.argv.iter().map(|arg| arg.as_ptr()).collect();
        argv.push(std::ptr::null());
        Become {
            program: self,
            argv,
        }
    }
}

/// See [`Program::prepare`].
#[derive(Debug)]
pub struct Become<'a> {
    program: &'a Program,
    argv: Vec<*const libc::c_char>,
}

impl Become<'_> {
    /// Becomes the program, with an empty environment. Returns only when that fails.
    pub fn execute(&self) -> io::Error {
        // Rust and netd ignore these, which would be inherited; pasta of 2023 takes an ignored
        // SIGPIPE for a failure of signal(2).
        for signal in [libc::SIGPIPE, libc::SIGHUP] {
            // SAFETY: the default installs no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        let environment = [std::ptr::null()];
        // SAFETY: path and arguments are strings with their NULs, both lists end with a null
        // pointer, and `program` outlives this, which returns only when execve fails.
        unsafe {
            libc::execve(
                self.program.path.as_ptr(),
                self.argv.as_ptr(),
                environment.as_ptr(),
            )
        };
        io::Error::last_os_error()
    }
}
