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
    /// After a try, of `all` there is or of some of it, which says nothing of what failed elsewhere.
    pub(super) fn plan(&mut self, now: Instant, all: bool) {
        *self = match (self.failed, all) {
            (true, _) => Retry {
                failed: false,
                at: Some(now + self.pause),
                pause: (self.pause * 2).min(LONGEST),
            },
            (false, true) => Retry::default(),
            (false, false) => return,
        };
    }

    /// Whether it is to be tried now. True once: there may be nothing left to try.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
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
            retry.plan(now, true);
            pauses.push((retry.at.unwrap() - now).as_millis());
        }
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        retry.plan(now, true);
        assert_eq!(retry.at, None);
        retry.failed = true;
        retry.plan(now, true);
        assert_eq!(retry.at, Some(now + FIRST));
    }

    #[test]
    fn what_failed_is_due_once_whatever_else_succeeds() {
        let now = Instant::now();
        let mut retry = Retry {
            failed: true,
            ..Retry::default()
        };
        retry.plan(now, false);
        retry.plan(now, false);
        assert!(!retry.is_due(now));
        assert!(retry.is_due(now + FIRST));
        assert!(!retry.is_due(now + FIRST));
    }
}
