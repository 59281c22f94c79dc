//! Explores every configuration and prints what was found.
//!
//! `cargo run --profile fast -p operon-testkit --example explore -- --all` (`make explore`) runs the large
//! ones too; without `--all`, those that the tests run. A word picks the configurations whose name has it.
#![allow(clippy::print_stdout, reason = "the table is the purpose")]

use operon_testkit::explore::{self, Faults, WORLDS_MAX};

fn main() {
    let setups = [
        explore::chain(),
        explore::diamond(),
        explore::retried(),
        explore::once(),
        explore::nap(),
        explore::clean_up(),
        explore::guarded(),
        explore::flow_retry(),
        explore::lock(),
        explore::two_parts(),
    ];
    let word = std::env::args().nth(1).unwrap_or_default();
    let f: Vec<u8> = std::env::args()
        .nth(2)
        .unwrap_or_default()
        .split(',')
        .filter_map(|s| s.parse().ok())
        .collect();
    let f = |i: usize| f.get(i).copied().unwrap_or(0);
    let faults = Faults {
        crash: f(0),
        duplicate: f(1),
        lost: f(2),
        failure: f(3),
        infrastructure: f(4),
        timeout: f(5),
        kill: f(6),
        restart: f(7),
    };
    for setup in setups {
        if !setup.name.contains(&word) {
            continue;
        }
        let report = explore::explore(
            &setup,
            faults,
            None,
            std::env::var("MAX")
                .ok()
                .and_then(|m| m.parse().ok())
                .unwrap_or(WORLDS_MAX),
        );
        println!(
            "{} [{}] states={} edges={} ends={} {:?} complete={}",
            report.name,
            report.faults,
            report.states,
            report.edges,
            report.ends,
            report.elapsed,
            report.complete
        );
        for violation in &report.violations {
            println!("{violation}");
        }
    }
}
