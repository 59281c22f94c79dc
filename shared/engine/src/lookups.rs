//! Look-ups of templates: rendering is synchronous, the stores are not. A render that wants something which
//! has not been fetched fails; what it wanted is fetched; it is rendered again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use operon_core::expr::{LookupError, Resolver};
use serde_json::Value;

use crate::Ports;
use crate::ports::{ArtifactUri, SecretError};

/// Bytes of a file that `read()` may bring into an expression.
pub const READ_BYTES_MAX: u64 = 1024 * 1024;

/// Different look-ups in one evaluation.
const ROUNDS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Wanted {
    Secret(String),
    Kv {
        namespace: Option<String>,
        key: String,
    },
    Read(String),
    Size(String),
}

#[derive(Debug, Default)]
struct State {
    found: HashMap<Wanted, Result<Value, LookupError>>,
    wanted: Vec<Wanted>,
}

/// The look-ups of one evaluation.
#[derive(Debug)]
pub struct Lookups {
    namespace: String,
    flow_dir: Option<String>,
    now: Timestamp,
    seed: u64,
    state: Mutex<State>,
}

impl Lookups {
    /// For one evaluation in a namespace; relative paths of `read()` are meant from `flow_dir`.
    #[must_use]
    pub fn new(namespace: &str, flow_dir: Option<&str>, now_ms: u64, seed: u64) -> Self {
        let now = i64::try_from(now_ms)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self {
            namespace: namespace.to_owned(),
            flow_dir: flow_dir.map(str::to_owned),
            now: now.unwrap_or(Timestamp::UNIX_EPOCH),
            seed,
            state: Mutex::default(),
        }
    }

    fn find(&self, wanted: Wanted, what: &str) -> Result<Value, LookupError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = state.found.get(&wanted) {
            return found.clone();
        }
        state.wanted.push(wanted);
        Err(LookupError::Unavailable {
            what: what.to_owned(),
            reason: "not fetched yet".to_owned(),
        })
    }

    /// Calls `render` until it has everything it looks up, or fails for another reason.
    pub async fn resolve<T, E>(
        self: &Arc<Self>,
        ports: &Ports,
        mut render: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..ROUNDS_MAX {
            let result = render();
            let wanted = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut state.wanted)
            };
            if wanted.is_empty() {
                return result;
            }
            for wanted in wanted {
                let found = self.fetch(ports, &wanted).await;
                self.state
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .found
                    .insert(wanted, found);
            }
        }
        render()
    }

    async fn fetch(&self, ports: &Ports, wanted: &Wanted) -> Result<Value, LookupError> {
        match wanted {
            Wanted::Secret(name) => {
                let what = format!("secret `{name}`");
                match ports.secrets.secret(&self.namespace, name).await {
                    Ok(value) => Ok(Value::String(value)),
                    Err(SecretError::Missing { remedy, .. }) => Err(LookupError::Unavailable {
                        what,
                        reason: format!("it does not exist; {remedy}"),
                    }),
                    Err(SecretError::Failed(reason)) => {
                        Err(LookupError::Unavailable { what, reason })
                    }
                }
            }
            Wanted::Kv { namespace, key } => {
                let namespace = namespace.as_deref().unwrap_or(&self.namespace);
                let now = u64::try_from(self.now.as_millisecond()).unwrap_or(0);
                match ports.store.kv(namespace, key, now).await {
                    Ok(entry) => Ok(entry.map_or(Value::Null, |entry| entry.value)),
                    Err(error) => Err(LookupError::Unavailable {
                        what: format!("key `{key}`"),
                        reason: error.to_string(),
                    }),
                }
            }
            Wanted::Read(place) => self.read(ports, place).await.map(Value::String),
            Wanted::Size(place) => self.size(ports, place).await.map(Value::from),
        }
    }

    async fn read(&self, ports: &Ports, place: &str) -> Result<String, LookupError> {
        let unavailable = |reason: String| LookupError::Unavailable {
            what: format!("file `{place}`"),
            reason,
        };
        let bytes = if ArtifactUri::is_uri(place) {
            let uri: ArtifactUri = place
                .parse()
                .map_err(|error| unavailable(format!("{error}")))?;
            ports
                .artifacts
                .get(&uri, READ_BYTES_MAX)
                .await
                .map_err(|e| unavailable(e.to_string()))?
        } else {
            let beside = self.flow_dir.as_deref();
            crate::files::read_beside(&*ports.artifacts, beside, place, READ_BYTES_MAX)
                .await
                .map_err(unavailable)?
        };
        String::from_utf8(bytes.into()).map_err(|_| unavailable("it is not UTF-8 text".to_owned()))
    }

    async fn size(&self, ports: &Ports, place: &str) -> Result<u64, LookupError> {
        let unavailable = |reason: String| LookupError::Unavailable {
            what: format!("file `{place}`"),
            reason,
        };
        let uri: ArtifactUri = place
            .parse()
            .map_err(|error| unavailable(format!("{error}")))?;
        ports
            .artifacts
            .size(&uri)
            .await
            .map_err(|error| unavailable(error.to_string()))
    }
}

impl Resolver for Lookups {
    fn secret(&self, name: &str) -> Result<String, LookupError> {
        let value = self.find(Wanted::Secret(name.to_owned()), "secret")?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    fn kv(&self, key: &str, namespace: Option<&str>) -> Result<Option<Value>, LookupError> {
        let wanted = Wanted::Kv {
            namespace: namespace.map(str::to_owned),
            key: key.to_owned(),
        };
        let value = self.find(wanted, "key")?;
        Ok((!value.is_null()).then_some(value))
    }

    fn read(&self, uri_or_path: &str) -> Result<String, LookupError> {
        let value = self.find(Wanted::Read(uri_or_path.to_owned()), "file")?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    fn file_size(&self, uri: &str) -> Result<u64, LookupError> {
        let value = self.find(Wanted::Size(uri.to_owned()), "file")?;
        Ok(value.as_u64().unwrap_or_default())
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn random_seed(&self) -> u64 {
        self.seed
    }
}
