//! `docs/LANGUAGE.md` is written from the tables; this test writes it (`OPERON_UPDATE_DOCS=1`) or checks
//! that it is up to date.

use std::fmt::Write as _;

use super::{examples, plugins, root};
use crate::expr;
use crate::lang::amount::duration_text;
use crate::lang::catalogue::{
    CHECK, CONCURRENCY, DOCKER, FLOW, FLOW_RETRY, INPUT, OUTPUT, PropInfo, PropType, RESOURCES,
    RETRY, SLA, Shape, Support, TASK, TASK_CACHE, TRIGGER, TypeInfo, task_types, trigger_types,
};
use crate::lang::diagnostic::Rule;
use crate::lang::plugins::Plugin;
use crate::lang::{limits, members};

const INTRODUCTION: &str = "\
# The flow language

This page is written from the tables that the parser reads, by a test: change the tables, then run
`OPERON_UPDATE_DOCS=1 cargo test -p operon-core language_page`. Every example on it is compiled by a test.

A flow is one YAML document. Its vocabulary is Kestra's; the spellings of Kestra 0.x, 1.x and 2.0 are accepted
and mean the same. `operon validate` names every mistake with its place, a rule and what to do;
`operon schema` prints a JSON Schema for editors.

```yaml
id: processing
namespace: genomics
inputs:
  - {id: organism, type: SELECT, values: [mpox, ebola], defaults: mpox}
tasks:
  - id: align
    type: container
    containerImage: nextstrain/nextclade:3
    command: [nextclade, run, --dataset-name, \"{{ inputs.organism }}\", --output-tsv, out.tsv, in.fasta]
    outputFiles: [out.tsv]
    dependsOn: []
  - id: announce
    type: log
    message: \"{{ outputs.align.outputFiles['out.tsv'] }}\"
    dependsOn: [align]
triggers:
  - {id: nightly, type: schedule, cron: \"0 2 * * *\", timezone: Europe/Zurich}
```

## Order

Tasks of a list run one after the other. One `dependsOn` anywhere in a list makes that whole list a graph: every
task starts when those it names have succeeded, and tasks without `dependsOn` start at once (write
`dependsOn: []` to say that this is meant). In a graph a failure stops only what depends on it, unless
`onFailure: stop`. Kestra's `Dag` with its `task:` wrapper is the same graph.

## Values

*Durations* are ISO-8601 (`PT15M`, `P1DT12H`) or short (`15m`, `1h30m`, `500ms`); a plain number is seconds.
*Sizes* are `512Mi`, `4Gi`, `10MB`. *CPU* is `2`, `0.5` or `500m`. *Conditions* are expressions in `{{ }}`, `true` or
`false`. Names of enumerations may be written in any case. Keys that begin with `x-` are notes and mean
nothing. Properties marked ƒ may hold expressions.

Files of records are JSON Lines where Kestra uses ION: one JSON value per line, in UTF-8.

";

const DEVIATIONS: &str = "\
## Differences from Kestra

