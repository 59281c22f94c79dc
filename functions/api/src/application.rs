//! The application over the ports of a deployment.
//!
//! Invariant: who signed a request is what AWS says in the event's context, never what the request says: headers
//! come from the caller.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use operon_api::auth::{Auth, IamCaller, IamRoles, Oidc, OidcSettings, Role};
use operon_api::{Api, Console, EngineDeadLetters, EngineTriggers, Prices, Settings};
use operon_aws::Config;
use operon_core::lang::Plugins;
use operon_engine::Ports;
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::Flows;
use operon_engine::operations::Operations;
use operon_engine::ports::{EventSink, LogReader, Queue};
use operon_engine::triggers::Triggers;
use tower::{Service, ServiceExt as _};

/// How long an event stream lives: less than the function's timeout, which would cut it off in the middle.
const STREAM_LIFE: Duration = Duration::from_mins(4);

/// What differs between a deployment and a test.
pub(crate) struct Parts {
    pub(crate) ports: Ports,
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) triggers: Triggers,
    pub(crate) logs: Arc<dyn LogReader>,
}

/// Who may call, by the function's environment; what is wrong with it otherwise.
pub(crate) fn auth(config: &Config) -> Result<Auth, String> {
    let roles = IamRoles::parse(&config.iam_roles)
        .map(Arc::new)
        .map_err(|reason| format!("OPERON_IAM_ROLES: {reason}"))?;
    if config.oidc_issuer.is_empty() {
        return Ok(Auth::Iam(roles));
    }
    let oidc = Oidc::new(OidcSettings {
        issuer: config.oidc_issuer.clone(),
        audience: config.oidc_audience.clone(),
        keys_url: config.oidc_keys_url.clone(),
        role_claim: config.oidc_role_claim.clone(),
        groups: groups(&config.oidc_groups)
            .map_err(|reason| format!("OPERON_OIDC_GROUPS: {reason}"))?,
        console: Some(config.console_url.clone()).filter(|url| !url.is_empty()),
    });
    let oidc = Arc::new(oidc.map_err(|error| format!("OPERON_OIDC_KEYS_URL: {error}"))?);
    Ok(if config.iam_roles.is_empty() {
        Auth::Oidc(oidc)
    } else {
        Auth::OidcOrIam(oidc, roles)
    })
}

/// Reads `ops=operator,all=viewer`.
fn groups(text: &str) -> Result<Vec<(String, Role)>, String> {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (group, role) = part.rsplit_once('=').ok_or_else(|| {
                format!("`{part}` is no `group=role`, such as `operators=operator`")
            })?;
            Ok((group.trim().to_owned(), role.trim().parse()?))
        })
        .collect()
}

/// The same application that `operon server` serves.
pub(crate) fn api(parts: Parts, auth: Auth) -> Api {
    let flows = Flows::new(&parts.ports, Arc::new(Plugins::default()));
    let letters = EngineDeadLetters::new(parts.triggers.clone(), Some(parts.queue));
    let letters = Arc::new(letters);
    let triggers = Arc::new(EngineTriggers(parts.triggers));
    Api::new(Settings {
        operations: Operations {
            evaluator: Evaluator {
                ports: parts.ports,
                shards: Arc::default(),
                items: Arc::default(),
            },
            flows,
            sink: parts.sink,
        },
        logs: parts.logs,
        auth,
        console: Console::embedded(),
        prices: Prices::FARGATE,
        stream_life: STREAM_LIFE,
        webhooks: Some(triggers.clone()),
        triggers: Some(triggers),
        dead_letters: Some(letters),
    })
}

/// Answers events of function URLs.
pub(crate) fn service(
    api: Api,
) -> impl Service<Request, Response = Response, Error = std::convert::Infallible, Future: Send + 'static>
+ Clone {
    operon_api::router(api).map_request(|mut request: Request| {
        if let Some(caller) = caller(&request) {
            request.extensions_mut().insert(caller);
        }
        request
    })
}

/// Who signed the request, as AWS has checked; none at the URL that takes unsigned ones.
fn caller(request: &Request) -> Option<IamCaller> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => {
            let arn = context.authorizer.as_ref()?.iam.as_ref()?.user_arn.clone();
            arn.map(|arn| IamCaller { arn })
        }
        // Kinds of events that nothing of a deployment sends.
        #[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
        _ => None,
    }
}

#[cfg(test)]
#[path = "application_tests.rs"]
mod tests;
