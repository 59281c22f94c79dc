//! When a flow trigger fires: which executions of other flows have ended, and within which time.
//!
//! Facts are kept per window: the latest execution that satisfied each dependency. A window's facts only grow, and
//! a repeated or late fact changes nothing that has fired.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 86_400_000;

/// How many dependencies must be satisfied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each of them.
    #[default]
    All,
    /// One: each satisfied dependency fires by itself.
    Any,
    /// This many.
    AtLeast(usize),
}

impl Mode {
    /// Dependencies that must be satisfied, of `count`.
    #[must_use]
    pub fn needed(self, count: usize) -> usize {
        match self {
            Self::All => count,
            Self::Any => 1,
            Self::AtLeast(needed) => needed.clamp(1, count.max(1)),
        }
    }
}

/// The time in which dependencies must be satisfied together.
#[derive(Debug, Clone, PartialEq)]
pub enum Window {
    /// No limit: facts are kept until they fire.
    Forever,
    /// Every day from its beginning to this time of day.
    Deadline(Time),
    /// Every day from one time of day to another; over midnight when the second is not later.
    Between(Time, Time),
    /// Windows of this length, shifted by an offset from the epoch.
    Every {
        /// Length in milliseconds, not 0.
        length_ms: u64,
        /// Shift in milliseconds.
        offset_ms: u64,
    },
    /// This long before the last fact.
    Lookback(u64),
}

/// A window's bounds in milliseconds since the epoch: the first is in it, the second no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its begin, which names it.
    pub from: u64,
    /// Its end; none when it has none.
    pub until: Option<u64>,
}

impl Window {
    /// The window a moment is in; none when it is in none, such as after the deadline.
    #[must_use]
    pub fn at(&self, now: u64, zone: &TimeZone) -> Option<Span> {
        match self {
            Self::Forever | Self::Lookback(_) => Some(Span {
                from: 0,
                until: None,
            }),
            Self::Every {
                length_ms,
                offset_ms,
            } => {
                let length = (*length_ms).max(1);
                let shift = offset_ms % length;
                // Before the first whole window the shift leaves a shorter one.
                let from = match now.checked_sub(shift) {
                    Some(since) => since / length * length + shift,
                    None => 0,
                };
                let until = if from == 0 && shift > 0 && now < shift {
                    shift
                } else {
                    from + length
                };
                Some(Span {
                    from,
                    until: Some(until),
                })
            }
            Self::Deadline(deadline) => daily(now, zone, Time::midnight(), *deadline),
            Self::Between(from, to) => daily(now, zone, *from, *to),
        }
    }

    /// Whether facts older than the newest by more than this do not count.
    #[must_use]
    pub const fn lookback(&self) -> Option<u64> {
        match self {
            Self::Lookback(ms) => Some(*ms),
            Self::Forever | Self::Deadline(_) | Self::Between(..) | Self::Every { .. } => None,
        }
    }
}

/// The window of the day, or of the day before, that holds `now`.
fn daily(now: u64, zone: &TimeZone, from: Time, to: Time) -> Option<Span> {
    let at = Timestamp::from_millisecond(i64::try_from(now).ok()?)
        .ok()?
        .to_zoned(zone.clone());
    let over_midnight = to <= from;
    for back in [0_i64, 1] {
        let day = at.date().checked_sub(jiff::Span::new().days(back)).ok()?;
        let end = if over_midnight {
            day.tomorrow().ok()?
        } else {
            day
        };
        let begin = ms(day.to_datetime(from), zone)?;
        let finish = ms(end.to_datetime(to), zone)?;
        if (begin..finish).contains(&now) {
            return Some(Span {
                from: begin,
                until: Some(finish),
            });
        }
        if !over_midnight {
            break;
        }
    }
    None
}

fn ms(at: jiff::civil::DateTime, zone: &TimeZone) -> Option<u64> {
    let at = zone.to_ambiguous_zoned(at).compatible().ok()?;
    u64::try_from(at.timestamp().as_millisecond()).ok()
}

/// An execution that satisfied a dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// Which execution.
    pub execution: String,
    /// When it ended.
    pub at_ms: u64,
}

/// What is known in one window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The latest fact by the number of the dependency.
    pub satisfied: BTreeMap<usize, Fact>,
    /// Executions that have been used up by an earlier firing, at most [`Facts::USED_MAX`].
    pub used: Vec<String>,
    /// How often it fired.
    pub fired: u32,
    /// The window passed without enough facts, and that has been dealt with.
    pub missed: bool,
}

/// What a fact led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough yet.
    Waits,
    /// Fires with these facts, in the order of the dependencies.
    Fires(Vec<(usize, Fact)>),
    /// Changes nothing: it was known, or the window has fired already.
    Known,
}

impl Facts {
    /// Used executions that are remembered.
    pub const USED_MAX: usize = 200;

    /// Takes in that `fact` satisfies dependency number `index` of `count`.
    pub fn add(
        &mut self,
        index: usize,
        fact: Fact,
        (mode, count): (Mode, usize),
        lookback: Option<u64>,
        fire_once: bool,
    ) -> Verdict {
        let known = self.used.contains(&fact.execution)
            || self
                .satisfied
                .get(&index)
                .is_some_and(|there| there.execution == fact.execution || there.at_ms > fact.at_ms);
        if known || (fire_once && self.fired > 0) {
            return Verdict::Known;
        }
        self.satisfied.insert(index, fact);
        if let (Some(lookback), Some(newest)) = (
            lookback,
            self.satisfied.values().map(|fact| fact.at_ms).max(),
        ) {
            self.satisfied
                .retain(|_, fact| fact.at_ms.saturating_add(lookback) >= newest);
        }
        if self.satisfied.len() < mode.needed(count) {
            return Verdict::Waits;
        }
        let facts: Vec<(usize, Fact)> = std::mem::take(&mut self.satisfied).into_iter().collect();
        self.used
            .extend(facts.iter().map(|(_, fact)| fact.execution.clone()));
        let surplus = self.used.len().saturating_sub(Self::USED_MAX);
        self.used.drain(..surplus);
        self.fired += 1;
        Verdict::Fires(facts)
    }
}

