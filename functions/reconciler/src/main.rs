//! Asks after whatever is due.
fn main() {}
