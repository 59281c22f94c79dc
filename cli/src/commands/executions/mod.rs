//! `operon executions`.

mod list;
mod logs;
mod replay;
mod show;
mod steer;

use std::rc::Rc;

use crate::args::Executions;
use crate::exit::Exit;
use crate::output::Console;

pub(crate) fn executions(command: &Executions, console: &Rc<Console>) -> anyhow::Result<Exit> {
    match command {
        Executions::List(args) => list::list(args, console),
        Executions::Show(args) => show::show(args, console),
        Executions::Logs(args) => logs::logs(args, console),
        Executions::Kill(args) => steer::kill(args, console),
        Executions::Resume(args) => steer::resume(args, console),
        Executions::Restart(args) => steer::restart(args, console),
        Executions::RetryFailed(args) => steer::retry_failed(args, console),
        Executions::Labels(args) => crate::commands::remote::labels(None, args, console),
        Executions::Replay(args) => replay::replay(args, console),
    }
}