| Kestra | Here |
|---|---|
| No task has a timeout by default | Every type has one (see the table); a task that hangs is always stopped |
| `dependsOn` only inside `Dag` | In every list of tasks |
| Records are ION | JSON Lines |
| `ForEach` and `EachSequential` stop at a failed iteration when one runs at a time | The others run, and the loop fails at its end; `onFailure: stop` starts no further one |
| A task in a group in `ForEach` has no `taskrun.value`, only `parent.taskrun.value` | It has both, as `item.value` |
| A loop over a map gives texts such as `{\"key\":\"a\",\"value\":1}` | `taskrun.value` is a map with `key` and `value`; `item.key` and `item.value` are as in 2.0 |
| `Return` and `OutputValues` give texts | A value that is exactly one `{{ … }}` keeps its type |
| A trigger is locked until its execution ends | `allowConcurrent` is true by default; one event starts one execution, by identity |
| S3 and SQS are polled, 25 objects at a time | Events are pushed, each object or message starts an execution; `batch` groups them |
| `recoverMissedSchedules` is `ALL` by default | `LAST`: an outage is made up for once |
| An input that is not valid leaves no trace | The trigger is refused when the flow is checked, or the execution ends `FAILED` |
| Task runners are chosen by name | Process and Docker locally; on AWS, Fargate; `resources` decide the size |
| `pluginDefaults` are gone in 2.0 | They work, `taskDefaults` too; a property that a task writes replaces the default as a whole, also a map |
| `finally` runs however the execution ends | Not when it is stopped: by a kill, an `Exit`, its `timeout`, a service level |
| `ForEach`, `ForEachItem`, `EachSequential`, `EachParallel` are gone in 2.0 | They are `Loop` |
| Expressions in scripts are usual | They are a warning: pass values with `env`, `secrets` and `inputFiles` |
| Unknown properties are sometimes ignored | They are errors, except `x-…` |
| A retry may have no end | That is a warning; an interruption by the platform uses up no attempt |
| `retry` and `timeout` on a task that holds tasks | They are errors: such a task runs nothing itself |
| 1,200 plugin types | Those on this page, and [plugins](#plugins) in YAML |

";

/// The page as it should be.
fn page() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("## The flow\n\n");
    table(&mut out, FLOW);
    for (title, props) in [
        ("An input", INPUT),
        ("An output", OUTPUT),
        ("`concurrency`", CONCURRENCY),
        ("`retry` of the flow", FLOW_RETRY),
        ("A service level (`sla`)", SLA),
        ("A check", CHECK),
    ] {
        writeln!(out, "### {title}\n").unwrap();
        table(&mut out, props);
        if props == INPUT {
            writeln!(
                out,
                "One of each type:\n\n```yaml\n{}\n```\n",
                examples::INPUTS
            )
            .unwrap();
        }
    }
    out.push_str("## Every task\n\n");
    table(&mut out, TASK);
    for (title, props) in [
        ("`retry`", RETRY),
        ("`taskCache`", TASK_CACHE),
        ("`resources`", RESOURCES),
    ] {
        writeln!(out, "### {title} of a task\n").unwrap();
        table(&mut out, props);
    }
    timeouts(&mut out);
    out.push_str("### Container options (`docker`, `taskRunner: {type: docker, …}`)\n\n");
    table(&mut out, DOCKER);
    out.push_str("## Task types\n\n");
    task_types().for_each(|info| type_section(&mut out, info));
    out.push_str("## Every trigger\n\n");
    table(&mut out, TRIGGER);
    out.push_str("## Trigger types\n\n");
    trigger_types().for_each(|info| type_section(&mut out, info));
    out.push_str(&examples::hands_back());
    plugin_section(&mut out);
    expressions(&mut out);
    out.push_str(DEVIATIONS);
    out.push_str("## Limits\n\n| What | At most |\n|---|---|\n");
    for (what, max) in limits::TABLE {
        writeln!(out, "| {what} | {max} |").unwrap();
    }
    out.push_str("\n## Rules\n\nThe number never changes its meaning.\n\n");
    for rule in Rule::ALL {
        writeln!(
            out,
            "**{} `{}`** {}. {}\n",
            rule.id(),
            rule.slug(),
            rule.title(),
            rule.explanation()
        )
        .unwrap();
    }
    out.trim_end().to_owned() + "\n"
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn table(out: &mut String, props: &[PropInfo]) {
    out.push_str("| Property | Holds | Meaning | Example |\n|---|---|---|---|\n");
    for info in props {
        let mark = if info.dynamic { " ƒ" } else { "" };
        let required = if info.required { " **required**" } else { "" };
        let aliases: Vec<_> = info
            .aliases
            .iter()
            .map(|alias| format!("`{alias}`"))
            .collect();
        let also = if aliases.is_empty() {
            String::new()
        } else {
            format!(" (also {})", aliases.join(", "))
        };
        let default = info
            .default
            .map(|text| format!(" Default `{text}`."))
            .unwrap_or_default();
        let (meaning, example) = match info.support {
            Support::Supported => (
                info.doc.to_owned(),
                format!("`{}: {}`", info.name, info.example_yaml()),
            ),
            Support::Warns(reason) => (format!("*No effect (warning):* {reason}."), String::new()),
            Support::Rejects(reason, fix) => {
                (format!("*Error:* {reason}. Instead: {fix}."), String::new())
            }
        };
        writeln!(
            out,
            "| `{}`{also}{mark}{required} | {} | {} | {} |",
            info.name,
            cell(&holds(&info.ty)),
            cell(&(meaning + &default)),
            cell(&example),
        )
        .unwrap();
    }
    out.push('\n');
    for info in props
        .iter()
        .filter(|info| info.support == Support::Supported)
    {
        if let Some(inner) = inner_table(&info.ty).filter(|inner| !separate(inner)) {
            writeln!(out, "`{}` has:\n", info.name).unwrap();
            table(out, inner);
        }
    }
}

fn holds(ty: &PropType) -> String {
    let text = ty.describe();
    if text.chars().count() > 160 {
        "one of many names, see the schema".to_owned()
    } else {
        text
    }
}

fn inner_table(ty: &PropType) -> Option<&'static [PropInfo]> {
    if let PropType::Object(table)
    | PropType::List(PropType::Object(table))
    | PropType::OneOrMany(PropType::Object(table)) = ty
    {
        return Some(table);
    }
    None
}

