//! The `http` trigger: looks at an address and fires when what is there changed.
//!
//! Requests are conditional (`If-None-Match`, `If-Modified-Since`), keep a distance from each other per host, and
//! heed `Retry-After`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use operon_core::triggers::config::Http;
use operon_core::triggers::event::{EVENT_BYTES_MAX, IDENTITY_BYTES_MAX};
use operon_core::triggers::parse::{Answer, answer};
use operon_core::triggers::{Config, Source, TriggerEvent};
use serde_json::{Map, Value, json};

use super::{DeployedFlow, Triggers};
use crate::decide::truthy;
use crate::ports::StoreError;
use crate::script::text_of;
use crate::tasks::HttpClients;
use crate::tasks::http::{Known, Looked, host, look};

/// Longest look.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Time between two requests to one host: NCBI allows three a second without a key (loculus.md 10).
const DISTANCE: Duration = Duration::from_millis(400);
/// Hosts that are remembered.
const HOSTS_MAX: usize = 1_000;
/// Properties that are rendered for the request.
const REQUEST: &[&str] = &[
    "uri",
    "method",
    "headers",
    "params",
    "body",
    "contentType",
    "options",
];

/// When each host may be asked again.
#[derive(Debug, Clone, Default)]
struct Hosts(Arc<Mutex<HashMap<String, Instant>>>);

impl Hosts {
    /// How long to wait before the next request; it is counted as made then.
    fn wait(&self, host: &str) -> Duration {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if hosts.len() >= HOSTS_MAX {
            hosts.retain(|_, next| *next > now);
        }
        let at = hosts.get(host).copied().unwrap_or(now).max(now);
        hosts.insert(host.to_owned(), at + DISTANCE);
        at - now
    }
}

fn shared() -> &'static (HttpClients, Hosts) {
    static SHARED: std::sync::OnceLock<(HttpClients, Hosts)> = std::sync::OnceLock::new();
    SHARED.get_or_init(Default::default)
}

impl Triggers {
    /// Looks once, if the trigger is on.
    pub(super) async fn poll_address(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        http: &Http,
        deadline_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let Some(state) = self.turn(flow, trigger, deadline_ms).await? else {
            return Ok(());
        };
        let key = flow.key(trigger);
        let looked = self.ask(flow, http, &state.poll).await;
        let looked = match looked {
            Ok(looked) => looked,
            Err(message) => {
                return self
                    .failed_look(&key, http.interval_ms, &message, None)
                    .await;
            }
        };
        if looked.status == 304 {
            return self.looked(&key, state.poll, false, None).await;
        }
        if matches!(looked.status, 429 | 503) {
            let pause = looked
                .retry_after_s
                .map(|s| self.now() + s.min(86_400) * 1_000);
            let message = format!(
                "the server answered {} and asks to come later",
                looked.status
            );
            return self
                .failed_look(&key, http.interval_ms, &message, pause)
                .await;
        }
        let headers = looked
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let read = match answer(headers, &looked.body) {
            Ok(read) => read,
            Err(error) => {
                let message = format!("the answer cannot be read: {error}");
                return self
                    .failed_look(&key, http.interval_ms, &message, None)
                    .await;
            }
        };
        // What fires without a name of its own is one event for each question, however often its message comes.
        let question = state.asked.as_ref().map(|asked| asked.at_ms);
        let look = format!("look:{}", question.unwrap_or_else(|| self.now()));
        let verdict = self
            .judge(flow, http, looked.status, &read, &state.poll, look)
            .await;
        let identity = match verdict {
            Ok(identity) => identity,
            Err(message) => {
                return self
                    .failed_look(&key, http.interval_ms, &message, None)
                    .await;
            }
        };
        let mut poll =
            json!({"etag": read.etag, "modified": read.modified, "seen": state.poll.get("seen")});
        let found = identity.is_some();
        if let Some(identity) = identity {
            let mut fields = Map::new();
            for (name, value) in [
                ("body", read.body),
                ("headers", Value::Object(read.headers)),
                ("statusCode", json!(looked.status)),
                ("etag", json!(read.etag)),
                ("uri", http.request.get("uri").cloned().unwrap_or_default()),
            ] {
                fields.insert(name.to_owned(), value);
            }
            let event = TriggerEvent {
                source: Source::Bus { event: Value::Null },
                identity: identity.clone(),
                time_ms: None,
                fields,
            };
            self.accept(flow, trigger, event).await?;
            if let Some(poll) = poll.as_object_mut() {
                poll.insert("seen".to_owned(), json!(identity));
            }
        }
        self.looked(&key, poll, found, None).await
    }

