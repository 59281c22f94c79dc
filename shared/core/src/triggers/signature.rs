//! Signatures of webhooks: what is signed, and whether it is right.
//!
//! Invariant: a comparison takes the same time wherever the first difference is, and nothing of a call is read
//! before its signature holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Whose convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// `X-Hub-Signature-256: sha256=<hex of the body's HMAC>`.
    GitHub,
    /// `X-Slack-Signature: v0=<hex>` over `v0:<timestamp>:<body>`.
    Slack,
    /// A header of your own; with a timestamp header the text `<timestamp>.<body>` is signed.
    Generic,
}

/// How calls are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Whose convention.
    pub convention: Convention,
    /// Name of the secret.
    pub secret: String,
    /// Header with the signature.
    pub header: String,
    /// What stands before the signature in its header.
    pub prefix: String,
    /// Header with seconds since the epoch, which are signed too.
    pub timestamp_header: Option<String>,
    /// Header that names the delivery.
    pub id_header: Option<String>,
    /// Oldest and most future timestamp that is accepted.
    pub tolerance_ms: u64,
}

/// Why a call is refused. Said to the log, never to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no signature.
    #[error("the signature header is missing")]
    Missing,
    /// It is not one.
    #[error("the signature is neither hexadecimal nor Base64")]
    Unreadable,
    /// It is wrong.
    #[error("the signature does not match")]
    Wrong,
    /// There is no time.
    #[error("the timestamp header is missing or not a number of seconds")]
    NoTime,
    /// It is a repetition of an old call, or a clock is wrong.
    #[error("the timestamp is too far from now")]
    Stale,
}

impl Signature {
    /// A signature of that convention with its usual headers.
    #[must_use]
    pub fn new(convention: Convention, secret: &str) -> Self {
        let (header, prefix, timestamp, id) = match convention {
            Convention::GitHub => (
                "x-hub-signature-256",
                "sha256=",
                None,
                Some("x-github-delivery"),
            ),
            Convention::Slack => (
                "x-slack-signature",
                "v0=",
                Some("x-slack-request-timestamp"),
                None,
            ),
            Convention::Generic => ("x-signature", "", None, Some("idempotency-key")),
        };
        Self {
            convention,
            secret: secret.to_owned(),
            header: header.to_owned(),
            prefix: prefix.to_owned(),
            timestamp_header: timestamp.map(str::to_owned),
            id_header: id.map(str::to_owned),
            tolerance_ms: 300_000,
        }
    }

    /// Whether a call is signed with `key` and recent. `header` gives a header's value by its lower-case name.
    pub fn check<'h>(
        &self,
        key: &[u8],
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
        now_ms: u64,
    ) -> Result<(), Refused> {
        let given = header(&self.header).ok_or(Refused::Missing)?.trim();
        let given = given
            .strip_prefix(self.prefix.as_str())
            .ok_or(Refused::Unreadable)?;
        let given = decode(given).ok_or(Refused::Unreadable)?;
        let mut time = None;
        if let Some(name) = &self.timestamp_header {
            let text = header(name).ok_or(Refused::NoTime)?.trim();
            let seconds: u64 = text.parse().map_err(|_| Refused::NoTime)?;
            if seconds.saturating_mul(1_000).abs_diff(now_ms) > self.tolerance_ms {
                return Err(Refused::Stale);
            }
            time = Some(text);
        }
        let mut mac = self.mac(key);
        match (self.convention, time) {
            (Convention::Slack, Some(time)) => {
                mac.update(format!("v0:{time}:").as_bytes());
            }
            (Convention::Generic | Convention::GitHub, Some(time)) => {
                mac.update(format!("{time}.").as_bytes());
            }
            (_, None) => {}
        }
        mac.update(body);
        mac.verify_slice(&given).map_err(|_| Refused::Wrong)
    }

    #[allow(clippy::unused_self, reason = "another algorithm would be chosen here")]
    fn mac(&self, key: &[u8]) -> Hmac<Sha256> {
        // HMAC takes keys of every length, so the second case does not occur.
        Hmac::new_from_slice(key)
            .unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()))
    }
}

