//! What must be made on AWS so that events of a service reach the intake.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Config, Kind};

/// What brings the events of a trigger to the intake queue, or has the intake read them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Feed {
    /// A rule of `EventBridge`.
    Rule {
        /// Name or ARN of its bus.
        bus: String,
        /// Which events.
        pattern: Map<String, Value>,
    },
    /// A subscription to a topic of SNS.
    Topic {
        /// Its ARN.
        arn: String,
    },
    /// A queue of SQS that the intake reads.
    Queue(QueueName),
}

/// A queue, as its address and its ARN both name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueName {
    /// None when the address does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Number of the account.
    pub account: String,
    /// In that account.
    pub name: String,
}

impl QueueName {
    /// Reads `arn:aws:sqs:REGION:ACCOUNT:NAME` or `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let named = |region: Option<&str>, account: &str, name: &str| {
            (!account.is_empty() && !name.is_empty()).then(|| Self {
                region: region.map(str::to_owned),
                account: account.to_owned(),
                name: name.to_owned(),
            })
        };
        if let ["arn", _, "sqs", region, account, name] =
            text.split(':').collect::<Vec<_>>().as_slice()
        {
            return named(Some(region), account, name);
        }
        let (_, address) = text.split_once("://")?;
        let mut parts = address.trim_end_matches('/').rsplitn(3, '/');
        let (name, account, host) = (parts.next()?, parts.next()?, parts.next()?);
        let region = host
            .strip_prefix("sqs.")
            .and_then(|host| host.split('.').next());
        named(region, account, name)
    }

    /// Whether both name one queue, as far as they tell.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let region = match (&self.region, &other.region) {
            (Some(one), Some(two)) => one == two,
            (None, _) | (_, None) => true,
        };
        region && self.account == other.account && self.name == other.name
    }
}

impl Feed {
    /// What a trigger needs; none when nothing has to be made for it.
    #[must_use]
    pub fn of(trigger: &Config) -> Option<Self> {
        match &trigger.kind {
            Kind::EventBridge { pattern, bus } => Some(Self::Rule {
                bus: bus.clone(),
                pattern: pattern.clone(),
            }),
            Kind::Alarm { name, states } => {
                // https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
                let pattern = json!({
                    "source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"],
                    "detail": {"alarmName": [name], "state": {"value": states}},
                });
                Some(Self::Rule {
                    bus: "default".to_owned(),
                    pattern: pattern.as_object().cloned().unwrap_or_default(),
                })
            }
            Kind::Sns { topic, .. } => Some(Self::Topic { arn: topic.clone() }),
            Kind::Sqs { queue, .. } => QueueName::read(queue).map(Self::Queue),
            Kind::Schedule(_)
            | Kind::Flow(_)
            | Kind::Webhook(_)
            | Kind::S3(_)
            | Kind::Postgres(_)
            | Kind::Http(_) => None,
        }
    }

    /// Whether both are the same thing, perhaps with another pattern: making one replaces the other.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rule { bus, .. }, Self::Rule { bus: two, .. }) => bus == two,
            (Self::Topic { arn }, Self::Topic { arn: two }) => arn == two,
            (Self::Queue(one), Self::Queue(two)) => one.same(two),
            (Self::Rule { .. } | Self::Topic { .. } | Self::Queue(_), _) => false,
        }
    }

    /// Whether triggers share it; a rule is each trigger's own.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::Rule { .. } => false,
            Self::Topic { .. } | Self::Queue(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_and_arns_name_the_same_queue() {
        let arn = QueueName::read("arn:aws:sqs:eu-central-1:123456789012:events").unwrap();
        for (address, same) in [
            (
                "https://sqs.eu-central-1.amazonaws.com/123456789012/events",
                true,
            ),
            (
                "https://sqs.eu-central-1.amazonaws.com/123456789012/events/",
                true,
            ),
            ("http://localhost:4566/123456789012/events", true),
            (
                "https://sqs.us-east-1.amazonaws.com/123456789012/events",
                false,
            ),
            (
                "https://sqs.eu-central-1.amazonaws.com/123456789013/events",
                false,
            ),
            (
                "https://sqs.eu-central-1.amazonaws.com/123456789012/other",
                false,
            ),
        ] {
            assert_eq!(
                QueueName::read(address).unwrap().same(&arn),
                same,
                "{address}"
            );
        }
        for text in [
            "events",
            "arn:aws:sns:eu-central-1:123456789012:events",
            "https://events",
            "",
        ] {
            assert_eq!(QueueName::read(text), None, "{text}");
        }
    }
}
