//! Every route, every role, and everything that is not a good token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use operon_api::auth::table::{Access, TABLE};
use operon_api::auth::{Auth, IamCaller, IamRoles, Role};
use operon_testkit::memory::MemoryPorts;
use serde_json::json;

use crate::issuer::{Issuer, signed_part};
use crate::world::{application, local, request, send};

/// A path with something in the place of its parameters.
fn path(template: &str) -> String {
    let parts = template.split('/').map(|part| match part {
        "{revision}" => "1",
        part if part.starts_with('{') => "x",
        part => part,
    });
    let path = parts.collect::<Vec<_>>().join("/");
    match template {
        "/api/v1/artifacts" | "/api/v1/files" => format!("{path}?name=a"),
        "/api/v1/artifacts/preview" | "/api/v1/artifacts/download" => {
            format!("{path}?uri=operon:///executions/x/y")
        }
        _ => path,
    }
}

fn refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[test]
fn every_route_has_an_entry_and_every_entry_a_route() {
    let documented: BTreeSet<(String, String)> = operon_api::document()
        .paths
        .paths
        .into_iter()
        .flat_map(|(path, item)| {
            let methods = [
                ("GET", item.get.is_some()),
                ("POST", item.post.is_some()),
                ("PUT", item.put.is_some()),
                ("DELETE", item.delete.is_some()),
                ("PATCH", item.patch.is_some()),
            ];
            let there = methods.into_iter().filter(|(_, there)| *there);
            there
                .map(|(method, _)| (method.to_owned(), path.clone()))
                .collect::<Vec<_>>()
        })
        .collect();
    let listed: BTreeSet<(String, String)> = TABLE
        .iter()
        .filter(|(_, path, _)| !path.contains("/webhooks/"))
        .map(|(method, path, _)| (method.to_string(), (*path).to_owned()))
        .collect();
    assert_eq!(documented, listed);
}

#[test]
fn what_everybody_does_is_told_to_admins_only() {
    let mut entries = TABLE.iter().filter(|(_, path, _)| *path == "/api/v1/audit");
    let (_, _, access) = entries.next().unwrap();
    assert_eq!(*access, Access::Role(Role::Admin));
}

#[tokio::test]
async fn every_route_admits_its_roles_and_nobody_else() {
    let issuer = Issuer::here().await;
    let memory = MemoryPorts::default();
    let application = application(&memory, Auth::Oidc(Arc::clone(&issuer.oidc)));
    let bad = [
        ("none", None),
        (
            "expired",
            Some(issuer.token("admin", |claims| claims["exp"] = json!(1_000_000_000))),
        ),
        (
            "audience",
            Some(issuer.token("admin", |claims| claims["aud"] = json!("other"))),
        ),
        (
            "issuer",
            Some(issuer.token("admin", |claims| {
                claims["iss"] = json!("https://other.example");
            })),
        ),
        (
            "no expiry",
            Some(issuer.token("admin", |claims| {
                claims.as_object_mut().unwrap().remove("exp");
            })),
        ),
        (
            "not yet",
            Some(issuer.token("admin", |claims| claims["nbf"] = json!(3_900_000_000_u64))),
        ),
        ("key", Some(issuer.sign("k2", &json!({})))),
        (
            "unsigned",
            Some("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.e30.".to_owned()),
        ),
        (
            "symmetric",
            Some({
                let header = json!({"typ": "JWT", "alg": "HS256", "kid": "k1"});
                let text = signed_part(&header, &json!({"sub": "x"}));
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"public");
                let signature = ring::hmac::sign(&key, text.as_bytes());
                format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
            }),
        ),
        ("garbage", Some("a.b.c".to_owned())),
    ];
    for (method, template, access) in TABLE {
        let ask = async |token: Option<&str>| {
            let bearer = token.map(|token| format!("Bearer {token}"));
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
            let request = request(method, &path(template), &headers, Body::from("{}"));
            send(&application, request).await.status
        };
        for (what, token) in &bad {
            let status = ask(token.as_deref()).await;
            let shown = format!("{method} {template} with {what}: {status}");
            match access {
                Access::Public => assert!(!refused(status), "{shown}"),
                Access::Role(_) => assert_eq!(status, StatusCode::UNAUTHORIZED, "{shown}"),
            }
        }
        for role in Role::ALL {
            let status = ask(Some(&issuer.token(role.name(), |_| {}))).await;
            let admitted = match access {
                Access::Public => true,
                Access::Role(needed) => role >= *needed,
            };
            let shown = format!("{method} {template} as {}: {status}", role.name());
            assert_eq!(!refused(status), admitted, "{shown}");
            assert!(!status.is_server_error(), "{shown}");
        }
        if let Access::Role(_) = access {
            let stranger = ask(Some(&issuer.token("nobody", |_| {}))).await;
            assert_eq!(stranger, StatusCode::FORBIDDEN, "{method} {template}");
        }
    }
    // Whatever was asked with unknown keys, the issuer was asked once.
    assert_eq!(issuer.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn groups_have_roles_and_signatures_count_where_there_is_no_token() {
    let issuer = Issuer::start().await;
    let memory = MemoryPorts::default();
    let roles = IamRoles::parse("arn:aws:sts::1:assumed-role/ops/*=operator").unwrap();
    let auth = Auth::OidcOrIam(Arc::clone(&issuer.oidc), Arc::new(roles));
    let application = application(&memory, auth);
    let bearer = format!("Bearer {}", issuer.token("on-call", |_| {}));
    let me = request(
        &Method::GET,
        "/api/v1/me",
        &[("authorization", &bearer)],
        Body::empty(),
    );
    let answer = send(&application, me).await.json();
    assert_eq!(
        (&answer["subject"], &answer["role"]),
        (&json!("alice"), &json!("operator"))
    );
    for (arn, expected) in [
        ("arn:aws:sts::1:assumed-role/ops/bob", StatusCode::OK),
        ("arn:aws:sts::2:assumed-role/ops/bob", StatusCode::FORBIDDEN),
    ] {
        let mut signed = request(&Method::GET, "/api/v1/me", &[], Body::empty());
        signed.extensions_mut().insert(IamCaller {
            arn: arn.to_owned(),
        });
        assert_eq!(send(&application, signed).await.status, expected, "{arn}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_there_is_not_found_for_everybody() {
    let application = application(&MemoryPorts::default(), local());
    for (method, path, status) in [
        (Method::GET, "/api/v1/nothing", StatusCode::NOT_FOUND),
        (
            Method::DELETE,
            "/api/v1/executions",
            StatusCode::METHOD_NOT_ALLOWED,
        ),
        (Method::POST, "/executions", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let answer = send(&application, request(&method, path, &[], Body::empty())).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let kind = answer.headers.get("content-type").unwrap();
        assert_eq!(kind, "application/problem+json", "{method} {path}");
    }
}
