//! What the fuzz targets do: one function for each parser of what comes from outside. libFuzzer calls them by
//! `fuzz_targets`, and the suite of tests with the corpus and mutations of it.
//!
//! Each must neither panic nor overflow nor give more than its input warrants, and reading twice must give the same.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_docs_in_private_items,
    reason = "each binary uses one of them; a failed expectation is a finding"
)]

use operon_core::lang::cron::Cron;
use operon_core::triggers::parse::{self, Delivery, Parsed};
use operon_core::triggers::signature::{Convention, Signature};
use operon_core::triggers::{EventError, pattern};
use serde_json::Value;

/// Takes any bytes, and must neither panic nor take long.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("s3", s3),
    ("eventbridge", eventbridge),
    ("sns", sns),
    ("sqs", sqs),
    ("webhook", webhook),
    ("signature", signature),
    ("row", row),
    ("answer", answer),
    ("cron", cron),
    ("pattern", pattern),
];

/// Bytes that one event may have more than its document: names and fields are taken from it a few times over.
const MORE_BYTES: usize = 4_096;

fn checked(size: usize, read: impl Fn() -> Result<Parsed, EventError>) {
    let (first, second) = (read(), read());
    assert_eq!(first, second);
    let Ok(Parsed::Events(events)) = first else {
        return;
    };
    for event in events {
        assert!(!event.identity.is_empty());
        let fields = Value::Object(event.fields).to_string();
        assert!(
            fields.len() <= 8 * size + MORE_BYTES,
            "{} from {size}",
            fields.len()
        );
    }
}

fn document(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    checked(data.len(), || parse::document(&value));
}

/// Notifications of S3.
pub fn s3(data: &[u8]) {
    document(data);
}

/// Events of a bus.
pub fn eventbridge(data: &[u8]) {
    document(data);
}

/// Envelopes of SNS.
pub fn sns(data: &[u8]) {
    document(data);
}

/// Messages of queues: one's own and those of others.
pub fn sqs(data: &[u8]) {
    let body = String::from_utf8_lossy(data).into_owned();
    for queue_arn in [None, Some("arn:aws:sqs:eu-central-1:1:q".to_owned())] {
        let delivery = Delivery {
            body: body.clone(),
            message_id: "m".to_owned(),
            queue_arn,
            ..Delivery::default()
        };
        checked(body.len(), || parse::message(&delivery));
    }
}

/// Bodies of webhooks; the first byte chooses the content type.
pub fn webhook(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let kinds = [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
    ];
    let kind = kinds[usize::from(*kind) % kinds.len()];
    if let Ok(value) = parse::body(body, kind) {
        let _ = parse::delivery_of_slack(&value);
        assert!(value.to_string().len() <= 8 * body.len() + MORE_BYTES);
    }
}

/// Signatures: a byte for the convention, then the header, a time and the body in lines.
pub fn signature(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let conventions = [Convention::GitHub, Convention::Slack, Convention::Generic];
    let signature = Signature::new(conventions[usize::from(*kind) % 3], "S");
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let given = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let time = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let body = lines.next().unwrap_or_default();
    let header = |name: &str| {
        Some(if name == signature.header {
            given.as_str()
        } else {
            time.as_str()
        })
    };
    // Nobody knows the key, so nothing may ever be right.
    let key = b"a key that no input can know: 7f2b9c";
    assert!(
        signature
            .check(key, header, body, 1_531_420_618_000)
            .is_err()
    );
}

/// Rows of a query.
pub fn row(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for cursor in [None, Some("id")] {
        if let Ok((identity, _, _)) = parse::row(&text, cursor) {
            assert!(identity.starts_with("row:") && identity.len() < 2_048);
        }
    }
}

/// Answers of an address: lines of headers, an empty line, the body.
pub fn answer(data: &[u8]) {
    let end = data
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .unwrap_or(0);
    let (head, body) = data.split_at(end);
    let headers = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(&line[..at]).ok()?, &line[at + 1..]))
    });
    if let Ok(answer) = parse::answer(headers, body) {
        assert!(!answer.identity.is_empty() && answer.identity.len() <= 2_048);
    }
}

/// Cron expressions.
pub fn cron(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > 200 {
        return; // A flow's text has a limit of its own.
    }
    for seconds in [false, true] {
        let _ = Cron::parse(text, seconds);
    }
}

/// Patterns: one line the pattern, the next the event.
pub fn pattern(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let mut read = || serde_json::from_slice::<Value>(lines.next()?).ok();
    let (Some(Value::Object(wanted)), Some(event)) = (read(), read()) else {
        return;
    };
    assert_eq!(
        pattern::matches(&wanted, &event),
        pattern::matches(&wanted, &event)
    );
}
