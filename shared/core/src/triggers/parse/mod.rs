//! Reading events in the shapes in which services deliver them.
//!
//! Everything here takes bytes from outside, so everything has a limit, and each entry is a target of `fuzz/`.

mod eventbridge;
mod message;
mod poll;
mod s3;
mod sns;
mod webhook;

#[cfg(test)]
mod tests;

pub use message::{Delivery, Own, Parsed, document, message};
pub use poll::{Answer, ROW_BYTES_MAX, answer, row};
pub use webhook::{BODY_BYTES_MAX, HEADERS_MAX, body, delivery_of_slack};
