//! Who is told about executions that end.

use serde_json::{Map, Value};

use super::super::amount::duration_ms;
use super::super::catalogue::NOTIFY;
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::{Channel, Notify};
use super::super::yaml::Node;
use super::Reader;
use super::policies::text;
use super::tasks::start_of;

/// The channels, one of which every policy has.
const CHANNELS: [&str; 5] = ["slack", "email", "sns", "webhook", "pagerduty"];
/// Further failures wait this long when the policy does not say, in milliseconds.
const GROUP_WAIT_MS: u64 = 300_000;

impl Reader<'_> {
    pub(super) fn notify(&mut self, node: &Node) -> Vec<Notify> {
        let mut policies: Vec<Notify> = Vec::new();
        for item in self.few(node, "`notify`") {
            let Some(object) = self.read(item, NOTIFY, "a notification") else {
                continue;
            };
            let id = text(&object, "id").to_owned();
            if policies.iter().any(|policy| policy.id == id) {
                self.push(Diagnostic::error(
                    Rule::DuplicateId,
                    start_of(item),
                    format!("two notifications have the id `{id}`"),
                ));
            }
            let given: Vec<&str> = CHANNELS
                .into_iter()
                .filter(|name| object.contains_key(*name))
                .collect();
            let [name] = given.as_slice() else {
                let message = if given.is_empty() {
                    "the notification does not say where to".to_owned()
                } else {
                    format!("the notification goes to {} at once", given.join(" and "))
                };
                self.push(
                    Diagnostic::error(Rule::Exclusive, start_of(item), message).with_help(format!(
                        "write one of {}; make one notification for each",
                        CHANNELS.map(|name| format!("`{name}`")).join(", ")
                    )),
                );
                continue;
            };
            let Some(channel) = channel(name, &object) else {
                continue; // What is missing has been reported.
            };
            policies.push(Notify {
                id,
                states: texts(object.get("states")).unwrap_or_else(|| vec!["FAILED".to_owned()]),
                channel,
                group_wait_ms: duration_ms(text(&object, "groupWait")).unwrap_or(GROUP_WAIT_MS),
                recovery: object.get("recovery") != Some(&Value::Bool(false)),
            });
        }
        policies
    }
}

fn channel(name: &str, object: &Map<String, Value>) -> Option<Channel> {
    let given = object.get(name)?.as_object()?;
    let of = |key: &str| given.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(match name {
        "slack" => Channel::Slack { url: of("url")? },
        "email" => Channel::Email {
            to: texts(given.get("to"))?,
            from: of("from"),
        },
        "sns" => Channel::Sns {
            topic_arn: of("topicArn")?,
        },
        "webhook" => Channel::Webhook {
            url: of("url")?,
            headers: given
                .get("headers")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
        },
        _ => Channel::Pagerduty {
            routing_key: of("routingKey")?,
            url: of("url").unwrap_or_else(|| "https://events.pagerduty.com/v2/enqueue".to_owned()),
        },
    })
}

/// A text or a list of texts.
fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    match value? {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}
