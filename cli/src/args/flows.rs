//! Commands about flow files.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

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

#[derive(Debug, ClapArgs)]
pub(crate) struct FmtArgs {
    /// Flow files; `-` reads standard input.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Change nothing; exit with 1 if a file is not laid out in the standard way.
    #[arg(long)]
    pub(crate) check: bool,
    /// Also rewrite spellings of earlier versions.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<SpecVersion>,
}

/// A version of the flow language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpecVersion {
    /// The present one.
    #[value(name = "2.0")]
    V2,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GraphArgs {
    /// The flow's YAML file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What is drawn.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: GraphFormat,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A picture.
    Svg,
    /// A Mermaid flowchart.
    Mermaid,
    /// A tree.
    #[default]
    Text,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// The flow's YAML file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Words, or the plan itself.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: PlanOutput,
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanOutput {
    /// In words.
    #[default]
    Human,
    /// The plan as it is stored.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginsCommand {
    /// Names and what they do.
    List,
    /// The properties of one.
    Show {
        /// Such as `genomics.nextclade`.
        name: String,
    },
}
