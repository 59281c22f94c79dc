//! One library of cryptography for every connection.
//!
//! It is ring: a second one would make each function larger by a megabyte (docs/decisions/0029-one-cryptography.md).

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// What connections are encrypted by.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client of HTTP, to be built. Whoever makes one makes it here, where it finds what encrypts its connections.
pub fn http_client() -> reqwest::ClientBuilder {
    // Whoever was first has set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
