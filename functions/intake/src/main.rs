//! Events in, executions out.
fn main() {}
