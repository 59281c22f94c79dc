//! Signing in to the console at an issuer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use operon_api::auth::Auth;
use operon_testkit::memory::MemoryPorts;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::issuer::{AUDIENCE, Issuer};
use crate::world::{Answered, application, local, request, send};

const HOST: &str = "http://127.0.0.1:8585";

struct Visit {
    issuer: Issuer,
    application: Router,
    /// What the browser keeps while somebody signs in.
    pending: String,
    /// What the issuer was asked.
    asked: BTreeMap<String, String>,
}

async fn get(application: &Router, path: &str, cookie: &str) -> Answered {
    let headers = [("cookie", cookie)];
    send(
        application,
        request(&Method::GET, path, &headers, Body::empty()),
    )
    .await
}

fn location(answer: &Answered) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    answer.headers["location"].to_str().unwrap().to_owned()
}

fn cookies(answer: &Answered) -> Vec<String> {
    let cookies = answer.headers.get_all("set-cookie").iter();
    cookies
        .map(|cookie| cookie.to_str().unwrap().to_owned())
        .collect()
}

impl Visit {
    async fn begin(to: &str) -> Self {
        let issuer = Issuer::here().await;
        let auth = Auth::Oidc(Arc::clone(&issuer.oidc));
        let application = application(&MemoryPorts::default(), auth);
        let answer = get(&application, &format!("/api/v1/session/begin?to={to}"), "").await;
        let address = Url::parse(&location(&answer)).unwrap();
        assert!(
            address
                .as_str()
                .starts_with(&format!("{}/authorize?tenant=t&", issuer.address))
        );
        let [pending] = &cookies(&answer)[..] else {
            panic!("one cookie")
        };
        for attribute in [
            "HttpOnly",
            "Secure",
            "SameSite=Lax",
            "Max-Age=600",
            "Path=/api/v1/session",
        ] {
            assert!(pending.contains(attribute), "{pending}");
        }
        let pending = pending.split(';').next().unwrap().to_owned();
        let asked = address.query_pairs().into_owned().collect();
        Self {
            issuer,
            application,
            pending,
            asked,
        }
    }

    /// A token that answers this question, but for what `change` does to it.
    fn token(&self, role: &str, change: impl FnOnce(&mut Value)) -> String {
        self.issuer.token(role, |claims| {
            claims["nonce"] = json!(self.asked["nonce"]);
            change(claims);
        })
    }

    /// The browser comes back from the issuer, which gives this token for its code.
    async fn back(&self, state: &str, token: &str, cookie: &str) -> Answered {
        *self.issuer.answer.lock().unwrap() = json!({"id_token": token, "token_type": "Bearer"});
        let path = format!("/api/v1/session/callback?code=c%2F1&state={state}");
        get(&self.application, &path, cookie).await
    }
}

#[tokio::test]
async fn somebody_signs_in_and_goes_on_where_they_were() {
    let visit = Visit::begin("/executions%3Fstate%3DFAILED").await;
    let asked = &visit.asked;
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["client_id"], AUDIENCE);
    assert_eq!(
        asked["redirect_uri"],
        format!("{HOST}/api/v1/session/callback")
    );
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(asked["scope"], "openid email");
    let token = visit.token("viewer", |_| {});
    let answer = visit.back(&asked["state"], &token, &visit.pending).await;
    assert_eq!(location(&answer), "/executions?state=FAILED");

    let form = visit.issuer.exchanges.lock().unwrap().join("\n");
    let form = Url::parse(&format!("https://form/?{form}")).unwrap();
    let form: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "c/1");
    assert_eq!(form["redirect_uri"], asked["redirect_uri"]);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    assert_eq!(challenge, asked["code_challenge"]);
    assert!(!form.contains_key("client_secret"));

    let kept = cookies(&answer);
    let session = kept
        .iter()
        .find(|cookie| cookie.starts_with("operon_session="))
        .unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Strict", "Max-Age="] {
        assert!(session.contains(attribute), "{session}");
    }
    assert!(
        kept.iter()
            .any(|cookie| cookie.starts_with("operon_sign_in=;") && cookie.contains("Max-Age=0"))
    );
    let session = session.split(';').next().unwrap();
    let me = get(&visit.application, "/api/v1/me", session).await;
    assert_eq!(
        me.json(),
        json!({"subject": "alice", "role": "viewer", "local": false})
    );
}

#[tokio::test]
async fn what_does_not_answer_the_question_signs_nobody_in() {
    let visit = Visit::begin("/").await;
    let state = visit.asked["state"].clone();
    let good = visit.token("viewer", |_| {});
    let cases = [
        (
            "another state",
            "late",
            visit.back("other", &good, &visit.pending).await,
        ),
        ("no cookie", "late", visit.back(&state, &good, "").await),
        (
            "a cookie that is none",
            "late",
            visit.back(&state, &good, "operon_sign_in=e30").await,
        ),
        (
            "another nonce",
            "failed",
            visit
                .back(
                    &state,
                    &visit.token("viewer", |claims| claims["nonce"] = json!("n")),
                    &visit.pending,
                )
                .await,
        ),
        (
            "no nonce",
            "failed",
            visit
                .back(
                    &state,
                    &visit.token("viewer", |claims| claims["nonce"] = Value::Null),
                    &visit.pending,
                )
                .await,
        ),
        (
            "expired",
            "failed",
            visit
                .back(
                    &state,
                    &visit.token("viewer", |claims| claims["exp"] = json!(1_000)),
                    &visit.pending,
                )
                .await,
        ),
        (
            "for others",
            "failed",
            visit
                .back(
                    &state,
                    &visit.token("viewer", |claims| claims["aud"] = json!("x")),
                    &visit.pending,
                )
                .await,
        ),
        (
            "no role",
            "role",
            visit
                .back(&state, &visit.token("nobody", |_| {}), &visit.pending)
                .await,
        ),
        (
            "too large for a cookie",
            "large",
            visit
                .back(
                    &state,
                    &visit.token("viewer", |claims| claims["x"] = json!("x".repeat(4_000))),
                    &visit.pending,
                )
                .await,
        ),
        (
            "denied",
            "denied",
            get(
                &visit.application,
                &format!("/api/v1/session/callback?error=access_denied&state={state}"),
                &visit.pending,
            )
            .await,
        ),
    ];
    for (what, word, answer) in cases {
        assert_eq!(location(&answer), format!("/?sign-in={word}"), "{what}");
        let session = cookies(&answer)
            .iter()
            .any(|cookie| cookie.starts_with("operon_session"));
        assert!(!session, "{what}");
    }
}

#[tokio::test]
async fn where_there_is_no_issuer_nobody_is_sent_there() {
    let application = application(&MemoryPorts::default(), local());
    for path in [
        "/api/v1/session/begin",
        "/api/v1/session/callback?code=c&state=s",
    ] {
        let answer = get(&application, path, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text);
    }
    let health = get(&application, "/api/v1/health", "").await;
    assert_eq!(health.json()["signIn"], "token");
    let visit = Visit::begin("//evil.example").await;
    let answer = visit
        .back(
            &visit.asked["state"],
            &visit.token("admin", |_| {}),
            &visit.pending,
        )
        .await;
    assert_eq!(location(&answer), "/");
    let health = get(&visit.application, "/api/v1/health", "").await;
    assert_eq!(health.json()["signIn"], "issuer");
    // An issuer that does not describe itself.
    let issuer = Issuer::start().await;
    let application = crate::world::application(&MemoryPorts::default(), Auth::Oidc(issuer.oidc));
    let answer = get(&application, "/api/v1/session/begin", "").await;
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.text
    );
}
