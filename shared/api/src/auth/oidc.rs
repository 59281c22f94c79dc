//! Tokens of an `OpenID` Connect issuer, checked with the keys it publishes.
//!
//! Invariant: issuer, audience, expiry and algorithm are those of the settings; what the token says about itself
//! chooses only among the issuer's keys. Invariant: a caller cannot make us ask the issuer more than once a
//! minute, whatever key ids they invent.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tracing::warn;

use super::sign_in::Provider;
use super::signatures;
use super::{Identity, Role, TOKEN_BYTES_MAX};
use crate::problem::Problem;

/// The algorithms that are believed. Symmetric ones are not among them: their key would be public.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::ES256,
    Algorithm::ES384,
];
/// Bytes of a key set at most.
const KEYS_BYTES_MAX: usize = 256 * 1024;
/// Keys of an issuer at most.
const KEYS_MAX: usize = 100;
/// How long keys are believed without asking again.
const KEYS_AGE_MS: u64 = 60 * 60 * 1000;
/// How often the issuer is asked at most.
const KEYS_PAUSE_MS: u64 = 60 * 1000;
/// How long the issuer may take.
const KEYS_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds by which clocks may differ.
const LEEWAY_S: u64 = 30;

/// Whose tokens are believed, and how a role is read from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// The `iss` of tokens, exactly.
    pub issuer: String,
    /// The `aud` of tokens (`client_id` of access tokens of Cognito).
    pub audience: String,
    /// Where the issuer publishes its keys.
    pub keys_url: String,
    /// The claim that holds the role, or a list of groups.
    pub role_claim: String,
    /// Groups and their roles, `operators=operator`; a claim that names a role needs none.
    pub groups: Vec<(String, Role)>,
    /// Address of the console, where somebody who signs in comes back to; without it, the one that is asked.
    pub console: Option<String>,
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The address is not one.
    #[error("`{0}` is no address of keys; expected `https://…/.well-known/jwks.json`")]
    Address(String),
    /// The client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Checks tokens.
pub struct Oidc {
    pub(super) settings: OidcSettings,
    pub(super) client: reqwest::Client,
    keys: RwLock<Keys>,
    pub(super) provider: tokio::sync::Mutex<Option<(Provider, u64)>>,
    // One question to the issuer at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Keys {
    set: Option<Arc<JwkSet>>,
    read_ms: u64,
    tried_ms: u64,
}

impl Oidc {
    /// Checks tokens by these settings. Keys are read when the first token comes.
    pub fn new(settings: OidcSettings) -> Result<Self, OidcError> {
        let url = &settings.keys_url;
        if !is_allowed(url) {
            return Err(OidcError::Address(url.clone()));
        }
        signatures::install();
        let client = operon_engine::tls::http_client()
            .timeout(KEYS_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            settings,
            client,
            keys: RwLock::default(),
            provider: tokio::sync::Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// Who a token is about.
    pub async fn identify(&self, token: &str, now_ms: u64) -> Result<Identity, Problem> {
        self.who(&self.claims(token, now_ms).await?)
    }

    /// What a token says, if it is one of the issuer's for us.
    pub(super) async fn claims(
        &self,
        token: &str,
        now_ms: u64,
    ) -> Result<Map<String, Value>, Problem> {
        let refuse = |why: &str| Problem::unauthorized(format!("the token is not accepted: {why}"));
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refuse("it is too long"));
        }
        let header = decode_header(token).map_err(|_| refuse("it is no signed token"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refuse("its algorithm is not allowed"));
        }
        let id = header.kid.ok_or_else(|| refuse("it names no key"))?;
        let key = self.key(&id, now_ms).await?;
        let key = key.ok_or_else(|| refuse("its key is none of the issuer's"))?;
        if key
            .common
            .key_algorithm
            .is_some_and(|of_key| !same(of_key, header.alg))
        {
            return Err(refuse("its algorithm is not that of its key"));
        }
        let decoding = DecodingKey::from_jwk(&key).map_err(|_| refuse("its key cannot be used"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        // The audience is checked below: access tokens of Cognito call it `client_id`.
        validation.validate_aud = false;
        let claims = decode::<Map<String, Value>>(token, &decoding, &validation)
            .map_err(|error| refuse(&error.to_string()))?
            .claims;
        if !self.is_for_us(&claims) {
            return Err(refuse("it is for another audience"));
        }
        Ok(claims)
    }

    /// Whom these claims are about, and what they may do.
    pub(super) fn who(&self, claims: &Map<String, Value>) -> Result<Identity, Problem> {
        let subject = claims
            .get("email")
            .or_else(|| claims.get("sub"))
            .and_then(Value::as_str)
            .ok_or_else(|| Problem::unauthorized("the token is not accepted: it names nobody"))?;
        let role = self.role(claims).ok_or_else(|| {
            Problem::forbidden(format!(
                "`{subject}` has no role; the claim `{}` must name one of viewer, operator, editor and admin, or \
                 a group that has one",
                self.settings.role_claim
            ))
        })?;
        Ok(Identity {
            subject: subject.chars().take(200).collect(),
            role,
            by_cookie: false,
        })
    }

    fn is_for_us(&self, claims: &Map<String, Value>) -> bool {
        let wanted = self.settings.audience.as_str();
        let is = |value: &Value| value.as_str() == Some(wanted);
        match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is),
            Some(one) => is(one),
            None => claims.get("client_id").is_some_and(is),
        }
    }

