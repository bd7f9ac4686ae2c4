// SPDX-License-Identifier: Apache-2.0
//! Fuzzing on stable Rust, for the tests: a corpus that is kept (`test/fuzz/corpus/TARGET/`),
//! mutations by a seeded dice, a time box, and bounds on time and memory. What crashes is printed
//! in hex; kept as a file of the corpus, it is tried first from then on.
//!
//! `TAPYARD_FUZZ_SECONDS=N` gives each target so long, `TAPYARD_FUZZ_SEED=N` another sequence.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Each target's share, in seconds.
const SECONDS: f64 = 0.5;
/// Inputs do not grow beyond this.
const LONGEST: usize = 16 * 1024;
/// What a parser may hold at a time: this, and for each byte of its input that.
const MEMORY: usize = 256 * 1024;
const MEMORY_PER_BYTE: usize = 256;
/// One input takes microseconds; a machine that does something else meanwhile may take its time.
const SLOWEST: Duration = Duration::from_secs(5);

/// Counts what the thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that ends has none any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % end.max(1)
    }

    /// One to eight changes: bits, bytes, numbers that are hostile as lengths, pieces cut out,
    /// doubled, or taken from another input.
    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const NUMBERS: [u32; 8] = [0, 1, 4, 16, 0x7fff_ffff, 0x8000_0000, 0xffff, 0xffff_ffff];
        for _ in 0..=self.below(8) {
            let at = self.below(input.len() + 1);
            let end = (at + self.below(64)).min(input.len());
            match self.below(8) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => input[at] = self.below(256) as u8,
                2 | 3 => {
                    let number = NUMBERS[self.below(NUMBERS.len())].to_ne_bytes();
                    let size = [1, 2, 4][self.below(3)];
                    for (to, from) in input[at..].iter_mut().zip(&number[..size]) {
                        *to = *from;
                    }
                }
                4 => drop(input.drain(at..end)),
                5 => {
                    let piece = input[at..end].to_vec();
                    let times = 1 + self.below(64);
                    input.splice(at..at, piece.repeat(times));
                }
                6 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(64)).min(other.len());
                    input.splice(at..at, other[from..to].iter().copied());
                }
                _ => input.truncate(at),
            }
            input.truncate(LONGEST);
        }
    }
}

/// Feeds the target's corpus and mutations of it to `parse` until its time is over.
pub fn run<T>(target: &str, parse: impl Fn(&[u8]) -> T) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../test/fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&folder).expect("each target has a corpus");
    let mut corpus: Vec<Vec<u8>> = files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "{}", folder.display());
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<f64>().unwrap());
    let time = Duration::from_secs_f64(number("TAPYARD_FUZZ_SECONDS").unwrap_or(SECONDS));
    let seed = number("TAPYARD_FUZZ_SEED").unwrap_or(1.0) as u64;
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let begin = Instant::now();
    let mut tried = 0;
    while tried < corpus.len() || begin.elapsed() < time {
        let mut input = corpus[tried % corpus.len()].clone();
        if tried >= corpus.len() {
            dice.mutate(&mut input, &corpus);
        }
        tried += 1;
        one(target, &input, &parse);
    }
    println!("fuzz {target}: {tried} inputs");
}

fn one<T>(target: &str, input: &[u8], parse: &impl Fn(&[u8]) -> T) {
    let shown = || {
        input
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let begin = Instant::now();
    let before = HELD.get();
    MOST.set(before);
    let result = catch_unwind(AssertUnwindSafe(|| parse(input)));
    let most = (MOST.get() - before) as usize;
    assert!(result.is_ok(), "{target} panics at {}", shown());
    drop(result);
    let allowed = MEMORY + input.len() * MEMORY_PER_BYTE;
    assert!(
        most <= allowed,
        "{target} holds {most} bytes at {}",
        shown()
    );
    assert!(
        begin.elapsed() < SLOWEST,
        "{target} takes long at {}",
        shown()
    );
}
