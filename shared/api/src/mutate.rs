//! Changes: what is written down about each.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use operon_engine::audit::AuditEntry;
use serde_json::Value;

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

impl Who {
    /// Writes a change down. It has been made already: what failed is said, and not undone.
    pub(crate) async fn did(
        &self,
        api: &Api,
        action: &str,
        target: impl Into<String>,
        before: Value,
        after: Value,
    ) -> Result<(), Problem> {
        let entry = AuditEntry {
            at_ms: 0,
            who: self.0.subject.clone(),
            role: self.0.role.name().to_owned(),
            action: action.to_owned(),
            target: target.into(),
            before,
            after,
        };
        Ok(api.audit().add(entry).await?)
    }
}
