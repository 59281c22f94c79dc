//! What a turn calls for: launches, stops, questions, the lock, the end.

use operon_core::exec::{Command, Event, State, Truth};
use tracing::error;

use super::{PlanQueue, of};
use crate::claims;
use crate::evaluate::{EvaluateError, Site};
use crate::planner::{Active, Message};
use crate::ports::{AttemptId, Outgoing, QueueName, ShardKey};
use crate::reports;
use crate::script;
use crate::step::{Outbox, StepError};
use crate::subflow;
use crate::wire::{self, LaunchMessage, WorkMessage};

impl PlanQueue {
    pub(super) async fn command(
        &self,
        key: ShardKey,
        command: Command,
        outbox: &mut Outbox,
        follow: &mut Vec<Message>,
    ) -> Result<(), StepError> {
        let Some(active) = self.planner.active(&key.execution).await? else {
            return Ok(());
        };
        match command {
            // The turn has decided what could be decided; what is left waits for a tick.
            Command::Evaluate { .. } => {}
            Command::Send { to, event } => {
                let execution = key.execution;
                let key = ShardKey {
                    execution,
                    shard: to,
                };
                follow.push(Message::new(key, event));
            }
            Command::Launch { slot, attempt } => {
                self.launch(&active, AttemptId::of(&key, slot, attempt), outbox)?;
            }
            Command::Stop { slot, attempt } => {
                self.stop(&active, AttemptId::of(&key, slot, attempt), outbox)?;
            }
            Command::Probe { slot, attempt } => {
                let id = AttemptId::of(&key, slot, attempt);
                follow.extend(self.probe(&active, id, outbox).await?);
            }
            Command::Acquire => follow.extend(self.acquire(&active).await?),
            Command::Release { quarantine_until } => {
                match self.evaluator().release(&active, quarantine_until).await {
                    Ok(messages) => follow.extend(messages),
                    Err(EvaluateError::Store(error)) => return Err(error.into()),
                    Err(EvaluateError::Expression(reason)) => {
                        error!(%reason, execution_id = %key.execution, "the lock has no name");
                    }
                }
            }
            Command::Finish { .. } => self.finish(&key.execution, outbox, follow).await?,
        }
        Ok(())
    }

    fn launch(&self, active: &Active, id: AttemptId, outbox: &mut Outbox) -> Result<(), StepError> {
        let since_ms = self.now_ms();
        let lane = wire::lane(&active.meta);
        let (queue, text) = if is_process(active, &id) {
            let message = LaunchMessage::Launch { id, since_ms };
            (QueueName::Launch, wire::encode(&message)?)
        } else {
            let message = WorkMessage::Execute { id, since_ms };
            (QueueName::Work, wire::encode(&message)?)
        };
        outbox.push(queue, Outgoing::now(text).of(&lane));
        Ok(())
    }

    fn stop(&self, active: &Active, id: AttemptId, outbox: &mut Outbox) -> Result<(), StepError> {
        let since_ms = self.now_ms();
        let (queue, text) = if is_process(active, &id) {
            let message = LaunchMessage::Stop {
                id,
                since_ms,
                missed: 0,
            };
            (QueueName::Launch, wire::encode(&message)?)
        } else {
            let message = WorkMessage::Stop {
                id,
                since_ms,
                told: false,
            };
            (QueueName::Work, wire::encode(&message)?)
        };
        // Without a lane: a kill must not wait behind launches of its own flow.
        outbox.push(queue, Outgoing::now(text));
        Ok(())
    }

    /// Asks about an attempt: ECS through the launch queue, a built-in task by its claim, a subflow by its child.
    async fn probe(
        &self,
        active: &Active,
        id: AttemptId,
        outbox: &mut Outbox,
    ) -> Result<Option<Message>, StepError> {
        if is_process(active, &id) {
            let launched = self.launched_ms(active, &id).await?;
            let message = LaunchMessage::Probe {
                launched_ms: launched.unwrap_or_else(|| self.now_ms()),
                id,
                missed: 0,
            };
            let text = wire::encode(&message)?;
            outbox.push(QueueName::Launch, Outgoing::now(text));
            return Ok(None);
        }
        let site = Site::of_attempt(active, &id);
        let Some(task) = site.task() else {
            return Ok(None);
        };
        if script::is_subflow(&task.task_type) {
            let Some(child) = subflow::child_id(&id) else {
                return Ok(None);
            };
            let store = &*self.evaluator().ports.store;
            return match store.execution(&child).await? {
                None => Ok(Some(of(reports::probed(&id, Truth::Absent)))),
                // What is not over answers when it is: it, or the last try after it.
                Some(row) => self.answer_parent(&row).await,
            };
        }
        let now = self.now_ms();
        let records = &*self.evaluator().ports.records;
        let truth = match claims::owner(records, &id, now).await? {
            None => Truth::Absent,
            Some(until) if until > now => return Ok(None),
            Some(_) if task.idempotent => Truth::Absent,
            Some(_) => Truth::Gone,
        };
        Ok(Some(of(reports::probed(&id, truth))))
    }

    async fn acquire(&self, active: &Active) -> Result<Vec<Message>, StepError> {
        match self.evaluator().acquire(active).await {
            Ok(messages) => Ok(messages),
            Err(EvaluateError::Store(error)) => Err(error.into()),
            Err(EvaluateError::Expression(reason)) => {
                error!(%reason, execution_id = %active.meta.id, "the lock has no name");
                let state = State::Failed;
                let key = ShardKey::root(&active.meta.id);
                Ok(vec![Message::new(key, Event::Refused { state })])
            }
        }
    }
}

fn is_process(active: &Active, id: &AttemptId) -> bool {
    let site = Site::of_attempt(active, id);
    site.task()
        .is_some_and(|task| script::is_process(&task.task_type))
}
