//! The logs of all attempts of an execution as one, by time.
//!
//! Attempts are opened as their time comes, at most [`OPEN_MAX`] at once; of more that run side by side the later
//! ones wait until an earlier one has ended. Invariant: a [`Place`] says of every attempt which line is next, so whoever
//! goes on there gets each line once, also when one is written after a later one was read.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;

use operon_engine::ports::{AttemptId, AttemptRow, LogLine, StateStore, StoreError};
use operon_engine::replay::Reuse;

use crate::problem::Problem;
use crate::state::Api;

/// Attempts that are merged at once at most: their numbers are in the id of every line that is streamed.
pub(crate) const OPEN_MAX: usize = 64;
/// Lines read of one attempt at once.
const LINES: usize = 200;

/// An attempt, and when it began.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Began {
    at_ms: u64,
    /// Whose lines they are.
    pub(crate) attempt: AttemptId,
    reuse: Option<Reuse>,
}

impl Began {
    /// The attempt of a row.
    pub(crate) fn of(row: &AttemptRow) -> Self {
        Self {
            at_ms: row.created_ms,
            attempt: row.id(),
            reuse: Reuse::of(row),
        }
    }

    /// An attempt of which no row is known.
    pub(crate) fn unknown(attempt: AttemptId) -> Self {
        Self {
            at_ms: 0,
            attempt,
            reuse: None,
        }
    }

    /// The attempt under which its log was written: another one if a replay took it over.
    pub(crate) async fn written_as(&self, store: &dyn StateStore) -> Result<AttemptId, StoreError> {
        Reuse::written_as(self.reuse.as_ref(), store, &self.attempt).await
    }
}

/// Which line is next: `7:120,-,4` means that the first seven attempts are read to their ends, of the eighth line 120
/// is next, the ninth is read to its end, and of the tenth line 4 is next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    base: usize,
    next: Vec<Option<u64>>,
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.base)?;
        for (index, next) in self.next.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match next {
                Some(next) => write!(f, "{comma}{next}")?,
                None => write!(f, "{comma}-")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (base, rest) = text.split_once(':').ok_or(())?;
        let parts = rest.split(',').filter(|part| !part.is_empty());
        let next: Result<Vec<Option<u64>>, ()> = parts
            .take(OPEN_MAX + 1)
            .map(|part| match part {
                "-" => Ok(None),
                number => number.parse().map(Some).map_err(|_| ()),
            })
            .collect();
        let next = next?;
        if next.len() > OPEN_MAX {
            return Err(());
        }
        Ok(Self {
            base: base.parse().map_err(|_| ())?,
            next,
        })
    }
}

/// Lines of one attempt that were read and not given yet.
#[derive(Default)]
struct Head {
    lines: VecDeque<LogLine>,
    /// Nothing more can be read now.
    drained: bool,
    /// Nothing will ever follow.
    ended: bool,
    /// Under which attempt the log is, once it is known.
    written: Option<AttemptId>,
}

/// Reads on from a place.
pub(crate) struct Merge {
    api: Api,
    attempts: Arc<Vec<Began>>,
    place: Place,
    heads: BTreeMap<usize, Head>,
    over: bool,
    /// Reads that may still be made.
    reads: usize,
}

impl Merge {
    /// Attempts in the order in which they began; whether the execution is over.
    pub(crate) fn new(api: Api, attempts: Arc<Vec<Began>>, place: Place, over: bool) -> Self {
        Self {
            api,
            attempts,
            place,
            heads: BTreeMap::new(),
            over,
            reads: usize::MAX,
        }
    }

    /// Ends after about so many reads: of many attempts that logged nothing, one request looks at some only.
    pub(crate) fn at_most(mut self, reads: usize) -> Self {
        self.reads = reads;
        self
    }

    /// Whether it ended because it had read enough.
    pub(crate) fn spent(&self) -> bool {
        self.reads == 0 && !self.ended()
    }

    /// Whether there are attempts that are read only once earlier ones have ended.
    pub(crate) fn waits(&self) -> bool {
        !self.over && self.place.base.saturating_add(OPEN_MAX) < self.attempts.len()
    }

