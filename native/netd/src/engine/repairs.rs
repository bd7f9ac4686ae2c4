// SPDX-License-Identifier: Apache-2.0
//! Mending what somebody else undid, so often and no oftener.

use super::Engine;
use std::time::{Duration, Instant};
use tapyard_protocol::Result;

/// At most so many repairs in this time: whoever undoes them in a loop wins for so long, and the
/// observers are told how it is.
pub(super) const REPAIRS: usize = 5;
/// The same for doors in other firewalls.
pub(super) const DOOR_REPAIRS: usize = 50;
const REPAIR_WINDOW: Duration = Duration::from_secs(10);

/// When repairs were made.
#[derive(Debug)]
pub struct Repairs {
    limit: usize,
    made: Vec<Instant>,
}

impl Repairs {
    /// None was made yet, and so many may be.
    pub fn at_most(limit: usize) -> Repairs {
        let made = Vec::with_capacity(limit);
        Repairs { limit, made }
    }

    /// Whether another one may be made now.
    pub fn allowed(&mut self, now: Instant) -> bool {
        self.made
            .retain(|then| now.duration_since(*then) < REPAIR_WINDOW);
        self.made.len() < self.limit
    }

    /// When another one may be made at the latest.
    pub fn next(&self, now: Instant) -> Instant {
        self.made
            .first()
            .map_or(now, |first| *first + REPAIR_WINDOW)
    }

    /// One was made.
    pub fn count(&mut self, now: Instant) {
        self.made.push(now);
    }
}

impl Engine {
    /// Mends what somebody may have spoilt. `hold` says whether there was anything to mend: our
    /// own changes come back as events as well.
    pub(super) fn repair(&mut self, hold: impl FnOnce(&mut Engine) -> Result<bool>) {
        let now = Instant::now();
        if self.journal.state().networks.is_empty() {
            return;
        }
        if !self.repairs.allowed(now) {
            // Nothing may tell of it again: without a filter traffic would go as it likes.
            self.repair_at = Some(self.repairs.next(now));
            return;
        }
        match hold(self) {
            Ok(false) => {}
            Ok(true) => self.repairs.count(now),
            Err(error) => {
                self.repairs.count(now);
                self.repair_at = Some(self.repairs.next(now));
                eprintln!("hold the filter and forwarding: {error}");
            }
        }
    }

    /// Mends doors that somebody may have shut.
    pub(super) fn repair_doors(&mut self) {
        let now = Instant::now();
        if !self.door_repairs.allowed(now) {
            self.repair_at = Some(self.door_repairs.next(now));
        } else if self.hold_doors(None) || self.doors.has_failed() {
            self.door_repairs.count(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_are_limited() {
        let mut repairs = Repairs::at_most(REPAIRS);
        let now = Instant::now();
        for _ in 0..REPAIRS {
            assert!(repairs.allowed(now));
            repairs.count(now);
        }
        assert!(!repairs.allowed(now));
        assert_eq!(repairs.next(now), now + REPAIR_WINDOW);
        assert!(repairs.allowed(now + REPAIR_WINDOW));
    }
}
