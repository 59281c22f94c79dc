//! Executes built-in tasks.
fn main() {}
