//! Commands about flow files.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

#[derive(Debug, ClapArgs)]
pub(crate) struct ValidateArgs {
    /// Flow files, plugin files, or directories with them.
    #[arg(value_name = "FILE|DIR", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// How findings are shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
    /// Warnings are errors.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// How findings are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValidateOutput {
    /// With the lines they are about.
    #[default]
    Human,
    /// One JSON object.
    Json,
}
