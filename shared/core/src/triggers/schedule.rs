//! Which dates of a schedule are due, and what becomes of those that were missed.
//!
//! A schedule remembers one thing, its *cursor*: the last date that was dealt with. Whatever lies between the cursor
//! and now is either fired or skipped with a reason, and the cursor moves past it. Switching a trigger off and on
//! does not touch the cursor, so the time in between is treated like an outage.
//!
//! Invariant: a date is dealt with once; dates are dealt with in order.

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::lang::cron::Cron;

/// A date that is dealt with within this time was not missed. `EventBridge` Scheduler is exact to a minute (aws.md
/// 2.5), and so is this.
pub const ON_TIME_MS: u64 = 60_000;
/// Dates fired in one go at most; the rest is due at once.
pub const FIRED_MAX: usize = 100;
/// Dates looked at in one go at most: a day of seconds, so that an outage of weeks is walked through in steps.
pub const LOOKED_AT_MAX: usize = 86_400;
/// Skipped dates that are named; more are only counted.
pub const NAMED_MAX: usize = 20;

/// Which missed dates are made up for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recover {
    /// Each of them.
    All,
    /// The last one, unless a newer date is due on time anyway.
    #[default]
    Last,
    /// None.
    None,
}

/// Where dates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dates {
    /// A cron expression.
    Cron(Box<Cron>),
    /// A list, ascending, in milliseconds since the epoch.
    List(Vec<u64>),
}

/// A schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its dates.
    pub dates: Dates,
    /// In which they are meant.
    pub zone: TimeZone,
    /// Which missed dates are made up for.
    pub recover: Recover,
    /// A date later than this is skipped, whatever `recover` says.
    pub late_max_ms: Option<u64>,
}

/// Why a date is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// `recoverMissedSchedules` does not ask for it.
    NotRecovered,
    /// It is later than `lateMaximumDelay`.
    TooLate,
}

impl Skip {
    /// For people.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotRecovered => "missed, and `recoverMissedSchedules` does not make up for it",
            Self::TooLate => "later than `lateMaximumDelay`",
        }
    }
}

/// What is to be done about a schedule now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Dates that fire, ascending.
    pub fire: Vec<u64>,
    /// Dates that do not, at most [`NAMED_MAX`], ascending.
    pub skipped: Vec<(u64, Skip)>,
    /// How many do not.
    pub skipped_count: u64,
    /// The cursor once all of these are dealt with.
    pub cursor: u64,
    /// When somebody must look again; none when there is no further date.
    pub next: Option<u64>,
}

impl Schedule {
    /// The first date after `after`, in milliseconds since the epoch.
    #[must_use]
    pub fn next_after(&self, after: u64) -> Option<u64> {
        match &self.dates {
            Dates::Cron(cron) => ms_of(&cron.next_after(&self.zoned(after)?)?),
            Dates::List(dates) => dates.iter().find(|date| **date > after).copied(),
        }
    }

    /// The last date at or before `at`.
    #[must_use]
    pub fn last_until(&self, at: u64) -> Option<u64> {
        match &self.dates {
            Dates::Cron(cron) => ms_of(&cron.last_until(&self.zoned(at)?)?),
            Dates::List(dates) => dates.iter().rev().find(|date| **date <= at).copied(),
        }
    }

    /// A time as the schedule's zone writes it, with offset.
    #[must_use]
    pub fn local(&self, at: u64) -> String {
        self.zoned(at).map_or_else(String::new, |at| {
            at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        })
    }

    fn zoned(&self, at: u64) -> Option<Zoned> {
        let at = Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }

    /// What is due at `now`, after everything up to `cursor` was dealt with.
    #[must_use]
    pub fn due(&self, cursor: u64, now: u64) -> Due {
        let newest = self.last_until(now).filter(|date| *date > cursor);
        let mut due = Due {
            cursor,
            ..Due::default()
        };
        let mut at = cursor;
        for _ in 0..LOOKED_AT_MAX {
            let Some(date) = self.next_after(at).filter(|date| *date <= now) else {
                break;
            };
            match self.skip(date, newest, now) {
                None if due.fire.len() == FIRED_MAX => break,
                None => due.fire.push(date),
                Some(skip) => {
                    due.skipped_count += 1;
                    if due.skipped.len() < NAMED_MAX {
                        due.skipped.push((date, skip));
                    }
                }
            }
            (at, due.cursor) = (date, date);
        }
        due.next = self.next_after(due.cursor);
        due
    }

    fn skip(&self, date: u64, newest: Option<u64>, now: u64) -> Option<Skip> {
        let late = now.saturating_sub(date);
        if self.late_max_ms.is_some_and(|max| late > max) {
            return Some(Skip::TooLate);
        }
        let fires = late <= ON_TIME_MS
            || match self.recover {
                Recover::All => true,
                Recover::Last => newest == Some(date),
                Recover::None => false,
            };
        (!fires).then_some(Skip::NotRecovered)
    }
}

