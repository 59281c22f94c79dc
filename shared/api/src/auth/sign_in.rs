//! Signing in to the console at an `OpenID` Connect issuer: authorization code with PKCE, exchanged by this server.
//!
//! Nothing is kept here between the two requests: what the issuer's answer is held against is in a cookie of the browser
//! that began. Invariant: a code is exchanged only for the browser that asked for it (`state`), with a verifier that only
//! it has, and the token is believed only if it answers this very question (`nonce`). Invariant: no script can read the
//! token, and no address holds it.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::oidc::{Oidc, bounded, is_allowed};
use crate::problem::Problem;

/// Where the issuer sends the browser back to, below the console's address.
pub const CALLBACK: &str = "/api/v1/session/callback";
/// Seconds within which somebody has to have signed in.
pub(crate) const PENDING_S: u64 = 10 * 60;
/// Bytes of a token that a browser keeps in a cookie, whose name and attributes count too (RFC 6265, 6.1).
pub(crate) const COOKIE_TOKEN_MAX: usize = 3_800;
/// Bytes of the page that was asked for at most; a longer one begins at the overview.
const TO_MAX: usize = 1024;
/// Bytes of the cookie of who signs in at most.
const PENDING_MAX: usize = 3_000;
/// Bytes of a code at most.
const CODE_MAX: usize = 4_096;
/// Bytes of the issuer's description and of its answers at most.
const ANSWER_MAX: usize = 64 * 1024;
/// How long the description is believed.
const PROVIDER_AGE_MS: u64 = 60 * 60 * 1000;

/// What the issuer says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Provider {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

/// What the browser keeps while somebody signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    /// The page to go on with.
    pub(crate) to: String,
}

/// Where the browser goes, and what it keeps until it is back.
pub(crate) struct Begun {
    pub(crate) location: String,
    pub(crate) cookie: String,
}

/// Somebody has signed in.
pub(crate) struct SignedIn {
    pub(crate) token: String,
    pub(crate) seconds: u64,
}

/// Why somebody has not signed in; the console has words for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The issuer said no.
    Denied,
    /// It took too long, or another browser began.
    Late,
    /// The issuer did not answer as it must.
    Failed,
    /// They have no role.
    Role,
    /// The token does not fit into a cookie.
    Large,
}

impl Refused {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Role => "role",
            Self::Large => "large",
        }
    }
}

