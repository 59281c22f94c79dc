//! The `OpenAPI` document: made from the code of the routes.

use std::sync::OnceLock;

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::routes::documented;

#[derive(utoipa::OpenApi)]
#[openapi(
    paths(crate::routes::artifacts::upload),
    info(
        title = "Operon",
        description = "Executions, flows and triggers of Operon. Times are milliseconds since the Unix epoch. Lists are \
                   pages: give `next` as `cursor`. Errors are problem details (RFC 9457)."
    )
)]
struct Base;

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let (_, routes) = documented().split_for_parts();
    let mut document = Base::openapi();
    document.merge(routes);
    document
}

/// The document as JSON, made once.
pub(crate) fn json() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| document().to_json().unwrap_or_default())
}
