// SPDX-License-Identifier: Apache-2.0
//! QEMU's machine protocol, as far as handing a descriptor over needs it: one JSON object a line, a
//! greeting, then commands, and events at any time (QEMU's docs/interop/qmp-spec).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use tapyard_protocol::{Code, Error, LineReader, Result, recv_with_fds, send_with_fds};

/// Far more than any answer or event of a monitor has.
const LONGEST_LINE: usize = 1 << 20;

/// A monitor that has greeted and takes commands.
#[derive(Debug)]
pub struct Monitor {
    socket: OwnedFd,
    reader: LineReader,
    subject: String,
    deadline: Instant,
}

impl Monitor {
    /// Connects and negotiates; all that is done with it has to be done within `wait`.
    /// `QMP_FAILED`, `TIMED_OUT`, `PATH_TOO_LONG`.
    pub fn connect(path: &Path, wait: Duration) -> Result<Monitor> {
        let subject = path.display().to_string();
        let address = SocketAddrUnix::new(path).map_err(|_| {
            Error::new(
                Code::PathTooLong,
                format!("{subject} is longer than the 107 bytes of a unix socket's path"),
            )
            .subject(&subject)
        })?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|e| Error::kernel("make a socket", &e.into()))?;
        let mut monitor = Monitor::on(socket, subject, wait);
        // QEMU's queue has one place; while it is taken, connecting answers EAGAIN at once (unix(7)).
        loop {
            match connect(&monitor.socket, &address) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::INTR) if Instant::now() < monitor.deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(Errno::AGAIN | Errno::INTR) => return Err(monitor.late("take the connection")),
                Err(cause) => return Err(monitor.failed(&format!("cannot be reached: {cause}"))),
            }
        }
        monitor.negotiate()?;
        Ok(monitor)
    }

    fn on(socket: OwnedFd, subject: String, wait: Duration) -> Monitor {
        Monitor {
            socket,
            reader: LineReader::new(LONGEST_LINE),
            subject,
            deadline: Instant::now() + wait,
        }
    }

    fn negotiate(&mut self) -> Result<()> {
        if self.message("greet")?.get("QMP").is_none() {
            return Err(self.failed("does not speak QMP"));
        }
        self.execute("qmp_capabilities", &json!({}), None)
    }

    /// Runs one command, with a descriptor where it takes one. `QMP_FAILED`, `TIMED_OUT`.
    pub fn execute(
        &mut self,
        command: &str,
        arguments: &Value,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        self.send(line.as_bytes(), fd, command)?;
        loop {
            let message = self.message(command)?;
            if let Some(refusal) = message.get("error") {
                let why = refusal
                    .get("desc")
                    .and_then(Value::as_str)
                    .unwrap_or("no reason");
                return Err(self.failed(&format!("refused {command}: {why}")));
            }
            if message.get("return").is_some() {
                return Ok(());
            }
            // An event.
        }
    }

    fn send(&self, mut bytes: &[u8], fd: Option<BorrowedFd<'_>>, what: &str) -> Result<()> {
        let mut fds: &[BorrowedFd<'_>] = fd.as_slice();
        while !bytes.is_empty() {
            match send_with_fds(&self.socket, bytes, fds) {
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    fds = &[];
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, what)?,
                Err(cause) => return Err(self.failed(&format!("broke off: {cause}"))),
            }
        }
        Ok(())
    }

    fn message(&mut self, what: &str) -> Result<Value> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match self.reader.next_line() {
                Some(Ok(line)) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Some(Ok(line)) => {
                    return serde_json::from_slice(&line)
                        .map_err(|_| self.failed("says something that is no JSON"));
                }
                Some(Err(error)) => return Err(self.failed(&format!("talks too much: {error}"))),
                None => {}
            }
            match recv_with_fds(&self.socket, &mut buffer) {
                Ok(received) if received.bytes == 0 => {
                    return Err(self.failed(&format!("was closed before it did {what}")));
                }
                Ok(received) => self.reader.push(&buffer[..received.bytes]),
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, what)?,
                Err(cause) => return Err(self.failed(&format!("broke off: {cause}"))),
            }
        }
    }

    fn wait(&self, flags: PollFlags, what: &str) -> Result<()> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left)
                .map_err(|e| Error::new(Code::Internal, format!("a deadline: {e}")))?;
            match poll(
                &mut [PollFd::new(&self.socket.as_fd(), flags)],
                Some(&timeout),
            ) {
                Ok(0) => return Err(self.late(what)),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(cause) => return Err(Error::kernel("poll", &cause.into())),
            }
        }
    }

    fn failed(&self, how: &str) -> Error {
        Error::new(Code::QmpFailed, format!("QEMU's monitor {how}")).subject(&self.subject)
    }

    fn late(&self, what: &str) -> Error {
        Error::new(
            Code::TimedOut,
            format!("waited for QEMU's monitor to {what} in vain"),
        )
        .hint(
            "Another program holds this monitor (QEMU serves one client at a time), or QEMU hangs.",
        )
        .subject(&self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    /// Whatever a monitor says, it is understood or refused by a code of ours.
    #[test]
    fn any_bytes() {
        crate::fuzz::run("qmp", |bytes| {
            let (socket, mut other) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            other.write_all(bytes).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
            let mut monitor = Monitor::on(socket.into(), "qmp".into(), Duration::from_secs(5));
            let done = monitor
                .negotiate()
                .and_then(|()| monitor.execute("getfd", &json!({}), Some(other.as_fd())));
            if let Err(error) = &done {
                assert_eq!(error.code, Code::QmpFailed, "{error}");
            }
            done.is_ok()
        });
    }
}
