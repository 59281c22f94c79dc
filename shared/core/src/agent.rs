//! What the launcher and the agent tell each other.
//!
//! The agent stands beside an unchanged image in a Fargate task: its `stage` mode fills the task's volume before
//! the image starts, its `watch` mode reports how it ended. It is given an [`AgentSpec`] and answers with
//! [`AgentMessage`]s on the plan queue; the same [`AgentResult`] is stored as the attempt's manifest.
//!
//! Invariant: no secret's value is in any of these documents, only the names of environment variables.

mod name;
mod protocol;
mod report;
mod spec;

pub use name::{AttemptName, AttemptNameError, EXECUTION_ID_CHARS_MAX};
pub use protocol::{
    Emitted, LINE_MAX, METRICS_MAX, OUTPUTS_MAX, PREFIX, Said, for_queue, parse_line,
};
pub use report::{
    AgentMessage, AgentResult, AgentSaid, LogLevel, LogLine, LogPlace, Metric, MetricKind,
    OutputFile, StageNote, Usage,
};
pub use spec::{
    AgentInput, AgentLimits, AgentSpec, CacheEntry, Part, ReportTimes, S3Object, Source, Target,
};

/// Format of the documents here. A release reads its predecessor's.
pub const FORMAT: u16 = 1;

/// Name of the container that fills the volume before the image starts.
pub const CONTAINER_STAGE: &str = "stage";
/// Name of the container that runs the image.
pub const CONTAINER_MAIN: &str = "main";
/// Name of the container that watches and reports.
pub const CONTAINER_AGENT: &str = "agent";
/// Where the volume is mounted in all three.
pub const VOLUME: &str = "/operon";
/// Name of the volume in the task definition.
pub const VOLUME_NAME: &str = "operon";

/// Variable of `stage` and `agent`: the attempt, as [`AttemptName`] writes it.
pub const ENV_ATTEMPT: &str = "OPERON_ATTEMPT";
/// Variable of `stage` and `agent`: the `s3://` URI of the [`AgentSpec`].
pub const ENV_SPEC_URI: &str = "OPERON_SPEC_URI";
/// Variable of `stage` and `agent`: the [`AgentSpec`] itself, where it is small enough; saves the object.
pub const ENV_SPEC: &str = "OPERON_SPEC";
/// Variable of `agent`: where messages go.
pub const ENV_PLAN_QUEUE_URL: &str = "OPERON_PLAN_QUEUE_URL";
/// Variable of `stage` and `agent`: where the volume is mounted, if not at [`VOLUME`].
pub const ENV_VOLUME: &str = "OPERON_VOLUME";

/// The agent's exit code when the result is in the manifest and the plan queue did not take it.
pub const EXIT_CANNOT_REPORT: i32 = 75;
/// The agent's exit code when the time is over: ECS then stops `main`, and the stopped task says the rest.
pub const EXIT_TIMED_OUT: i32 = 76;
/// The agent's exit code when the task was stopped and `main` did not end in time: it may not have ended at all.
pub const EXIT_INTERRUPTED: i32 = 77;
/// The agent's exit code when the task metadata endpoint does not answer, or `main` never starts.
pub const EXIT_CANNOT_WATCH: i32 = 70;
/// The agent's exit code when what it was given is unusable.
pub const EXIT_CONFIG: i32 = 78;

/// Key of the manifest below the output prefix of an attempt.
pub const MANIFEST: &str = ".operon/manifest.json";
/// Bytes of an [`AgentSpec`] at most.
pub const SPEC_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of an [`AgentMessage`] at most, with room for the queue's own limit of 256 KiB in older emulators.
pub const MESSAGE_BYTES_MAX: usize = 200 * 1024;
/// Bytes of `outputs` that travel in a message; larger ones are an artifact.
pub const OUTPUTS_INLINE_MAX: usize = 4096;

/// Directories and files of the volume, relative to where it is mounted.
pub mod layout {
    /// The working directory: input files are here, globs are relative to it.
    pub const WORK: &str = "work";
    /// `TMPDIR`.
    pub const TEMPORARY: &str = "control/tmp";
    /// `OUTPUT_DIR`: everything in it is an output file.
    pub const OUTPUT: &str = "control/output";
    /// The file named by `OPERON_OUTPUTS`.
    pub const OUTPUTS: &str = "control/outputs";
    /// The file named by `OPERON_METRICS`.
    pub const METRICS: &str = "control/metrics";
    /// Why `stage` failed, for `watch`.
    pub const STAGE_NOTE: &str = "agent/stage.json";
}

/// What `main` finds in its environment, beside what the flow says.
#[must_use]
pub fn main_environment(volume: &str) -> Vec<(&'static str, String)> {
    let volume = volume.trim_end_matches('/');
    [
        ("WORKING_DIR", layout::WORK),
        ("TMPDIR", layout::TEMPORARY),
        ("OUTPUT_DIR", layout::OUTPUT),
        ("OPERON_OUTPUTS", layout::OUTPUTS),
        ("OPERON_METRICS", layout::METRICS),
    ]
    .map(|(name, path)| (name, format!("{volume}/{path}")))
    .into()
}

#[cfg(test)]
mod tests;
