//! A flow as a user means it: names resolved, spellings unified, values typed, expressions unevaluated.
//!
//! The parser guarantees what the types cannot say: ids are unique and well formed, every `dependsOn`
//! names a sibling, graphs have no cycle, properties are those of the task type, templates parse.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod policies;

pub use policies::{
    Channel, Check, CheckBehavior, Concurrency, ConcurrencyBehavior, FlowRetry, FlowRetryBehavior,
    Notify, Resources, Retry, RetryInterval, Sla, SlaBehavior, SlaKind, TaskCache,
};

/// Byte range in the source document.
pub type Span = Range<usize>;

/// A value that is constant, or a template that is rendered when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dynamic<T> {
    /// Known when the flow is compiled.
    Constant(T),
    /// The template's source, such as `{{ inputs.n }}`.
    Template(String),
}

/// One flow document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Unique in its namespace.
    pub id: String,
    /// Dots make a hierarchy.
    pub namespace: String,
    /// Markdown.
    pub description: Option<String>,
    /// Inherited by executions.
    pub labels: BTreeMap<String, String>,
    /// Typed parameters, in the order written.
    pub inputs: Vec<Input>,
    /// `vars.*`; strings may be templates, which `render` renders.
    pub variables: Map<String, Value>,
    /// What the flow does.
    pub tasks: TaskList,
    /// Runs when a task failed, before the execution ends.
    pub errors: TaskList,
    /// Runs at the end, while the execution is still running, unless it is stopped (a kill, an `Exit`, the time).
    pub finally: TaskList,
    /// Runs after the execution's state is final; cannot change it.
    pub after_execution: TaskList,
    /// Returned to the caller.
    pub outputs: Vec<FlowOutput>,
    /// What starts the flow.
    pub triggers: Vec<Trigger>,
    /// Lock taken by every execution.
    pub concurrency: Option<Concurrency>,
    /// What happens to a failed execution.
    pub retry: Option<FlowRetry>,
    /// Milliseconds after which a running execution is killed and ends `FAILED`.
    pub timeout_ms: Option<u64>,
    /// Service levels watched while the execution runs.
    pub sla: Vec<Sla>,
    /// Guards evaluated before an execution is created.
    pub checks: Vec<Check>,
    /// Who is told about executions that end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Notify>,
    /// A disabled flow is neither triggered nor started.
    pub disabled: bool,
}

/// Tasks that belong together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskList {
    /// In the order written. Disabled ones are kept here and dropped by the compiler.
    pub tasks: Vec<Task>,
    /// True when any task has `dependsOn` (rule R2): a graph instead of a sequence.
    pub graph: bool,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Unique in the flow.
    pub id: String,
    /// Canonical type: Kestra's newest class name for built-in types, such as
    /// `io.kestra.plugin.core.log.Log` or `io.kestra.plugin.scripts.python.Script`.
    /// Plugins are already expanded; see [`Task::plugin`].
    #[serde(rename = "type")]
    pub task_type: String,
    /// The plugin this task was written as, such as `genomics.nextclade`.
    pub plugin: Option<String>,
    /// Where the task is written.
    #[serde(skip)]
    pub span: Span,
    /// Markdown.
    pub description: Option<String>,
    /// Siblings that must have succeeded. Meaningful when the list is a graph.
    pub depends_on: Vec<String>,
    /// Condition template; false gives `SKIPPED`.
    pub when: Option<String>,
    /// What happens when an attempt fails.
    pub retry: Option<Retry>,
    /// Milliseconds an attempt may take. The parser fills in the default of the task type.
    pub timeout_ms: Dynamic<u64>,
    /// A failure becomes `WARNING`.
    pub allow_failure: bool,
    /// A warning becomes `SUCCESS`.
    pub allow_warning: bool,
    /// No task run is created.
    pub disabled: bool,
    /// Reuse outputs of an identical earlier task run.
    pub task_cache: Option<TaskCache>,
    /// False: launched at most once without a person.
    pub idempotent: bool,
    /// Milliseconds the execution's lock stays held after an unknown outcome.
    pub quarantine_ms: u64,
    /// Larger goes first.
    pub priority: i32,
    /// What one attempt may use.
    pub resources: Resources,
    /// Properties of the task type, canonical names; strings may be templates.
    pub props: Map<String, Value>,
    /// What the engine does with it.
    pub kind: TaskKind,
}

