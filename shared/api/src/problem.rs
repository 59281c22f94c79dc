//! Answers that say what went wrong: `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use operon_core::lang::inputs::InputError;
use operon_engine::evaluate::EvaluateError;
use operon_engine::flows::FlowError;
use operon_engine::intake::IntakeError;
use operon_engine::operations::OperationError;
use operon_engine::ports::{ArtifactError, StoreError};
use operon_engine::replay::ReplayError;
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::ToSchema;

use crate::dto::Finding;

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem; stable.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for people.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What exactly, and what to do.
    pub detail: String,
    /// Findings in a flow, or wrong inputs (`rule` is then the input's id).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Finding>,
    /// Of a flow that somebody else changed: the revision that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<u32>,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("operon:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            current: None,
        }
    }

    /// What was sent cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request cannot be understood",
            detail,
        )
    }

    /// Nobody said who they are, or not so that it can be believed.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Say who you are",
            detail,
        )
    }

    /// Who asks may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// It is in no state for that.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "Not possible in this state",
            detail,
        )
    }

    /// Somebody else changed what was to be changed.
    pub fn precondition(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "changed",
            "Somebody else changed it",
            detail,
        )
    }

    /// Too much was sent.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Too large",
            detail,
        )
    }

    /// What was sent is understood and wrong.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "Not valid",
            detail,
        )
    }

    /// The method is not for this path.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            "this path is there, but not for this method",
        )
    }

    /// The store is busy: the same request may succeed later.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Try again",
            detail,
        )
    }

    /// This server has no such part.
    pub fn not_implemented(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-here",
            "Not on this server",
            detail,
        )
    }

    /// A mistake of ours. What is behind it is logged, not shown.
    pub fn internal(what: &str) -> Self {
        error!(what, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Operon failed",
            "the server could not do this; its log says why",
        )
    }

    /// With findings.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Finding>) -> Self {
        self.errors = errors;
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let busy = status == StatusCode::SERVICE_UNAVAILABLE;
        let unauthorized = status == StatusCode::UNAUTHORIZED;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if busy {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy(_) => Self::unavailable("the state store is busy; try again"),
            StoreError::Corrupt(_) | StoreError::Failed(_) => Self::internal(&error.to_string()),
        }
    }
}

impl From<ArtifactError> for Problem {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::BadUri(_) | ArtifactError::Refused(_) => {
                Self::bad_request(error.to_string())
            }
            ArtifactError::Missing(_) => Self::not_found(error.to_string()),
            ArtifactError::TooLarge { .. } => Self::too_large(error.to_string()),
            ArtifactError::Failed(_) => Self::internal(&error.to_string()),
        }
    }
}

impl From<FlowError> for Problem {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Missing { .. } | FlowError::MissingRevision { .. } => {
                Self::not_found(error.to_string())
            }
            FlowError::Conflict { current } => Self {
                current,
                ..Self::precondition(error.to_string())
            },
            FlowError::Invalid(checked) => {
                // The source is not at hand here: who has it gives the lines.
                Self::unprocessable(format!(
                    "the flow is not valid: {} errors",
                    checked.errors()
                ))
            }
            FlowError::OtherFlow { .. } => Self::unprocessable(error.to_string()),
            FlowError::Disabled { .. } => Self::conflict(error.to_string()),
            FlowError::Store(error) => error.into(),
            FlowError::Content(error) => Self::internal(&error.to_string()),
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Disabled(_) | IntakeError::Blocked(_) => Self::conflict(error.to_string()),
            IntakeError::Inputs(errors) => Self::unprocessable(
                "some inputs are missing or not valid; `errors` names each with its id",
            )
            .with_errors(errors.into_iter().map(of_input).collect()),
            IntakeError::TooLarge(_) => Self::too_large(error.to_string()),
            IntakeError::File { .. } => Self::unprocessable(error.to_string()),
            IntakeError::Store(error) => error.into(),
        }
    }
}

fn of_input(error: InputError) -> Finding {
    Finding {
        rule: error.id,
        message: error.reason,
        ..Finding::default()
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Missing(_) => Self::not_found(error.to_string()),
            ReplayError::Unfinished { .. } => Self::conflict(error.to_string()),
            ReplayError::UnknownTask { .. }
            | ReplayError::InLoop { .. }
            | ReplayError::Handler(_)
            | ReplayError::OtherFlow(_) => Self::unprocessable(error.to_string()),
            ReplayError::Intake(error) => error.into(),
            ReplayError::Store(error) => error.into(),
            ReplayError::Plan(error) => Self::internal(&error.to_string()),
            ReplayError::Shard(error) => Self::internal(&error.to_string()),
        }
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Missing(_) => Self::not_found(error.to_string()),
            OperationError::Refused { what, help } => Self::conflict(match help {
                Some(help) => format!("{what}; {help}"),
                None => what,
            }),
            OperationError::Flow(error) => error.into(),
            OperationError::Intake(error) => error.into(),
            OperationError::Replay(error) => error.into(),
            OperationError::Store(error) => error.into(),
            OperationError::Plan(error) => Self::internal(&error.to_string()),
            OperationError::Shard(error) => Self::internal(&error.to_string()),
        }
    }
}

impl From<EvaluateError> for Problem {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Expression(message) => Self::unprocessable(message),
            EvaluateError::Store(error) => error.into(),
        }
    }
}
