//! `EventBridge` Scheduler: one schedule per trigger that has dates or looks, made and removed with the revision.
//!
//! A schedule sends the message `look` to the intake queue. That is a hint: which dates are due is decided by the
//! trigger's cursor, so a message that is lost, late or doubled changes nothing (the reconciler looks every minute).

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::error::DisplayErrorContext;
use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target};
use operon_core::triggers::aws::expression;
use operon_core::triggers::parse::Own;
use operon_core::triggers::{Config, name};
use operon_engine::ports::StoreError;
use operon_engine::triggers::TriggerKey;

/// Seconds after which a message that could not be delivered is given up: the next look is due by then.
const AGE_S_MAX: i32 = 3_600;

/// Schedules of one stage.
#[derive(Debug, Clone)]
pub struct EventBridgeScheduler {
    client: Client,
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
    pub fn new(client: Client, group: &str, queue_arn: &str, role_arn: &str) -> Self {
        Self {
            client,
            group: group.to_owned(),
            queue_arn: queue_arn.to_owned(),
            role_arn: role_arn.to_owned(),
        }
    }

    fn target(&self, key: &TriggerKey) -> Result<Target, StoreError> {
        let own = Own::Look {
            namespace: key.namespace.clone(),
            flow: key.flow.clone(),
            trigger: key.trigger.clone(),
        };
        let input =
            serde_json::to_string(&own).map_err(|error| StoreError::Failed(error.to_string()))?;
        let retry = RetryPolicy::builder()
            .maximum_event_age_in_seconds(AGE_S_MAX)
            .build();
        Target::builder()
            .arn(&self.queue_arn)
            .role_arn(&self.role_arn)
            .input(input)
            .retry_policy(retry)
            .build()
            .map_err(|error| StoreError::Failed(error.to_string()))
    }
}

/// At most 64 characters, the same for the same trigger.
fn schedule_name(key: &TriggerKey) -> String {
    format!(
        "operon-{}",
        name(&[&key.namespace, &key.flow, &key.trigger], 40)
    )
}

fn failed<E: std::error::Error + 'static>(error: &E) -> StoreError {
    StoreError::Failed(format!(
        "EventBridge Scheduler: {}",
        DisplayErrorContext(error)
    ))
}

impl EventBridgeScheduler {
    /// Makes that the trigger is looked at at its dates, or for its polls.
    pub async fn put(&self, key: &TriggerKey, trigger: &Config) -> Result<(), StoreError> {
        let Some(expression) = expression(trigger).filter(|_| !trigger.disabled) else {
            return self.remove(key).await;
        };
        let window = FlexibleTimeWindow::builder()
            .mode(FlexibleTimeWindowMode::Off)
            .build()
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let created = self
            .client
            .create_schedule()
            .group_name(&self.group)
            .name(schedule_name(key))
            .description(format!("trigger {key}"))
            .schedule_expression(&expression.text)
            .schedule_expression_timezone(&expression.zone)
            .flexible_time_window(window.clone())
            .target(self.target(key)?)
            .send()
            .await;
        match created {
            Ok(_) => return Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(aws_sdk_scheduler::operation::create_schedule::CreateScheduleError::is_conflict_exception) => {}
            Err(error) => return Err(failed(&error)),
        }
        let updated = self
            .client
            .update_schedule()
            .group_name(&self.group)
            .name(schedule_name(key))
            .description(format!("trigger {key}"))
            .schedule_expression(&expression.text)
            .schedule_expression_timezone(&expression.zone)
            .flexible_time_window(window)
            .target(self.target(key)?)
            .send()
            .await;
        updated.map(drop).map_err(|error| failed(&error))
    }

    /// Ends it. Nothing happens when there is nothing.
    pub async fn remove(&self, key: &TriggerKey) -> Result<(), StoreError> {
        let removed = self
            .client
            .delete_schedule()
            .group_name(&self.group)
            .name(schedule_name(key))
            .send()
            .await;
        match removed {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(aws_sdk_scheduler::operation::delete_schedule::DeleteScheduleError::is_resource_not_found_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(failed(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_stable() {
        let key = TriggerKey {
            namespace: "n".repeat(150),
            flow: "f".repeat(100),
            trigger: "t".repeat(100),
        };
        let name = schedule_name(&key);
        assert!(name.len() <= 64);
        assert_eq!(name, schedule_name(&key));
    }
}