/// How the engine treats a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum TaskKind {
    /// Launched: container, process or built-in task, subflow. `task_type` says which.
    Run,
    /// `Sequential`, `Parallel`, `Dag`, `AllowFailure`, `WorkingDirectory` and a task list with handlers.
    Group {
        /// How the children follow each other.
        order: GroupOrder,
        /// The children.
        tasks: TaskList,
        /// Local error handler.
        errors: TaskList,
        /// Local clean-up.
        finally: TaskList,
        /// Children at once; 0 means no limit.
        concurrent: u16,
        /// Rule R4.
        on_failure: OnFailure,
        /// Children share one working directory.
        working_directory: bool,
    },
    /// `If` and `Switch`.
    Choice {
        /// Template: a condition for `If`, a value for `Switch`.
        value: String,
        /// True for `If`: branch 0 is `then`, branch 1 `else`.
        condition: bool,
        /// Case names in order with their tasks.
        branches: Vec<(String, TaskList)>,
        /// Index of the branch taken when no case matches (`defaults`, `else`).
        default_branch: Option<u8>,
        /// Local error handler.
        errors: TaskList,
        /// Local clean-up.
        finally: TaskList,
    },
    /// `ForEach`, `Loop`, `EachSequential`, `EachParallel`, `ForEachItem`.
    Loop {
        /// What is iterated over.
        values: LoopValues,
        /// Iterations at once; 0 means the engine's window.
        concurrency_limit: u32,
        /// Whether the first failed iteration stops new ones.
        on_failure: OnFailure,
        /// Whether failed iterations fail the loop (`transmitFailed`, default true).
        transmit_failed: bool,
        /// The body.
        tasks: TaskList,
        /// Local error handler, of the loop as a whole.
        errors: TaskList,
        /// Local clean-up, of the loop as a whole.
        finally: TaskList,
    },
    /// Waits for a person, or for a time.
    Pause {
        /// Resumes by itself after this time (`pauseDuration`, `delay`).
        duration: Option<Dynamic<u64>>,
        /// What a duration that has passed means.
        behavior: PauseBehavior,
        /// Typed values asked from the person.
        on_resume: Vec<Input>,
    },
    /// Waits for a time, in milliseconds.
    Sleep {
        /// How long.
        duration: Dynamic<u64>,
    },
}

/// How children of a group follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupOrder {
    /// One after the other (a graph inside, if the list has `dependsOn`).
    Sequential,
    /// All at once.
    Parallel,
    /// By `dependsOn`; tasks without it are roots.
    Dag,
}

/// What a failed child means for those not yet started (rule R4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Only descendants are stopped.
    #[default]
    Continue,
    /// Nothing new starts.
    Stop,
}

/// What a loop iterates over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoopValues {
    /// A list, a map, or a template that gives one, or a JSON text, or an artifact's URI.
    Values(Value),
    /// Batches of an artifact's records (`ForEachItem`, and `foreach` over files).
    Items {
        /// Template that gives the artifact's URI.
        items: String,
        /// What one record is.
        format: ItemFormat,
        /// Records per iteration, at least 1.
        rows: u64,
        /// Bytes per iteration, if limited.
        bytes: Option<u64>,
        /// Number of iterations, if fixed.
        partitions: Option<u64>,
    },
    /// Nothing: the body is repeated, one iteration after the other, until a condition holds (`LoopUntil`).
    Until(Box<Until>),
}

/// How often a body is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Until {
    /// Template, evaluated after each iteration; true ends the loop.
    pub condition: String,
    /// Milliseconds between the end of an iteration and the next one.
    pub interval_ms: u64,
    /// Iterations at most, at least 1.
    pub max_iterations: u32,
    /// No further iteration begins so many milliseconds after the first one.
    pub max_duration_ms: Option<u64>,
    /// Whether reaching a maximum fails the loop.
    pub fail_on_max: bool,
}

