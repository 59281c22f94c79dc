//! What was given to the outside: measurements, schedules.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use operon_core::triggers::Config;
use operon_core::triggers::aws::expression;
use operon_engine::metrics::{Alert, Measurement, Measures};
use operon_engine::ports::StoreError;
use operon_engine::triggers::{Scheduler, TriggerKey};

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
}

#[derive(Debug, Default)]
struct Schedules {
    made: BTreeMap<String, String>,
    fails: bool,
}

/// Schedules as `EventBridge` Scheduler keeps them.
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

#[async_trait]
impl Scheduler for MemorySchedules {
    async fn put(&self, key: &TriggerKey, trigger: &Config) -> Result<(), StoreError> {
        let text = expression(trigger).map(|expression| expression.text);
        self.answer(|made| {
            match text {
                Some(text) => made.insert(key.to_string(), text),
                None => made.remove(&key.to_string()),
            };
        })
    }

    async fn remove(&self, key: &TriggerKey) -> Result<(), StoreError> {
        self.answer(|made| {
            made.remove(&key.to_string());
        })
    }
}
