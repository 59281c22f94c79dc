//! `operon resume`: everything that is not over.

use std::rc::Rc;

use operon_local::flows::DirectoryFlows;

use super::run::finish;
use crate::args::ResumeArgs;
use crate::engine::{self, Shown};
use crate::exit::Exit;
use crate::output::Console;
use crate::report;

pub(crate) fn resume(args: &ResumeArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let shown = Shown::new(report::of_args(&args.engine, console));
    engine::block_on(async {
        let flows = Box::new(DirectoryFlows);
        let laptop = engine::open(&args.engine, flows, &shown).await?;
        let mut ids = laptop.engine.recover().await?;
        ids.sort();
        if ids.is_empty() && !args.engine.quiet {
            console.note("Nothing is unfinished.");
        }
        let end = engine::work(&laptop.engine, &shown, &ids).await?;
        finish(&laptop, &args.engine, console, &shown, &ids, end).await
    })
}
