//! Dead letters of both kinds behind this interface: events that no trigger could use, and messages of queues that no
//! function could handle.

use std::sync::Arc;

use async_trait::async_trait;
use operon_engine::dead_letters as of_queues;
use operon_engine::ports::Queue;
use operon_engine::step::StepError;
use operon_engine::triggers::{RedriveError, Triggers};

use crate::hooks::{DeadLetter, DeadLetters};
use crate::problem::Problem;

/// Bytes of a dead letter that are shown.
const SHOWN_BYTES_MAX: usize = 2_000;
/// How the ids of letters of queues begin; those of events begin with something that sorts before it.
const OF_QUEUE: &str = "q-";

/// The engine's dead letters.
#[derive(Clone)]
pub struct EngineDeadLetters {
    triggers: Triggers,
    queue: Option<Arc<dyn Queue>>,
}

impl EngineDeadLetters {
    /// Those of events, and where there are queues those of their messages.
    #[must_use]
    pub fn new(triggers: Triggers, queue: Option<Arc<dyn Queue>>) -> Self {
        Self { triggers, queue }
    }
}

fn beginning(mut body: String) -> String {
    body.truncate(body.floor_char_boundary(SHOWN_BYTES_MAX));
    body
}

fn of_queue(letter: of_queues::DeadLetter) -> DeadLetter {
    let of = letter
        .trigger
        .map_or_else(String::new, |key| format!("trigger `{key}`: "));
    DeadLetter {
        id: letter.id,
        queue: letter.queue,
        at_ms: letter.at_ms,
        reason: format!("{of}{}", letter.reason),
        put_back_ms: letter.redriven_ms,
        body: beginning(letter.body),
        execution: letter.execution.map(|id| id.to_string()),
    }
}

#[async_trait]
impl DeadLetters for EngineDeadLetters {
    async fn list(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, Option<String>), Problem> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut shown: Vec<DeadLetter> = Vec::new();
        if !after.is_some_and(|after| after.starts_with(OF_QUEUE)) {
            let letters = self
                .triggers
                .dead_letters(after.map(str::to_owned), limit)
                .await?;
            shown.extend(letters.into_iter().map(|letter| {
                DeadLetter {
                    id: letter.id,
                    queue: letter
                        .trigger
                        .map_or_else(|| "intake".to_owned(), |key| key.to_string()),
                    at_ms: letter.at_ms,
                    reason: letter.reason,
                    put_back_ms: None,
                    body: beginning(letter.body.or(letter.identity).unwrap_or_default()),
                    execution: None,
                }
            }));
        }
        if shown.len() < wanted && self.queue.is_some() {
            let left = u32::try_from(wanted - shown.len()).unwrap_or(limit);
            let after = after.filter(|after| after.starts_with(OF_QUEUE));
            let ports = &self.triggers.evaluator.ports;
            let letters = of_queues::list(ports, after.map(str::to_owned), left).await?;
            shown.extend(letters.into_iter().map(of_queue));
        }
        let full = shown.len() >= wanted;
        let next = shown
            .last()
            .filter(|_| full)
            .map(|letter| letter.id.clone());
        Ok((shown, next))
    }

    async fn redrive(&self, id: &str) -> Result<(), Problem> {
        if id.starts_with(OF_QUEUE)
            && let Some(queue) = &self.queue
        {
            let ports = &self.triggers.evaluator.ports;
            return match of_queues::redrive(ports, queue, id).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Problem::not_found(
                    RedriveError::Missing(id.to_owned()).to_string(),
                )),
                Err(StepError::Store(error)) => Err(error.into()),
                Err(error) => Err(Problem::unavailable(error.to_string())),
            };
        }
        match self.triggers.redrive(id).await {
            Ok(_) => Ok(()),
            Err(RedriveError::Store(error)) => Err(error.into()),
            Err(error @ RedriveError::Missing(_)) => Err(Problem::not_found(error.to_string())),
            Err(error @ RedriveError::Again(_)) => Err(Problem::conflict(error.to_string())),
        }
    }
}