/// Length of a day, for windows that need a bound.
#[must_use]
pub const fn day_ms() -> u64 {
    DAY_MS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fact(execution: &str, at_ms: u64) -> Fact {
        Fact {
            execution: execution.to_owned(),
            at_ms,
        }
    }

    fn fires(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Fires(_))
    }

    /// Every subset of three satisfied dependencies, under every mode.
    #[test]
    fn truth_table_of_modes() {
        for subset in 0_u32..8 {
            let count = subset.count_ones() as usize;
            for (mode, expected) in [
                (Mode::All, count == 3),
                (Mode::Any, count >= 1),
                (Mode::AtLeast(1), count >= 1),
                (Mode::AtLeast(2), count >= 2),
                (Mode::AtLeast(3), count == 3),
                (Mode::AtLeast(9), count == 3),
            ] {
                let mut facts = Facts::default();
                let fired = (0..3)
                    .filter(|index| subset & (1 << index) != 0)
                    .filter(|index| {
                        let fact = fact(&format!("e{index}"), 10);
                        fires(&facts.add(*index, fact, (mode, 3), None, true))
                    })
                    .count();
                assert_eq!(fired, usize::from(expected), "{mode:?} of {subset:03b}");
            }
        }
    }

    #[test]
    fn the_order_in_which_facts_come_does_not_matter() {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut facts = Facts::default();
            let mut fired = Vec::new();
            for index in order {
                // Each is delivered twice.
                for _ in 0..2 {
                    let fact = fact(&format!("e{index}"), 10 + index as u64);
                    if let Verdict::Fires(with) =
                        facts.add(index, fact, (Mode::All, 3), None, false)
                    {
                        fired.push(with.len());
                    }
                }
            }
            assert_eq!(fired, [3], "{order:?}");
        }
    }

    #[test]
    fn without_fire_once_new_facts_fire_again() {
        let mut facts = Facts::default();
        let mut add = |index, name: &str| {
            fires(&facts.add(index, fact(name, 1), (Mode::All, 2), None, false))
        };
        assert!(!add(0, "a1"));
        assert!(add(1, "b1"));
        assert!(!add(0, "a1"), "used up");
        assert!(!add(0, "a2"));
        assert!(add(1, "b2"));
    }

    #[test]
    fn lookback_drops_what_is_too_old() {
        let mut facts = Facts::default();
        let mut add = |index, name: &str, at| {
            fires(&facts.add(index, fact(name, at), (Mode::All, 2), Some(100), false))
        };
        assert!(!add(0, "a1", 1_000));
        assert!(!add(1, "b1", 1_101), "the first is too old");
        assert!(add(0, "a2", 1_201), "exactly as old as allowed");
    }

    fn zurich() -> TimeZone {
        TimeZone::get("Europe/Zurich").unwrap()
    }

    fn at(text: &str) -> u64 {
        let at: jiff::Zoned = text.parse().unwrap();
        u64::try_from(at.timestamp().as_millisecond()).unwrap()
    }

    #[test]
    fn windows_of_a_day() {
        let deadline = Window::Deadline(Time::constant(9, 0, 0, 0));
        let span = deadline
            .at(at("2026-06-10T08:59[Europe/Zurich]"), &zurich())
            .unwrap();
        assert_eq!(span.from, at("2026-06-10T00:00[Europe/Zurich]"));
        assert_eq!(span.until, Some(at("2026-06-10T09:00[Europe/Zurich]")));
        assert_eq!(
            deadline.at(at("2026-06-10T09:00[Europe/Zurich]"), &zurich()),
            None
        );

        let night = Window::Between(Time::constant(22, 0, 0, 0), Time::constant(6, 0, 0, 0));
        let begin = at("2026-06-10T22:00[Europe/Zurich]");
        for inside in ["2026-06-10T22:00", "2026-06-11T05:59"] {
            let span = night.at(at(&format!("{inside}[Europe/Zurich]")), &zurich());
            assert_eq!(span.map(|span| span.from), Some(begin), "{inside}");
        }
        assert_eq!(
            night.at(at("2026-06-11T06:00[Europe/Zurich]"), &zurich()),
            None
        );
        // The day on which the clocks go forward has 23 hours.
        let day = Window::Between(Time::midnight(), Time::constant(6, 0, 0, 0));
        let span = day
            .at(at("2026-03-29T04:00[Europe/Zurich]"), &zurich())
            .unwrap();
        assert_eq!(span.until.unwrap() - span.from, 5 * 3_600_000);
    }

    #[test]
    fn windows_aligned_to_the_epoch() {
        let window = Window::Every {
            length_ms: DAY_MS,
            offset_ms: 2 * 3_600_000,
        };
        let span = window
            .at(at("2026-06-10T01:59[UTC]"), &TimeZone::UTC)
            .unwrap();
        assert_eq!(span.from, at("2026-06-09T02:00[UTC]"));
        assert_eq!(span.until, Some(at("2026-06-10T02:00[UTC]")));
        let next = window
            .at(at("2026-06-10T02:00[UTC]"), &TimeZone::UTC)
            .unwrap();
        assert_eq!(Some(next.from), span.until);
        assert_eq!(
            window.at(5, &TimeZone::UTC).unwrap().until,
            Some(2 * 3_600_000)
        );
    }
}
