//! Decisions about control flow: conditions, branches, loop values, durations.

use operon_core::exec::Verdict;
use operon_core::lang::model::{ItemFormat, LoopValues};
use operon_core::plan::{Node, NodeKind};
use serde_json::{Map, Value};

use crate::evaluate::{EvaluateError, Evaluator, Overlay, Site};
use crate::ports::ArtifactUri;
use crate::templates::Tree;

/// Bytes of a file that a loop may be given to iterate over.
const LOOP_FILE_MAX: u64 = 1024 * 1024 * 1024;

/// What an evaluation found.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// For the core.
    pub verdict: Verdict,
}

impl Evaluator {
    /// Evaluates the `when` condition (`gate`) or the node's own value.
    pub async fn decide(
        &self,
        site: Site<'_>,
        gate: bool,
        overlay: &Overlay,
    ) -> Result<Decision, EvaluateError> {
        let Some((scope, index, node)) = site.node() else {
            return Err(EvaluateError::Expression(
                "the plan has no such task".to_owned(),
            ));
        };
        let templates = site.plan.templates(scope, index, node)?;
        let tree = if gate {
            templates.when.as_ref()
        } else {
            templates.value.as_ref()
        };
        let constant = Tree::Constant(Value::Null);
        let rendered = self
            .render(site, tree.unwrap_or(&constant), &Map::new(), overlay)
            .await?;
        let verdict = if gate {
            Verdict::Gate(truthy(&rendered.value))
        } else {
            self.verdict(site, node, rendered.value).await?
        };
        Ok(Decision { verdict })
    }

    async fn verdict(
        &self,
        site: Site<'_>,
        node: &Node,
        value: Value,
    ) -> Result<Verdict, EvaluateError> {
        match &node.kind {
            NodeKind::Choice {
                condition: true,
                cases,
                default_branch,
                ..
            } => {
                let branch = u8::from(!truthy(&value));
                let exists = usize::from(branch) < cases.len();
                Ok(Verdict::Branch(if exists {
                    Some(branch)
                } else {
                    *default_branch
                }))
            }
            NodeKind::Choice {
                condition: false,
                cases,
                default_branch,
                ..
            } => {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                let found = (0..)
                    .zip(cases)
                    .find(|(index, case)| **case == text && Some(*index) != *default_branch);
                Ok(Verdict::Branch(
                    found.map(|(index, _)| index).or(*default_branch),
                ))
            }
            NodeKind::Loop {
                values: LoopValues::Until(until),
                ..
            } => Ok(Verdict::Count(until.max_iterations)),
            NodeKind::Check(_) => Ok(Verdict::Gate(truthy(&value))),
            NodeKind::Loop { values, .. } => {
                let values = match values {
                    LoopValues::Values(_) | LoopValues::Until(_) => self.loop_values(value).await?,
                    LoopValues::Items {
                        format,
                        rows,
                        bytes,
                        partitions,
                        ..
                    } => {
                        let split = Split {
                            format: *format,
                            rows: *rows,
                            bytes: *bytes,
                            partitions: *partitions,
                        };
                        self.split(site, &value, split).await?
                    }
                };
                let key = (site.meta.id.clone(), site.shard.clone(), site.slot);
                let count = self.items.put(&self.ports, key, &values).await;
                Ok(Verdict::Count(count.map_err(EvaluateError::Expression)?))
            }
            NodeKind::Pause { .. } | NodeKind::Sleep { .. } => Ok(Verdict::Wait(Some(
                duration_ms(&value).map_err(EvaluateError::Expression)?,
            ))),
            NodeKind::Task(_) | NodeKind::Group { .. } => Ok(Verdict::Error),
        }
    }

    /// A list or map; a text is JSON, JSON lines, or the URI of a file with either, or with a text per line.
    async fn loop_values(&self, value: Value) -> Result<Value, EvaluateError> {
        let Value::String(text) = value else {
            return Ok(value);
        };
        let file = ArtifactUri::is_uri(&text);
        let text = if file {
            self.text_of(&text).await?
        } else {
            text
        };
        values_of(&text, file).map_err(EvaluateError::Expression)
    }

    async fn text_of(&self, uri: &str) -> Result<String, EvaluateError> {
        let failed = |error: String| EvaluateError::Expression(error);
        let uri: ArtifactUri = uri.parse().map_err(|error| failed(format!("{error}")))?;
        let bytes = self
            .ports
            .artifacts
            .get(&uri, LOOP_FILE_MAX)
            .await
            .map_err(|error| failed(error.to_string()))?;
        String::from_utf8(bytes.into()).map_err(|_| failed(format!("{uri} is not UTF-8 text")))
    }

    /// Cuts a file into batches, each an artifact of its own, and returns their URIs.
    async fn split(
        &self,
        site: Site<'_>,
        value: &Value,
        split: Split,
    ) -> Result<Value, EvaluateError> {
        let uri = value
            .as_str()
            .filter(|text| ArtifactUri::is_uri(text))
            .ok_or_else(|| {
                EvaluateError::Expression(format!(
                    "`items` must be the URI of an artifact, not {value}"
                ))
            })?;
        let text = self.text_of(uri).await?;
        let shard = site.shard.to_string().replace('/', "-");
        let mut uris = Vec::new();
        for (number, batch) in split.batches(&text).into_iter().enumerate() {
            let key = format!(
                "executions/{}/loops/{shard}-{}/{number}.{}",
                site.meta.id,
                site.slot,
                split.extension()
            );
            let failed =
                |error: crate::ports::ArtifactError| EvaluateError::Expression(error.to_string());
            let place = ArtifactUri::new(&key).map_err(failed)?;
            self.ports
                .artifacts
                .put(&place, batch.into_bytes().into())
                .await
                .map_err(failed)?;
            uris.push(Value::String(place.to_string()));
        }
        Ok(Value::Array(uris))
    }
}

