//! What ECS says about the task: the task metadata endpoint, version 4.

use std::collections::BTreeMap;

use operon_core::agent::{CONTAINER_AGENT, CONTAINER_MAIN, CONTAINER_STAGE, LogPlace};
use serde::Deserialize;

use crate::http::{self, HttpError};

/// The endpoint of this task.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    uri: String,
}

/// Why the endpoint told nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("the task metadata endpoint does not answer: {0}")]
    Http(#[from] HttpError),
    #[error("the task metadata endpoint answers something unreadable: {0}")]
    Shape(#[from] serde_json::Error),
}

impl Metadata {
    pub(crate) fn new(uri: &str) -> Self {
        Self {
            uri: uri.trim_end_matches('/').to_owned(),
        }
    }

    pub(crate) async fn task(&self) -> Result<Task, MetadataError> {
        let body = http::get(&format!("{}/task", self.uri)).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Counters of each container, by its Docker id; null before the first sample.
    pub(crate) async fn stats(&self) -> Result<BTreeMap<String, Option<Stats>>, MetadataError> {
        let body = http::get(&format!("{}/task/stats", self.uri)).await?;
        Ok(serde_json::from_slice(&body)?)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Task {
    #[serde(rename = "TaskARN")]
    pub(crate) arn: Option<String>,
    desired_status: String,
    /// When somebody began to stop the task.
    execution_stopped_at: Option<String>,
    /// When the first image began to be pulled.
    pull_started_at: Option<String>,
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Container {
    pub(crate) docker_id: String,
    name: String,
    known_status: String,
    pub(crate) exit_code: Option<i32>,
    started_at: Option<String>,
    finished_at: Option<String>,
    log_options: BTreeMap<String, String>,
}

impl Task {
    fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|one| one.name == name)
    }

    pub(crate) fn main(&self) -> Option<&Container> {
        self.container(CONTAINER_MAIN)
    }

    /// Whether `stage` has failed, so that `main` will never start.
    pub(crate) fn stage_failed(&self) -> bool {
        self.container(CONTAINER_STAGE)
            .is_some_and(|stage| stage.is_stopped() && stage.exit_code != Some(0))
    }

    /// Whether somebody asked ECS to stop this task before `main` ended.
    pub(crate) fn was_told_to_stop(&self) -> bool {
        let told = self.desired_status == "STOPPED";
        let ended = self.main().and_then(Container::finished_ms);
        match (self.execution_stopped_at.as_deref().and_then(ms), ended) {
            (Some(told_ms), Some(ended_ms)) => told && told_ms <= ended_ms,
            _ => told,
        }
    }

    /// Seconds from the first pull of an image to the start of `main`; 0 while either is unknown.
    #[allow(clippy::cast_precision_loss, reason = "milliseconds far below 2^53")]
    pub(crate) fn provision_seconds(&self) -> f64 {
        let pulled = self.pull_started_at.as_deref().and_then(ms);
        let started = self.main().and_then(Container::started_ms);
        match (pulled, started) {
            (Some(pulled), Some(started)) => started.saturating_sub(pulled) as f64 / 1000.0,
            _ => 0.0,
        }
    }

    /// Where the log that the agent forwards ends up.
    pub(crate) fn log(&self) -> Option<LogPlace> {
        let options = &self.container(CONTAINER_AGENT)?.log_options;
        Some(LogPlace {
            group: options.get("awslogs-group")?.clone(),
            stream: options.get("awslogs-stream")?.clone(),
        })
    }
}

impl Container {
    pub(crate) fn is_stopped(&self) -> bool {
        self.known_status == "STOPPED"
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(
            self.known_status.as_str(),
            "RUNNING" | "RESOURCES_PROVISIONED"
        )
    }

    pub(crate) fn started_ms(&self) -> Option<u64> {
        self.started_at.as_deref().and_then(ms)
    }

    pub(crate) fn finished_ms(&self) -> Option<u64> {
        self.finished_at.as_deref().and_then(ms)
    }
}

/// Milliseconds since the epoch of `2026-11-23T09:30:00.123456789Z`; none for anything else.
pub(crate) fn ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':').map(str::parse::<i64>);
    let (hour, minute, second) = (
        clock.next()?.ok()?,
        clock.next()?.ok()?,
        clock.next()?.ok()?,
    );
    let good = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !good {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    u64::try_from(seconds * 1_000 + millis).ok()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, by counting years from March.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// Docker's counters, as far as they are used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    cpu_stats: CpuStats,
    memory_stats: MemoryStats,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct CpuStats {
    cpu_usage: CpuUsage,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    /// Nanoseconds.
    total_usage: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct MemoryStats {
    usage: u64,
    stats: MemoryDetail,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct MemoryDetail {
    /// Of cgroup version 1.
    total_inactive_file: Option<u64>,
    /// Of cgroup version 2.
    inactive_file: Option<u64>,
}

impl Stats {
    /// What the kernel cannot take back by dropping its cache of files.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let MemoryStats { usage, stats } = &self.memory_stats;
        let cache = stats.total_inactive_file.or(stats.inactive_file);
        usage.saturating_sub(cache.unwrap_or_default())
    }

    pub(crate) const fn cpu_nanoseconds(&self) -> u64 {
        self.cpu_stats.cpu_usage.total_usage
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(ms("2000-02-29T12:34:56.789012345Z"), Some(951_827_696_789));
        assert_eq!(ms("2026-11-23T09:30:00.5Z"), Some(1_795_426_200_500));
        for wrong in [
            "",
            "2026-11-23",
            "2026-13-01T00:00:00Z",
            "2026-11-23T09:30:00+01:00",
        ] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }

    fn task(desired: &str, stopped: Option<&str>) -> Task {
        serde_json::from_value(json!({
            "TaskARN": "arn:task",
            "DesiredStatus": desired,
            "ExecutionStoppedAt": stopped,
            "Containers": [
                {"Name": "stage", "KnownStatus": "STOPPED", "ExitCode": 0},
                {"Name": "main", "KnownStatus": "STOPPED", "ExitCode": 143, "DockerId": "d1",
                 "StartedAt": "2026-11-23T09:30:00Z", "FinishedAt": "2026-11-23T09:31:00Z"},
                {"Name": "agent", "KnownStatus": "RUNNING", "LogOptions":
                    {"awslogs-group": "/operon", "awslogs-stream": "operon/agent/1", "awslogs-region": "x"}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn an_end_before_the_order_to_stop_is_the_programs_own() {
        assert!(!task("RUNNING", None).was_told_to_stop());
        assert!(task("STOPPED", None).was_told_to_stop());
        assert!(task("STOPPED", Some("2026-11-23T09:30:30Z")).was_told_to_stop());
        assert!(!task("STOPPED", Some("2026-11-23T09:31:30Z")).was_told_to_stop());
    }

    #[test]
    fn the_log_is_where_the_agents_own_output_goes() {
        let place = task("RUNNING", None).log().unwrap();
        assert_eq!(
            (place.group.as_str(), place.stream.as_str()),
            ("/operon", "operon/agent/1")
        );
    }

    #[test]
    fn memory_is_what_cannot_be_dropped() {
        let stats = |stats| -> Stats {
            serde_json::from_value(json!({"memory_stats": {"usage": 100, "stats": stats}})).unwrap()
        };
        assert_eq!(stats(json!({"inactive_file": 30})).memory_bytes(), 70);
        assert_eq!(
            stats(json!({"total_inactive_file": 40, "inactive_file": 30})).memory_bytes(),
            60
        );
        assert_eq!(stats(json!({"inactive_file": 300})).memory_bytes(), 0);
    }
}
