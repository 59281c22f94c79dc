//! Simulates seeds: `--seed N [--trace]` one of them, `--seeds N` or `--seconds N` many, from `--from N` on. With
//! `--large`, all flows are large, some with more than 10,000 task runs; without, every hundredth. The last line names
//! the seed with the most.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use operon_testkit::simulate::{Config, Shape, Simulation};

/// The value after `name` on the command line.
fn number(name: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1)?.parse().ok()
}

/// Of how many seeds one is large.
const LARGE_EVERY: u64 = 100;

fn config(seed: u64, trace: bool) -> Config {
    let large = std::env::args().any(|arg| arg == "--large");
    // One seed alone is what the suite runs under its number.
    let mixed = number("--seed").is_none() && seed % LARGE_EVERY == LARGE_EVERY - 1;
    Config {
        restarts: 2,
        trace,
        shape: (large || mixed).then_some(Shape::LARGE),
        ..Config::default()
    }
}

fn main() -> ExitCode {
    let trace = std::env::args().any(|arg| arg == "--trace");
    let (from, count) = match number("--seed") {
        Some(seed) => (seed, 1),
        None => (
            number("--from").unwrap_or(0),
            number("--seeds").unwrap_or(u64::MAX / 2),
        ),
    };
    let end = number("--seconds").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (mut failures, mut simulated, mut task_runs) = (0, 0_u64, 0);
    let mut largest = (0, 0);
    for seed in from..from.saturating_add(count) {
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        let simulation = Simulation::new(seed, config(seed, trace));
        if trace {
            eprintln!("{:#?}", simulation.flow());
        }
        match simulation.run() {
            Ok(report) => {
                task_runs += report.task_runs;
                largest = largest.max((report.largest, seed));
                if count == 1 {
                    println!("{report:#?}");
                }
            }
            Err(failure) => {
                failures += 1;
                for line in &failure.trace {
                    println!("{line}");
                }
                println!("{failure}\n");
            }
        }
        simulated += 1;
        if failures >= 10 {
            break;
        }
    }
    println!(
        "{simulated} seeds, {task_runs} task runs, {} in one execution at most (seed {}), {failures} failures",
        largest.0, largest.1
    );
    ExitCode::from(u8::from(failures > 0))
}
