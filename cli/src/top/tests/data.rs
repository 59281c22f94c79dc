//! What a server would answer.

use operon_api::dto::{
    ExecutionDetail, ExecutionSummary, FlowSummary, LockView, LogLineDto, LogPageDto, Page, TaskRun,
};
use operon_api::hooks::TriggerSummary;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::top::message::{Answer, Me};

/// 2026-11-14 12:00:00 UTC.
pub(super) const NOW: u64 = 1_794_657_600_000;
/// The execution that failed.
pub(super) const FAILED: &str = "1m8b5a20c3294515";

fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(super) fn me(role: &str) -> Me {
    of(json!({"subject": "ada", "role": role, "local": true}))
}

fn page<T: DeserializeOwned>(items: Value) -> Page<T> {
    Page {
        items: of(items),
        next: None,
    }
}

/// `seconds` before now it was created; it ran for `took`.
fn execution(id: &str, flow: &str, state: &str, seconds: u64, took: Option<u64>) -> Value {
    let created = NOW - seconds * 1000;
    json!({
        "id": id, "namespace": "genomics.pathoplexus", "flow": flow, "revision": 3, "state": state,
        "reason": (state == "FAILED").then_some("task `align[3]` failed: exit code 3"), "labels": {},
        "createdMs": created, "startedMs": (state != "QUEUED").then_some(created + 500),
        "endedMs": took.map(|took| created + 500 + took * 1000),
        "trigger": (flow == "nightly").then(|| json!({"id": "at-3", "type": "schedule", "detail": {}})),
        "parent": null, "replayOf": null, "lastTask": last(state),
    })
}

/// Where an execution in a state has come to.
fn last(state: &str) -> Value {
    let (task, state, attempts) = match state {
        "RUNNING" => ("publish", "RUNNING", 3),
        "FAILED" => ("align", "FAILED", 2),
        "PAUSED" => ("decide", "PAUSED", 0),
        "SUCCESS" => ("load-what-is-new-into-the-database", "SUCCESS", 12),
        "WARNING" => ("report", "SUCCESS", 1),
        "KILLED" => ("each", "KILLED", 0),
        // It has not begun.
        _ => return Value::Null,
    };
    json!({"task": task, "state": state, "attempts": attempts})
}

pub(super) fn executions() -> Page<ExecutionSummary> {
    page(json!([
        execution("1m8b5a2cce5w9ebx", "release", "RUNNING", 75, None),
        execution(FAILED, "nightly", "FAILED", 300, Some(12)),
        execution("1m8b5a24cjrmadxp", "approve", "PAUSED", 4_000, None),
        execution("1m8b5a1va8ja0zp0", "nightly", "QUEUED", 4_100, None),
        execution(
            "1m8b5a1va8ja0zp1",
            "ingest-from-ncbi-with-a-long-name",
            "SUCCESS",
            90_000,
            Some(3_700)
        ),
        execution("1m8b5a1va8ja0zp2", "nightly", "WARNING", 180_000, Some(61)),
        execution("1m8b5a1va8ja0zp3", "nightly", "KILLED", 260_000, Some(5)),
    ]))
}

pub(super) fn failed() -> ExecutionDetail {
    let mut value = execution(FAILED, "nightly", "FAILED", 300, Some(12));
    let more = json!({
        "inputs": {}, "outputs": {}, "history": [], "counts": {"SUCCESS": 4, "FAILED": 1, "SKIPPED": 1},
        "cost": {"vcpuSeconds": 0.0, "gbSeconds": 0.0, "cpuSecondsUsed": 0.0, "usd": 0.0, "complete": true}, "replayFrom": null, "correlationId": FAILED, "previous": "1m8b5a1va8ja0zp0", "next": null,
        "children": [], "pauses": [], "failedItems": 1, "priority": 0,
    });
    value
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    of(value)
}

/// An execution that waits for a person.
pub(super) fn paused() -> ExecutionDetail {
    let mut detail = failed();
    detail.summary = executions()
        .items
        .into_iter()
        .find(|row| row.state == "PAUSED")
        .unwrap();
    detail.failed_items = 0;
    detail.counts = of(json!({"SUCCESS": 1, "PAUSED": 1}));
    let input = |id: &str, kind: &str, required: bool, values: Value, defaults: Value| {
        json!({
            "id": id, "type": kind, "required": required, "defaults": defaults, "displayName": null,
            "description": "Name of the release", "dependsOn": null, "min": null, "max": null, "validator": null,
            "values": values, "expression": null, "allowCustomValue": false, "autoSelectFirst": false,
            "allowedFileExtensions": [], "itemType": null, "jsonSchema": null,
        })
    };
    detail.pauses = of(json!([{
        "taskRun": "0:1", "task": "decide", "name": "decide",
        "inputs": [
            input("release", "STRING", true, json!([]), Value::Null),
            input("channel", "SELECT", true, json!([["stable", null], ["beta", null]]), json!("stable")),
        ],
    }]));
    detail
}

