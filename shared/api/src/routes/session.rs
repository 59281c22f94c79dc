//! Signing in to the console at the issuer of a deployment.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::auth::sign_in::{PENDING_S, Pending, Refused};
use crate::auth::{Oidc, origin_of, session_cookie};
use crate::extract::Query;
use crate::problem::Problem;
use crate::state::Api;

/// The cookie of who signs in. It comes with the browser's way back from the issuer, so it cannot be `Strict`.
const PENDING: &str = "operon_sign_in";
/// Where that cookie is sent.
const PENDING_PATH: &str = "/api/v1/session";

fn oidc(api: &Api) -> Result<&Oidc, Problem> {
    api.auth()
        .oidc()
        .ok_or_else(|| Problem::not_found("this server has no issuer at which one could sign in"))
}

/// Sends the browser to `location` with these cookies.
fn redirect(location: &str, cookies: &[String]) -> Result<Response, Problem> {
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| Problem::internal("a header that is none"))
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response
        .headers_mut()
        .insert(header::LOCATION, value(location)?);
    for cookie in cookies {
        response
            .headers_mut()
            .append(header::SET_COOKIE, value(cookie)?);
    }
    Ok(response)
}

fn pending_cookie(value: &str, seconds: u64) -> String {
    format!(
        "{PENDING}={value}; Path={PENDING_PATH}; HttpOnly; SameSite=Lax; Secure; Max-Age={seconds}"
    )
}

/// Where to go on.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct BeginQuery {
    /// The console's page that was asked for, such as `/executions`.
    to: Option<String>,
}

/// Sends a browser to the issuer, where somebody signs in.
#[utoipa::path(get, path = "/api/v1/session/begin", params(BeginQuery), tag = "server",
    responses((status = 303), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn begin(
    State(api): State<Api>,
    Query(query): Query<BeginQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let oidc = oidc(&api)?;
    let origin = origin_of(oidc, &headers)?;
    let to = query.to.unwrap_or_default();
    let begun = oidc.begin(&origin, &to, api.ports().clock.now_ms()).await?;
    redirect(&begun.location, &[pending_cookie(&begun.cookie, PENDING_S)])
}

/// What the issuer says.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallbackQuery {
    /// To be exchanged for a token.
    code: Option<String>,
    /// What this server gave the browser.
    state: Option<String>,
    /// Why there is no code.
    error: Option<String>,
}

/// Takes a browser back from the issuer: exchanges the code, keeps the token in a cookie that no script can read, and goes
/// on with the page that was asked for. What goes wrong is told by the console.
#[utoipa::path(get, path = "/api/v1/session/callback", params(CallbackQuery), tag = "server",
    responses((status = 303), (status = 404, body = Problem)))]
pub(crate) async fn callback(
    State(api): State<Api>,
    Query(query): Query<CallbackQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let oidc = oidc(&api)?;
    let origin = origin_of(oidc, &headers)?;
    let forget = pending_cookie("", 0);
    let pending = crate::auth::cookie(&headers, PENDING).and_then(Pending::decode);
    let outcome = match (&pending, &query.error) {
        (_, Some(_)) => Err(Refused::Denied),
        (None, None) => Err(Refused::Late),
        (Some(pending), None) => {
            let answer = (
                query.code.as_deref().unwrap_or_default(),
                query.state.as_deref().unwrap_or_default(),
            );
            let now = api.ports().clock.now_ms();
            oidc.finish(&origin, pending, answer, now).await
        }
    };
    match outcome {
        Ok(done) => {
            let more = format!("; Secure; Max-Age={}", done.seconds);
            let session = session_cookie(&done.token, &more);
            let to = pending.map_or_else(|| "/".to_owned(), |pending| pending.to);
            redirect(&to, &[session, forget])
        }
        Err(refused) => redirect(&format!("/?sign-in={}", refused.word()), &[forget]),
    }
}
