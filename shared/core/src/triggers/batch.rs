//! How events are put together: when a batch is full, and when it must go.
//!
//! Invariant: no batch is larger than its limits, and none waits longer than `max_wait_ms` for its oldest event.

/// Limits of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events at most, at least 1.
    pub items_max: usize,
    /// Bytes of events at most. An event that is larger makes a batch of its own.
    pub bytes_max: Option<u64>,
    /// Longest time an event waits for others.
    pub wait_max_ms: u64,
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Names it.
    pub name: String,
    /// When it was accepted, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Bytes of it.
    pub bytes: u64,
}

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// No further event fits.
    Full,
    /// Its oldest event has waited long enough.
    Due,
}

/// Events of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Names of the events, the oldest first.
    pub names: Vec<String>,
    /// Why it goes.
    pub why: Closed,
}

impl Limits {
    /// A batch is closed this long before its time, so that its execution exists by then: a thirtieth, one second at
    /// the most.
    #[must_use]
    pub fn lead_ms(&self) -> u64 {
        (self.wait_max_ms / 30).min(1_000)
    }

    /// When the batch of an event that was accepted at `at_ms` must be closed.
    #[must_use]
    pub fn due_ms(&self, at_ms: u64) -> u64 {
        at_ms
            .saturating_add(self.wait_max_ms)
            .saturating_sub(self.lead_ms())
    }

    /// The next batch out of events of one group, or none when they go on waiting. Repeat until there is none.
    #[must_use]
    pub fn cut(&self, waiting: &mut Vec<Waiting>, now: u64) -> Option<Cut> {
        waiting.sort_by(|a, b| (a.at_ms, &a.name).cmp(&(b.at_ms, &b.name)));
        let oldest = waiting.first()?.at_ms;
        let mut bytes = 0_u64;
        let mut count = 0;
        let mut full = false;
        for event in waiting.iter() {
            let more = bytes.saturating_add(event.bytes);
            let over = count > 0 && self.bytes_max.is_some_and(|max| more > max);
            if over || count == self.items_max.max(1) {
                full = true;
                break;
            }
            (bytes, count) = (more, count + 1);
        }
        full |= count >= self.items_max.max(1) || self.bytes_max.is_some_and(|max| bytes >= max);
        let why = if full {
            Closed::Full
        } else if self.due_ms(oldest) <= now {
            Closed::Due
        } else {
            return None;
        };
        let names = waiting.drain(..count).map(|event| event.name).collect();
        Some(Cut { names, why })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        items_max: 100,
        bytes_max: None,
        wait_max_ms: 30_000,
    };

    fn events(count: usize) -> Vec<Waiting> {
        (0..count)
            .map(|number| Waiting {
                name: format!("{number:05}"),
                at_ms: 1_000,
                bytes: 10,
            })
            .collect()
    }

    fn cuts(limits: &Limits, mut waiting: Vec<Waiting>, now: u64) -> Vec<(usize, Closed)> {
        std::iter::from_fn(|| limits.cut(&mut waiting, now))
            .map(|cut| (cut.names.len(), cut.why))
            .collect()
    }

    #[test]
    fn a_burst_of_950() {
        let at_once = cuts(&LIMITS, events(950), 1_000);
        assert_eq!(at_once, vec![(100, Closed::Full); 9]);
        let later = cuts(&LIMITS, events(950), 30_000);
        assert_eq!(later.len(), 10);
        assert_eq!(later.last(), Some(&(50, Closed::Due)));
        assert!(LIMITS.due_ms(1_000) < 31_000);
    }

    #[test]
    fn bytes_close_a_batch_and_one_large_event_goes_alone() {
        let limits = Limits {
            bytes_max: Some(35),
            ..LIMITS
        };
        assert_eq!(cuts(&limits, events(7), 1_000), vec![(3, Closed::Full); 2]);
        let large = Limits {
            bytes_max: Some(5),
            ..LIMITS
        };
        assert_eq!(cuts(&large, events(2), 1_000), vec![(1, Closed::Full); 2]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_limit_is_passed(
            sizes in prop::collection::vec((0_u64..50_000, 0_u64..100), 0..300),
            items_max in 1_usize..50,
            bytes_max in prop::option::of(1_u64..500),
            now in 0_u64..100_000,
        ) {
            let limits = Limits { items_max, bytes_max, wait_max_ms: 20_000 };
            let mut waiting: Vec<Waiting> = sizes
                .iter()
                .enumerate()
                .map(|(number, (at_ms, bytes))| Waiting { name: number.to_string(), at_ms: *at_ms, bytes: *bytes })
                .collect();
            let mut names = Vec::new();
            while let Some(cut) = limits.cut(&mut waiting, now) {
                prop_assert!(!cut.names.is_empty() && cut.names.len() <= items_max);
                let bytes: u64 = cut.names.iter().filter_map(|name| sizes.get(name.parse::<usize>().ok()?)).map(|size| size.1).sum();
                prop_assert!(cut.names.len() == 1 || bytes_max.is_none_or(|max| bytes <= max));
                names.extend(cut.names);
            }
            for event in &waiting {
                prop_assert!(limits.due_ms(event.at_ms) > now, "it waited too long");
            }
            names.extend(waiting.into_iter().map(|event| event.name));
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), sizes.len());
        }
    }
}
