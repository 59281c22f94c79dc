//! Launches attempts on ECS.
fn main() {}
