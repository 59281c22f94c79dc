//! Tasks on artifacts. Records are lines, or what another `separator` divides; where Kestra has ION, items
//! are JSON lines.
//!
//! Invariant: no file is held in memory; a record is, and [`RECORD_BYTES_MAX`] bounds it.

mod files;
mod items;
mod records;
mod split;
mod whole;

pub(super) use items::{deduplicate, filter};
pub(super) use split::split;
pub(super) use whole::{concat, delete, reverse, size, write};

pub use items::DEDUPLICATE_KEYS_MAX;
pub use records::{RECORD_BYTES_MAX, SEPARATOR_BYTES_MAX};
pub use split::SPLIT_PARTS_MAX;
pub use whole::{CONCAT_FILES_MAX, EXTENSION_BYTES_MAX, WRITE_BYTES_MAX};

pub(super) use files::{Scratch, keep};
