//! Changes: what is written down about each.
//!
//! Invariant: a change is written down before it is made, so that there is none without an entry. An entry says what was
//! asked for; if it was refused or failed, or made something that could not be known before, a second entry says so.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use operon_engine::audit::{AuditEntry, Outcome};
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::problem::Problem;
use crate::state::Api;

/// Who makes a change. A handler that takes this runs behind the guard.
pub(crate) struct Who(pub(crate) Identity);

impl FromRequestParts<Api> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let identity = parts.extensions.get::<Identity>().cloned();
        identity
            .map(Self)
            .ok_or_else(|| Problem::unauthorized("say who you are"))
    }
}

/// A change that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    action: &'static str,
    target: String,
    before: Value,
    after: Value,
}

impl Change {
    /// What is done to what.
    pub(crate) fn new(action: &'static str, target: impl Into<String>) -> Self {
        Self {
            action,
            target: target.into(),
            before: Value::Null,
            after: Value::Null,
        }
    }

    /// How it was.
    pub(crate) fn before(mut self, before: Value) -> Self {
        self.before = before;
        self
    }

    /// How it is to be.
    pub(crate) fn after(mut self, after: Value) -> Self {
        self.after = after;
        self
    }
}

impl Who {
    /// Writes a change down, then makes it. If it cannot be written down it is not made.
    pub(crate) async fn does<T, E: Into<Problem>>(
        &self,
        api: &Api,
        change: Change,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Problem> {
        self.write(api, change.clone(), Outcome::Asked).await?;
        let problem = match make.await {
            Ok(value) => return Ok(value),
            Err(error) => error.into(),
        };
        let outcome = if problem.status < 500 {
            Outcome::Refused
        } else {
            Outcome::Failed
        };
        let after = json!({"status": problem.status, "detail": problem.detail});
        // What is said to the caller is why it was refused: the trail has what was asked for already.
        let _ = self.write(api, change.after(after), outcome).await;
        Err(problem)
    }

    /// Writes down what is about to be changed.
    pub(crate) async fn asks(&self, api: &Api, change: Change) -> Result<(), Problem> {
        self.write(api, change, Outcome::Asked).await
    }

    /// Writes down what a change made that was written down before.
    pub(crate) async fn did(&self, api: &Api, change: Change) -> Result<(), Problem> {
        self.write(api, change, Outcome::Done).await
    }

    async fn write(&self, api: &Api, change: Change, outcome: Outcome) -> Result<(), Problem> {
        let entry = AuditEntry {
            at_ms: 0,
            who: self.0.subject.clone(),
            role: self.0.role.name().to_owned(),
            action: change.action.to_owned(),
            target: change.target,
            outcome,
            before: change.before,
            after: change.after,
        };
        Ok(api.audit().add(entry).await?)
    }
}
