#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use operon_core::exec::{Outcome, Reason};
use serde_json::json;

use super::*;
use crate::ports::TaskRunKey;

fn id() -> AttemptId {
    AttemptId {
        execution: "exec-1".parse().unwrap(),
        task_run: TaskRunKey {
            shard: "0.12/5".parse().unwrap(),
            slot: 3,
        },
        attempt: 2,
    }
}

fn event(event: Event) -> EventMessage {
    EventMessage::new(id().shard_key(), event)
}

/// Every kind of message, by the name of its file.
fn all() -> Vec<(&'static str, String)> {
    let done = Event::Done {
        slot: 3,
        attempt: 2,
        outcome: Outcome::Failed(Reason::OutOfMemory),
        age_ms: 1_500,
    };
    let tick = EventMessage {
        armed_ms: Some(1_893_456_000_000),
        ..event(Event::Tick)
    };
    let start = EventMessage {
        not_before_ms: Some(1_893_456_000_000),
        ..EventMessage::new(ShardKey::root(&id().execution), Event::Start)
    };
    let plan = |message: EventMessage| PlanMessage::from(message).encode().unwrap();
    let since_ms = 1_893_456_000_000;
    let launch = |message: &LaunchMessage| encode(message).unwrap();
    let work = |message: &WorkMessage| encode(message).unwrap();
    vec![
        ("plan-done", plan(event(done))),
        ("plan-tick", plan(tick)),
        ("plan-start", plan(start)),
        (
            "launch",
            launch(&LaunchMessage::Launch { id: id(), since_ms }),
        ),
        (
            "stop",
            launch(&LaunchMessage::Stop {
                id: id(),
                since_ms,
                missed: 0,
            }),
        ),
        (
            "probe",
            launch(&LaunchMessage::Probe {
                id: id(),
                launched_ms: since_ms,
                missed: 1,
            }),
        ),
        ("work", work(&WorkMessage::Execute { id: id(), since_ms })),
        (
            "work-stop",
            work(&WorkMessage::Stop {
                id: id(),
                since_ms,
                told: false,
            }),
        ),
        (
            "work-tell",
            work(&WorkMessage::Tell {
                execution: id().execution,
            }),
        ),
        (
            "work-deliver",
            work(&WorkMessage::Deliver {
                not_before_ms: Some(since_ms),
            }),
        ),
        (
            "work-poll",
            work(&WorkMessage::Poll {
                trigger: TriggerKey {
                    namespace: "genomics.qc".to_owned(),
                    flow: "ncbi".to_owned(),
                    trigger: "release".to_owned(),
                },
            }),
        ),
    ]
}

fn golden(format: u16) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("tests/golden/wire/v{format}"))
}

/// `OPERON_UPDATE_GOLDEN=1` writes the files of a new format; those of an old one never change.
#[test]
fn messages_are_written_as_they_were() {
    let update = std::env::var_os("OPERON_UPDATE_GOLDEN").is_some();
    for (name, text) in all() {
        let file = golden(FORMAT).join(format!("{name}.json"));
        if update {
            std::fs::create_dir_all(golden(FORMAT)).unwrap();
            std::fs::write(&file, format!("{text}\n")).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, expected.trim_end(), "{}", file.display());
    }
}

#[test]
fn this_release_reads_its_own_messages_and_its_predecessors() {
    let mut read = 0;
    for format in oldest()..=FORMAT {
        for entry in std::fs::read_dir(golden(format)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = text.trim_end();
            let good = if name.starts_with("plan") {
                PlanMessage::decode(text).is_ok()
            } else if name.starts_with("work") {
                decode::<WorkMessage>(text).is_ok()
            } else {
                decode::<LaunchMessage>(text).is_ok()
            };
            assert!(good, "{}", path.display());
            read += 1;
        }
    }
    assert_eq!(read, all().len() * usize::from(FORMAT - oldest() + 1));
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let message = PlanMessage::from(event(Event::Tick));
    assert_eq!(PlanMessage::decode(&message.encode().unwrap()), Ok(message));
    let message = LaunchMessage::Launch {
        id: id(),
        since_ms: 5,
    };
    assert_eq!(decode(&encode(&message).unwrap()), Ok(message));
}

#[test]
fn an_agent_is_understood() {
    let text = json!({
        "agent": 1, "attempt": "exec-1:0:3:1", "said": {"started": {"startedMs": 5}}
    });
    let read = PlanMessage::decode(&text.to_string()).unwrap();
    assert!(matches!(read, PlanMessage::Agent(_)));
    let newer = json!({"agent": 99, "attempt": "exec-1:0:3:1", "said": {}});
    assert_eq!(
        PlanMessage::decode(&newer.to_string()),
        Err(WireError::OtherRelease(99))
    );
}

#[test]
fn what_cannot_be_read_says_why() {
    for (text, expected) in [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ("{\"kind\":\"launch\"}", "no format number"),
        ("{\"v\":2,\"kind\":\"launch\"}", "has format 2"),
        ("{\"v\":0,\"kind\":\"launch\"}", "has format 0"),
        ("{\"v\":1,\"kind\":\"other\"}", "unknown variant"),
    ] {
        let error = decode::<LaunchMessage>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn too_large_a_message_is_neither_written_nor_read() {
    let mut message = event(Event::Tick);
    let mut row: AttemptRow = serde_json::from_value(json!({
        "execution": "e", "taskRun": {"shard": "0", "slot": 0}, "attempt": 1, "task": "t", "name": "t",
        "item": null, "parent": null, "state": "", "reason": null, "message": null, "exitCode": null,
        "createdMs": 0, "startedMs": null, "endedMs": null, "outputs": {}, "outputsUri": null,
        "metrics": [], "usage": {"peakRssBytes": 0, "cpuSeconds": 0.0}
    }))
    .unwrap();
    row.message = Some("x".repeat(MESSAGE_BYTES_MAX));
    message.row = Some(row);
    let written = PlanMessage::from(message).encode();
    assert!(matches!(written, Err(WireError::TooLarge(_))));
    let text = " ".repeat(MESSAGE_BYTES_MAX + 1);
    assert!(matches!(
        decode::<LaunchMessage>(&text),
        Err(WireError::TooLarge(_))
    ));
}
