//! What bounds one expression. A flow is written by people, but its values come from outside: every
//! number here exists so that no template, however it is fed, takes the engine's memory or time.

/// Longest template source, in bytes: a script with its expressions fits, a data file does not.
pub const MAX_SOURCE_BYTES: usize = 256 * 1024;

/// Deepest nesting of parentheses, calls and operators in one expression, and of tags in one template.
/// Kept below a third of minijinja's own limit of 150, because one level here becomes up to three there.
pub const MAX_NESTING: usize = 40;

/// What one render may cost: an instruction costs 1, and so do 64 bytes of a result (minijinja's rule).
/// A thousand-fold loop over a dozen fields fits, and so does every text of [`MAX_OUTPUT_BYTES`].
pub const MAX_FUEL: u64 = 1_000_000;

/// Bytes that an operation reads for one more unit of fuel, so that large values are read seldom.
pub(super) const BYTES_PER_FUEL: usize = 256;

/// Largest value, intermediate ones included, and largest rendered text, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 2 * 1024 * 1024;

/// Deepest `render(…)` inside `render(…)`.
pub const MAX_RENDER_DEPTH: usize = 4;

/// `render(…)` calls in one render, at every depth together.
pub const MAX_RENDERS: usize = 64;

/// Most items `range(…)`, `a..b` and `chunk` make.
pub const MAX_RANGE_ITEMS: usize = 10_000;

/// Longest regular expression, in bytes of its source.
pub const MAX_REGEX_BYTES: usize = 1024;

/// Largest compiled regular expression, in bytes (the `regex` crate's `size_limit`).
pub const MAX_REGEX_COMPILED_BYTES: usize = 256 * 1024;

/// Longest jq program, in bytes.
pub const MAX_JQ_BYTES: usize = 1024;

/// Steps the jq programs of one render may take together: one for each operation, and one for each part
/// of a value that is made or copied.
pub const MAX_JQ_STEPS: u64 = 2_000_000;

/// Most results one jq program may give.
pub const MAX_JQ_RESULTS: usize = 10_000;

/// Deepest JSON or YAML text that `fromJson`, `yaml` and `jq` read.
pub const MAX_DATA_DEPTH: usize = 64;
