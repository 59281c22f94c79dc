//! Tells shards what ECS says of their tasks.
fn main() {}
