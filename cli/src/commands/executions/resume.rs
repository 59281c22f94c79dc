//! `operon executions resume`: an answer to pauses, with the typed values that they ask for.
//!
//! Values are checked by the server that works on the state directory, else by this process; an engine that works there
//! is told through its inbox.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use operon_core::exec::Event;
use operon_core::lang::Plugins;
use operon_engine::Ports;
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::Flows;
use operon_engine::operations::{Operations, Resume, Snapshot, Wishes};
use operon_engine::ports::{EventSink, ShardKey, StoreError, TaskRunKey};
use operon_local::flows::DirectoryFlows;
use serde_json::Value;

use super::steer::{Until, refused, theirs};
use crate::args::ResumeOneArgs;
use crate::commands::{remote_executions, run::finish};
use crate::engine::{self, Shown};
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::report;
use crate::state::State;

/// Keeps events for an engine of this process.
#[derive(Default)]
struct Kept(Mutex<Wishes>);

#[async_trait]
impl EventSink for Kept {
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((key.clone(), event.clone()));
        Ok(())
    }
}

pub(crate) fn resume(args: &ResumeOneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let task_run = args.task_run.as_deref().map(run_of).transpose()?;
    // A server that works here checks the values, and knows who answers.
    if args
        .engine
        .state
        .dir
        .join(crate::commands::ADDRESS_FILE)
        .is_file()
    {
        return remote_executions::resume_here(args, console);
    }
    let shown = Shown::new(report::of_args(&args.engine, console));
    engine::block_on(async {
        let state = State::open(&args.engine.state.dir)?;
        let row = state.execution(&args.id).await?;
        let snapshot = Snapshot::read(&state.store, row).await.map_err(refused)?;
        snapshot.pauses(task_run.as_ref()).map_err(refused)?;
        let flows = Box::new(DirectoryFlows);
        let Some(laptop) = engine::try_open(&args.engine, flows, &shown).await? else {
            // Checked and kept here; the engine that works there is told.
            let ports = engine::beside(&args.engine)?;
            for (key, event) in answers(ports, args, task_run).await? {
                state.store.post(&key, &event).await?;
            }
            return theirs(&state, &args.engine, console, &args.id, Until::Heard).await;
        };
        drop(state);
        laptop.engine.recover_tree(&args.id).await?;
        let ports = laptop.engine.evaluator().ports.clone();
        for (key, event) in answers(ports, args, task_run).await? {
            laptop.engine.send(key, event);
        }
        let ids = std::slice::from_ref(&args.id);
        let end = engine::work(&laptop.engine, &shown, ids).await?;
        finish(&laptop, &args.engine, console, &shown, ids, end).await
    })
}

/// Checks the values, keeps them, and gives what is to be sent.
async fn answers(
    ports: Ports,
    args: &ResumeOneArgs,
    task_run: Option<TaskRunKey>,
) -> anyhow::Result<Wishes> {
    let kept = Arc::new(Kept::default());
    let operations = Operations {
        flows: Flows::new(&ports, Arc::new(Plugins::default())),
        evaluator: Evaluator {
            ports,
            shards: Arc::default(),
            items: Arc::default(),
        },
        sink: Arc::clone(&kept) as Arc<dyn EventSink>,
    };
    let value = |(key, value): &(String, String)| (key.clone(), Value::String(value.clone()));
    let answer = Resume {
        task_run,
        go_on: !args.stop,
        inputs: args.inputs.iter().map(value).collect(),
        by: std::env::var("USER").unwrap_or_else(|_| "local".to_owned()),
    };
    operations.resume(&args.id, answer).await.map_err(refused)?;
    let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *kept))
}

fn run_of(text: &str) -> anyhow::Result<TaskRunKey> {
    let parsed = text.rsplit_once(':').and_then(|(shard, slot)| {
        Some(TaskRunKey {
            shard: shard.parse().ok()?,
            slot: slot.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| {
        Usage::new(format!("`{text}` is no task run"))
            .help("write it as `shard:slot`, such as `0:3`")
            .into()
    })
}