fn ms_of(at: &Zoned) -> Option<u64> {
    u64::try_from(at.timestamp().as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(text: &str) -> u64 {
        ms_of(&text.parse::<Zoned>().unwrap()).unwrap()
    }

    fn daily(recover: Recover, late_max_ms: Option<u64>) -> Schedule {
        Schedule {
            dates: Dates::Cron(Box::new(Cron::parse("0 2 * * *", false).unwrap())),
            zone: TimeZone::get("Europe/Zurich").unwrap(),
            recover,
            late_max_ms,
        }
    }

    fn shown(schedule: &Schedule, dates: &[u64]) -> Vec<String> {
        dates.iter().map(|date| schedule.local(*date)).collect()
    }

    /// Three days without an engine, from 10 to 13 June at noon.
    const BEFORE: &str = "2026-06-10T02:00[Europe/Zurich]";
    const AFTER: &str = "2026-06-13T12:00[Europe/Zurich]";

    #[test]
    fn an_outage_of_three_days() {
        for (recover, fired) in [
            (Recover::All, vec!["11", "12", "13"]),
            (Recover::Last, vec!["13"]),
            (Recover::None, vec![]),
        ] {
            let schedule = daily(recover, None);
            let due = schedule.due(at(BEFORE), at(AFTER));
            let fired: Vec<String> = fired
                .iter()
                .map(|day| format!("2026-06-{day}T02:00:00+02:00"))
                .collect();
            assert_eq!(shown(&schedule, &due.fire), fired, "{recover:?}");
            assert_eq!(due.fire.len() as u64 + due.skipped_count, 3);
            assert_eq!(schedule.local(due.cursor), "2026-06-13T02:00:00+02:00");
            assert_eq!(
                due.next.map(|next| schedule.local(next)).as_deref(),
                Some("2026-06-14T02:00:00+02:00")
            );
            // Dealt with once.
            let again = schedule.due(due.cursor, at(AFTER));
            assert!(again.fire.is_empty() && again.skipped_count == 0);
        }
    }

    #[test]
    fn what_is_too_late_is_skipped_whatever_is_recovered() {
        let schedule = daily(Recover::All, Some(36 * 3_600_000));
        let due = schedule.due(at(BEFORE), at(AFTER));
        assert_eq!(
            shown(&schedule, &due.fire),
            ["2026-06-12T02:00:00+02:00", "2026-06-13T02:00:00+02:00"]
        );
        assert_eq!(
            due.skipped,
            [(at("2026-06-11T02:00[Europe/Zurich]"), Skip::TooLate)]
        );
    }

    #[test]
    fn a_date_on_time_fires_whatever_is_recovered() {
        for recover in [Recover::All, Recover::Last, Recover::None] {
            let schedule = daily(recover, None);
            let due = schedule.due(at(BEFORE), at("2026-06-11T02:00:59[Europe/Zurich]"));
            assert_eq!(due.fire.len(), 1, "{recover:?}");
            let early = schedule.due(at(BEFORE), at("2026-06-11T01:59:59[Europe/Zurich]"));
            assert!(early.fire.is_empty());
        }
    }

    #[test]
    fn a_newer_date_on_time_takes_the_place_of_the_last_missed() {
        let schedule = daily(Recover::Last, None);
        let due = schedule.due(at(BEFORE), at("2026-06-13T02:00:10[Europe/Zurich]"));
        assert_eq!(shown(&schedule, &due.fire), ["2026-06-13T02:00:00+02:00"]);
        assert_eq!(due.skipped_count, 2);
    }

    #[test]
    fn an_outage_over_the_change_of_clocks() {
        let schedule = daily(Recover::All, None);
        let due = schedule.due(
            at("2026-03-28T02:00[Europe/Zurich]"),
            at("2026-03-30T12:00[Europe/Zurich]"),
        );
        assert_eq!(
            shown(&schedule, &due.fire),
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]
        );
    }

    #[test]
    fn a_long_outage_is_walked_through_in_steps() {
        let schedule = Schedule {
            dates: Dates::Cron(Box::new(Cron::parse("* * * * *", false).unwrap())),
            zone: TimeZone::UTC,
            recover: Recover::All,
            late_max_ms: None,
        };
        let (from, to) = (at("2026-01-01T00:00[UTC]"), at("2026-01-01T05:00[UTC]"));
        let (mut cursor, mut fired) = (from, Vec::new());
        loop {
            let due = schedule.due(cursor, to);
            assert!(due.fire.len() <= FIRED_MAX);
            if due.fire.is_empty() {
                break;
            }
            cursor = due.cursor;
            fired.extend(due.fire);
        }
        assert_eq!(fired.len(), 300);
        assert!(fired.is_sorted());
    }

    #[test]
    fn dates_of_a_list_fire_once_each() {
        let dates = vec![1_000_000, 2_000_000, 3_000_000];
        let schedule = Schedule {
            dates: Dates::List(dates.clone()),
            zone: TimeZone::UTC,
            recover: Recover::All,
            late_max_ms: None,
        };
        let due = schedule.due(0, 2_500_000);
        assert_eq!(
            (due.fire.as_slice(), due.next),
            (&dates[..2], Some(3_000_000))
        );
        let due = schedule.due(due.cursor, 9_000_000);
        assert_eq!((due.fire.as_slice(), due.next), (&dates[2..], None));
    }
}