/// 256 bits that nobody can guess, for use in addresses.
fn secret() -> Result<String, Problem> {
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| Problem::internal(&format!("no random numbers: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A page of this console, and of nothing else: browsers take `//host` and `/\host` for another one.
fn page(to: &str) -> &str {
    let plain = to
        .bytes()
        .all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\');
    let own = to.starts_with('/') && !to.starts_with("//") && !to.starts_with("/api/");
    if own && plain && to.len() <= TO_MAX {
        to
    } else {
        "/"
    }
}

impl Pending {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn decode(cookie: &str) -> Option<Self> {
        if cookie.len() > PENDING_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let pending: Self = serde_json::from_slice(&bytes).ok()?;
        let to = page(&pending.to).to_owned();
        Some(Self { to, ..pending })
    }
}

impl Oidc {
    /// Sends somebody to the issuer. `origin` is the console's address.
    pub(crate) async fn begin(
        &self,
        origin: &str,
        to: &str,
        now_ms: u64,
    ) -> Result<Begun, Problem> {
        let provider = self.provider(now_ms).await?;
        let pending = Pending {
            state: secret()?,
            nonce: secret()?,
            verifier: secret()?,
            to: page(to).to_owned(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.as_bytes()));
        let address = Url::parse_with_params(
            &provider.authorization_endpoint,
            [
                ("response_type", "code"),
                ("client_id", self.settings.audience.as_str()),
                ("redirect_uri", &format!("{origin}{CALLBACK}")),
                ("scope", "openid email"),
                ("state", &pending.state),
                ("nonce", &pending.nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ],
        );
        let address = address.map_err(|_| Problem::unavailable("the issuer's address is none"))?;
        Ok(Begun {
            location: address.to_string(),
            cookie: pending.encode(),
        })
    }

    /// Takes the issuer's answer.
    pub(crate) async fn finish(
        &self,
        origin: &str,
        pending: &Pending,
        (code, state): (&str, &str),
        now_ms: u64,
    ) -> Result<SignedIn, Refused> {
        if state != pending.state {
            return Err(Refused::Late);
        }
        if code.is_empty() || code.len() > CODE_MAX {
            return Err(Refused::Failed);
        }
        let token = self.exchange(origin, pending, code, now_ms).await?;
        let failed = |problem: Problem| {
            warn!(reason = %problem.detail, "the token of who signs in is not accepted");
            Refused::Failed
        };
        let claims = self.claims(&token, now_ms).await.map_err(failed)?;
        if claims.get("nonce").and_then(Value::as_str) != Some(pending.nonce.as_str()) {
            warn!("the token of who signs in answers another question");
            return Err(Refused::Failed);
        }
        self.who(&claims).map_err(|_| Refused::Role)?;
        if token.len() > COOKIE_TOKEN_MAX {
            return Err(Refused::Large);
        }
        let expires = claims
            .get("exp")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        Ok(SignedIn {
            token,
            seconds: expires.saturating_sub(now_ms / 1000).max(1),
        })
    }

    async fn exchange(
        &self,
        origin: &str,
        pending: &Pending,
        code: &str,
        now_ms: u64,
    ) -> Result<String, Refused> {
        let provider = self.provider(now_ms).await.map_err(|_| Refused::Failed)?;
        let form = Url::parse_with_params(
            "https://form/",
            [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", &format!("{origin}{CALLBACK}")),
                ("client_id", self.settings.audience.as_str()),
                ("code_verifier", &pending.verifier),
            ],
        );
        let form = form.map_err(|_| Refused::Failed)?;
        let request = self
            .client
            .post(&provider.token_endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form.query().unwrap_or_default().to_owned());
        let answer: Value = bounded(request, ANSWER_MAX).await.map_err(|reason| {
            warn!(%reason, "the issuer gives no token for its code");
            Refused::Failed
        })?;
        let token = answer.get("id_token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| {
            warn!("the issuer's answer has no `id_token`");
            Refused::Failed
        })
    }

    /// What the issuer says of itself, asked for once an hour.
    async fn provider(&self, now_ms: u64) -> Result<Provider, Problem> {
        let mut known = self.provider.lock().await;
        if let Some((provider, read_ms)) = &*known
            && now_ms.saturating_sub(*read_ms) < PROVIDER_AGE_MS
        {
            return Ok(provider.clone());
        }
        let issuer = self.settings.issuer.trim_end_matches('/');
        let address = format!("{issuer}/.well-known/openid-configuration");
        if !is_allowed(&address) {
            return Err(Problem::unavailable(
                "the issuer's address is not one of https",
            ));
        }
        let read = bounded(self.client.get(address), ANSWER_MAX).await;
        let read = read.and_then(|provider: Provider| {
            let endpoints = [&provider.authorization_endpoint, &provider.token_endpoint];
            if provider.issuer != self.settings.issuer {
                return Err(format!("it calls itself `{}`", provider.issuer));
            }
            if !endpoints.into_iter().all(|address| is_allowed(address)) {
                return Err("its addresses are not of https".to_owned());
            }
            Ok(provider)
        });
        let provider = read.map_err(|reason| {
            warn!(%reason, "the issuer's description cannot be used");
            Problem::unavailable("the issuer does not say where to sign in; try again")
        })?;
        *known = Some((provider.clone(), now_ms));
        Ok(provider)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_page_of_the_console_is_gone_on_with() {
        for own in ["/", "/executions/e1?tab=logs", "/flows/a.b/c"] {
            assert_eq!(page(own), own);
        }
        let long = format!("/{}", "x".repeat(TO_MAX));
        for other in [
            "",
            "executions",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nSet-Cookie: x=y",
            "/api/v1/session/callback",
            &long,
        ] {
            assert_eq!(page(other), "/", "{other}");
        }
    }

    #[test]
    fn what_a_browser_kept_is_read_back_and_nothing_else() {
        let pending = Pending {
            state: secret().unwrap(),
            nonce: secret().unwrap(),
            verifier: secret().unwrap(),
            to: "//evil.example".to_owned(),
        };
        assert_ne!(pending.state, pending.nonce);
        let read = Pending::decode(&pending.encode()).unwrap();
        assert_eq!((read.to.as_str(), read.state), ("/", pending.state));
        assert_eq!(Pending::decode("no"), None);
        assert_eq!(Pending::decode(&"A".repeat(PENDING_MAX + 1)), None);
    }
}