    /// The highest role that the claim gives.
    fn role(&self, claims: &Map<String, Value>) -> Option<Role> {
        let of = |name: &str| {
            let group = self.settings.groups.iter().find(|(group, _)| group == name);
            group.map(|(_, role)| *role).or_else(|| name.parse().ok())
        };
        match claims.get(&self.settings.role_claim)? {
            Value::Array(names) => names.iter().filter_map(Value::as_str).filter_map(of).max(),
            Value::String(names) => names.split([' ', ',']).filter_map(of).max(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }

    /// The issuer's key with that id; read again when it is unknown or old, but not too often.
    async fn key(&self, id: &str, now_ms: u64) -> Result<Option<Jwk>, Problem> {
        let found = |keys: &Keys| keys.set.as_ref().and_then(|set| set.find(id).cloned());
        let fresh = |keys: &Keys| now_ms.saturating_sub(keys.read_ms) < KEYS_AGE_MS;
        let may_ask = |keys: &Keys| {
            keys.tried_ms == 0 || now_ms.saturating_sub(keys.tried_ms) >= KEYS_PAUSE_MS
        };
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            let key = found(&keys);
            if (key.is_some() && fresh(&keys)) || !may_ask(&keys) {
                return Ok(key);
            }
        }
        let _one = self.asking.lock().await;
        {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            if !may_ask(&keys) {
                return Ok(found(&keys));
            }
            keys.tried_ms = now_ms;
        }
        let read = self.read_keys().await;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(set) => {
                keys.set = Some(Arc::new(set));
                keys.read_ms = now_ms;
            }
            Err(reason) if keys.set.is_some() => {
                // Old keys are better than nobody being let in while the issuer is away.
                warn!(%reason, "the issuer's keys cannot be read again");
            }
            Err(reason) => {
                warn!(%reason, "the issuer's keys cannot be read");
                return Err(Problem::unavailable(
                    "the issuer's keys cannot be read; try again",
                ));
            }
        }
        Ok(found(&keys))
    }

    async fn read_keys(&self) -> Result<JwkSet, String> {
        let url = &self.settings.keys_url;
        let read = bounded(self.client.get(url), KEYS_BYTES_MAX).await;
        let mut set: JwkSet = read.map_err(|reason| format!("{url}: {reason}"))?;
        set.keys.truncate(KEYS_MAX);
        Ok(set)
    }
}

/// What the issuer answers, read as JSON, if it is not larger than it may be.
pub(super) async fn bounded<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
    bytes_max: usize,
) -> Result<T, String> {
    let text = |error: reqwest::Error| error.without_url().to_string();
    let answer = request.send().await.map_err(text)?;
    let mut answer = answer.error_for_status().map_err(text)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(text)? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(format!("an answer of more than {bytes_max} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// Whether an address may be asked: nobody on the way can read or change what is said there.
pub(super) fn is_allowed(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://127.0.0.1:")
}

/// Whether a key is for an algorithm of ours.
fn same(of_key: KeyAlgorithm, algorithm: Algorithm) -> bool {
    let pairs = [
        (KeyAlgorithm::RS256, Algorithm::RS256),
        (KeyAlgorithm::RS384, Algorithm::RS384),
        (KeyAlgorithm::ES256, Algorithm::ES256),
        (KeyAlgorithm::ES384, Algorithm::ES384),
    ];
    pairs.contains(&(of_key, algorithm))
}
