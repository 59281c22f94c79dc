//! `operon run` and `operon resume`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use operon_core::lang::amount;

use super::{Output, StateArgs};

const MIB: u64 = 1 << 20;

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// The flow's YAML file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Value of an input; a list or object is written as JSON.
    #[arg(short, long = "input", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) inputs: Vec<(String, String)>,
    /// File for an input of type FILE, relative to the current directory.
    #[arg(short = 'f', long = "input-file", value_name = "INPUT=PATH", value_parser = pair)]
    pub(crate) files: Vec<(String, String)>,
    /// Label of the execution.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// What may be chosen wherever executions are worked on.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct EngineArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Attempts at once at most; without it, as many as fit into the CPUs and the memory.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_parallel: Option<u32>,
    /// CPUs that tasks may use together; all of this machine by default.
    #[arg(long, value_name = "N", value_parser = cpus)]
    pub(crate) cpus: Option<u32>,
    /// Memory that tasks may use together, such as 4GiB; all of this machine by default.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<u32>,
    /// What executes tasks.
    #[arg(long, value_enum, default_value_t, value_name = "RUNNER")]
    pub(crate) runner: RunnerName,
    /// File with secrets, `NAME=value` per line or JSON; `OPERON_SECRET_NAME` variables count too.
    #[arg(long, value_name = "FILE")]
    pub(crate) secrets: Option<PathBuf>,
    /// How progress and result are shown.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    /// Show nothing but errors (and the result, with `--output json`).
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Who executes tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunnerName {
    /// A container where the task names an image, a process otherwise.
    #[default]
    Auto,
    /// Processes of this machine; images are ignored.
    Process,
    /// Containers only.
    Docker,
}

/// `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write it as `key=value`".to_owned()),
    }
}

/// Thousandths of a CPU.
fn cpus(text: &str) -> Result<u32, String> {
    amount::cpu_milli(text).map_err(|error| error.to_string())
}

/// Mebibytes.
fn memory(text: &str) -> Result<u32, String> {
    let bytes = amount::size_bytes(text, MIB).map_err(|error| error.to_string())?;
    match u32::try_from(bytes / MIB) {
        Ok(0) => Err("write at least 1MiB".to_owned()),
        Ok(mebibytes) => Ok(mebibytes),
        Err(_) => Err("that is more than any machine has".to_owned()),
    }
}
