//! Breadth-first search: every world once, the shortest way to each first.

use std::time::{Duration, Instant};

use super::check::{Invariant, broken};
use super::intern::Reached;
use super::model::Model;
use super::show;
use super::steps::{Next, successors};
use super::world::{Faults, World};
use super::{Mutant, Setup};

/// Worlds after which a search gives up and says so. At about 170 bytes each: below 4 GB.
pub const WORLDS_MAX: usize = 20_000_000;

/// What was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Of the configuration.
    pub name: &'static str,
    /// That were allowed.
    pub faults: Faults,
    /// Reachable worlds found.
    pub states: usize,
    /// Steps between them.
    pub edges: usize,
    /// That it took.
    pub elapsed: Duration,
    /// Steps to the last world that was looked at: of all worlds nearer to the beginning every successor was looked at.
    pub steps: usize,
    /// Whether everything reachable was reached; false when the limit came first or a violation ended the
    /// search.
    pub complete: bool,
    /// Worlds in which everything is over.
    pub ends: usize,
    /// Each invariant that was broken, once, with a shortest way to break it.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether everything was reached and nothing is broken.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.complete && self.violations.is_empty()
    }

    /// The invariants that were broken.
    #[must_use]
    pub fn broken(&self) -> Vec<Invariant> {
        self.violations
            .iter()
            .map(|found| found.invariant)
            .collect()
    }
}

/// A broken invariant.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// [`Invariant::EndIsReachable`]: worlds from which there is no way to the end. Else 1.
    pub worlds: usize,
    /// What happened, one line per step, and the world it led to.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} ({} worlds)", self.invariant, self.worlds)?;
        for (number, line) in self.trace.iter().enumerate() {
            writeln!(f, "  {:>3}. {line}", number + 1)?;
        }
        Ok(())
    }
}

/// Explores everything `setup` can do under `faults`.
///
/// With a mutant, the first broken invariant of safety ends the search: one is enough to show.
#[must_use]
pub fn explore(setup: &Setup, faults: Faults, mutant: Option<Mutant>, worlds_max: usize) -> Report {
    let started = Instant::now();
    let mut model = Model::new(setup, mutant);
    let first = model.first(faults);
    let mut search = Search {
        reached: Reached::new(first),
        parents: vec![0],
        edges: Vec::new(),
        starts: Vec::new(),
        violations: Vec::new(),
        looked_at: 0,
    };
    let complete = search.run(&mut model, mutant.is_some(), worlds_max);
    let mut ends = 0;
    if complete {
        ends = search.check_ends(&mut model);
    }
    Report {
        name: setup.name,
        faults,
        states: search.reached.len(),
        edges: search.edges.len(),
        elapsed: started.elapsed(),
        steps: search.steps_to(search.looked_at),
        complete,
        ends,
        violations: search.violations,
    }
}

struct Search {
    reached: Reached<World>,
    /// By world: from where it was reached first.
    parents: Vec<u32>,
    /// Successors of all worlds, one after the other.
    edges: Vec<u32>,
    /// By world: where its successors begin in `edges`.
    starts: Vec<usize>,
    violations: Vec<Violation>,
    /// The last world whose successors were looked at.
    looked_at: u32,
}

impl Search {
    /// Whether everything reachable was reached.
    fn run(&mut self, model: &mut Model<'_>, stop: bool, worlds_max: usize) -> bool {
        let mut next = Vec::new();
        let mut at = 0;
        while (at as usize) < self.reached.len() {
            let world = self.reached.get(at);
            self.looked_at = at;
            self.starts.push(self.edges.len());
            next.clear();
            successors(model, &world, &mut next);
            for step in &next {
                let (index, new) = self.reached.insert(step.world);
                if new {
                    self.parents.push(at);
                }
                self.edges.push(index);
                if let Some(invariant) = broken(model, &world, step)
                    && !self
                        .violations
                        .iter()
                        .any(|found| found.invariant == invariant)
                {
                    let mut trace = self.trace(model, at);
                    trace.push(show::step(model, &world, step));
                    trace.push(show::world(model, &step.world));
                    self.violations.push(Violation {
                        invariant,
                        worlds: 1,
                        trace,
                    });
                    if stop {
                        return false;
                    }
                }
            }
            at += 1;
            if self.reached.len() > worlds_max {
                return false;
            }
        }
        self.starts.push(self.edges.len());
        true
    }

    /// On the shortest way.
    fn steps_to(&self, mut index: u32) -> usize {
        let mut steps = 0;
        while index != 0 {
            index = self.parents[index as usize];
            steps += 1;
        }
        steps
    }

    /// Finds the worlds from which the end cannot be reached; returns the number of ends.
    fn check_ends(&mut self, model: &mut Model<'_>) -> usize {
        let count = self.reached.len();
        let mut good: Vec<bool> = (0..count)
            .map(|index| {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                model.is_over(&self.reached.get(index))
            })
            .collect();
        let ends = good.iter().filter(|good| **good).count();
        // Most steps lead to worlds found later: going backwards, few passes suffice.
        loop {
            let mut changed = false;
            for index in (0..count).rev() {
                if !good[index] {
                    let successors = &self.edges[self.starts[index]..self.starts[index + 1]];
                    good[index] = successors.iter().any(|&next| good[next as usize]);
                    changed |= good[index];
                }
            }
            if !changed {
                break;
            }
        }
        let stuck = good.iter().filter(|good| !**good).count();
        if let Some(shortest) = good.iter().position(|good| !good) {
            let index = u32::try_from(shortest).unwrap_or(u32::MAX);
            let mut trace = self.trace(model, index);
            trace.push(show::world(model, &self.reached.get(index)));
            self.violations.push(Violation {
                invariant: Invariant::EndIsReachable,
                worlds: stuck,
                trace,
            });
        }
        ends
    }

    /// What led to a world, one line per step.
    fn trace(&self, model: &mut Model<'_>, mut index: u32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut next: Vec<Next> = Vec::new();
        while index != 0 {
            let parent = self.parents[index as usize];
            let (from, to) = (self.reached.get(parent), self.reached.get(index));
            next.clear();
            successors(model, &from, &mut next);
            if let Some(step) = next.iter().find(|next| next.world == to) {
                lines.push(show::step(model, &from, step));
            }
            index = parent;
        }
        lines.reverse();
        lines
    }
}
