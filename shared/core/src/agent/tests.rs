//! The documents as text: what another release, or the other side, must be able to read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::exec::{Outcome, Reason};

fn attempt() -> AttemptName {
    "exec-1:0.12/5:3:2".parse().unwrap()
}

fn cache() -> CacheEntry {
    CacheEntry {
        key: "00ff".to_owned(),
        ttl_ms: Some(60_000),
    }
}

fn spec() -> AgentSpec {
    let target = Target {
        bucket: "data".to_owned(),
        key: "artifacts/exec-1/3-2".to_owned(),
        uri: "operon:///exec-1/3-2".to_owned(),
    };
    let mut spec = AgentSpec::new(attempt(), "align[12]", target, 900_000);
    spec.memory_mib = 2_048;
    spec.cache = Some(cache());
    spec.output_files = vec!["results/*.tsv".to_owned()];
    spec.secret_variables = vec!["SLACK_HOOK".to_owned()];
    spec.input_files = vec![
        AgentInput {
            path: "config.yaml".to_owned(),
            source: Source::Inline(vec![
                Part::Text("hook: ".to_owned()),
                Part::Secret("SLACK_HOOK".to_owned()),
            ]),
            executable: false,
        },
        AgentInput {
            path: "run.sh".to_owned(),
            source: Source::text("echo hi\n"),
            executable: true,
        },
        AgentInput {
            path: "data/in.fasta".to_owned(),
            source: Source::S3(S3Object {
                bucket: "data".to_owned(),
                key: "artifacts/a/in.fasta".to_owned(),
                sha256: None,
            }),
            executable: false,
        },
    ];
    spec
}

/// Both directions: what is written, and that it is read again as the same.
fn golden<T>(value: &T, expected: &Value)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(&serde_json::to_value(value).unwrap(), expected);
    assert_eq!(
        &serde_json::from_value::<T>(expected.clone()).unwrap(),
        value
    );
}

#[test]
fn a_specification_as_json() {
    golden(
        &spec(),
        &json!({
            "format": 1,
            "attempt": "exec-1:0.12/5:3:2",
            "name": "align[12]",
            "inputFiles": [
                {"path": "config.yaml", "source": {"inline": [{"text": "hook: "}, {"secret": "SLACK_HOOK"}]}},
                {"path": "run.sh", "source": {"inline": [{"text": "echo hi\n"}]}, "executable": true},
                {"path": "data/in.fasta", "source": {"s3": {"bucket": "data", "key": "artifacts/a/in.fasta"}}},
            ],
            "outputFiles": ["results/*.tsv"],
            "target": {
                "bucket": "data",
                "key": "artifacts/exec-1/3-2",
                "uri": "operon:///exec-1/3-2",
            },
            "timeoutMs": 900_000,
            "memoryMib": 2_048,
            "cache": {"key": "00ff", "ttlMs": 60_000},
            "secretVariables": ["SLACK_HOOK"],
            "reports": {"startedAfterMs": 5_000, "heartbeatMs": 240_000},
            "limits": {
                "inputBytes": 204_010_946_560_u64,
                "outputFiles": 10_000,
                "outputBytes": 204_010_946_560_u64,
                "logBytes": 67_108_864,
            },
        }),
    );
}

#[test]
fn what_is_not_said_has_a_default() {
    let read: AgentSpec = serde_json::from_value(json!({
        "format": 1,
        "attempt": "e:0:3:1",
        "name": "align",
        "target": {"bucket": "b", "key": "k", "uri": "operon:///k"},
        "timeoutMs": 1,
    }))
    .unwrap();
    let target = Target {
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        uri: "operon:///k".to_owned(),
    };
    let expected = AgentSpec::new("e:0:3:1".parse().unwrap(), "align", target, 1);
    assert_eq!(read, expected);
}

