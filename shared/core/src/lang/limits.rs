//! How large a flow may be. Every number is a rule (`limit`) with a test.
//!
//! Sources: ids and namespaces are Kestra's; the rest is generous for people and small for the engine.

/// Tasks in one flow, nested ones and handlers included.
pub const TASKS_MAX: usize = 10_000;
/// Tasks inside tasks.
pub const TASK_DEPTH_MAX: usize = 16;
/// Loops inside loops: the id of a shard names each.
pub const LOOP_DEPTH_MAX: usize = crate::plan::LOOP_DEPTH_MAX;
/// Inputs of a flow or of a pause.
pub const INPUTS_MAX: usize = 100;
/// Choices of one input.
pub const CHOICES_MAX: usize = 1_000;
/// Outputs of a flow.
pub const OUTPUTS_MAX: usize = 100;
/// Variables of a flow.
pub const VARIABLES_MAX: usize = 500;
/// Triggers of a flow.
pub const TRIGGERS_MAX: usize = 50;
/// Labels of a flow, trigger or task.
pub const LABELS_MAX: usize = 50;
/// Bytes of a label's key or value.
pub const LABEL_BYTES_MAX: usize = 256;
/// Service levels of a flow, and checks of a flow.
pub const POLICIES_MAX: usize = 20;
/// Entries of `pluginDefaults`.
pub const PLUGIN_DEFAULTS_MAX: usize = 100;
/// Names in one `dependsOn`.
pub const DEPENDS_ON_MAX: usize = 1_000;
/// Cases of one `switch`.
pub const CASES_MAX: usize = 200;
/// Items in a list that a property holds, and entries in its maps.
pub const ITEMS_MAX: usize = 10_000;
/// Bytes of one text: that is what an expression may have.
pub const TEXT_BYTES_MAX: usize = crate::expr::limits::MAX_SOURCE_BYTES;
/// Bytes of a description.
pub const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
/// Characters of a flow's id.
pub const FLOW_ID_CHARS_MAX: usize = 100;
/// Characters of a namespace.
pub const NAMESPACE_CHARS_MAX: usize = 150;
/// Characters of the id of a task, input, output or trigger.
pub const ID_CHARS_MAX: usize = 100;
/// Longest duration, in milliseconds: ten years.
pub const DURATION_MS_MAX: u64 = 3_660 * 86_400_000;
/// Plugins that expand to plugins.
pub const PLUGIN_DEPTH_MAX: usize = 4;
/// Plugins that are loaded at once.
pub const PLUGINS_MAX: usize = 1_000;

/// The limits with their values, for the documentation.
pub const TABLE: &[(&str, usize)] = &[
    ("tasks in a flow", TASKS_MAX),
    ("tasks inside tasks", TASK_DEPTH_MAX),
    ("loops inside loops", LOOP_DEPTH_MAX),
    ("inputs", INPUTS_MAX),
    ("choices of an input", CHOICES_MAX),
    ("outputs", OUTPUTS_MAX),
    ("variables", VARIABLES_MAX),
    ("triggers", TRIGGERS_MAX),
    ("labels", LABELS_MAX),
    ("bytes of a label's key or value", LABEL_BYTES_MAX),
    ("service levels, checks", POLICIES_MAX),
    ("entries of `pluginDefaults`", PLUGIN_DEFAULTS_MAX),
    ("names in one `dependsOn`", DEPENDS_ON_MAX),
    ("cases of a `switch`", CASES_MAX),
    ("items of a list or map", ITEMS_MAX),
    ("bytes of a text", TEXT_BYTES_MAX),
    ("bytes of a description", DESCRIPTION_BYTES_MAX),
    ("characters of a flow's id", FLOW_ID_CHARS_MAX),
    ("characters of a namespace", NAMESPACE_CHARS_MAX),
    ("characters of any other id", ID_CHARS_MAX),
    ("plugins inside plugins", PLUGIN_DEPTH_MAX),
    ("bytes of a document", super::yaml::DOCUMENT_BYTES_MAX),
    ("values in a document", super::yaml::NODES_MAX),
];
