//! How an attempt is called on ECS: a token that makes its launch happen once, and a name that comes back.
//!
//! Invariant: both follow from the attempt alone, so whoever launches it, and how often, names it the same.

use sha2::{Digest as _, Sha256};

use crate::ports::{AttemptId, TaskRunKey};

/// Characters of `startedBy` at most: letters, digits, `-`, `/` and `_` (aws.md 1.4).
pub const STARTED_BY_MAX: usize = 128;

/// The alphabet of RFC 4648.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The client token of an attempt: base32 of its hash, 52 of the 64 characters that ECS allows.
#[must_use]
pub fn client_token(id: &AttemptId) -> String {
    let digest = Sha256::digest(id.to_string());
    let mut out = String::with_capacity(52);
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut push = |five: u32| {
        let index = usize::try_from(five & 31).unwrap_or_default();
        out.push(char::from(BASE32.get(index).copied().unwrap_or(b'A')));
    };
    for byte in digest {
        bits = (bits << 8) | u32::from(byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            push(bits >> count);
        }
    }
    if count > 0 {
        push(bits << (5 - count));
    }
    out
}

/// `execution/shard/slot/attempt`, with the shard's `.` and `/` written as `_` and `-`. None when it is too long
/// for ECS, as deep inside loops: then it has a [`short_identity`].
#[must_use]
pub fn identity(id: &AttemptId) -> Option<String> {
    let shard = id
        .task_run
        .shard
        .to_string()
        .replace('/', "-")
        .replace('.', "_");
    let text = format!(
        "{}/{shard}/{}/{}",
        id.execution, id.task_run.slot, id.attempt
    );
    (text.len() <= STARTED_BY_MAX).then_some(text)
}

/// A name for an attempt whose own is too long; a record says whose it is.
#[must_use]
pub fn short_identity(id: &AttemptId) -> String {
    let digest = hex::encode(Sha256::digest(id.to_string()));
    format!("operon/{}", digest.get(..40).unwrap_or(&digest))
}

/// Reads an [`identity`]; none for what others started, and for short ones.
#[must_use]
pub fn parse_identity(text: &str) -> Option<AttemptId> {
    let mut parts = text.split('/');
    let execution = parts.next()?.parse().ok()?;
    let shard = parts.next()?.replace('-', "/").replace('_', ".");
    let task_run = TaskRunKey {
        shard: shard.parse().ok()?,
        slot: parts.next()?.parse().ok()?,
    };
    let attempt = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(AttemptId {
        execution,
        task_run,
        attempt,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn id(execution: &str, shard: &str, slot: u16, attempt: u8) -> AttemptId {
        AttemptId {
            execution: execution.parse().unwrap(),
            task_run: TaskRunKey {
                shard: shard.parse().unwrap(),
                slot,
            },
            attempt,
        }
    }

    #[test]
    fn a_token_fits_and_follows_from_the_attempt() {
        let token = client_token(&id("e", "0", 1, 1));
        assert_eq!(token.len(), 52);
        assert!(token.bytes().all(|byte| BASE32.contains(&byte)));
        assert_eq!(token, client_token(&id("e", "0", 1, 1)));
        let others = [
            id("f", "0", 1, 1),
            id("e", "1", 1, 1),
            id("e", "0", 2, 1),
            id("e", "0", 1, 2),
        ];
        for other in others {
            assert_ne!(token, client_token(&other));
        }
    }

    #[test]
    fn an_identity_comes_back_as_the_attempt() {
        for id in [
            id("e-1_x", "0", 0, 1),
            id(&"x".repeat(64), "3", 127, 255),
            id("e", "0.12/5.3/99999", 64, 2),
        ] {
            let text = identity(&id).unwrap();
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-/_".contains(c);
            assert!(text.len() <= STARTED_BY_MAX && text.chars().all(allowed));
            assert_eq!(parse_identity(&text), Some(id));
        }
        for foreign in ["", "ecs-svc/123", "a/b/c/d", "e/0/1/1/1", "e/0/1"] {
            assert_eq!(parse_identity(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn deep_inside_loops_the_identity_is_short() {
        let deep = id(
            &"x".repeat(64),
            "0.127/4294967295.127/4294967295.127/4294967295.127/4294967295",
            127,
            255,
        );
        assert_eq!(identity(&deep), None);
        let short = short_identity(&deep);
        assert!(short.len() <= STARTED_BY_MAX);
        assert_eq!(parse_identity(&short), None);
    }
}
