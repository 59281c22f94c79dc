//! Server-sent events, read as they come.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;

/// Bytes of one event at most.
const EVENT_MAX: usize = 4 * 1024 * 1024;

/// Servers say something every 15 s, if only that they are there.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServerEvent {
    /// Its name: `execution`, `task-run`, `line`, `end`, …
    pub(crate) name: String,
    /// Where to go on after it.
    pub(crate) id: String,
    /// What it says.
    pub(crate) data: Value,
}

/// Events of one answer.
pub(crate) struct Events {
    answer: Response,
    parser: Parser,
}

impl Events {
    pub(super) fn new(answer: Response) -> Self {
        Self {
            answer,
            parser: Parser::default(),
        }
    }

    /// The next event; none when the server ended the answer. Then ask again, after the last id.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<ServerEvent>> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            // A connection that is lost without a word would be waited for without an end.
            let Ok(chunk) = tokio::time::timeout(SILENCE_MAX, self.answer.chunk()).await else {
                return Ok(None);
            };
            match chunk {
                Ok(Some(chunk)) => self.parser.push(&chunk)?,
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}

/// What has come and is not an event yet.
#[derive(Debug, Default)]
struct Parser {
    bytes: Vec<u8>,
    name: String,
    id: String,
    data: String,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> anyhow::Result<()> {
        if self.bytes.len() + self.data.len() + chunk.len() > EVENT_MAX {
            anyhow::bail!("the server sent an event of more than {EVENT_MAX} bytes");
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn next(&mut self) -> Option<ServerEvent> {
        loop {
            let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if self.data.is_empty() {
                    self.name.clear();
                    continue;
                }
                let data = std::mem::take(&mut self.data);
                return Some(ServerEvent {
                    name: std::mem::take(&mut self.name),
                    id: self.id.clone(),
                    data: serde_json::from_str(&data).unwrap_or(Value::String(data)),
                });
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "id" => value.clone_into(&mut self.id),
                "data" => {
                    if !self.data.is_empty() {
                        self.data.push('\n');
                    }
                    self.data.push_str(value);
                }
                // Comments keep the connection alive.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_wherever_they_are_cut() {
        let text = ": hi\n\nevent: line\nid: 0:1\ndata: {\"seq\":1}\n\nevent: end\nid: 0:2\ndata: \"e1\"\n\n";
        for cut in 0..text.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                parser.push(part.as_bytes()).unwrap();
                while let Some(event) = parser.next() {
                    found.push((event.name, event.id, event.data));
                }
            }
            let line = ("line".to_owned(), "0:1".to_owned(), json!({"seq": 1}));
            let end = ("end".to_owned(), "0:2".to_owned(), json!("e1"));
            assert_eq!(found, [line, end], "cut at {cut}");
        }
    }
}
