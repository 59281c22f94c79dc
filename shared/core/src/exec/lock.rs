//! A lock with a limit: which executions hold a slot.
//!
//! Invariant: never more owners than the limit. Invariant: acquiring and releasing twice is the same as
//! once. An owner that crashed is found by asking for its state, see [`Lock::owners`]; nothing here counts.

use serde::{Deserialize, Serialize};

use super::Time;

/// The executions that hold a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lock {
    owners: Vec<Owner>,
}

/// One holder of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The execution.
    pub execution: String,
    /// The execution is over, but an outcome in it is unknown: the slot stays taken until then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quarantined_until: Option<Time>,
}

impl Lock {
    /// Takes a slot if one is free or held already; whether it is held now.
    pub fn acquire(&mut self, execution: &str, limit: u32, now: Time) -> bool {
        self.expire(now);
        if self.take_over(execution) {
            return true;
        }
        let free = u32::try_from(self.owners.len()).is_ok_and(|owners| owners < limit);
        if free {
            self.owners.push(Owner {
                execution: execution.to_owned(),
                quarantined_until: None,
            });
        }
        free
    }

    /// Whether the execution holds a slot already. A restart takes over the slot that its former round left
    /// in quarantine, which therefore ends: else its end would free the slot of what runs again.
    pub fn take_over(&mut self, execution: &str) -> bool {
        let held = |owner: &&mut Owner| owner.execution == execution;
        let owner = self.owners.iter_mut().find(held);
        owner.map(|owner| owner.quarantined_until = None).is_some()
    }

    /// Gives the slot back, or leaves it taken until `quarantine`.
    pub fn release(&mut self, execution: &str, quarantine: Option<Time>) {
        match quarantine {
            None => {
                // What is in quarantine is only freed by time: a repeated release must not cut it short.
                self.owners.retain(|owner| {
                    owner.execution != execution || owner.quarantined_until.is_some()
                });
            }
            Some(until) => {
                for owner in &mut self.owners {
                    if owner.execution == execution && owner.quarantined_until.is_none() {
                        owner.quarantined_until = Some(until);
                    }
                }
            }
        }
    }

    /// Frees the slots whose quarantine is over.
    pub fn expire(&mut self, now: Time) {
        self.owners
            .retain(|owner| owner.quarantined_until.is_none_or(|until| until > now));
    }

    /// When the next quarantine is over.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.owners
            .iter()
            .filter_map(|owner| owner.quarantined_until)
            .min()
    }

    /// Who holds a slot, in the order of taking it.
    #[must_use]
    pub fn owners(&self) -> &[Owner] {
        &self.owners
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_slot_is_taken_once_and_given_back_once() {
        let mut lock = Lock::default();
        assert!(lock.acquire("a", 1, Time(0)));
        assert!(
            lock.acquire("a", 1, Time(0)),
            "acquiring twice is acquiring once"
        );
        assert!(!lock.acquire("b", 1, Time(0)));
        lock.release("b", None);
        assert!(
            !lock.acquire("b", 1, Time(0)),
            "only the owner gives it back"
        );
        lock.release("a", None);
        assert!(lock.acquire("b", 1, Time(0)));
    }

    #[test]
    fn quarantine_holds_until_its_time_whatever_is_repeated() {
        let mut lock = Lock::default();
        assert!(lock.acquire("a", 1, Time(0)));
        lock.release("a", Some(Time(100)));
        lock.release("a", None);
        lock.release("a", Some(Time(900)));
        assert!(!lock.acquire("b", 1, Time(99)));
        assert_eq!(lock.due(), Some(Time(100)));
        assert!(lock.acquire("b", 1, Time(100)));
    }
    #[test]
    fn a_restart_keeps_the_slot_that_was_in_quarantine() {
        let mut lock = Lock::default();
        assert!(lock.acquire("a", 1, Time(0)));
        lock.release("a", Some(Time(100)));
        assert!(!lock.take_over("b"), "only the owner takes over");
        assert!(lock.take_over("a"));
        // The quarantine's end must not let another execution in beside the one that runs again.
        assert!(!lock.acquire("b", 1, Time(100)));
        lock.release("a", None);
        assert!(lock.acquire("b", 1, Time(100)));
    }
}
