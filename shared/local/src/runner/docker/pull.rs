//! Sees that an image is there: looks, and pulls it where the policy says so, with a login where there is one.
//!
//! Invariant: a login is sent to the engine with the pull of its own registry's image, and is in nothing that is logged.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use operon_core::exec::Reason;
use operon_engine::ports::{AttemptSpec, LogLevel};
use operon_engine::registry::{Proof, RegistryLogin};
use reqwest::Url;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::options::PullPolicy;
use super::{Shared, is_absent};
use crate::runner::log::AttemptLog;
use crate::runner::process::words;
use crate::runner::stage::StageError;

/// How long a pull may take.
const PULL_MAX: Duration = Duration::from_hours(1);
/// Bytes of one message about a pull at most.
const MESSAGE_MAX: usize = 64 * 1024;

/// Sees that the image is there.
pub(super) async fn ready(
    shared: &Shared,
    docker: &Docker,
    spec: &AttemptSpec,
    image: &str,
    policy: PullPolicy,
    log: &mut AttemptLog,
) -> Result<(), StageError> {
    let present = match docker.inspect_image(image).await {
        Ok(_) => true,
        Err(error) if is_absent(&error) => false,
        Err(error) => return Err(cannot(format!("the image `{image}`: {error}"))),
    };
    match (policy, present) {
        (PullPolicy::Never | PullPolicy::IfNotPresent, true) => return Ok(()),
        (PullPolicy::Never, false) => {
            return Err(cannot(format!(
                "the image `{image}` is not on this machine and `pullPolicy` is NEVER; pull or build it"
            )));
        }
        (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, false) => {}
    }
    log.note(LogLevel::Info, &format!("pulling the image {image}"));
    let pulled = async {
        match &spec.registry {
            None => anonymously(docker, image).await,
            Some(login) => logged_in(&shared.host, login, image).await,
        }
    };
    match timeout(PULL_MAX, pulled).await {
        Ok(done) => done,
        Err(_) => Err(cannot(format!(
            "pulling the image `{image}` took longer than {}",
            words(PULL_MAX)
        ))),
    }
}

const fn cannot(message: String) -> StageError {
    StageError {
        reason: Reason::CannotPull,
        message,
    }
}

async fn anonymously(docker: &Docker, image: &str) -> Result<(), StageError> {
    let options = CreateImageOptionsBuilder::default()
        .from_image(&tagged(image))
        .build();
    let mut progress = std::pin::pin!(docker.create_image(Some(options), None, None));
    while let Some(part) = progress.next().await {
        part.map_err(|error: Error| {
            cannot(format!(
                "the image `{image}` cannot be pulled ({error}); check its name and your network, and for a private \
                 registry give the task `credentials`, or pull it yourself first"
            ))
        })?;
    }
    Ok(())
}

/// The engine wants a login in the alphabet of base64 that is safe in addresses; the client crate writes the other one,
/// of which the engine ignores what it cannot read, and then pulls as nobody.
fn header(login: &RegistryLogin, registry: &str) -> Result<String, String> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: &str| fields.insert(name.to_owned(), Value::from(value));
    match &login.proof {
        Proof::RegistryToken(token) => {
            put("registrytoken", token);
        }
        Proof::IdentityToken(token) => {
            put("identitytoken", token);
        }
        Proof::Password { .. } | Proof::Auth(_) | Proof::Document(_) => {
            if let Some((username, password)) = login.password()? {
                put("username", &username);
                put("password", &password);
            }
        }
    }
    put("serveraddress", registry);
    Ok(URL_SAFE.encode(Value::Object(fields).to_string()))
}

async fn logged_in(host: &str, login: &RegistryLogin, image: &str) -> Result<(), StageError> {
    let registry = login.registry_for(image).map_err(StageError::invalid)?;
    let header = header(login, &registry).map_err(StageError::invalid)?;
    let failed = |why: &str| {
        cannot(format!(
            "the image `{image}` cannot be pulled with the login at `{registry}` ({why}); check the image's name and \
             the secrets of `credentials`"
        ))
    };
    let sent = async {
        let socket = Path::new(host.trim_start_matches("unix://"));
        let client = operon_engine::tls::http_client()
            .unix_socket(socket)
            .build()?;
        let address = Url::parse_with_params(
            "http://engine/images/create",
            [("fromImage", tagged(image))],
        );
        let address = address.map_err(|error| Failed::Told(error.to_string()))?;
        let answer = client.post(address).header("X-Registry-Auth", header);
        progress(answer.send().await?).await
    };
    sent.await.map_err(|error| match error {
        Failed::Told(why) => failed(&why),
        // Its own text names the address, which says nothing here.
        Failed::Cut(error) => failed(&error.without_url().to_string()),
    })
}

/// Why a pull failed.
enum Failed {
    /// The engine says so.
    Told(String),
    /// The engine did not answer, or not to the end.
    Cut(reqwest::Error),
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Self {
        Self::Cut(error)
    }
}

/// Follows a pull to its end: one JSON document a line, of which one with `error` is the end.
async fn progress(answer: reqwest::Response) -> Result<(), Failed> {
    let fine = answer.status().is_success();
    let mut parts = answer.bytes_stream();
    let mut line = Vec::new();
    while let Some(part) = parts.next().await {
        for byte in part? {
            if byte == b'\n' {
                told(&line, fine)?;
                line.clear();
            } else if line.len() < MESSAGE_MAX {
                line.push(byte);
            }
        }
    }
    told(&line, fine)?;
    if fine {
        Ok(())
    } else {
        Err(Failed::Told("the engine refused it".to_owned()))
    }
}

/// The error in one message of the engine.
fn told(line: &[u8], fine: bool) -> Result<(), Failed> {
    let message: Value = serde_json::from_slice(line).unwrap_or_default();
    let why = message
        .get("error")
        .or_else(|| message.get("message").filter(|_| !fine));
    match why.and_then(Value::as_str) {
        Some(why) => Err(Failed::Told(why.to_owned())),
        None => Ok(()),
    }
}

/// Without a tag all of them would be pulled.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        assert_eq!(tagged("a/b"), "a/b:latest");
        assert_eq!(tagged("host:5000/b"), "host:5000/b:latest");
        assert_eq!(tagged("a/b:1"), "a/b:1");
        assert_eq!(tagged("a/b@sha256:00"), "a/b@sha256:00");
    }
}
