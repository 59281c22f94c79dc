//! Stands beside a container image in a Fargate task.
fn main() {}
