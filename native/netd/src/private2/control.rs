// SPDX-License-Identifier: Apache-2.0
//! What the two halves of netd say to each other: one JSON message a packet.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tapyard_protocol::{Removed, Uplink};

/// From the outer half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromOuter {
    /// The way out, as far as it can be seen from the host; `device` is left to the inner half.
    Uplink {
        /// Provider, the host's interface, or the reason.
        state: Uplink,
        /// Where dnsmasq asks.
        servers: Vec<IpAddr>,
    },
    /// The answer to [`FromInner::Shutdown`].
    Ended(Removed),
}

/// From the inner half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromInner {
    /// End pasta and the anchor, and answer.
    Shutdown,
}

/// What a receive brought.
#[derive(Debug)]
pub enum Heard<T> {
    /// A message.
    Message(T),
    /// Nothing for now.
    Nothing,
    /// The other half is gone.
    Gone,
}

/// Sends a message; false when the other half is gone.
pub fn tell(socket: &OwnedFd, message: &impl Serialize) -> bool {
    let Ok(bytes) = serde_json::to_vec(message) else {
        return false;
    };
    // A packet is far smaller than the socket's buffer, and the other half always reads.
    rustix::io::retry_on_intr(|| send(socket, &bytes, SendFlags::NOSIGNAL)).is_ok()
}

/// Takes one message without blocking. A packet that makes no sense counts as nothing.
pub fn hear<T: DeserializeOwned>(socket: &OwnedFd) -> Heard<T> {
    let mut buffer = vec![0; 64 * 1024];
    match rustix::io::retry_on_intr(|| recv(socket, &mut buffer[..], RecvFlags::DONTWAIT)) {
        Ok((0, _)) => Heard::Gone,
        Ok((size, _)) => match serde_json::from_slice(&buffer[..size]) {
            Ok(message) => Heard::Message(message),
            Err(e) => {
                eprintln!("the other half of netd: {e}");
                Heard::Nothing
            }
        },
        Err(Errno::AGAIN) => Heard::Nothing,
        Err(_) => Heard::Gone,
    }
}

/// Waits for a message; none when the other half is gone or `wait` runs out.
pub fn hear_within<T: DeserializeOwned>(socket: &OwnedFd, wait: Duration) -> Option<T> {
    let deadline = Instant::now() + wait;
    loop {
        match hear(socket) {
            Heard::Message(message) => return Some(message),
            Heard::Gone => return None,
            Heard::Nothing => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let timeout = Timespec::try_from(left).ok()?;
        let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout));
    }
}
