// SPDX-License-Identifier: Apache-2.0
//! Listeners where descriptors run out.

use std::io::{ErrorKind, Result};
use std::time::{Duration, Instant};

/// What ends frees descriptors, and nothing tells of that.
const REST: Duration = Duration::from_millis(500);

/// The rest that a listener has while no connection can be taken: `accept` fails for want of a
/// descriptor, and `poll` would go on telling of whoever waits. They stay in the queue meanwhile.
#[derive(Debug, Default)]
pub struct Rest {
    until: Option<Instant>,
}

impl Rest {
    /// When it is over; none where it is, and the listener is to be polled.
    pub fn over(&self) -> Option<Instant> {
        self.until.filter(|until| *until > Instant::now())
    }

    /// What was accepted. A failure that is no client's begins a rest, and is told once.
    pub fn after<T>(&mut self, accepted: Result<T>) -> Option<T> {
        let error = match accepted {
            Ok(accepted) => {
                self.until = None;
                return Some(accepted);
            }
            Err(error) => error,
        };
        // Nobody is there any more, or the client went before it was taken.
        let passing = [
            ErrorKind::WouldBlock,
            ErrorKind::ConnectionAborted,
            ErrorKind::Interrupted,
        ];
        if !passing.contains(&error.kind()) {
            if self.until.is_none() {
                eprintln!("take a connection: {error}; tried again until it can be");
            }
            self.until = Some(Instant::now() + REST);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn begins_where_there_is_no_descriptor_and_ends_with_the_next_client() {
        let mut rest = Rest::default();
        let failed = |errno| Err::<(), _>(Error::from_raw_os_error(errno));
        for errno in [libc::EAGAIN, libc::ECONNABORTED, libc::EINTR] {
            assert_eq!(rest.after(failed(errno)), None);
            assert_eq!(rest.over(), None);
        }
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert_eq!(rest.after(failed(errno)), None);
            assert!(rest.over().is_some());
        }
        assert_eq!(rest.after(Ok(())), Some(()));
        assert_eq!(rest.over(), None);
    }
}
