//! An issuer of tokens with a key of its own, and what it publishes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use operon_api::auth::{Oidc, OidcSettings, Role};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://issuer.example/pool";
pub(crate) const AUDIENCE: &str = "operon";

pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    /// Its own address.
    pub(crate) address: String,
    /// Its `iss`.
    name: String,
    /// The forms it got at its token endpoint, and what it answers there.
    pub(crate) exchanges: Arc<Mutex<Vec<String>>>,
    pub(crate) answer: Arc<Mutex<Value>>,
    /// How often the keys were read.
    pub(crate) reads: Arc<AtomicUsize>,
    pub(crate) oidc: Arc<Oidc>,
}

impl Issuer {
    /// An issuer whose tokens are believed, at which nobody signs in.
    pub(crate) async fn start() -> Self {
        Self::named(Some(ISSUER)).await
    }

    /// An issuer at which somebody signs in: its name is its address.
    pub(crate) async fn here() -> Self {
        Self::named(None).await
    }

    async fn named(name: Option<&str>) -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        // An uncompressed point: a byte, then both coordinates.
        let point = pair.public_key().as_ref().to_vec();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig",
            "x": text(&point[1..33]), "y": text(&point[33..65]),
        }]});
        let reads = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&reads);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let description = json!({
            "issuer": address, "authorization_endpoint": format!("{address}/authorize?tenant=t"),
            "token_endpoint": format!("{address}/token"), "jwks_uri": format!("{address}/keys"),
        });
        let exchanges = Arc::<Mutex<Vec<String>>>::default();
        let answer = Arc::new(Mutex::new(Value::Null));
        let (asked, told) = (Arc::clone(&exchanges), Arc::clone(&answer));
        let served = Router::new()
            .route(
                "/keys",
                get(async move || {
                    counted.fetch_add(1, Ordering::SeqCst);
                    axum::Json(keys.clone())
                }),
            )
            .route(
                "/.well-known/openid-configuration",
                get(async move || axum::Json(description.clone())),
            )
            .route(
                "/token",
                post(async move |form: String| {
                    asked.lock().unwrap().push(form);
                    axum::Json(told.lock().unwrap().clone())
                }),
            );
        tokio::spawn(async move { axum::serve(listener, served).await });
        let oidc = Oidc::new(OidcSettings {
            issuer: name.unwrap_or(&address).to_owned(),
            audience: AUDIENCE.to_owned(),
            keys_url: format!("{address}/keys"),
            role_claim: "groups".to_owned(),
            groups: vec![("on-call".to_owned(), Role::Operator)],
            console: None,
        })
        .unwrap();
        Self {
            key: pair,
            reads,
            name: name.unwrap_or(&address).to_owned(),
            address,
            exchanges,
            answer,
            oidc: Arc::new(oidc),
        }
    }

    pub(crate) fn sign(&self, key_id: &str, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": key_id});
        let text = signed_part(&header, claims);
        let signature = self
            .key
            .sign(&SystemRandom::new(), text.as_bytes())
            .unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token with this role that is good, but for what `change` does to it.
    pub(crate) fn token(&self, role: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": self.name, "aud": AUDIENCE, "sub": "alice", "exp": 4_000_000_000_u64, "groups": [role],
        });
        change(&mut claims);
        self.sign("k1", &claims)
    }
}

/// Header and claims, as they are signed.
pub(crate) fn signed_part(header: &Value, claims: &Value) -> String {
    let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", text(header), text(claims))
}
