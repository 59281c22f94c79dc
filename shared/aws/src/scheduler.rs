//! `EventBridge` Scheduler: one schedule per trigger that has dates or looks, made and removed with the revision.
//!
//! A schedule sends the message `look` to the intake queue. That is a hint: which dates are due is decided by the
//! trigger's cursor, so a message that is lost, late or doubled changes nothing (the reconciler looks every minute).

use std::time::Duration;

use operon_core::triggers::aws::{Expression, expression};
use operon_core::triggers::parse::Own;
use operon_core::triggers::{Config, name};
use operon_engine::ports::StoreError;
use operon_engine::triggers::TriggerKey;
use reqwest::Method;
use serde_json::{Value, json};

use crate::feeds::refused;
use crate::sdk::Sdk;
use crate::signed::{Service, ServiceName, SignedError, form};

/// Seconds after which a message that could not be delivered is given up: the next look is due by then.
const AGE_S_MAX: u32 = 3_600;
/// One transmission.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Schedules of one stage.
#[derive(Debug, Clone)]
pub struct EventBridgeScheduler {
    service: Service,
    /// Name of the schedule group.
    group: String,
    /// ARN of the intake queue.
    queue_arn: String,
    /// ARN of the role that may send to it.
    role_arn: String,
}

impl EventBridgeScheduler {
    /// Schedules in this group, which send to this queue.
    #[must_use]
    pub fn new(sdk: &Sdk, group: &str, queue_arn: &str, role_arn: &str) -> Self {
        Self {
            service: Service::new(sdk, ServiceName::Schedules, TIMEOUT),
            group: group.to_owned(),
            queue_arn: queue_arn.to_owned(),
            role_arn: role_arn.to_owned(),
        }
    }

    /// Makes that the trigger is looked at at its dates, or for its polls.
    pub async fn put(&self, key: &TriggerKey, trigger: &Config) -> Result<(), StoreError> {
        let Some(expression) = expression(trigger).filter(|_| !trigger.disabled) else {
            return self.remove(key).await;
        };
        let wanted = self.schedule(key, &expression)?;
        let path = path(key);
        let sent = match self.send(Method::POST, &path, &wanted).await {
            Err(error) if error.is("ConflictException") => {
                self.send(Method::PUT, &path, &wanted).await
            }
            sent => sent,
        };
        sent.map_err(|error| {
            // Somebody changes it at this moment, perhaps a request of ours that got no answer.
            if error.is("ConflictException") {
                return StoreError::Busy(error.to_string());
            }
            refused("make a schedule of EventBridge Scheduler", &error)
        })
    }

    /// Ends it. Nothing happens when there is nothing.
    pub async fn remove(&self, key: &TriggerKey) -> Result<(), StoreError> {
        let group = form(&[("groupName", &self.group)]);
        let path = format!("{}?{group}", path(key));
        match self.send(Method::DELETE, &path, &Value::Null).await {
            Ok(()) => Ok(()),
            Err(error) if error.is("ResourceNotFoundException") => Ok(()),
            Err(error) => Err(refused(
                "remove a schedule of EventBridge Scheduler",
                &error,
            )),
        }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<(), SignedError> {
        let kind: &[(&str, &str)] = &[("content-type", "application/json")];
        let (headers, body) = if body.is_null() {
            (&[][..], Vec::new())
        } else {
            (kind, body.to_string().into_bytes())
        };
        // May be repeated: a second one finds the schedule as the first left it.
        let sent = self.service.send((method, path, headers), body, true);
        sent.await.map(drop)
    }

    /// What is asked for, as `CreateSchedule` and `UpdateSchedule` take it.
    fn schedule(&self, key: &TriggerKey, expression: &Expression) -> Result<Value, StoreError> {
        let own = Own::Look {
            namespace: key.namespace.clone(),
            flow: key.flow.clone(),
            trigger: key.trigger.clone(),
        };
        let input =
            serde_json::to_string(&own).map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(json!({
            "GroupName": self.group,
            "Description": format!("trigger {key}"),
            "ScheduleExpression": expression.text,
            "ScheduleExpressionTimezone": expression.zone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": self.queue_arn,
                "RoleArn": self.role_arn,
                "Input": input,
                "RetryPolicy": {"MaximumEventAgeInSeconds": AGE_S_MAX},
            },
        }))
    }
}

fn path(key: &TriggerKey) -> String {
    format!("/schedules/{}", schedule_name(key))
}

/// At most 64 characters, the same for the same trigger.
fn schedule_name(key: &TriggerKey) -> String {
    format!(
        "operon-{}",
        name(&[&key.namespace, &key.flow, &key.trigger], 40)
    )
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