/// How a file is cut.
#[derive(Debug, Clone, Copy)]
struct Split {
    format: ItemFormat,
    rows: u64,
    bytes: Option<u64>,
    partitions: Option<u64>,
}

impl Split {
    const fn extension(self) -> &'static str {
        match self.format {
            ItemFormat::Lines => "jsonl",
            ItemFormat::Fasta => "fasta",
        }
    }

    fn records(self, text: &str) -> Vec<&str> {
        let begins = |line: &str| match self.format {
            ItemFormat::Lines => true,
            ItemFormat::Fasta => line.starts_with('>'),
        };
        let mut starts: Vec<usize> = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if begins(line) && !line.trim().is_empty() {
                starts.push(at);
            }
            at += line.len();
        }
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        starts
            .iter()
            .zip(ends)
            .filter_map(|(start, end)| text.get(*start..end))
            .collect()
    }

    fn batches(self, text: &str) -> Vec<String> {
        let records = self.records(text);
        let total = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let rows = match self.partitions {
            Some(partitions) if partitions > 0 => total.div_ceil(partitions).max(1),
            _ => self.rows.max(1),
        };
        let mut batches: Vec<String> = Vec::new();
        let mut left = 0;
        for record in records {
            let full = self.bytes.is_some_and(|bytes| {
                batches.last().is_some_and(|batch| {
                    u64::try_from(batch.len() + record.len()).unwrap_or(u64::MAX) > bytes
                })
            });
            match batches.last_mut() {
                Some(batch) if left > 0 && !full => batch.push_str(record),
                _ => {
                    batches.push(record.to_owned());
                    left = rows;
                }
            }
            left -= 1;
        }
        batches
    }
}

/// Kestra's rule: `false`, `0`, `-0`, the empty text, the texts `false` and `0`, null and empty lists are
/// false; everything else is true.
#[must_use]
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.trim(), "" | "false" | "0" | "-0"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

/// Milliseconds of a rendered duration: a number of milliseconds, ISO 8601, or `15m`.
pub fn duration_ms(value: &Value) -> Result<u64, String> {
    if let Some(ms) = value.as_u64() {
        return Ok(ms);
    }
    let text = value.as_str().unwrap_or_default().trim();
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .ok_or_else(|| format!("{value} is not a duration; write `PT15M` or `15m`"))
}

/// What a text gives a loop: JSON, JSON lines, and of a file also the lines themselves.
fn values_of(text: &str, file: bool) -> Result<Value, String> {
    if let Ok(value @ (Value::Array(_) | Value::Object(_))) = serde_json::from_str(text) {
        return Ok(value);
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let values: Result<Vec<Value>, _> = lines.clone().map(serde_json::from_str::<Value>).collect();
    // A file of objects with a broken line is a mistake, not a list of names.
    let structured = |line: &str| line.trim_start().starts_with(['{', '[']);
    match values {
        Ok(values) => Ok(Value::Array(values)),
        Err(_) if file && !lines.clone().any(structured) => Ok(lines.map(Value::from).collect()),
        Err(error) => Err(format!(
            "the values of the loop are a text that is neither a JSON list or map nor JSON lines: {error}; give a list, \
             or the URI of a file with one value per line"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_loop_takes_the_lines_of_a_file_as_json_or_as_texts_never_mixed() {
        let of = |text: &str| values_of(text, true).unwrap();
        assert_eq!(of("mpox\n\nebola zaire\n"), json!(["mpox", "ebola zaire"]));
        assert_eq!(of("1\n2\n"), json!([1, 2]));
        assert_eq!(of("7\n007\n"), json!(["7", "007"]));
        assert_eq!(of("{\"a\": 1}\n{\"a\": 2}\n"), json!([{"a": 1}, {"a": 2}]));
        assert_eq!(of("[1, 2]"), json!([1, 2]));
        assert!(values_of("{\"a\": 1}\n{\"a\": \n", true).is_err());
        // A text that is no file is as likely a mistake.
        let why = values_of("mpox\nebola", false).unwrap_err();
        assert!(why.contains("one value per line"), "{why}");
    }

    fn split(format: ItemFormat, rows: u64, bytes: Option<u64>, partitions: Option<u64>) -> Split {
        Split {
            format,
            rows,
            bytes,
            partitions,
        }
    }

    #[test]
    fn a_file_is_cut_at_records() {
        let lines = split(ItemFormat::Lines, 2, None, None);
        assert_eq!(lines.batches("1\n2\n\n3"), ["1\n2\n\n", "3"]);
        let fasta = split(ItemFormat::Fasta, 1, None, None);
        assert_eq!(
            fasta.batches(">a\nAC\nGT\n>b\nT\n"),
            [">a\nAC\nGT\n", ">b\nT\n"]
        );
        let parts = split(ItemFormat::Lines, 1, None, Some(2));
        assert_eq!(parts.batches("1\n2\n3\n"), ["1\n2\n", "3\n"]);
        let small = split(ItemFormat::Lines, 100, Some(4), None);
        assert_eq!(small.batches("1\n2\n3\n"), ["1\n2\n", "3\n"]);
    }

    #[test]
    fn durations_are_read_in_every_spelling() {
        assert_eq!(duration_ms(&json!("PT1M30S")), Ok(90_000));
        assert_eq!(duration_ms(&json!("15m")), Ok(900_000));
        assert_eq!(duration_ms(&json!(250)), Ok(250));
        assert!(duration_ms(&json!("soon")).is_err());
    }
}
