//! Drawings of a compiled plan: text for the terminal, Mermaid for documents, SVG for the console.
//!
//! Invariant: equal plans give equal drawings, byte for byte; every task of the plan is drawn once, and
//! text from a flow cannot break out of the drawing it stands in.

mod layers;
mod mermaid;
mod notes;
mod order;
mod picture;
mod svg;
mod text;

#[cfg(test)]
mod tests;

use crate::plan::Plan;
use picture::Picture;

/// A tree of tasks; what a task waits for stands after `←`, unless it is simply the task above it.
#[must_use]
pub fn text(plan: &Plan) -> String {
    text::render(&Picture::of(plan))
}

/// A Mermaid flowchart.
#[must_use]
pub fn mermaid(plan: &Plan) -> String {
    mermaid::render(&Picture::of(plan))
}

/// A stand-alone SVG document that follows the light or dark scheme of the page or viewer. Every task
/// is a `<g class="task" data-task="…">`, so that a page can colour it by state.
#[must_use]
pub fn svg(plan: &Plan) -> String {
    svg::render(&Picture::of(plan))
}
