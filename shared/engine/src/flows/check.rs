//! From the text of a flow to a plan, with everything that is wrong with it.

use operon_core::lang::diagnostic::{Diagnostic, Rule, Severity};
use operon_core::lang::{self, Flow, Plugins};
use operon_core::plan::{CompileError, Plan, compile};

/// A document that was checked.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The flow and its plan, if nothing is wrong with them.
    pub flow: Option<(Flow, Plan)>,
    /// Findings by position.
    pub findings: Vec<Diagnostic>,
    /// Findings that were left out because there are too many.
    pub omitted: usize,
}

impl Checked {
    /// Findings that are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        let error = |finding: &&Diagnostic| finding.severity == Severity::Error;
        self.findings.iter().filter(error).count()
    }
}

/// Parses and compiles a document.
#[must_use]
pub fn check(source: &str, plugins: &Plugins) -> Checked {
    let parsed = lang::parse(source, plugins);
    let mut diagnostics = parsed.diagnostics;
    let flow = parsed.flow.and_then(|flow| match compile(&flow) {
        Ok(plan) => Some((flow, plan)),
        Err(errors) => {
            diagnostics.extend(errors.iter().map(of_compile_error));
            None
        }
    });
    Checked {
        flow,
        omitted: diagnostics.omitted(),
        findings: diagnostics.into_sorted(),
    }
}

/// What the compiler refuses, as a finding.
fn of_compile_error(error: &CompileError) -> Diagnostic {
    let message = match &error.task {
        Some(task) => format!("task `{task}`: {}", error.what),
        None => error.what.clone(),
    };
    Diagnostic::error(Rule::Limit, error.span.clone(), message).with_help(error.fix.clone())
}
