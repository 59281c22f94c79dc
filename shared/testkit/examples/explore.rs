//! Explores the configurations and prints what was found.
//!
//! `cargo run --profile fast -p operon-testkit --example explore -- --all` (`make explore`) runs the large
//! ones too; without `--all`, those that the tests run, and the mutants. A further word picks the
//! configurations whose name has it. The exit code is 1 if anything is not as it should be.
#![allow(clippy::print_stdout, reason = "the table is the purpose")]

use std::process::ExitCode;

use operon_testkit::explore::{self, Report, WORLDS_MAX};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = arguments.iter().any(|argument| argument == "--all");
    let word = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    let picked = |name: &str| word.is_none_or(|word| name.contains(word.as_str()));
    let mut cases = explore::small();
    if all {
        cases.extend(explore::large());
    }
    println!(
        "{:<36} {:<40} {:>10} {:>11} {:>8}  result",
        "configuration", "faults", "worlds", "edges", "seconds"
    );
    let mut well = true;
    for case in cases.into_iter().filter(|case| picked(case.setup.name)) {
        let report = explore::explore(&case.setup, case.faults, None, WORLDS_MAX);
        let name = if case.setup.sweeper {
            case.setup.name.to_owned()
        } else {
            format!("{}, no sweeper", case.setup.name)
        };
        row(&name, &report);
        for violation in &report.violations {
            println!("{violation}");
        }
        well &= report.holds();
    }
    for mutant in explore::mutants()
        .into_iter()
        .filter(|mutant| picked(mutant.name))
    {
        let case = &mutant.case;
        let report = explore::explore(&case.setup, case.faults, mutant.mutant, WORLDS_MAX);
        row(mutant.name, &report);
        for violation in &report.violations {
            println!("{violation}");
        }
        let broken = report.broken();
        well &= mutant
            .breaks
            .map_or(broken.is_empty(), |expected| broken.contains(&expected));
    }
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn row(name: &str, report: &Report) {
    let result = if report.holds() {
        "holds".to_owned()
    } else if report.violations.is_empty() {
        "NOT COMPLETE: limit of worlds reached, nothing broken so far".to_owned()
    } else {
        let broken: Vec<String> = report.broken().iter().map(ToString::to_string).collect();
        broken.join("; ")
    };
    println!(
        "{name:<36} {:<40} {:>10} {:>11} {:>8.1}  {result}",
        report.faults.to_string(),
        report.states,
        report.edges,
        report.elapsed.as_secs_f32()
    );
}
