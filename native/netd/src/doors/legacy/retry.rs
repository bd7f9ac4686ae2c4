// SPDX-License-Identifier: Apache-2.0
//! When doors that could not be seen to are looked at again: soon, since the program may have been
//! killed, and more seldom each time, since it may not work here at all.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// What failed, and when it is tried again.
#[derive(Debug)]
pub(super) struct Retry {
    /// Something failed since the last plan.
    pub(super) failed: bool,
    pub(super) at: Option<Instant>,
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            failed: false,
            at: None,
            pause: FIRST,
        }
    }
}

impl Retry {
    /// Once all has been tried.
    pub(super) fn plan(&mut self, now: Instant) {
        *self = match self.failed {
            true => Retry {
                failed: false,
                at: Some(now + self.pause),
                pause: (self.pause * 2).min(LONGEST),
            },
            false => Retry::default(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_and_more_seldom_each_time() {
        let now = Instant::now();
        let mut retry = Retry::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            retry.failed = true;
            retry.plan(now);
            pauses.push((retry.at.unwrap() - now).as_millis());
        }
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        retry.plan(now);
        assert_eq!(retry.at, None);
        retry.failed = true;
        retry.plan(now);
        assert_eq!(retry.at, Some(now + FIRST));
    }
}
