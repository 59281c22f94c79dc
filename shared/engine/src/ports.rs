//! What the engine needs from the world. `operon-local` answers with SQLite, directories and processes,
//! `operon-aws` with `DynamoDB`, S3 and ECS; tests answer with ports that fail on purpose.

mod artifact;
mod attempt;
mod ecs;
mod logs;
mod messages;
mod queue;
mod records;
mod runner;
mod services;
mod store;

pub use artifact::{ARTIFACT_KEY_MAX, ArtifactError, ArtifactStore, ArtifactUri};
pub use attempt::{
    AttemptId, AttemptResult, AttemptSpec, FileSource, InputFile, LogLevel, LogLine, LogSink,
    Metric, MetricKind, Usage,
};
pub use ecs::{
    ContainerDefinition, ContainerOverride, ContainerView, ECS_PAGE_MAX, Ecs, EcsError, EcsFailure,
    Output, RunReply, RunTask, SecretNames, TaskDefinition, TaskView,
};
pub use logs::{LOG_PAGE_MAX, LogLines, LogReader};
pub use messages::{
    Email, MESSAGE_BYTES_MAX, MailServer, MailTls, MessageError, Messages, NoMessages,
};
pub use queue::{DELAY_S_MAX, Outgoing, Queue, QueueError, QueueName};
pub use records::{
    RECORD_BYTES_MAX, RECORD_KEY_MAX, RECORD_PAGE_MAX, Record, RecordKey, RecordKind,
    RecordOutcome, RecordQuery, RecordWrite, Records,
};
pub use runner::{Clock, RunnerError, SecretError, Secrets, TaskRunner};
pub use services::{
    COPY_BYTES_MAX, Copied, Invoked, NoServices, OBJECTS_MAX, ObjectInfo, ObjectName,
    PAYLOAD_BYTES_MAX, ServiceError, Services,
};
pub use store::{
    AttemptRow, EventSink, ExecutionFilter, ExecutionId, ExecutionMeta, ExecutionRow, KV_BYTES_MAX,
    KV_KEY_MAX, KvEntry, SaveOutcome, ShardKey, ShardRow, ShardWrite, StateStore, StoreError,
    TaskRunKey, Write,
};
