//! Explores the configurations and prints what was found.
//!
//! `cargo run --profile fast -p operon-testkit --example explore -- --all` (`make explore`) runs the large ones too;
//! without `--all`, those that the tests run, and the mutants. A large one that has more worlds than `--worlds N`
//! (2,000,000) is searched up to that number, breadth first, and its row says how many steps that is; small ones and
//! mutants are always searched to their end. A further word picks the configurations whose name has it. As many are
//! explored at once as there are processors; `--threads N` changes that. The exit code is 1 if anything is not as it
//! should be.
#![allow(clippy::print_stdout, reason = "the table is the purpose")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use operon_testkit::explore::{self, Case, Invariant, Mutant, Report, WORLDS_MAX};

/// Worlds of a large configuration at most, unless the command line says otherwise: so all of them together take
/// minutes.
const WORLDS_LARGE: usize = 2_000_000;

/// A search and what is expected of it.
struct Search {
    name: String,
    case: Case,
    mutant: Option<Mutant>,
    /// What must be broken; none for what must hold.
    breaks: Option<Invariant>,
    worlds_max: usize,
    /// Whether reaching that number is no failure.
    bounded: bool,
}

/// The number after `name` on the command line.
fn number(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

fn of_case(case: Case, worlds_max: usize, bounded: bool) -> Search {
    let name = if case.setup.sweeper {
        case.setup.name.to_owned()
    } else {
        format!("{}, no sweeper", case.setup.name)
    };
    Search {
        name,
        case,
        mutant: None,
        breaks: None,
        worlds_max,
        bounded,
    }
}

fn searches(all: bool, word: Option<&str>) -> Vec<Search> {
    let small = explore::small().into_iter();
    let mut out: Vec<Search> = small.map(|case| of_case(case, WORLDS_MAX, false)).collect();
    out.extend(explore::mutants().into_iter().map(|mutant| Search {
        name: mutant.name.to_owned(),
        case: mutant.case,
        mutant: mutant.mutant,
        breaks: mutant.breaks,
        worlds_max: WORLDS_MAX,
        bounded: false,
    }));
    if all {
        let worlds = number("--worlds").unwrap_or(WORLDS_LARGE);
        let large = explore::large().into_iter();
        out.extend(large.map(|case| of_case(case, worlds, true)));
    }
    out.retain(|search| word.is_none_or(|word| search.name.contains(word)));
    out
}

fn main() -> ExitCode {
    let all = std::env::args().any(|argument| argument == "--all");
    let mut words = std::env::args().skip(1);
    let mut word = None;
    while let Some(argument) = words.next() {
        match argument.as_str() {
            "--worlds" | "--threads" => drop(words.next()),
            _ if argument.starts_with("--") => {}
            _ => word = Some(argument),
        }
    }
    println!(
        "{:<36} {:<40} {:>10} {:>11} {:>6} {:>8}  result",
        "configuration", "faults", "worlds", "edges", "steps", "seconds"
    );
    let mut waiting = searches(all, word.as_deref());
    waiting.reverse();
    let waiting = Mutex::new(waiting);
    let well = AtomicBool::new(true);
    let threads = number("--threads")
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, std::num::NonZero::get));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().map_or(None, |mut waiting| waiting.pop());
                    let Some(search) = next else { return };
                    if !run(&search) {
                        well.store(false, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    if well.into_inner() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Explores and prints; whether it is as expected.
fn run(search: &Search) -> bool {
    let case = &search.case;
    let report = explore::explore(&case.setup, case.faults, search.mutant, search.worlds_max);
    let broken = report.broken();
    let (well, result) = match (search.breaks, report.violations.is_empty()) {
        (Some(expected), _) => {
            let found = broken.contains(&expected);
            let verb = if found { "caught" } else { "NOT CAUGHT" };
            (found, format!("{verb}: {expected}"))
        }
        (None, false) => {
            let broken: Vec<String> = broken.iter().map(ToString::to_string).collect();
            (false, format!("BROKEN: {}", broken.join("; ")))
        }
        (None, true) if report.complete => (true, "holds".to_owned()),
        (None, true) if search.bounded => {
            (true, format!("holds within {} steps", report.steps - 1))
        }
        (None, true) => (
            false,
            "NOT COMPLETE: the limit of worlds came first".to_owned(),
        ),
    };
    let mut text = row(&search.name, &report, &result);
    if !well {
        let shown = report.violations.iter();
        text.extend(shown.map(|violation| format!("\n{violation}")));
    }
    println!("{text}");
    well
}

fn row(name: &str, report: &Report, result: &str) -> String {
    format!(
        "{name:<36} {:<40} {:>10} {:>11} {:>6} {:>8.1}  {result}",
        report.faults.to_string(),
        report.states,
        report.edges,
        report.steps,
        report.elapsed.as_secs_f32()
    )
}
