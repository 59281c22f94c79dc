//! Serves the console, the command line and webhooks.
fn main() {}
