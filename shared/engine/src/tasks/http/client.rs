//! Clients by what tasks ask of a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::guard::{self, GuardedResolver};
use crate::ports::MessageError;
use crate::tasks::TaskError;
use crate::tasks::props::Props;

/// Redirects that are followed.
pub const REDIRECTS_MAX: usize = 10;
/// Clients that are kept; each has its own connections.
const CLIENTS_MAX: usize = 16;
/// Bytes of an answer to a message that are looked at.
const ANSWER_BYTES_MAX: usize = 4096;
/// Time to connect unless the task says otherwise, in milliseconds.
const CONNECT_MS: u64 = 10_000;
/// Time between two reads unless the task says otherwise, in milliseconds.
const READ_MS: u64 = 30_000;

/// What a connection must be like: properties of `options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Manner {
    connect_ms: u64,
    read_ms: u64,
    pub(super) follow: bool,
    pub(super) allow_link_local: bool,
}

/// For messages: answers come soon, and an address that moved is no address.
const MESSAGES: Manner = Manner {
    connect_ms: CONNECT_MS,
    read_ms: READ_MS,
    follow: false,
    allow_link_local: false,
};

impl Manner {
    pub(super) fn read(options: &Props<'_>) -> Result<Self, TaskError> {
        let timeout = options.object("timeout")?;
        let connect = timeout.duration_ms("connectTimeout")?;
        let read = timeout.duration_ms("readIdleTimeout")?;
        let connect = connect.or(options.duration_ms("connectTimeout")?);
        let read = read.or(options.duration_ms("readTimeout")?);
        Ok(Self {
            connect_ms: connect.unwrap_or(CONNECT_MS),
            read_ms: read.unwrap_or(READ_MS),
            follow: options.flag("followRedirects", true)?,
            allow_link_local: options.flag("allowLinkLocal", false)?,
        })
    }

    fn client(self) -> Result<Client, reqwest::Error> {
        let mut builder = crate::tls::http_client()
            .connect_timeout(Duration::from_millis(self.connect_ms))
            .read_timeout(Duration::from_millis(self.read_ms))
            .user_agent(concat!("operon/", env!("CARGO_PKG_VERSION")))
            .redirect(if self.follow {
                redirects(self.allow_link_local)
            } else {
                Policy::none()
            });
        builder = builder.dns_resolver(GuardedResolver {
            allow_link_local: self.allow_link_local,
        });
        builder.build()
    }
}

fn redirects(allow_link_local: bool) -> Policy {
    Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error(format!("more than {REDIRECTS_MAX} redirects"));
        }
        match check(attempt.url(), allow_link_local) {
            Ok(()) => attempt.follow(),
            Err(message) => attempt.error(message),
        }
    })
}

/// Whether a request or a redirect may go there.
pub(super) fn check(url: &Url, allow_link_local: bool) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not an HTTP address", url.scheme()));
    }
    if guard::is_runtime_api(url) {
        return Err("the address is that of the function itself".to_owned());
    }
    if allow_link_local {
        return Ok(());
    }
    guard::check(url).map_err(|refused| refused.to_string())
}

/// HTTP clients, made when they are first needed and shared by all tasks.
#[derive(Debug, Clone, Default)]
pub struct HttpClients {
    kept: Arc<Mutex<HashMap<Manner, Client>>>,
}

impl HttpClients {
    /// Posts JSON to a service that takes messages, and wants a 2xx answer. Redirects are not followed.
    pub async fn post_json(
        &self,
        url: &str,
        headers: &serde_json::Map<String, serde_json::Value>,
        body: &serde_json::Value,
    ) -> Result<(), MessageError> {
        let url = Url::parse(url.trim())
            .map_err(|error| MessageError::Invalid(format!("the address is not valid: {error}")))?;
        check(&url, false)
            .map_err(|what| MessageError::Invalid(format!("the address is refused: {what}")))?;
        // The address of an incoming webhook is a secret: only its host is told.
        let host = url.host_str().unwrap_or_default().to_owned();
        let client = self
            .get(MESSAGES)
            .map_err(|error| MessageError::Failed(error.message))?;
        let mut request = client.post(url).json(body);
        for (name, value) in headers {
            request = request.header(name, value.as_str().unwrap_or_default());
        }
        let mut answer = request.send().await.map_err(|error| {
            MessageError::Failed(format!("{host} cannot be reached: {}", error.without_url()))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let mut said = Vec::new();
        while said.len() < ANSWER_BYTES_MAX
            && let Ok(Some(chunk)) = answer.chunk().await
        {
            said.extend_from_slice(&chunk);
        }
        let said: String = String::from_utf8_lossy(&said).chars().take(200).collect();
        let text = format!("{host} answered {status}: {}", said.trim());
        // 429 and server errors pass; anything else is wrong with the message.
        if status.is_server_error() || status.as_u16() == 429 {
            Err(MessageError::Failed(text))
        } else {
            Err(MessageError::Invalid(text))
        }
    }

    pub(super) fn get(&self, manner: Manner) -> Result<Client, TaskError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = kept.get(&manner) {
            return Ok(client.clone());
        }
        let client = manner
            .client()
            .map_err(|error| TaskError::failed(format!("cannot make an HTTP client: {error}")))?;
        if kept.len() >= CLIENTS_MAX {
            kept.clear();
        }
        kept.insert(manner, client.clone());
        Ok(client)
    }
}