/// What one record of a file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ItemFormat {
    /// One line.
    #[default]
    Lines,
    /// One FASTA record.
    Fasta,
}

/// What happens when a pause's duration has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PauseBehavior {
    /// Go on.
    #[default]
    Resume,
    /// Go on with `WARNING`.
    Warn,
    /// End the execution `CANCELLED`.
    Cancel,
    /// End `FAILED`.
    Fail,
}

/// A typed parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Dots nest.
    pub id: String,
    /// The type with its own limits.
    #[serde(rename = "type")]
    pub input_type: InputType,
    /// Whether a value must be there.
    pub required: bool,
    /// Taken when no value is given; strings may be templates over earlier inputs.
    pub defaults: Option<Value>,
    /// For people.
    pub display_name: Option<String>,
    /// Markdown.
    pub description: Option<String>,
    /// Only asked when the condition holds: `dependsOn {inputs, condition}`.
    pub depends_on: Option<InputCondition>,
    /// Lower and upper bound, as written (INT, FLOAT, DURATION, after/before of DATE, TIME, DATETIME, number of rows of a
    /// TABLE).
    pub min: Option<Value>,
    /// See `min`.
    pub max: Option<Value>,
    /// Regular expression (STRING).
    pub validator: Option<String>,
    /// Choices (SELECT, MULTISELECT): value and label.
    pub values: Vec<(String, Option<String>)>,
    /// Template that gives the choices.
    pub expression: Option<String>,
    /// Whether other values are allowed too.
    pub allow_custom_value: bool,
    /// Whether the first choice is the default.
    pub auto_select_first: bool,
    /// Such as `.fasta` (FILE).
    pub allowed_file_extensions: Vec<String>,
    /// Type of items (ARRAY).
    pub item_type: Option<InputType>,
    /// JSON Schema the value must satisfy (JSON).
    pub json_schema: Option<Value>,
    /// Properties of an OBJECT, columns of a TABLE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Input>,
}

impl Input {
    /// An input of that type and nothing else.
    #[must_use]
    pub fn of_type(input_type: InputType) -> Self {
        Self {
            id: String::new(),
            input_type,
            required: true,
            defaults: None,
            display_name: None,
            description: None,
            depends_on: None,
            min: None,
            max: None,
            validator: None,
            values: Vec::new(),
            expression: None,
            allow_custom_value: true,
            auto_select_first: false,
            allowed_file_extensions: Vec::new(),
            item_type: None,
            json_schema: None,
            properties: Vec::new(),
        }
    }
}

/// Type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names are Kestra's and say it all")]
pub enum InputType {
    String,
    Int,
    Float,
    #[serde(alias = "BOOL")]
    Boolean,
    Duration,
    Date,
    Time,
    #[serde(rename = "DATETIME")]
    DateTime,
    Select,
    #[serde(rename = "MULTISELECT")]
    MultiSelect,
    File,
    Json,
    Yaml,
    Uri,
    Email,
    Secret,
    Array,
    Object,
    Table,
}

/// When an input is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputCondition {
    /// Inputs that must be known first.
    pub inputs: Vec<String>,
    /// Template.
    pub condition: Option<String>,
}

/// A value the flow returns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowOutput {
    /// Unique in the flow.
    pub id: String,
    /// Declared type.
    #[serde(rename = "type")]
    pub output_type: InputType,
    /// A template, or a value holding templates.
    pub value: Value,
    /// Whether a missing value is an error (default true).
    pub required: bool,
    /// Markdown.
    pub description: Option<String>,
}

/// What starts a flow; acts outside the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Unique in the flow.
    pub id: String,
    /// Canonical type.
    #[serde(rename = "type")]
    pub trigger_type: String,
    /// Never fires.
    pub disabled: bool,
    /// Properties of the trigger type.
    pub props: Map<String, Value>,
}
