//! Clients by what tasks ask of a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::guard::{self, GuardedResolver};
use crate::tasks::TaskError;
use crate::tasks::props::Props;

/// Redirects that are followed.
pub const REDIRECTS_MAX: usize = 10;
/// Clients that are kept; each has its own connections.
const CLIENTS_MAX: usize = 16;
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
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_millis(self.connect_ms))
            .read_timeout(Duration::from_millis(self.read_ms))
            .user_agent(concat!("operon/", env!("CARGO_PKG_VERSION")))
            .redirect(if self.follow {
                redirects(self.allow_link_local)
            } else {
                Policy::none()
            });
        if !self.allow_link_local {
            builder = builder.dns_resolver(GuardedResolver);
        }
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