#[test]
fn messages_as_json() {
    let message = |said| AgentMessage {
        format: FORMAT,
        attempt: attempt(),
        said,
    };
    golden(
        &message(AgentSaid::Started { started_ms: 5 }),
        &json!({"agent": 1, "attempt": "exec-1:0.12/5:3:2", "said": {"started": {"startedMs": 5}}}),
    );
    let usage = Usage {
        peak_rss_bytes: 1_024,
        provision_seconds: 0.0,
        cpu_seconds: 0.5,
    };
    golden(
        &message(AgentSaid::Alive { at_ms: 7, usage }),
        &json!({"agent": 1, "attempt": "exec-1:0.12/5:3:2",
            "said": {"alive": {"atMs": 7, "usage": {"peakRssBytes": 1_024, "cpuSeconds": 0.5}}}}),
    );
    let result = AgentResult {
        format: FORMAT,
        attempt: attempt(),
        outcome: Outcome::Failed(Reason::OutOfMemory),
        exit_code: Some(137),
        message: Some("the container ran out of memory".to_owned()),
        outputs: [("exitCode".to_owned(), json!(137))].into_iter().collect(),
        outputs_uri: None,
        cache: Some(cache()),
        output_files: vec![OutputFile {
            name: "a.tsv".to_owned(),
            uri: "operon:///exec-1/3-2/a.tsv".to_owned(),
            bytes: 3,
            sha256: "00ff".to_owned(),
        }],
        metrics: vec![Metric {
            name: "sequences".to_owned(),
            kind: MetricKind::Counter,
            value: 2.0,
            tags: BTreeMap::new(),
        }],
        usage,
        started_ms: 1,
        ended_ms: 2,
        task_arn: Some("arn:aws:ecs:eu-central-1:1:task/c/t".to_owned()),
        log: Some(LogPlace {
            group: "/operon/main".to_owned(),
            stream: "operon/agent/t".to_owned(),
        }),
    };
    golden(
        &message(AgentSaid::Done(Box::new(result))),
        &json!({"agent": 1, "attempt": "exec-1:0.12/5:3:2", "said": {"done": {
            "format": 1,
            "attempt": "exec-1:0.12/5:3:2",
            "outcome": {"failed": "out_of_memory"},
            "exitCode": 137,
            "message": "the container ran out of memory",
            "outputs": {"exitCode": 137},
            "cache": {"key": "00ff", "ttlMs": 60_000},
            "outputFiles": [
                {"name": "a.tsv", "uri": "operon:///exec-1/3-2/a.tsv", "bytes": 3, "sha256": "00ff"},
            ],
            "metrics": [{"name": "sequences", "type": "counter", "value": 2.0, "tags": {}}],
            "usage": {"peakRssBytes": 1_024, "cpuSeconds": 0.5},
            "startedMs": 1,
            "endedMs": 2,
            "taskArn": "arn:aws:ecs:eu-central-1:1:task/c/t",
            "log": {"group": "/operon/main", "stream": "operon/agent/t"},
        }}}),
    );
}

#[test]
fn names_of_attempts_are_checked() {
    for good in ["e:0:3:1", "a-b_C9:0.12/5.3/0:127:255"] {
        assert_eq!(good.parse::<AttemptName>().unwrap().to_string(), good);
    }
    let long = format!("{}:0:3:1", "e".repeat(65));
    for bad in [
        "",
        "e",
        "e:0:3",
        "e:0:3:0",
        "e:0:3:256",
        "e:0:3:1:1",
        ":0:3:1",
        "e/x:0:3:1",
        "e:x:3:1",
        &long,
    ] {
        assert!(bad.parse::<AttemptName>().is_err(), "{bad} was accepted");
    }
}

#[test]
fn the_environment_of_main_names_the_layout() {
    let pairs = main_environment("/operon/");
    let outputs = pairs.iter().find(|(name, _)| *name == "OPERON_OUTPUTS");
    assert_eq!(outputs.unwrap().1, "/operon/control/outputs");
    assert_eq!(pairs.len(), 5);
}
