//! The `OpenAPI` document: made from the code of the routes, and kept as `docs/openapi.json`, which is what the server serves.
//!
//! A route says what it answers itself. What stands before every route (who calls, what may come in, a busy store)
//! is added here, from the table of [`crate::auth`], so that no route can forget to say it.

use axum::http::{Method, StatusCode};
use utoipa::OpenApi as _;
use utoipa::openapi::content::Content;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Response, Schema};

use crate::auth::Role;
use crate::auth::table::{self, Access};
use crate::routes::documented;

const PROBLEM: &str = "application/problem+json";
const PROBLEM_SCHEMA: &str = "#/components/schemas/Problem";
const BEARER: &str = "bearer";

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
    let mut bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    bearer = bearer.description(Some(
        "the token of the local server, or one of the configured issuer",
    ));
    let scheme = SecurityScheme::Http(bearer.build());
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, scheme);
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete(operation, table::access(&method, path));
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

/// Adds what every route, or every route of its kind, answers when it does not come to its own code.
fn complete(operation: &mut Operation, access: Option<Access>) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            as_problem(response);
        }
    }
    let parameters = operation.parameters.iter().flatten();
    let mut in_path = false;
    let mut any = false;
    for parameter in parameters {
        any = true;
        in_path |= matches!(parameter, RefOr::T(one) if one.parameter_in == ParameterIn::Path);
    }
    let body = operation.request_body.is_some();
    if any || body {
        add(
            operation,
            StatusCode::BAD_REQUEST,
            "It cannot be understood.",
        );
    }
    if in_path {
        add(operation, StatusCode::NOT_FOUND, "There is no such thing.");
    }
    if body {
        add(
            operation,
            StatusCode::PAYLOAD_TOO_LARGE,
            "More was sent than this route takes.",
        );
    }
    let least = match access {
        Some(Access::Role(role)) => Some(role),
        Some(Access::Public) | None => None,
    };
    if let Some(role) = least {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, [role.name()])]);
        add(
            operation,
            StatusCode::UNAUTHORIZED,
            "Nobody said who they are, or not so that it can be believed.",
        );
        add(operation, StatusCode::FORBIDDEN, &needs(role));
        // A route behind a role reads or writes the store.
        add(
            operation,
            StatusCode::SERVICE_UNAVAILABLE,
            "The store is busy; `Retry-After` says when to ask again.",
        );
    }
}

fn needs(role: Role) -> String {
    format!(
        "The caller has not the role `{}`, or a change by cookie does not come from the console.",
        role.name()
    )
}

/// A response that carries a problem says so with its media type.
fn as_problem(response: &mut Response) {
    let is_problem = response.content.values().any(|content| {
        matches!(content, RefOr::T(Content { schema: Some(RefOr::Ref(reference)), .. }) if reference.ref_location == PROBLEM_SCHEMA)
    });
    if is_problem {
        response.content = std::iter::once((PROBLEM.to_owned(), problem())).collect();
    }
}

fn problem() -> RefOr<Content> {
    let schema: RefOr<Schema> = Ref::new(PROBLEM_SCHEMA).into();
    RefOr::T(Content::new(Some(schema)))
}

/// What the route itself says about a status counts.
fn add(operation: &mut Operation, status: StatusCode, description: &str) {
    let known = operation
        .responses
        .responses
        .entry(status.as_str().to_owned());
    known.or_insert_with(|| {
        let mut response = Response::new(description);
        response.content.insert(PROBLEM.to_owned(), problem());
        RefOr::T(response)
    });
}

/// The document as it was last made.
pub(crate) const JSON: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/openapi.json"
));

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> serde_json::Value {
        serde_json::from_str(JSON).unwrap()
    }

    #[test]
    fn what_is_served_is_what_the_routes_say() {
        let made = document().to_pretty_json().unwrap() + "\n";
        if std::env::var("OPERON_UPDATE_DOCS").is_ok() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
            std::fs::write(file, made).unwrap();
            return;
        }
        assert!(
            made == JSON,
            "docs/openapi.json is not up to date: run `OPERON_UPDATE_DOCS=1 cargo test -p operon-api openapi`"
        );
    }

    #[test]
    fn every_route_that_needs_a_role_says_how_it_refuses() {
        let document = said();
        // Webhooks have signatures of their own and are described where they are set up.
        let described = table::TABLE
            .iter()
            .filter(|(_, path, _)| !path.contains("/webhooks/"));
        for (method, path, access) in described {
            let name = method.as_str().to_lowercase();
            let operation = &document["paths"][path][&name];
            assert!(operation.is_object(), "{method} {path} is not described");
            let refusals = ["401", "403"].map(|status| !operation["responses"][status].is_null());
            let guarded = matches!(access, Access::Role(_));
            assert_eq!(refusals, [guarded, guarded], "{method} {path}");
            assert_eq!(!operation["security"].is_null(), guarded, "{method} {path}");
        }
    }

    #[test]
    fn every_problem_has_its_media_type() {
        let document = said();
        let mut problems = 0;
        for path in document["paths"].as_object().unwrap().values() {
            for operation in path.as_object().unwrap().values() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let content = response["content"].as_object();
                    let kinds: Vec<_> = content.iter().flat_map(|content| content.keys()).collect();
                    let failed = status.starts_with('4') || status.starts_with('5');
                    assert_eq!(kinds == [PROBLEM], failed, "{status} {kinds:?}");
                    problems += usize::from(failed);
                }
            }
        }
        assert!(problems > 100, "{problems}");
    }
}
