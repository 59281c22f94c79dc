//! A bounded map of shared values: the oldest entry goes first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values by key, at most so many.
#[derive(Debug)]
pub(crate) struct Kept<K, V> {
    limit: usize,
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    values: HashMap<K, Arc<V>>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Kept<K, V> {
    /// An empty map that holds at most `limit` entries.
    #[must_use]
    pub(crate) fn new(limit: usize) -> Self {
        let inner = Inner {
            values: HashMap::new(),
            order: VecDeque::new(),
        };
        Self {
            limit,
            inner: Mutex::new(inner),
        }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.lock().values.get(key).cloned()
    }

    /// Keeps a value.
    pub(crate) fn put(&self, key: K, value: Arc<V>) {
        let inner = &mut *self.lock();
        if inner.values.insert(key.clone(), value).is_none() {
            inner.order.push_back(key);
        }
        if inner.order.len() > self.limit
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.values.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_oldest_entry_goes_first() {
        let kept = Kept::new(2);
        for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            kept.put(key, Arc::new(value));
        }
        assert_eq!(kept.get(&"a"), None);
        assert_eq!(kept.get(&"b").as_deref(), Some(&2));
        assert_eq!(kept.get(&"c").as_deref(), Some(&4));
    }
}
