//! What comes in, with its limits, and problems instead of plain text when it is wrong.

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Bytes of one text in a query or path at most.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(json_problem(&rejection)),
        }
    }
}

fn json_problem(rejection: &JsonRejection) -> Problem {
    let text = rejection.body_text();
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::bad_request(format!("{text}; send `Content-Type: application/json`"))
        }
        _ => Problem::bad_request(text),
    }
}

pub(crate) fn too_large() -> Problem {
    Problem::too_large(format!(
        "the body is too large; at most {} bytes are taken here",
        crate::BODY_BYTES_MAX
    ))
}

/// A body as it came.
pub(crate) struct Raw(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(
                Problem::too_large("the body is larger than what this route takes"),
            ),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// A query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let long = parts
            .uri
            .query()
            .is_some_and(|query| query.len() > 16 * TEXT_BYTES_MAX);
        if long {
            return Err(Problem::bad_request("the query string is too long"));
        }
        let query: Result<_, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        match query {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// Parts of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<axum::extract::Path<T>, PathRejection> =
            <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        match path {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::not_found(rejection.body_text())),
        }
    }
}

/// Text within its limit.
pub(crate) fn text(name: &str, value: String) -> Result<String, Problem> {
    if value.len() > TEXT_BYTES_MAX {
        return Err(Problem::bad_request(format!(
            "`{name}` has {} bytes; at most {TEXT_BYTES_MAX} are possible",
            value.len()
        )));
    }
    Ok(value)
}

/// `Last-Event-ID`, and other optional headers, as they are.
pub(crate) struct Headers(pub(crate) axum::http::HeaderMap);

impl<S: Send + Sync> FromRequestParts<S> for Headers {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parts.headers.clone()))
    }
}

impl Headers {
    /// The value of a header, if it is there and text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }
}