/// Times are seconds after the execution was created.
fn run(
    id: &str,
    name: &str,
    state: &str,
    created: u64,
    attempts: &[(u64, Option<u64>, &str)],
) -> Value {
    let at = |seconds: u64| NOW - 300_000 + seconds * 1000;
    let usage = json!({"peakRssBytes": 0, "cpuSeconds": 0.0});
    let message = |state: &str| {
        (state == "FAILED").then_some("`/bin/sh` ended with exit code 3: no reference for d")
    };
    let list: Vec<Value> = (1..)
        .zip(attempts)
        .map(|(number, (started, ended, state))| {
            json!({
                "attempt": number, "state": state, "reason": null, "message": message(state), "exitCode": null,
                "createdMs": at(*started) - 300, "startedMs": at(*started), "endedMs": ended.map(at), "usage": usage,
            })
        })
        .collect();
    json!({
        "id": id, "task": name.split('[').next(), "name": name, "item": null, "parent": null,
        "kind": if attempts.is_empty() { "loop" } else { "task" }, "taskType": null, "state": state, "reason": null,
        "message": message(state), "exitCode": null, "createdMs": at(created),
        "startedMs": attempts.first().map_or(at(created), |first| at(first.0)),
        "endedMs": attempts.last().map_or(Some(12), |last| last.1).map(at),
        "outputs": {}, "outputsUri": null, "metrics": [], "usage": usage, "cached": false, "reusedFrom": null,
        "attempts": list,
    })
}

/// A task run as the stream tells it.
pub(super) fn one_run(
    id: &str,
    name: &str,
    state: &str,
    attempts: &[(u64, Option<u64>, &str)],
) -> TaskRun {
    of(run(id, name, state, 1, attempts))
}

pub(super) fn runs(failed_only: bool) -> Answer {
    let all = [
        run("0:0", "fetch", "SUCCESS", 0, &[(1, Some(3), "SUCCESS")]),
        run("0:1", "each", "FAILED", 3, &[]),
        run(
            "0.1/0:0",
            "align[0]",
            "SUCCESS",
            3,
            &[(3, Some(6), "SUCCESS")],
        ),
        run(
            "0.1/0:1",
            "align[1]",
            "SUCCESS",
            3,
            &[(4, Some(6), "SUCCESS")],
        ),
        run(
            "0.1/0:2",
            "align[2]",
            "SUCCESS",
            3,
            &[(6, Some(8), "SUCCESS")],
        ),
        run(
            "0.1/0:3",
            "align[3]",
            "FAILED",
            3,
            &[(5, Some(8), "FAILED"), (10, Some(12), "FAILED")],
        ),
    ];
    let runs = all
        .into_iter()
        .filter(|run| !failed_only || run["state"] == "FAILED");
    Answer::TaskRuns {
        id: FAILED.to_owned(),
        states: if failed_only {
            "FAILED,KILLED".to_owned()
        } else {
            String::new()
        },
        runs: runs.map(of).collect(),
        more: false,
    }
}

pub(super) fn line(seq: u64, level: &str, text: &str) -> LogLineDto {
    let time = NOW - 290_000 + seq * 1000;
    of(
        json!({"seq": seq, "timeMs": time, "level": level, "text": text, "taskRun": "0.1/0:3", "attempt": 2}),
    )
}

pub(super) fn log(ended: bool) -> LogPageDto {
    let items = vec![
        line(0, "INFO", "aligning d"),
        line(1, "INFO", "\u{1b}[32m12\u{1b}[0m\tsequences"),
        line(2, "ERROR", "no reference for d"),
    ];
    LogPageDto {
        items,
        next: Some("2".to_owned()),
        ended,
        ..LogPageDto::default()
    }
}

pub(super) fn flows() -> Page<FlowSummary> {
    let latest = executions().items;
    let of_flow = |id: &str| -> Vec<Value> {
        latest
            .iter()
            .filter(|row| row.flow == id)
            .map(|row| json!(row))
            .collect()
    };
    let flow = |id: &str, disabled: bool, about: Option<&str>| {
        json!({
            "namespace": "genomics.pathoplexus", "id": id, "revision": 3, "disabled": disabled, "description": about,
            "labels": {}, "updatedMs": NOW, "updatedBy": "ada", "latest": of_flow(id),
        })
    };
    page(json!([
        flow("approve", false, Some("Lets a person decide\nand more")),
        flow("ingest-from-ncbi-with-a-long-name", true, None),
        flow("nightly", false, Some("Aligns what came in")),
    ]))
}

pub(super) fn triggers() -> Page<TriggerSummary> {
    let trigger = |id: &str, kind: &str, more: Value| {
        let mut value = json!({
            "namespace": "genomics.pathoplexus", "flow": "nightly", "id": id, "type": kind, "disabled": false,
            "lastMs": NOW - 3_600_000, "nextMs": null, "late": false, "detail": null,
            "url": null, "lastError": null,
        });
        value
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        value
    };
    page(json!([
        trigger("at-3", "schedule", json!({"nextMs": NOW + 54_000_000})),
        trigger(
            "uploads",
            "s3",
            json!({"lastError": "the bucket does not exist"})
        ),
        trigger(
            "weekly",
            "schedule",
            json!({"late": true, "nextMs": NOW - 60_000, "detail": "2 dates did not fire"})
        ),
        trigger(
            "hook",
            "webhook",
            json!({"disabled": true, "detail": "off by ada: switched off by hand"})
        ),
    ]))
}

pub(super) fn locks() -> Page<LockView> {
    page(json!([
        {
            "name": "genomics.pathoplexus/nightly", "limit": 2,
            "owners": [
                {"execution": FAILED, "quarantinedUntilMs": NOW + 1_800_000},
                {"execution": "1m8b5a2cce5w9ebx", "quarantinedUntilMs": null},
            ],
            "queue": ["1m8b5a1va8ja0zp0"],
        },
        {"name": "genomics.pathoplexus/release:mpox", "key": "mpox", "limit": 1, "owners": [], "queue": []},
    ]))
}
