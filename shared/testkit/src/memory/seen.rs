//! What was given to the outside: measurements, schedules.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use operon_core::triggers::aws::expression;
use operon_core::triggers::{Config, Feed};
use operon_engine::metrics::{Alert, Buried, Measurement, Measures};
use operon_engine::ports::StoreError;
use operon_engine::triggers::{TriggerKey, Wiring};

/// Measurements in the order in which they were taken.
#[derive(Debug, Default)]
pub struct MemoryMeasures(Mutex<Vec<Measurement>>);

impl MemoryMeasures {
    /// All of them so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Measurement> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.clone()
    }
}

impl Measures for MemoryMeasures {
    fn measured(&self, measurement: &Measurement, _: u64) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push(measurement.clone());
    }

    fn alerted(&self, _: &Alert, _: u64) {}

    fn buried(&self, _: &Buried, _: u64) {}
}

#[derive(Debug, Default)]
struct Schedules {
    made: BTreeMap<String, String>,
    /// What brings events, in the order in which it was made.
    feeds: Vec<(String, Feed)>,
    refuses: Option<String>,
    fails: bool,
}

/// Schedules as `EventBridge` Scheduler keeps them, and what brings events of other services.
#[derive(Debug, Default)]
pub struct MemorySchedules(Mutex<Schedules>);

impl MemorySchedules {
    fn change<T>(&self, work: impl FnOnce(&mut Schedules) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The expressions there are, by trigger.
    #[must_use]
    pub fn made(&self) -> BTreeMap<String, String> {
        self.change(|schedules| schedules.made.clone())
    }

    /// What brings events, with who asked for it last.
    #[must_use]
    pub fn feeds(&self) -> Vec<(String, Feed)> {
        self.change(|schedules| schedules.feeds.clone())
    }

    /// Refuses to make more of what brings events, for this reason, or makes it again.
    pub fn refuse(&self, reason: Option<&str>) {
        self.change(|schedules| schedules.refuses = reason.map(str::to_owned));
    }

    /// Whether the service answers.
    pub fn fail(&self, fails: bool) {
        self.change(|schedules| schedules.fails = fails);
    }

    fn answer(&self, work: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<(), StoreError> {
        self.change(|schedules| {
            if schedules.fails {
                return Err(StoreError::Failed(
                    "the scheduler does not answer".to_owned(),
                ));
            }
            work(&mut schedules.made);
            Ok(())
        })
    }
}

/// A rule is one trigger's own, all else is shared.
fn same(there: &(String, Feed), key: &TriggerKey, feed: &Feed) -> bool {
    there.1.same_place(feed) && (feed.is_shared() || there.0 == key.to_string())
}

#[async_trait]
impl Wiring for MemorySchedules {
    async fn feed(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError> {
        self.change(|schedules| {
            if let Some(reason) = &schedules.refuses {
                return Err(StoreError::Failed(reason.clone()));
            }
            schedules.feeds.retain(|there| !same(there, key, feed));
            schedules.feeds.push((key.to_string(), feed.clone()));
            Ok(())
        })
    }

    async fn unfeed(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError> {
        self.change(|schedules| schedules.feeds.retain(|there| !same(there, key, feed)));
        Ok(())
    }

    async fn schedule(&self, key: &TriggerKey, trigger: &Config) -> Result<(), StoreError> {
        let text = expression(trigger).map(|expression| expression.text);
        self.answer(|made| {
            match text {
                Some(text) => made.insert(key.to_string(), text),
                None => made.remove(&key.to_string()),
            };
        })
    }

    async fn unschedule(&self, key: &TriggerKey) -> Result<(), StoreError> {
        self.answer(|made| {
            made.remove(&key.to_string());
        })
    }
}
