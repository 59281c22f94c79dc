//! Triggers of flows as they are read.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::super::batch::Limits;
use super::super::size::Wish;
use super::super::window::{Mode, Window};
use super::{Action, Config, Kind};
use crate::lang::{Plugins, parse};

/// The trigger of a flow with that trigger.
fn read(trigger: &str) -> Config {
    let lines: Vec<String> = trigger
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    let source = format!(
        "id: f\nnamespace: n\ntasks: [{{id: t, type: log, message: x}}]\ntriggers:\n  -\n{}",
        lines.concat()
    );
    let parsed = parse(&source, &Plugins::default());
    let flow = parsed
        .flow
        .unwrap_or_else(|| panic!("{source}\n{:?}", parsed.diagnostics.into_sorted()));
    Config::read(&flow.triggers[0]).unwrap()
}

#[test]
fn every_type_of_the_catalogue_is_understood() {
    for info in crate::lang::catalogue::trigger_types() {
        let config = read(info.example);
        assert_eq!(config.trigger_type, info.name);
    }
}

#[test]
fn common_properties_and_batches() {
    let config = read(
        "id: a\ntype: s3\nbucket: b\nprefix: in/\nsuffix: .fa\nminSize: 1\nmaxSize: 1MB\nwhen: \"{{ trigger.size > 1 }}\"\n\
         stopAfter: FAILED\nallowConcurrent: false\nbatch: {maxItems: 7, maxWait: 10s, maxBytes: 1KB, groupBy: \"{{ trigger.key }}\"}",
    );
    assert_eq!(config.stop_after, ["FAILED"]);
    assert!(!config.allow_concurrent && config.fail_on_error);
    let batch = config.batch.unwrap();
    assert_eq!(
        batch.limits,
        Limits {
            items_max: 7,
            bytes_max: Some(1_000),
            wait_max_ms: 10_000
        }
    );
    let Kind::S3(objects) = config.kind else {
        panic!()
    };
    assert!(objects.matches("b", "in/x.fa", 5));
    for (bucket, key, size) in [
        ("c", "in/x.fa", 5),
        ("b", "out/x.fa", 5),
        ("b", "in/x.fq", 5),
        ("b", "in/x.fa", 0),
        ("b", "in/x.fa", 1_000_001),
    ] {
        assert!(!objects.matches(bucket, key, size), "{bucket} {key} {size}");
    }
}

#[test]
fn a_dynamic_batch_has_a_target_and_bounds() {
    let config = read("id: a\ntype: s3\nbucket: b\nbatch: {target: 5m, min: 3, max: 500, task: t}");
    let batch = config.batch.unwrap();
    assert_eq!(
        batch.dynamic,
        Some(Wish {
            target_ms: 300_000,
            min: 3,
            max: 500
        })
    );
    assert_eq!(
        (batch.limits.items_max, batch.task.as_deref()),
        (500, Some("t"))
    );
}

#[test]
fn windows_and_modes_of_flow_triggers() {
    let config = read(
        "id: a\ntype: flow\ndependsOn: [{flowId: x}, {flowId: y, states: [FAILED], namespace: m}]\nmode: AT_LEAST\nminSatisfied: 2\n\
         window: {every: P1D, offset: PT2H}\nonMiss: {behavior: FAIL, labels: {why: late}}",
    );
    let Kind::Flow(flow) = config.kind else {
        panic!()
    };
    assert_eq!((flow.mode, flow.fire_once), (Mode::AtLeast(2), true));
    assert_eq!(
        flow.window,
        Window::Every {
            length_ms: 86_400_000,
            offset_ms: 7_200_000
        }
    );
    assert_eq!(flow.depends_on[0].states, ["SUCCESS", "WARNING"]);
    assert_eq!(flow.depends_on[1].states, ["FAILED"]);
    assert_eq!(flow.on_miss.unwrap()["why"], "late");
}

#[test]
fn signatures_have_the_headers_of_their_convention() {
    let config = read(
        "id: a\ntype: webhook\nkey: abcdefghijklmnop\nsignature: {type: slack, secret: S, tolerance: 1m}",
    );
    let Kind::Webhook(webhook) = config.kind else {
        panic!()
    };
    let signature = webhook.signature.unwrap();
    assert_eq!(
        (signature.header.as_str(), signature.tolerance_ms),
        ("x-slack-signature", 60_000)
    );
    let config = read(
        "id: a\ntype: webhook\nkey: abcdefghijklmnop\n\
         signature: {type: generic, secret: S, header: X-Mine, prefix: \"sha256=\", timestampHeader: X-Time, idHeader: X-Id}",
    );
    let Kind::Webhook(webhook) = config.kind else {
        panic!()
    };
    let signature = webhook.signature.unwrap();
    assert_eq!(signature.id_header.as_deref(), Some("x-id"));
    assert_eq!(signature.timestamp_header.as_deref(), Some("x-time"));
}

#[test]
fn an_object_stays_is_deleted_or_is_moved() {
    for (text, action) in [
        ("", Action::Stay),
        ("\naction: NONE", Action::Stay),
        ("\naction: DELETE", Action::Delete),
        (
            "\naction: MOVE\nprefix: in/\nmoveTo: {key: done/}",
            Action::Move {
                bucket: "b".to_owned(),
                directory: "done/".to_owned(),
            },
        ),
        (
            "\naction: MOVE\nmoveTo: {bucket: c, key: done}",
            Action::Move {
                bucket: "c".to_owned(),
                directory: "done".to_owned(),
            },
        ),
    ] {
        let config = read(&format!("id: a\ntype: s3\nbucket: b{text}"));
        assert_eq!(config.acts(), action != Action::Stay, "{text}");
        let Kind::S3(objects) = config.kind else {
            panic!()
        };
        assert_eq!(objects.action, action, "{text}");
    }
}
