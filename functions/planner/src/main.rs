//! Takes turns: events in, one write, commands out.
fn main() {}
