//! Names for executions: by chance where people start them, derived where a wish may be repeated.

use std::hash::{BuildHasher as _, RandomState};

use sha2::{Digest as _, Sha256};

use crate::ports::ExecutionId;

/// Digits without those that are easily confused.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new id: 9 characters of the time, so that ids sort, and 7 by chance.
#[must_use]
pub fn new_execution(now_ms: u64) -> ExecutionId {
    let mut text = String::new();
    push(&mut text, now_ms, 9);
    push(&mut text, chance(), 7);
    loop {
        // 16 of these digits are always an id.
        if let Ok(id) = text.parse() {
            return id;
        }
    }
}

/// The id of an execution that follows from these parts: equal parts give equal ids (invariant 1).
#[must_use]
pub fn derived_execution(parts: &[&str]) -> ExecutionId {
    let mut hasher = Sha256::new();
    for part in parts {
        // Lengths, so that no two lists of parts are the same bytes.
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut text = hex::encode(hasher.finalize());
    text.truncate(24);
    loop {
        // 24 hexadecimal digits are always an id.
        if let Ok(id) = text.parse() {
            return id;
        }
    }
}

/// Characters that make a name unique, such as that of an audit record.
#[must_use]
pub fn unique() -> String {
    let mut text = String::new();
    push(&mut text, chance(), 12);
    text
}

/// The standard library seeds its hashers by chance; ids are no secrets.
fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

fn push(text: &mut String, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = usize::try_from((number >> (5 * place)) & 31).unwrap_or_default();
        text.extend(DIGITS.get(digit).map(|digit| char::from(*digit)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_have_sixteen_characters_sort_by_time_and_differ() {
        let (a, b) = (
            new_execution(1_800_000_000_000),
            new_execution(1_800_000_000_000),
        );
        assert_eq!(a.as_str().len(), 16);
        assert_ne!(a, b);
        assert!(new_execution(1_800_000_000_001).as_str()[..9] > a.as_str()[..9]);
    }

    #[test]
    fn equal_parts_give_equal_ids_and_no_others_do() {
        assert_eq!(
            derived_execution(&["a", "b"]),
            derived_execution(&["a", "b"])
        );
        assert_ne!(derived_execution(&["a", "b"]), derived_execution(&["ab"]));
        assert_ne!(
            derived_execution(&["a", "b"]),
            derived_execution(&["", "ab"])
        );
    }
}