    async fn ask(&self, flow: &DeployedFlow, http: &Http, poll: &Value) -> Result<Looked, String> {
        let request: Map<String, Value> = http
            .request
            .iter()
            .filter(|(name, _)| REQUEST.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let rendered = self
            .rendered_with_secrets(flow, &Value::Object(request), Map::new(), "request")
            .await?;
        let (Value::Object(request), secrets) = rendered else {
            return Err("the request is not a map".to_owned());
        };
        let (clients, hosts) = shared();
        if let Some(host) = host(&request) {
            tokio::time::sleep(hosts.wait(&host)).await;
        }
        let text = |name: &str| poll.get(name).and_then(Value::as_str);
        let known = if http.on_change && http.cursor.is_none() {
            Known {
                etag: text("etag"),
                modified: text("modified"),
            }
        } else {
            // What fires may change although the document does not count as changed.
            Known::default()
        };
        let body_max = if http.headers_only || http.method == "HEAD" {
            0
        } else {
            u64::try_from(EVENT_BYTES_MAX).unwrap_or(u64::MAX)
        };
        let looked = tokio::time::timeout(TIMEOUT, look(clients, &request, known, body_max)).await;
        let looked = looked.map_err(|_| "no answer within a minute".to_owned())?;
        looked.map_err(|error| {
            operon_core::expr::Masker::new(&secrets)
                .mask(&error.message)
                .into_owned()
        })
    }

    /// The identity of what fires, or none when nothing does.
    async fn judge(
        &self,
        flow: &DeployedFlow,
        http: &Http,
        status: u16,
        read: &Answer,
        poll: &Value,
        look: String,
    ) -> Result<Option<String>, String> {
        let response = json!({"statusCode": status, "body": read.body, "headers": read.headers});
        let roots = || Map::from_iter([("response".to_owned(), response.clone())]);
        let holds = match &http.condition {
            Some(condition) => {
                let value = self
                    .rendered(flow, &json!(condition), roots(), "condition")
                    .await;
                truthy(&value.map_err(|error| format!("`responseCondition`: {error}"))?)
            }
            None if (200..300).contains(&status) => true,
            None => return Err(format!("the server answered {status}")),
        };
        if !holds {
            return Ok(None);
        }
        let identity = match &http.cursor {
            Some(cursor) => {
                let value = self.rendered(flow, &json!(cursor), roots(), "cursor").await;
                let text = text_of(&value.map_err(|error| format!("`cursor`: {error}"))?);
                if text.is_empty() || text.len() > IDENTITY_BYTES_MAX / 2 {
                    return Err(format!(
                        "`cursor` has {} bytes, which names no state",
                        text.len()
                    ));
                }
                format!("cursor:{text}")
            }
            None if http.on_change => read.identity.clone(),
            None => look,
        };
        let seen = poll.get("seen").and_then(Value::as_str);
        Ok((seen != Some(identity.as_str())).then_some(identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_one_host_keep_a_distance() {
        let hosts = Hosts::default();
        assert_eq!(hosts.wait("a:443"), Duration::ZERO);
        assert!(hosts.wait("a:443") > DISTANCE / 2);
        assert!(hosts.wait("a:443") > DISTANCE + DISTANCE / 2);
        assert_eq!(hosts.wait("b:443"), Duration::ZERO);
    }
}
