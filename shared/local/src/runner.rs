//! Runs attempts: as processes of this machine, or as containers.
//!
//! Both runners share how files come in ([`ports::InputFile`](operon_engine::ports::InputFile)), how values
//! and files go out, how logs are numbered and secrets hidden, and how an attempt is claimed.

mod claims;
mod collect;
mod directory;
mod finish;
mod log;
mod mask;
mod process;
mod protocol;
mod stage;
#[cfg(test)]
pub(crate) mod testing;

pub use claims::{Claim, ClaimRow, Claims, MemoryClaims, ProcessMark};
pub use process::{Orphan, ProcessConfig, ProcessRunner};