/// Tables that have a section of their own.
fn separate(table: &[PropInfo]) -> bool {
    [
        OUTPUT,
        CONCURRENCY,
        FLOW_RETRY,
        SLA,
        CHECK,
        RETRY,
        TASK_CACHE,
        RESOURCES,
    ]
    .contains(&table)
}

fn timeouts(out: &mut String) {
    out.push_str("### Default timeouts\n\n| Types | One attempt may take |\n|---|---|\n");
    let mut groups: Vec<(u64, Vec<&str>)> = Vec::new();
    for info in task_types().filter(|info| info.timeout_ms > 0) {
        match groups.iter_mut().find(|(ms, _)| *ms == info.timeout_ms) {
            Some((_, names)) => names.push(info.short_name()),
            None => groups.push((info.timeout_ms, vec![info.short_name()])),
        }
    }
    for (ms, names) in groups {
        writeln!(out, "| {} | `{}` |", names.join(", "), duration_text(ms)).unwrap();
    }
    out.push_str(
        "| tasks that hold tasks, pauses | until they end; a pause may have a `timeout` |\n\n",
    );
}

fn type_section(out: &mut String, info: &TypeInfo) {
    let aliases: Vec<_> = info
        .aliases
        .iter()
        .map(|alias| format!("`{alias}`"))
        .collect();
    writeln!(out, "### `{}`\n\n{}\n", info.short_name(), info.doc).unwrap();
    writeln!(
        out,
        "Canonical name `{}`; also {}.\n",
        info.name,
        aliases.join(", ")
    )
    .unwrap();
    writeln!(out, "```yaml\n{}\n```\n", info.example).unwrap();
    let first = task_types()
        .chain(trigger_types())
        .find(|other| other.props == info.props);
    match first.filter(|other| other.name != info.name) {
        Some(other) => {
            writeln!(out, "It has the properties of `{}`.\n", other.short_name()).unwrap();
        }
        None => table(out, info.props),
    }
    if info.shape == Shape::Dag {
        out.push_str("In a `dag`, Kestra's wrapper may be written:\n\n```yaml\n- task: {id: a, type: log, message: one}\n  dependsOn: []\n```\n\n");
    }
}

