//! Which role each route needs: the one place that says so.

use axum::http::Method;

use super::Role;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: the console's files, health, and webhooks, which have signatures of their own.
    Public,
    /// Who has at least this role.
    Role(Role),
}

use Access::{Public, Role as Needs};
use Role::{Admin, Editor, Operator, Viewer};

/// Method, path as it is routed, and who may.
pub const TABLE: &[(Method, &str, Access)] = &[
    (Method::GET, "/api/v1/health", Public),
    (Method::GET, "/api/v1/openapi.json", Needs(Viewer)),
    (Method::GET, "/api/v1/schema/flow.json", Needs(Viewer)),
    (Method::GET, "/api/v1/me", Needs(Viewer)),
    (Method::POST, "/api/v1/session", Needs(Viewer)),
    (Method::DELETE, "/api/v1/session", Public),
    (Method::GET, "/api/v1/session/begin", Public),
    (Method::GET, "/api/v1/session/callback", Public),
    (Method::GET, "/api/v1/overview", Needs(Viewer)),
    (Method::GET, "/api/v1/metrics", Needs(Viewer)),
    // What everybody does is for whoever answers for everybody.
    (Method::GET, "/api/v1/audit", Needs(Admin)),
    (Method::GET, "/api/v1/locks", Needs(Viewer)),
    (Method::GET, "/api/v1/executions", Needs(Viewer)),
    (Method::POST, "/api/v1/executions", Needs(Operator)),
    (Method::POST, "/api/v1/executions/bulk", Needs(Operator)),
    (Method::POST, "/api/v1/events", Needs(Operator)),
    (Method::GET, "/api/v1/executions/{id}", Needs(Viewer)),
    (
        Method::GET,
        "/api/v1/executions/{id}/task-runs",
        Needs(Viewer),
    ),
    (Method::GET, "/api/v1/executions/{id}/graph", Needs(Viewer)),
    (Method::GET, "/api/v1/executions/{id}/items", Needs(Viewer)),
    (Method::GET, "/api/v1/executions/{id}/events", Needs(Viewer)),
    (Method::GET, "/api/v1/executions/{id}/logs", Needs(Viewer)),
    (
        Method::GET,
        "/api/v1/executions/{id}/logs/stream",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/executions/{id}/logs/download",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/executions/{id}/artifacts",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/executions/{id}/metrics",
        Needs(Viewer),
    ),
    // Whatever an expression reads the caller may see elsewhere; secrets are masked.
    (
        Method::POST,
        "/api/v1/executions/{id}/evaluate",
        Needs(Operator),
    ),
    (
        Method::POST,
        "/api/v1/executions/{id}/kill",
        Needs(Operator),
    ),
    (
        Method::POST,
        "/api/v1/executions/{id}/restart",
        Needs(Operator),
    ),
    (
        Method::POST,
        "/api/v1/executions/{id}/replay",
        Needs(Operator),
    ),
    (
        Method::POST,
        "/api/v1/executions/{id}/resume",
        Needs(Operator),
    ),
    (
        Method::POST,
        "/api/v1/executions/{id}/retry-failed",
        Needs(Operator),
    ),
    (
        Method::POST,
        "/api/v1/executions/{id}/labels",
        Needs(Operator),
    ),
    (Method::GET, "/api/v1/artifacts/preview", Needs(Viewer)),
    (Method::GET, "/api/v1/artifacts/download", Needs(Viewer)),
    (Method::POST, "/api/v1/artifacts", Needs(Operator)),
    (Method::POST, "/api/v1/files", Needs(Editor)),
    (Method::POST, "/api/v1/files/listings", Needs(Editor)),
    (Method::GET, "/api/v1/flows", Needs(Viewer)),
    (Method::POST, "/api/v1/flows/validate", Needs(Viewer)),
    (Method::GET, "/api/v1/flows/{namespace}/{id}", Needs(Viewer)),
    (Method::PUT, "/api/v1/flows/{namespace}/{id}", Needs(Editor)),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/source",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/revisions",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/revisions/{revision}",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/diff",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/graph",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/triggers",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/concurrency",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/flows/{namespace}/{id}/inputs",
        Needs(Viewer),
    ),
    (
        Method::POST,
        "/api/v1/flows/{namespace}/{id}/enable",
        Needs(Editor),
    ),
    (
        Method::POST,
        "/api/v1/flows/{namespace}/{id}/disable",
        Needs(Editor),
    ),
    (
        Method::POST,
        "/api/v1/flows/{namespace}/{id}/rollback",
        Needs(Editor),
    ),
    (Method::GET, "/api/v1/triggers", Needs(Viewer)),
    (
        Method::POST,
        "/api/v1/triggers/{namespace}/{flow}/{id}/enable",
        Needs(Editor),
    ),
    (
        Method::POST,
        "/api/v1/triggers/{namespace}/{flow}/{id}/disable",
        Needs(Editor),
    ),
    (
        Method::POST,
        "/api/v1/triggers/{namespace}/{flow}/{id}/backfill",
        Needs(Operator),
    ),
    (
        Method::GET,
        "/api/v1/triggers/{namespace}/{flow}/{id}/backfill",
        Needs(Viewer),
    ),
    (
        Method::POST,
        "/api/v1/triggers/{namespace}/{flow}/{id}/backfill/{action}",
        Needs(Operator),
    ),
    (
        Method::GET,
        "/api/v1/triggers/{namespace}/{flow}/{id}/events",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/namespaces/{namespace}/notify",
        Needs(Viewer),
    ),
    (
        Method::PUT,
        "/api/v1/namespaces/{namespace}/notify",
        Needs(Editor),
    ),
    (
        Method::DELETE,
        "/api/v1/namespaces/{namespace}/notify",
        Needs(Editor),
    ),
    (
        Method::GET,
        "/api/v1/namespaces/{namespace}/incidents",
        Needs(Viewer),
    ),
    (
        Method::GET,
        "/api/v1/namespaces/{namespace}/costs",
        Needs(Viewer),
    ),
    (Method::GET, "/api/v1/dead-letters", Needs(Viewer)),
    (
        Method::POST,
        "/api/v1/dead-letters/{id}/redrive",
        Needs(Operator),
    ),
    (
        Method::GET,
        "/api/v1/webhooks/{namespace}/{flow}/{trigger}",
        Public,
    ),
    (
        Method::POST,
        "/api/v1/webhooks/{namespace}/{flow}/{trigger}",
        Public,
    ),
    (
        Method::PUT,
        "/api/v1/webhooks/{namespace}/{flow}/{trigger}",
        Public,
    ),
];

/// Who may call a route; none when there is no such route.
pub(crate) fn access(method: &Method, path: &str) -> Option<Access> {
    // A question for the headers is a question for the answer.
    let method = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let found = TABLE.iter().find(|(of, at, _)| of == method && *at == path);
    found.map(|(_, _, access)| *access)
}

/// Whether there is a route at a path, for some method.
pub(crate) fn is_known(path: &str) -> bool {
    TABLE.iter().any(|(_, at, _)| *at == path)
}
