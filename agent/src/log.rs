//! The log of `main`, as the agent writes it: one JSON document per line on standard output, which `awslogs`
//! takes to CloudWatch.
//!
//! Invariant: lines are numbered from 0 without gaps, and no known secret is in them.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use operon_core::agent::{Emitted, LINE_MAX, LogLevel, LogLine, parse_line};

use crate::secrets::Secrets;

/// Characters of the last line on standard error that become part of the message of a failure.
const LAST_ERROR_CHARS_MAX: usize = 500;

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| {
            u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Writes numbered lines.
pub(crate) struct Plain {
    out: Box<dyn Write + Send>,
    seq: u64,
}

impl Plain {
    pub(crate) fn stdout() -> Self {
        Self::to(Box::new(std::io::stdout()))
    }

    pub(crate) fn to(out: Box<dyn Write + Send>) -> Self {
        Self { out, seq: 0 }
    }

    /// A line of the agent's own, in which no secret can be.
    pub(crate) fn note(&mut self, level: LogLevel, text: &str) {
        self.write(level, now_ms(), text.to_owned());
    }

    fn write(&mut self, level: LogLevel, time_ms: u64, text: String) {
        let line = LogLine {
            seq: self.seq,
            time_ms,
            level,
            text,
        };
        self.seq += 1;
        if let Ok(mut json) = serde_json::to_vec(&line) {
            json.push(b'\n');
            // Nobody is left to be told that the log cannot be written.
            let _ = self.out.write_all(&json).and_then(|()| self.out.flush());
        }
    }
}

/// The log of one attempt, and what the program hands back in it.
pub(crate) struct Log {
    plain: Plain,
    secrets: Secrets,
    bytes_left: u64,
    /// What the program said in lines of the protocol.
    pub(crate) emitted: Emitted,
    /// Its last words on standard error.
    pub(crate) last_error: Option<String>,
}

impl Log {
    /// A log that forwards at most `bytes_max` bytes.
    pub(crate) fn new(plain: Plain, secrets: Secrets, bytes_max: u64) -> Self {
        Self {
            plain,
            secrets,
            bytes_left: bytes_max,
            emitted: Emitted::default(),
            last_error: None,
        }
    }

    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Bytes of a line that must be kept so that a secret on the edge is recognized.
    pub(crate) const fn line_bytes(&self) -> usize {
        LogLine::TEXT_MAX + self.secrets.longest()
    }

    /// A line of the agent's own.
    pub(crate) fn note(&mut self, level: LogLevel, text: &str) {
        let masked = self.secrets.text(text);
        self.write(level, now_ms(), cut(masked, LogLine::TEXT_MAX, 0));
    }

    /// A line of standard output or standard error, of which `dropped` bytes are missing.
    pub(crate) fn line(&mut self, is_error: bool, time_ms: u64, raw: &[u8], dropped: u64) {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let text = String::from_utf8_lossy(raw);
        match parse_line(&text) {
            Some(_) if dropped > 0 => self.emitted.fail(format!(
                "a line of outputs is longer than {LINE_MAX} bytes; write large values to a file"
            )),
            Some(Ok(said)) => {
                for (level, line) in self.emitted.take(said, text.len()) {
                    let masked = self.secrets.text(&line);
                    self.write(level, time_ms, cut(masked, LogLine::TEXT_MAX, 0));
                }
                return;
            }
            Some(Err(why)) => self.note(
                LogLevel::Warn,
                &format!("the next line looks like outputs but is not: {why}"),
            ),
            None => {}
        }
        let masked = self.secrets.text(&text);
        let shown = if dropped > 0 || masked.len() > LogLine::TEXT_MAX {
            // The end of what was kept may be the beginning of a secret.
            let safe = masked.len().saturating_sub(self.secrets.longest());
            cut(masked, LogLine::TEXT_MAX.min(safe), dropped)
        } else {
            masked
        };
        if is_error && !shown.trim().is_empty() {
            self.last_error = Some(shown.trim().chars().take(LAST_ERROR_CHARS_MAX).collect());
        }
        let level = if is_error {
            LogLevel::Warn
        } else {
            LogLevel::Info
        };
        self.write(level, time_ms, shown);
    }

    fn write(&mut self, level: LogLevel, time_ms: u64, text: String) {
        if self.bytes_left == 0 {
            return;
        }
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX).max(1);
        if size <= self.bytes_left {
            self.bytes_left -= size;
            self.plain.write(level, time_ms, text);
        } else {
            self.bytes_left = 0;
            let text = "the log is too large; what follows is not kept".to_owned();
            self.plain.write(LogLevel::Warn, time_ms, text);
        }
    }
}

