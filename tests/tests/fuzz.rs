//! The fuzz targets with their corpus and with mutations of it, a bounded number of times. `make fuzz` lets libFuzzer
//! look for more.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Mutations of each target.
const MUTATIONS: usize = 3_000;
/// What JSON, forms and headers are made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "1e999",
    "-1",
    "\\u0000",
    "%",
    "%FF",
    "&",
    "=",
    "*",
    "/",
    "#",
    "L",
    "Records",
    "\n",
    "\u{e9}",
    "99999999999999999999",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutate(random: &mut SmallRng, mut bytes: Vec<u8>, others: &[Vec<u8>]) -> Vec<u8> {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 if at < bytes.len() => {
                let end = random.random_range(at..bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            3 => {
                let other = &others[random.random_range(0..others.len())];
                let from = random.random_range(0..=other.len());
                bytes.splice(at..at, other[from..].iter().copied());
            }
            4 => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy);
            }
            _ => bytes.truncate(at),
        }
        bytes.truncate(1 << 16);
    }
    bytes
}

#[test]
fn nothing_from_outside_breaks_a_parser() {
    for (name, target) in targets::TARGETS {
        let corpus = corpus(name);
        let mut random = SmallRng::seed_from_u64(40);
        for bytes in &corpus {
            target(bytes);
        }
        for _ in 0..MUTATIONS {
            let from = corpus[random.random_range(0..corpus.len())].clone();
            let bytes = mutate(&mut random, from, &corpus);
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let result = std::panic::catch_unwind(|| target(&bytes));
            assert!(result.is_ok(), "target {name} with {shown:?}");
        }
    }
}
