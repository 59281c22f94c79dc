//! The console's files, served as they were built.
//!
//! Names under `assets/` hold a hash of the contents and are kept for ever; the page itself is asked for again.
//! Pages are client-side routes, so every other path that is no file gives the page.

use std::collections::HashMap;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::auth::{Auth, session_cookie};
use crate::problem::Problem;
use crate::state::Api;

/// One file of the console.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Relative to the root, such as `assets/index-3f2a.js`.
    pub path: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
    /// Changes with the contents.
    pub etag: &'static str,
}

mod assets {
    use super::Asset;

    include!(concat!(env!("OUT_DIR"), "/console.rs"));
}

/// The files of the console; none when it was not built.
#[derive(Debug, Clone, Default)]
pub struct Console {
    assets: HashMap<&'static str, Asset>,
}

impl Console {
    /// The console that was built into this binary.
    #[must_use]
    pub fn embedded() -> Self {
        Self::new(assets::ASSETS)
    }

    /// A console of these files.
    #[must_use]
    pub fn new(assets: &[Asset]) -> Self {
        Self {
            assets: assets.iter().map(|asset| (asset.path, *asset)).collect(),
        }
    }
}

const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Operon</title>\
<h1>Operon</h1><p>This binary was built without the console. Run <code>npm ci &amp;&amp; npm run build</code> in \
<code>web</code> and build it again.</p><p>The HTTP interface is at <code>/api/v1</code>.</p>";

/// Everything that is not a route of the interface.
pub(crate) async fn serve(State(api): State<Api>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return Problem::not_found("there is nothing at this path").into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Problem::method_not_allowed().into_response();
    }
    if let Some(token) = token_of(request.uri().query())
        && path == "/"
    {
        return sign_in(api.auth(), &token);
    }
    let name = path.trim_start_matches('/');
    let assets = &api.console().assets;
    if let Some(asset) = assets.get(name).filter(|_| !name.is_empty()) {
        return file(asset, request.headers());
    }
    // A file that is not there must not come as a page.
    if name.starts_with("assets/")
        || name
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains('.'))
            && !is_page(name)
    {
        return Problem::not_found("there is no such file").into_response();
    }
    match assets.get("index.html") {
        Some(page) => file(page, request.headers()),
        None => Html(MISSING).into_response(),
    }
}

/// Whether a path belongs to the console's pages, whose last part may be a namespace with dots.
fn is_page(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    matches!(
        first,
        "executions" | "flows" | "triggers" | "audit" | "overview"
    )
}

fn token_of(query: Option<&str>) -> Option<String> {
    let pair = query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))?;
    (pair.len() <= 256).then(|| pair.to_owned())
}

/// Turns the token that the server printed into a cookie, and takes it out of the address.
fn sign_in(auth: &Auth, token: &str) -> Response {
    let Auth::Local(known) = auth else {
        return Redirect::to("/").into_response();
    };
    if !known.is(token) {
        return Problem::unauthorized(
            "this token is not of this server; open the address that it printed when it started",
        )
        .into_response();
    }
    let cookie = session_cookie(known.session(), "");
    let mut response = Redirect::to("/").into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn file(asset: &Asset, headers: &HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|value| value.to_str().ok()) == Some(asset.etag);
    let lasting = asset.path.starts_with("assets/");
    let cache = if lasting {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.bytes.into_response()
    };
    let out = response.headers_mut();
    out.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(kind(asset.path)),
    );
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(value) = HeaderValue::from_str(asset.etag) {
        out.insert(header::ETAG, value);
    }
    response
}

/// The content type of a file, by its name.
fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}
