//! The token of a server on this machine: made when it starts, gone when it ends.

use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::{Credential, Identity, Role, credential};
use crate::problem::Problem;

/// The per-start token. Only its hash is compared, so the time a comparison takes says nothing about it.
pub struct LocalToken {
    hash: [u8; 32],
    session: String,
    session_hash: [u8; 32],
    subject: String,
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares without stopping at the first difference.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter()
        .zip(b)
        .fold(0, |difference, (a, b)| difference | (a ^ b))
        == 0
}

impl LocalToken {
    /// The token, which must be unguessable, and who uses it.
    #[must_use]
    pub fn new(token: &str, subject: &str) -> Self {
        // Browsers send cookies to every port of a machine: what they send must not be the token itself.
        let session = hex::encode(hash(&format!("operon session {token}")));
        Self {
            hash: hash(token),
            session_hash: hash(&session),
            session,
            subject: subject.to_owned(),
        }
    }

    /// Whether this is the token.
    #[must_use]
    pub fn is(&self, token: &str) -> bool {
        equal(&hash(token), &self.hash)
    }

    /// The cookie's value for who has the token.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    pub(super) fn identify(&self, parts: &Parts) -> Result<Identity, Problem> {
        let (known, by_cookie) = match credential(&parts.headers)? {
            Credential::Bearer(token) => (self.is(&token), false),
            Credential::Cookie(session) => (equal(&hash(&session), &self.session_hash), true),
            Credential::None => (false, false),
        };
        if !known {
            return Err(Problem::unauthorized(
                "open the address that `operon server` printed when it started, or send its token as \
                 `Authorization: Bearer <token>`",
            ));
        }
        Ok(Identity {
            subject: self.subject.clone(),
            role: Role::Admin,
            by_cookie,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let token = LocalToken::new("secret", "me");
        assert!(token.is("secret"));
        assert!(!token.is("secres") && !token.is("") && !token.is(token.session()));
        assert_ne!(token.session(), "secret");
    }
}
