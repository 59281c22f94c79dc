//! `operon top`.

use clap::Args as ClapArgs;

use super::StateArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct TopArgs {
    /// Ask the server of this context; `local` means the one on this machine.
    #[arg(long, value_name = "NAME", env = "OPERON_CONTEXT")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}
