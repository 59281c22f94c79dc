//! Who calls, and what they may do.
//!
//! One middleware stands before every route. It finds the route's entry in [`table`], asks [`Auth`] who calls,
//! compares roles, and for changes made with a cookie looks for what a foreign page cannot send. Invariant: a
//! route without an entry is refused, whoever calls. Invariant: a handler that runs has an [`Identity`].

mod iam;
mod local;
mod oidc;
pub(crate) mod sign_in;
mod signatures;
pub mod table;

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::state::Api;
use table::Access;

pub use iam::{IamCaller, IamRoles};
pub use local::LocalToken;
pub use oidc::{Oidc, OidcError, OidcSettings};
pub use sign_in::CALLBACK;

/// Bytes of a token at most.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The header that a page of another site cannot send without being asked for.
pub const REQUEST_HEADER: &str = "x-operon-request";

/// What somebody may do. Each may do what the ones before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything.
    Viewer,
    /// Starts and steers executions.
    Operator,
    /// Changes flows and triggers.
    Editor,
    /// Whatever there is.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Editor, Self::Admin];

    /// As it is written in claims and settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| {
            format!("there is no role `{text}`; there are viewer, operator, editor and admin")
        })
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A name that means one person or program, such as `sub` of a token or an ARN.
    pub subject: String,
    /// What they may do.
    pub role: Role,
    /// Known by a cookie, which a browser sends whoever asked it to.
    pub by_cookie: bool,
}

/// How callers are known.
#[derive(Clone)]
pub enum Auth {
    /// By the token that this server printed when it started.
    Local(Arc<LocalToken>),
    /// By tokens of an issuer.
    Oidc(Arc<Oidc>),
    /// By signatures that AWS has checked.
    Iam(Arc<IamRoles>),
    /// By tokens, or by signatures where there is no token.
    OidcOrIam(Arc<Oidc>, Arc<IamRoles>),
}

/// What a caller brought.
enum Credential {
    Bearer(String),
    Cookie(String),
    None,
}

impl Auth {
    /// Who calls, or why that cannot be known.
    pub async fn identify(&self, parts: &Parts, now_ms: u64) -> Result<Identity, Problem> {
        match self {
            Self::Local(token) => token.identify(parts),
            Self::Oidc(oidc) => Self::by_token(oidc, parts, now_ms).await,
            Self::Iam(roles) => roles.identify(parts),
            Self::OidcOrIam(oidc, roles) => {
                if parts.extensions.get::<IamCaller>().is_some() {
                    roles.identify(parts)
                } else {
                    Self::by_token(oidc, parts, now_ms).await
                }
            }
        }
    }

    async fn by_token(oidc: &Oidc, parts: &Parts, now_ms: u64) -> Result<Identity, Problem> {
        let (token, by_cookie) = match credential(&parts.headers)? {
            Credential::Bearer(token) => (token, false),
            Credential::Cookie(token) => (token, true),
            Credential::None => {
                return Err(Problem::unauthorized(
                    "send `Authorization: Bearer <token>` with a token of the configured issuer",
                ));
            }
        };
        let mut identity = oidc.identify(&token, now_ms).await?;
        identity.by_cookie = by_cookie;
        Ok(identity)
    }

    /// The issuer at which one can sign in, if there is one.
    pub(crate) fn oidc(&self) -> Option<&Oidc> {
        match self {
            Self::Oidc(oidc) | Self::OidcOrIam(oidc, _) => Some(oidc),
            Self::Local(_) | Self::Iam(_) => None,
        }
    }

    /// Whether this server is on this machine only.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

/// The cookie's name: of this application, whatever port it listens on.
const COOKIE: &str = "operon_session";

/// The cookie that says who somebody is: no script reads it, and no other site sends it. `more` are further attributes.
pub(crate) fn session_cookie(value: &str, more: &str) -> String {
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{more}")
}

/// The token a request brings.
fn credential(headers: &HeaderMap) -> Result<Credential, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().ok();
        let token = text.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
        return match token {
            Some(token) if token.len() <= TOKEN_BYTES_MAX => {
                Ok(Credential::Bearer(token.to_owned()))
            }
            Some(_) => Err(Problem::unauthorized("the token is too long")),
            None => Err(Problem::unauthorized(
                "`Authorization` must be `Bearer <token>`",
            )),
        };
    }
    Ok(match cookie(headers, COOKIE) {
        Some(token) if token.len() <= TOKEN_BYTES_MAX => Credential::Cookie(token.to_owned()),
        Some(_) | None => Credential::None,
    })
}

/// The value of a cookie.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The console's address, as whoever asks sees it. A wrong `Host` gains nothing: the issuer sends nobody to an address
/// that was not registered there.
pub(crate) fn origin_of(oidc: &Oidc, headers: &HeaderMap) -> Result<String, Problem> {
    if let Some(console) = &oidc.settings.console {
        return Ok(console.trim_end_matches('/').to_owned());
    }
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    if host.is_empty() || host.len() > 255 || !host.bytes().all(plain) {
        return Err(Problem::bad_request("`Host` is no name of a host"));
    }
    let scheme = if host.starts_with("127.0.0.1:") {
        "http"
    } else {
        "https"
    };
    Ok(format!("{scheme}://{host}"))
}

/// Stands before every route.
pub(crate) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    match admit(&api, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn admit(api: &Api, request: Request) -> Result<Request, Problem> {
    let (mut parts, body) = request.into_parts();
    check_host(api, &parts)?;
    let path = parts.extensions.get::<MatchedPath>();
    let Some(path) = path.map(|path| path.as_str().to_owned()) else {
        return Err(Problem::not_found("there is nothing at this path"));
    };
    match table::access(&parts.method, &path) {
        None => {
            return Err(if table::is_known(&path) {
                Problem::method_not_allowed()
            } else {
                Problem::not_found("there is nothing at this path")
            });
        }
        Some(Access::Public) => {}
        Some(Access::Role(role)) => {
            let now = api.ports().clock.now_ms();
            let identity = api.auth().identify(&parts, now).await?;
            if identity.role < role {
                return Err(Problem::forbidden(format!(
                    "this needs the role `{}`; yours is `{}`",
                    role.name(),
                    identity.role.name()
                )));
            }
            if identity.by_cookie && changes(&parts.method) {
                check_same_origin(&parts.headers)?;
            }
            parts.extensions.insert(identity);
        }
    }
    Ok(Request::from_parts(parts, body))
}

/// A server on this machine answers only to its own names: a page of another site whose name leads to 127.0.0.1
/// must not reach it.
fn check_host(api: &Api, parts: &Parts) -> Result<(), Problem> {
    if !api.auth().is_local() {
        return Ok(());
    }
    let host = parts.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    if matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        Ok(())
    } else {
        Err(Problem::forbidden(
            "this server is on this machine only; call it as 127.0.0.1 or localhost",
        ))
    }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What a form or script of another site cannot send: a header of its own, and our origin.
fn check_same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text(REQUEST_HEADER) != Some("1") {
        return Err(Problem::forbidden(format!(
            "changes with a cookie need the header `{REQUEST_HEADER}: 1`"
        )));
    }
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return Err(Problem::forbidden("changes must come from this site"));
    }
    if let Some(origin) = text("origin") {
        let host = text("host").unwrap_or_default();
        let own = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        if host.is_empty() || own != Some(host) {
            return Err(Problem::forbidden("changes must come from this site"));
        }
    }
    Ok(())
}
