// SPDX-License-Identifier: Apache-2.0
//! How long the steps of a verb took.

use std::time::Instant;
use tapyard_protocol::Step;

/// Times steps.
#[derive(Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub(super) fn ms(&self) -> f64 {
        // Microseconds are as fine as anybody wants to read.
        (self.0.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    /// The step that ends now; the next one begins.
    pub(super) fn step(&mut self, id: &str, changed: bool) -> Step {
        let ms = self.ms();
        self.0 = Instant::now();
        Step {
            id: id.to_owned(),
            ms,
            changed,
        }
    }
}
