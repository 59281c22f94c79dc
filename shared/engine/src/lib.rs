//! The asynchronous part of Operon: what the Lambda functions and the embedded engine do around the pure
//! core, over [`ports`].

pub mod ports;