/// Hexadecimal, or Base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    if text.len() > 200 {
        return None;
    }
    hex::decode(text)
        .ok()
        .or_else(|| STANDARD.decode(text).ok())
}

/// Whether two texts are equal, in a time that tells nothing but their lengths.
#[must_use]
pub fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |sum, (a, b)| sum | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;

    fn check(
        signature: &Signature,
        key: &str,
        headers: &[(&str, &str)],
        body: &str,
        now_s: u64,
    ) -> Result<(), Refused> {
        let headers: BTreeMap<&str, &str> = headers.iter().copied().collect();
        signature.check(
            key.as_bytes(),
            |name| headers.get(name).copied(),
            body.as_bytes(),
            now_s * 1_000,
        )
    }

    /// The example of GitHub's documentation, "Validating webhook deliveries".
    #[test]
    fn the_example_of_github() {
        let github = Signature::new(Convention::GitHub, "HOOK");
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let key = "It's a Secret to Everybody";
        let wrong = right.replace("757", "758");
        let call = |value| {
            check(
                &github,
                key,
                &[("x-hub-signature-256", value)],
                "Hello, World!",
                0,
            )
        };
        assert_eq!(call(right), Ok(()));
        assert_eq!(call(&wrong), Err(Refused::Wrong));
        assert_eq!(call("sha256=zz"), Err(Refused::Unreadable));
        assert_eq!(call("757107ea"), Err(Refused::Unreadable));
        assert_eq!(
            check(&github, key, &[], "Hello, World!", 0),
            Err(Refused::Missing)
        );
        assert_eq!(
            check(
                &github,
                "other",
                &[("x-hub-signature-256", right)],
                "Hello, World!",
                0
            ),
            Err(Refused::Wrong)
        );
    }

    /// The example of Slack's documentation, "Verifying requests from Slack".
    #[test]
    fn the_example_of_slack() {
        let slack = Signature::new(Convention::Slack, "HOOK");
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let right = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        let headers = [
            ("x-slack-signature", right),
            ("x-slack-request-timestamp", "1531420618"),
        ];
        let key = "8f742231b10e8888abcd99yyyzzz85a5";
        assert_eq!(check(&slack, key, &headers, body, 1_531_420_618), Ok(()));
        assert_eq!(
            check(&slack, key, &headers, body, 1_531_420_618 + 300),
            Ok(())
        );
        assert_eq!(
            check(&slack, key, &headers, body, 1_531_420_618 + 301),
            Err(Refused::Stale)
        );
        assert_eq!(
            check(&slack, key, &headers, body, 1_531_420_618 - 301),
            Err(Refused::Stale)
        );
        assert_eq!(
            check(&slack, key, &headers[..1], body, 1_531_420_618),
            Err(Refused::NoTime)
        );
        // Another time that is recent is not the one that was signed.
        let moved = [headers[0], ("x-slack-request-timestamp", "1531420619")];
        assert_eq!(
            check(&slack, key, &moved, body, 1_531_420_618),
            Err(Refused::Wrong)
        );
    }

    #[test]
    fn a_header_of_your_own_in_both_encodings() {
        let mut generic = Signature::new(Convention::Generic, "HOOK");
        generic.timestamp_header = Some("x-time".to_owned());
        let mut mac = generic.mac(b"key");
        mac.update(b"100.body");
        let bytes = mac.finalize().into_bytes();
        for value in [hex::encode(bytes), STANDARD.encode(bytes)] {
            let headers = [("x-signature", value.as_str()), ("x-time", "100")];
            assert_eq!(check(&generic, "key", &headers, "body", 110), Ok(()));
            assert_eq!(
                check(&generic, "key", &headers, "bodY", 110),
                Err(Refused::Wrong)
            );
        }
        assert_eq!(decode(&"a".repeat(202)), None);
    }

    #[test]
    fn equality_without_a_hint() {
        assert!(
            equal("secret", "secret") && !equal("secret", "secreT") && !equal("secret", "secre")
        );
    }
}
