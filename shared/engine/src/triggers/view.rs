//! What people see of triggers: `GET /triggers`, `operon triggers list`.

use operon_core::triggers::schedule::ON_TIME_MS;
use operon_core::triggers::{Config, Kind};
use serde::Serialize;

use super::backfill::BackfillState;
use super::state::Trouble;
use super::{Disabled, Missed, TriggerKey, TriggerState, Triggers};
use crate::ports::StoreError;

/// A trigger for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerView {
    /// Which.
    #[serde(flatten)]
    pub key: TriggerKey,
    /// Short type.
    #[serde(rename = "type")]
    pub trigger_type: &'static str,
    /// Whether it fires: not when it, its flow or a person says otherwise.
    pub enabled: bool,
    /// Who switched it off, and why.
    pub disabled: Option<Disabled>,
    /// Last date that fired, or look that found something.
    pub last_ms: Option<u64>,
    /// Next date or look.
    pub next_ms: Option<u64>,
    /// When it last looked.
    pub looked_ms: Option<u64>,
    /// The next date is in the past by more than a minute: nobody looks.
    pub late: bool,
    /// Dates that fired late, the newest last.
    pub late_dates: Vec<Missed>,
    /// Dates that did not fire and why, the newest last.
    pub missed: Vec<Missed>,
    /// How many did not.
    pub missed_count: u64,
    /// What is wrong now.
    pub trouble: Option<Trouble>,
    /// What is made up for by order of a person.
    pub backfill: Option<BackfillState>,
}

impl Triggers {
    /// All triggers of all flows, or of one namespace.
    pub async fn list(&self, namespace: Option<&str>) -> Result<Vec<TriggerView>, StoreError> {
        let now = self.now();
        let mut views = Vec::new();
        for flow in self.flows.deployed().await? {
            if namespace.is_some_and(|wanted| wanted != flow.plan.namespace) {
                continue;
            }
            for trigger in &flow.triggers {
                let key = flow.key(trigger);
                let state = self.state(&key).await?;
                let enabled = !flow.disabled
                    && !flow.plan.disabled
                    && !trigger.disabled
                    && state.disabled.is_none();
                let backfill = match trigger.kind {
                    Kind::Schedule(_) => self.backfill(&key).await?,
                    Kind::Flow(_)
                    | Kind::Webhook(_)
                    | Kind::S3(_)
                    | Kind::Sqs { .. }
                    | Kind::Sns { .. }
                    | Kind::EventBridge { .. }
                    | Kind::Alarm { .. }
                    | Kind::Postgres(_)
                    | Kind::Http(_) => None,
                };
                let unreached = self.unreached(trigger, &state).filter(|_| enabled);
                views.push(TriggerView {
                    trigger_type: trigger.short_type(),
                    late: enabled && state.next_ms.is_some_and(|next| next + ON_TIME_MS < now),
                    key,
                    enabled,
                    disabled: state.disabled,
                    last_ms: state.last_ms,
                    next_ms: state.next_ms,
                    looked_ms: state.looked_ms,
                    late_dates: state.late,
                    missed: state.missed,
                    missed_count: state.missed_count,
                    trouble: match unreached {
                        Some(message) => Some(Trouble {
                            at_ms: now,
                            times: 0,
                            message,
                        }),
                        None => state.trouble,
                    },
                    backfill,
                });
            }
        }
        Ok(views)
    }

    /// Triggers that no event reaches, of one flow or of all, each with the reason. Those that are switched off are left
    /// out.
    pub async fn never_fire(
        &self,
        flow: Option<(&str, &str)>,
    ) -> Result<Vec<(TriggerKey, String)>, StoreError> {
        let flows = match flow {
            Some((namespace, id)) => {
                let found = self.flows.deployed_flow(namespace, id).await?;
                found.into_iter().collect()
            }
            None => self.flows.deployed().await?,
        };
        let mut found = Vec::new();
        for flow in flows {
            if flow.disabled || flow.plan.disabled {
                continue;
            }
            for trigger in flow.triggers.iter().filter(|trigger| !trigger.disabled) {
                let key = flow.key(trigger);
                let state = self.state(&key).await?;
                if let Some(reason) = self.unreached(trigger, &state) {
                    found.push((key, reason));
                }
            }
        }
        Ok(found)
    }

    /// Why no event reaches a trigger that is switched on.
    fn unreached(&self, trigger: &Config, state: &TriggerState) -> Option<String> {
        let kind = trigger.short_type();
        if !self.on_aws {
            return trigger.needs_aws().then(|| {
                format!(
                    "only a deployment on AWS hears of what fires `{kind}` triggers; here `operon triggers send` delivers events"
                )
            });
        }
        if let Kind::S3(objects) = &trigger.kind
            && !self.buckets.is_empty()
            && !self.buckets.contains(&objects.bucket)
        {
            return Some(format!(
                "no event reaches it: this deployment hears of uploads to {} only; name `{}` by the parameter `UploadBucket`",
                self.buckets.join(" and "),
                objects.bucket
            ));
        }
        let reason = state.unfed()?;
        Some(format!("no event reaches it: {reason}"))
    }
}