fn plugin_section(out: &mut String) {
    out.push_str(
        "## Plugins\n\nA plugin is a task type written in YAML: `flows/plugins/<type>.yaml` with `type`, `description`,\n\
         `properties` and `task`. In the task, `{{ props.name }}` stands for a property: alone it keeps its type,\n\
         inside a text it becomes text, inside an expression a literal; where a property without a value stands\n\
         alone, the entry is left out. The text of a script may not hold properties: pass them with `env`. A use may\n\
         give every property of [every task](#every-task), and what it says wins. A plugin may expand to a group;\n\
         the ids of tasks inside then begin with the id of the use.\n\n\
         A property has `type` (string, int, float, bool, duration, list, map, any), `required`, `default`,\n\
         `description`, `enum`, `min`, `max` and `pattern`.\n\n",
    );
    writeln!(out, "```yaml\n{}\n```\n", examples::PLUGIN).unwrap();
    for plugin in plugins().iter() {
        one_plugin(out, plugin);
    }
}

fn one_plugin(out: &mut String, plugin: &Plugin) {
    writeln!(
        out,
        "### `{}`\n\n{}\n",
        plugin.name,
        plugin.description.trim()
    )
    .unwrap();
    out.push_str("| Property | Type | Meaning | Default |\n|---|---|---|---|\n");
    for property in &plugin.properties {
        let default = property
            .default
            .as_ref()
            .map(|node| format!("`{}`", node.to_json()))
            .unwrap_or_default();
        writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            property.name,
            property.ty.name(),
            cell(&property.description),
            cell(&default)
        )
        .unwrap();
    }
    writeln!(out, "\n```yaml\n{}\n```\n", examples::of_plugin(plugin)).unwrap();
}

fn expressions(out: &mut String) {
    out.push_str(
        "## Expressions\n\nAn expression stands in `{{ }}`; `{% if %}`, `{% for %}` and `{% set %}` are known too. A text that is\n\
         exactly one `{{ … }}` keeps the type of its value. `a ?? b` is `b` where `a` is missing.\n\n\
         It begins with one of these names: `flow`, `execution`, `inputs`, `outputs`, `vars`, `trigger`, `labels`, `task`,\n\
         `taskrun`, `tasks`, `parent`, `parents`; in a loop also `item`. A member that is in no execution is an error\n\
         before anything runs:\n\n",
    );
    for (root, names) in [
        ("execution", members::EXECUTION),
        ("flow", members::FLOW),
        ("task", members::TASK),
        ("taskrun", members::TASK_RUN),
        ("item", members::ITEM),
        ("trigger of a subflow", members::SUBFLOW),
    ] {
        writeln!(out, "- `{root}`: `{}`", names.join("`, `")).unwrap();
    }
    out.push_str(
        "- `trigger`: `id`, `type`, `event`, and what is said at the type of each trigger; those of all triggers of the \
         flow\n  are known in its tasks. With `batch` also `items`, `count`, `bytes`, `group`, `closedAt`. Without a \
         trigger in the\n  flow nothing is said of `trigger`.\n\n\
         `taskrun.value`, `items` and `iteration` are there in a loop only. Kestra's roots `envs` and `globals` hold \
         what the\n\
         server was started with; here a flow reads nothing of a machine. Their use is an error, with a fallback \
         (`??`) a\n\
         warning: write the value under `variables` (`vars`), ask `kv('key')` or `secret('NAME')`, or give a task \
         `env`.\n\n",
    );
    for (kind, title) in [
        ("function", "Functions"),
        ("filter", "Filters"),
        ("test", "Tests"),
    ] {
        writeln!(out, "### {title}\n").unwrap();
        let usages: Vec<_> = expr::usages()
            .into_iter()
            .filter(|(k, _)| *k == kind)
            .map(|(_, usage)| format!("`{usage}`"))
            .collect();
        writeln!(out, "{}\n", usages.join(", ")).unwrap();
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test writes and reads the page"
)]
fn language_page_is_up_to_date() {
    let path = root().join("docs/LANGUAGE.md");
    let page = page();
    if std::env::var("OPERON_UPDATE_DOCS").is_ok() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/LANGUAGE.md is not up to date: run `OPERON_UPDATE_DOCS=1 cargo test -p operon-core language_page`"
    );
}

#[test]
fn the_example_at_the_top_is_valid() {
    let example = INTRODUCTION
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let (flow, found) = super::findings(example, &plugins());
    assert!(flow.is_some() && found.is_empty(), "{found:#?}");
}
