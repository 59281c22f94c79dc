//! `operon executions`.

mod list;
mod logs;
mod replay;
mod resume;
mod show;
mod steer;

use std::rc::Rc;

pub(crate) use logs::possible;

use super::remote_views;
use crate::args::Executions;
use crate::client::Client;
use crate::exit::Exit;
use crate::output::Console;

pub(crate) fn executions(command: &Executions, console: &Rc<Console>) -> anyhow::Result<Exit> {
    match command {
        Executions::List(args) => list::list(args, console),
        Executions::Show(args) => show::show(args, console),
        Executions::Logs(args) => logs::logs(args, console),
        Executions::Kill(args) => steer::kill(args, console),
        Executions::Resume(args) => resume::resume(args, console),
        Executions::Restart(args) => steer::restart(args, console),
        Executions::RetryFailed(args) => steer::retry_failed(args, console),
        Executions::Labels(args) => crate::commands::remote::labels(None, args, console),
        Executions::Replay(args) => replay::replay(args, console),
        Executions::Bulk(args) => {
            remote_views::bulk(&Client::choose(None, &args.state.dir)?, args, console)
        }
        Executions::Evaluate(args) => {
            remote_views::evaluate(&Client::choose(None, &args.state.dir)?, args, console)
        }
        Executions::Metrics(args) => {
            remote_views::metrics(&Client::choose(None, &args.state.dir)?, args, console)
        }
    }
}
