//! Every state of small executions under bounded faults: see `docs/decisions/0004-model-checking.md`.
//!
//! Holds invariants 2 to 7 of the design, for the bounds of `operon_testkit::explore::small`.

use operon_testkit::explore::{self, WORLDS_MAX};

#[test]
fn nothing_that_can_happen_breaks_an_invariant() {
    for case in explore::small() {
        let report = explore::explore(&case.setup, case.faults, None, WORLDS_MAX);
        let broken: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(
            report.holds(),
            "{} with faults {}: complete {}, {} worlds\n{}",
            report.name,
            report.faults,
            report.complete,
            report.states,
            broken.join("\n")
        );
        assert!(report.ends > 0, "{} never ends", report.name);
    }
}

#[test]
fn every_mistake_around_the_core_is_found() {
    for mutant in explore::mutants() {
        let case = &mutant.case;
        let report = explore::explore(&case.setup, case.faults, mutant.mutant, WORLDS_MAX);
        let broken = report.broken();
        match mutant.breaks {
            Some(expected) => {
                assert!(broken.contains(&expected), "{}: {broken:?}", mutant.name);
                assert!(
                    report
                        .violations
                        .iter()
                        .all(|found| !found.trace.is_empty())
                );
            }
            None => assert!(report.holds(), "{}: {broken:?}", mutant.name),
        }
    }
}
