//! What each command does.

mod resume;
mod run;
mod validate;

use std::rc::Rc;

use crate::args::Command;
use crate::exit::Exit;
use crate::output::Console;

/// Carries out a command.
pub(crate) fn run(command: Command, console: &Rc<Console>) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::run(&args, console),
        Command::Resume(args) => resume::resume(&args, console),
        Command::Validate(args) => validate::validate(&args, console),
    }
}
