//! Counting requests and what they cost, so that the cost of a task run is measured and not believed.
//!
//! An interceptor in every client of [`crate::Sdk`], and every [`crate::signed::Service`], counts each transmission,
//! retries included; the state store adds the write and read units that `DynamoDB` says it consumed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Requests by service and operation, such as `DynamoDB.UpdateItem`, `SQS.SendMessage`, `S3.PUT`.
    pub requests: BTreeMap<String, u64>,
    /// Write request units, those of the indexes included.
    pub write_units: f64,
    /// Read request units.
    pub read_units: f64,
}

impl Counts {
    /// All requests together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Requests of one service.
    #[must_use]
    pub fn of_service(&self, service: &str) -> u64 {
        let own = self.requests.iter();
        own.filter(|(name, _)| name.split('.').next() == Some(service))
            .map(|(_, count)| count)
            .sum()
    }
}

/// Counts; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Counts>>);

impl Meter {
    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.with(|counts| counts.clone())
    }

    /// What was counted since the last call, or the beginning.
    #[must_use]
    pub fn take(&self) -> Counts {
        self.with(std::mem::take)
    }

    /// Adds units that `DynamoDB` reported.
    pub(crate) fn units(&self, write: f64, read: f64) {
        self.with(|counts| {
            counts.write_units += write;
            counts.read_units += read;
        });
    }

    /// One transmission. JSON services name the operation in a header, `x-amz-target`; others have only the method.
    pub(crate) fn transmission(&self, service: &str, target: Option<&str>, method: &str) {
        let operation = target.and_then(|target| target.rsplit('.').next());
        self.request(&format!("{service}.{}", operation.unwrap_or(method)));
    }

    fn request(&self, name: &str) {
        self.with(|counts| match counts.requests.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                counts.requests.insert(name.to_owned(), 1);
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The interceptor for the client of a service.
    pub(crate) fn interceptor(&self, service: &'static str) -> Counter {
        Counter {
            meter: self.clone(),
            service,
        }
    }
}

/// Counts the transmissions of one client.
#[derive(Debug)]
pub(crate) struct Counter {
    meter: Meter,
    service: &'static str,
}

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "OperonMeter"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let target = request.headers().get("x-amz-target");
        self.meter
            .transmission(self.service, target, request.method());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together_and_taking_begins_anew() {
        let meter = Meter::default();
        meter.clone().request("DynamoDB.GetItem");
        meter.request("DynamoDB.GetItem");
        meter.request("SQS.SendMessage");
        meter.units(1.0, 0.5);
        let counts = meter.take();
        assert_eq!(counts.total(), 3);
        assert_eq!(counts.of_service("DynamoDB"), 2);
        assert!((counts.write_units - 1.0).abs() < f64::EPSILON);
        assert_eq!(meter.counts(), Counts::default());
    }
}
