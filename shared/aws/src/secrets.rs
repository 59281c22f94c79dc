//! Secrets from Secrets Manager and from Parameter Store.
//!
//! A secret `NAME` of the namespace `a.b` is looked for in `<prefix>/a.b/NAME`, `<prefix>/a/NAME` and
//! `<prefix>/NAME`, in that order: what a namespace does not have it inherits. Each of these names is looked for in
//! Secrets Manager first, then as the parameter `/<name>`. Invariant: values are never printed,
//! not even by `Debug`, and stay in memory for [`KEPT`] at most, so that a rotated secret is picked up.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use operon_engine::ports::{Clock, SecretError, Secrets};
use serde_json::{Value, json};

use crate::parameters::{Parameters, Wanted, parameter_name};
use crate::sdk::Sdk;
use crate::signed::{Service, ServiceName};

/// One transmission, answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a value, or the knowledge that there is none, is used without asking again.
pub const KEPT: Duration = Duration::from_mins(5);
/// Names kept at most; beyond that all are asked for again.
const NAMES_MAX: usize = 1000;
/// Bytes of a value at most: 64 KiB, which is Secrets Manager's own limit.
const VALUE_MAX: usize = 64 << 10;
/// Bytes of the full name at most (Secrets Manager).
const NAME_MAX: usize = 512;

/// What is known of names for [`KEPT`]: a text, or that there is none.
pub(crate) struct Kept {
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, (Option<String>, u64)>>,
}

impl Kept {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            known: Mutex::default(),
        }
    }

    /// What is known of a name, or what is answered now, which is remembered.
    pub(crate) async fn get(
        &self,
        name: &str,
        asked: impl Future<Output = Result<Option<String>, SecretError>>,
    ) -> Result<Option<String>, SecretError> {
        let kept = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock.now_ms();
        if let Some((text, since)) = self.lock().get(name)
            && now.saturating_sub(*since) < kept
        {
            return Ok(text.clone());
        }
        let text = asked.await?;
        let mut known = self.lock();
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(name.to_owned(), (text.clone(), now));
        Ok(text)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Option<String>, u64)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Secrets Manager.
#[derive(Debug, Clone)]
pub(crate) struct Manager(Service);

impl Manager {
    fn new(sdk: &Sdk) -> Self {
        Self(Service::new(sdk, ServiceName::Secrets, TIMEOUT))
    }

    /// What an operation on one secret answers; none when there is no such secret.
    pub(crate) async fn ask(
        &self,
        operation: &str,
        full: &str,
    ) -> Result<Option<Value>, SecretError> {
        let target = format!("secretsmanager.{operation}");
        match self.0.ask(&target, "1.1", &json!({"SecretId": full})).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is("ResourceNotFoundException") => Ok(None),
            Err(error) => {
                let denied = error.is("AccessDeniedException");
                let remedy = if denied {
                    "; the function's role must allow it"
                } else {
                    ""
                };
                let text = format!("reading the secret `{full}`: {error}{remedy}");
                Err(SecretError::Failed(text))
            }
        }
    }
}

/// Secrets of a deployment.
pub struct ManagedSecrets {
    pub(crate) manager: Manager,
    pub(crate) parameters: Parameters,
    prefix: String,
    kept: Kept,
}

impl fmt::Debug for ManagedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedSecrets")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl ManagedSecrets {
    /// Secrets whose names begin with `prefix`.
    #[must_use]
    pub fn new(sdk: &Sdk, prefix: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            manager: Manager::new(sdk),
            parameters: Parameters::new(sdk),
            prefix: prefix.trim_end_matches('/').to_owned(),
            kept: Kept::new(clock),
        }
    }

    /// Full names under which a secret of a namespace may be stored, the most specific first.
    #[must_use]
    pub fn names(&self, namespace: &str, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut space = Some(namespace).filter(|namespace| !namespace.is_empty());
        while let Some(namespace) = space {
            names.push(format!("{}/{namespace}/{name}", self.prefix));
            space = namespace.rsplit_once('.').map(|(parent, _)| parent);
        }
        names.push(format!("{}/{name}", self.prefix));
        names
    }

    /// What to do about a secret that is not there.
    pub(crate) fn missing(&self, namespace: &str, name: &str) -> SecretError {
        let names = self.names(namespace, name);
        let full = names.first().map_or(name, String::as_str);
        SecretError::Missing {
            name: name.to_owned(),
            remedy: format!(
                "create it: aws secretsmanager create-secret --name '{full}' --secret-string …, or aws ssm put-parameter \
                 --type SecureString --name '{}' --value …; a name without a part of the namespace counts, too",
                parameter_name(full)
            ),
        }
    }

    /// The full name under which the secret is stored; that of a parameter begins with a slash.
    pub async fn full_name(&self, namespace: &str, name: &str) -> Result<String, SecretError> {
        self.find(namespace, name).await.map(|(full, _)| full)
    }

    async fn find(&self, namespace: &str, name: &str) -> Result<(String, String), SecretError> {
        for part in [namespace, name] {
            if !is_plain(part) || part.len() > NAME_MAX {
                return Err(SecretError::Failed(format!(
                    "`{}` cannot be part of a secret's name; use letters, digits, `.`, `-` and `_`",
                    part.chars().take(80).collect::<String>()
                )));
            }
        }
        if name.is_empty() {
            return Err(self.missing(namespace, name));
        }
        for full in self.names(namespace, name) {
            let parameter = parameter_name(&full);
            for stored in [full, parameter] {
                if let Some(value) = self.kept.get(&stored, self.ask(&stored)).await? {
                    return Ok((stored, value));
                }
            }
        }
        Err(self.missing(namespace, name))
    }

    /// Knows nothing yet, by the same clock.
    pub(crate) fn nothing_kept(&self) -> Kept {
        Kept::new(Arc::clone(&self.kept.clock))
    }

    async fn ask(&self, full: &str) -> Result<Option<String>, SecretError> {
        if full.starts_with('/') {
            let found = self.parameters.find(full, Wanted::Value).await?;
            return Ok(found.map(|parameter| parameter.value));
        }
        let Some(answer) = self.manager.ask("GetSecretValue", full).await? else {
            return Ok(None);
        };
        match answer.get("SecretString").and_then(Value::as_str) {
            Some(value) if value.len() <= VALUE_MAX => Ok(Some(value.to_owned())),
            Some(value) => Err(SecretError::Failed(format!(
                "`{full}` has {} bytes; a secret has at most {VALUE_MAX}",
                value.len()
            ))),
            None => Err(SecretError::Failed(format!(
                "`{full}` holds bytes and no text; store it with --secret-string"
            ))),
        }
    }
}

fn is_plain(part: &str) -> bool {
    part.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[async_trait]
impl Secrets for ManagedSecrets {
    async fn secret(&self, namespace: &str, name: &str) -> Result<String, SecretError> {
        self.find(namespace, name).await.map(|(_, value)| value)
    }
}
