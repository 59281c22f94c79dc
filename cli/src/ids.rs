//! Names for executions that people start.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use operon_engine::ports::ExecutionId;

/// Digits without those that are easily confused.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new id: 9 characters of the time, so that they sort, and 7 by chance.
pub(crate) fn new_execution() -> ExecutionId {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or_default();
    // The standard library seeds its hashers by chance; ids are no secrets.
    let chance = RandomState::new().hash_one(millis);
    let mut text = String::new();
    push(&mut text, millis, 9);
    push(&mut text, chance, 7);
    loop {
        // 16 of these digits are always an id.
        if let Ok(id) = text.parse() {
            return id;
        }
    }
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
    fn ids_have_sixteen_characters_and_differ() {
        let (a, b) = (new_execution(), new_execution());
        assert_eq!(a.as_str().len(), 16);
        assert_ne!(a, b);
    }
}