    /// Where to go on.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Every line was given, and none will follow.
    pub(crate) fn ended(&self) -> bool {
        self.over && self.place.base >= self.attempts.len()
    }

    /// The next line by time, of those that are written.
    pub(crate) async fn next(&mut self) -> Result<Option<(AttemptId, LogLine)>, Problem> {
        loop {
            if self.reads == 0 {
                return Ok(None);
            }
            self.widen();
            let mut best: Option<(u64, usize)> = None;
            for offset in 0..self.place.next.len() {
                if self.place.next.get(offset).copied().flatten().is_none() {
                    continue;
                }
                let index = self.place.base + offset;
                let Some(began) = self.attempts.get(index).map(|began| began.at_ms) else {
                    break;
                };
                // What began later has no earlier line.
                if !self.heads.contains_key(&index) && best.is_some_and(|(time, _)| time < began) {
                    break;
                }
                if let Some(time) = self.first_time(index, offset).await?
                    && best.is_none_or(|(earliest, _)| time < earliest)
                {
                    best = Some((time, index));
                }
            }
            let closed = self.close();
            let Some((_, index)) = best else {
                if closed && self.place.base < self.attempts.len() {
                    continue;
                }
                return Ok(None);
            };
            return Ok(self.take(index));
        }
    }

    /// Lets further attempts in.
    fn widen(&mut self) {
        let wanted = self
            .attempts
            .len()
            .saturating_sub(self.place.base)
            .min(OPEN_MAX);
        if self.place.next.len() < wanted {
            self.place.next.resize(wanted, Some(0));
        }
    }

    /// The time of the next line of an attempt, if there is one.
    async fn first_time(&mut self, index: usize, offset: usize) -> Result<Option<u64>, Problem> {
        let Some(began) = self.attempts.get(index) else {
            return Ok(None);
        };
        let head = self.heads.entry(index).or_default();
        if head.lines.is_empty() && !head.drained {
            let from = self
                .place
                .next
                .get(offset)
                .copied()
                .flatten()
                .unwrap_or_default();
            let written = match head.written.take() {
                Some(written) => written,
                None => began.written_as(&*self.api.ports().store).await?,
            };
            self.reads = self.reads.saturating_sub(1);
            let page = self.api.logs().read(&written, from, LINES).await?;
            head.written = Some(written);
            let read = page.lines.len();
            head.lines = page.lines.into();
            // Without an end marker the log of what is over may still have lines that are not visible yet: it is
            // at its end when a look brings none.
            head.ended = (page.ended && read < LINES) || (self.over && read == 0);
            head.drained = head.ended || (read < LINES && !self.over);
        }
        Ok(head.lines.front().map(|line| line.time_ms))
    }

    fn take(&mut self, index: usize) -> Option<(AttemptId, LogLine)> {
        let line = self.heads.get_mut(&index)?.lines.pop_front()?;
        let next = self
            .place
            .next
            .get_mut(index.checked_sub(self.place.base)?)?;
        *next = Some(line.seq + 1);
        self.close();
        let began = self.attempts.get(index)?;
        Some((began.attempt.clone(), line))
    }

    /// Leaves behind what is read to its end; whether there was any.
    fn close(&mut self) -> bool {
        let mut closed = false;
        for (offset, next) in self.place.next.iter_mut().enumerate() {
            let head = self.heads.get(&(self.place.base + offset));
            if next.is_some() && head.is_some_and(|head| head.ended && head.lines.is_empty()) {
                *next = None;
                closed = true;
            }
        }
        let done = self
            .place
            .next
            .iter()
            .take_while(|next| next.is_none())
            .count();
        self.place.next.drain(..done);
        self.place.base += done;
        self.heads = self.heads.split_off(&self.place.base);
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["0:", "7:120,-,4", "3:0"] {
            assert_eq!(
                text.parse::<Place>().map(|place| place.to_string()),
                Ok(text.to_owned())
            );
        }
        let many = vec!["1"; OPEN_MAX + 1].join(",");
        for wrong in ["", "7", "x:1", "1:a", &format!("0:{many}")] {
            assert_eq!(wrong.parse::<Place>(), Err(()), "{wrong}");
        }
    }
}