/// Shortens `text` to `max` bytes, a note on what is missing included.
fn cut(mut text: String, max: usize, dropped: u64) -> String {
    if text.len() <= max && dropped == 0 {
        return text;
    }
    let note = " … (line cut)";
    text.truncate(text.floor_char_boundary(max.saturating_sub(note.len())));
    text.push_str(note);
    text
}

#[cfg(test)]
pub(crate) mod testing {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeMap;
    use std::io;
    use std::sync::{Arc, Mutex};

    use operon_core::agent::{AgentSpec, AttemptName, LogLine, Target};

    use super::{Log, Plain};
    use crate::secrets::Secrets;

    /// What was written, line by line.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        pub(crate) fn lines(&self) -> Vec<LogLine> {
            let bytes = self.0.lock().unwrap().clone();
            let text = String::from_utf8(bytes).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }

        pub(crate) fn texts(&self) -> Vec<String> {
            self.lines().into_iter().map(|line| line.text).collect()
        }
    }

    pub(crate) fn spec() -> AgentSpec {
        let attempt: AttemptName = "e-1:0:3:1".parse().unwrap();
        let target = Target {
            bucket: "data".to_owned(),
            key: "artifacts/e-1/0.3.1".to_owned(),
            uri: "operon:///e-1/0.3.1".to_owned(),
        };
        AgentSpec::new(attempt, "align", target, 60_000)
    }

    pub(crate) fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        let mut spec = spec();
        spec.secret_variables = pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
        let variables: BTreeMap<String, String> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Secrets::of(&spec, &variables).unwrap()
    }

    /// A log with a secret `hunter2-swordfish`.
    pub(crate) fn log(bytes_max: u64) -> (Log, Written) {
        let written = Written::default();
        let plain = Plain::to(Box::new(written.clone()));
        let secrets = secrets(&[("PASSWORD", "hunter2-swordfish")]);
        (Log::new(plain, secrets, bytes_max), written)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::testing::log;
    use super::*;

    #[test]
    fn secrets_are_hidden_in_every_usual_form() {
        let (mut log, written) = log(10_000);
        let forms = [
            "hunter2-swordfish",
            // Base64 of the value, and of a text around it at each offset.
            "aHVudGVyMi1zd29yZGZpc2g=",
            "dXNlcjpodW50ZXIyLXN3b3JkZmlzaA==",
            "eDpodW50ZXIyLXN3b3JkZmlzaDp5",
            // Percent-encoded, hexadecimal.
            "hunter2%2Dswordfish",
            "68756e746572322d73776f726466697368",
        ];
        for form in forms {
            log.line(false, 1, format!("password={form} end").as_bytes(), 0);
            log.note(LogLevel::Error, form);
        }
        for text in written.texts() {
            for form in forms {
                assert!(!text.contains(form), "{form} is in {text}");
            }
            assert!(text.contains("******"), "{text}");
        }
    }

    #[test]
    fn lines_are_numbered_and_the_protocol_is_taken_out() {
        let (mut log, written) = log(10_000);
        log.line(false, 7, b"one", 0);
        log.line(
            false,
            8,
            br#"::{"outputs":{"n":2},"logs":[{"level":"ERROR","message":"bad"}]}::"#,
            0,
        );
        log.line(true, 9, b"two\r", 0);
        let lines = written.lines();
        let facts: Vec<_> = lines
            .iter()
            .map(|line| (line.seq, line.time_ms, line.level, line.text.as_str()))
            .collect();
        assert_eq!(
            facts,
            [
                (0, 7, LogLevel::Info, "one"),
                (1, 8, LogLevel::Error, "bad"),
                (2, 9, LogLevel::Warn, "two")
            ]
        );
        assert_eq!(log.emitted.vars.get("n"), Some(&json!(2)));
        assert_eq!(log.last_error.as_deref(), Some("two"));
    }

    #[test]
    fn a_log_that_is_too_large_ends_with_a_note() {
        let (mut log, written) = log(10);
        log.line(false, 1, b"12345678", 0);
        log.line(false, 1, b"12345678", 0);
        log.line(false, 1, b"1", 0);
        assert_eq!(
            written.texts(),
            ["12345678", "the log is too large; what follows is not kept"]
        );
    }

    #[test]
    fn a_secret_on_the_edge_of_a_long_line_is_not_shown_in_part() {
        let (mut log, written) = log(1 << 20);
        let keep = log.line_bytes();
        let mut line = vec![b'x'; keep - 8];
        line.extend_from_slice(b"hunter2-");
        log.line(false, 1, &line, 9);
        let text = &written.texts()[0];
        assert!(!text.contains("hunter"), "{}", &text[text.len() - 60..]);
        assert!(text.ends_with("(line cut)") && text.len() <= LogLine::TEXT_MAX);
    }
}
