//! The longer examples of `docs/LANGUAGE.md`, and that each is what it says: an input of every type, what a script
//! hands back, a plugin with every property, every property of every plugin.

use std::fmt::Write as _;

use super::{findings, plugins};
use crate::agent::{Emitted, METRICS_MAX, OUTPUTS_MAX, parse_line};
use crate::lang::catalogue::INPUT_TYPES;
use crate::lang::plugins::{Plugin, Plugins, PropertyType};

/// An input of every type.
pub(super) const INPUTS: &str = r#"id: every-input
namespace: genomics
inputs:
  - {id: organism, type: STRING, validator: "[a-z-]+", defaults: mpox}
  - {id: batch, type: INT, min: 1, max: 1000, defaults: 100}
  - {id: identity, type: FLOAT, min: 0, max: 1, defaults: 0.95}
  - {id: release, type: BOOLEAN, defaults: false}
  - {id: dry_run, type: BOOL, defaults: true}
  - {id: age, type: DURATION, max: P30D, defaults: P7D}
  - {id: since, type: DATE, defaults: "2026-01-31"}
  - {id: at, type: TIME, defaults: "02:30:00"}
  - {id: until, type: DATETIME, defaults: "2026-01-31T02:30:00Z"}
  - {id: segment, type: SELECT, values: [L, M, S], defaults: L}
  - {id: stage, type: ENUM, values: [test, production], defaults: test}
  - {id: genes, type: MULTISELECT, values: [E, M, N, S], defaults: [N, S]}
  - {id: sequences, type: FILE, allowedFileExtensions: [.fasta, .fa], required: false}
  - {id: settings, type: JSON, jsonSchema: {type: object}, defaults: {depth: 10}}
  - {id: records, type: ION, required: false}
  - {id: config, type: YAML, defaults: "depth: 10"}
  - {id: source, type: URI, defaults: "https://example.org/sequences"}
  - {id: contact, type: EMAIL, required: false}
  - {id: token, type: SECRET, required: false}
  - {id: countries, type: ARRAY, itemType: STRING, defaults: [CH, DE]}
  - {id: host, type: OBJECT, properties: [{id: name, type: STRING}, {id: age, type: INT}], required: false}
  - {id: samples, type: TABLE, columns: [{id: name, type: STRING}, {id: length, type: INT}], rows: {max: 100}, required: false}
tasks:
  - {id: show, type: log, message: "{{ inputs.organism }} since {{ inputs.since }}"}"#;

/// A script that hands values back in each of the ways.
pub(super) const SCRIPT: &str = r#"id: hands-back
namespace: genomics
tasks:
  - id: count
    type: shell
    script: |
      echo '::{"outputs": {"accepted": 12, "names": ["a", "b"]}}::'
      echo '::{"metrics": [{"name": "sequences", "type": "counter", "value": 12, "tags": {"organism": "mpox"}}]}::'
      echo '::{"logs": [{"level": "WARN", "message": "two have no date"}]}::'
      echo 'rejected=3' >> "$OPERON_OUTPUTS"
      echo '{"lineages": {"A": 7, "B": 5}}' >> "$OPERON_OUTPUTS"
      echo '{"name": "alignment", "type": "timer", "value": 1.5}' >> "$OPERON_METRICS"
  - id: show
    type: log
    message: "{{ outputs.count.vars.accepted }} of {{ outputs.count.vars.lineages | length }} lineages""#;

/// A plugin that uses everything a plugin can say.
pub(super) const PLUGIN: &str = r#"type: demo.screen
description: Screens sequences against a reference.
properties:
  sequences: {type: any, required: true, description: URI of a FASTA file.}
  reference: {type: string, default: mpox, pattern: "[a-z-]+", description: Name of the reference.}
  mode: {type: string, default: fast, enum: [fast, thorough]}
  identity: {type: float, default: 0.9, min: 0, max: 1}
  threads: {type: int, default: 2, min: 1, max: 16}
  report: {type: bool, default: true}
  patience: {type: duration, default: PT10M}
  genes: {type: list, default: [E, N], max: 20}
  labels: {type: map, default: {}}
task:
  type: shell
  timeout: "{{ props.patience }}"
  inputFiles: {in.fasta: "{{ props.sequences }}"}
  env:
    REFERENCE: "{{ props.reference }}"
    MODE: "{{ props.mode }}"
    IDENTITY: "{{ props.identity }}"
    THREADS: "{{ props.threads }}"
    REPORT: "{{ props.report }}"
    GENES: "{{ props.genes | join(' ') }}"
    LABELS: "{{ props.labels | json }}"
  script: screen --reference "$REFERENCE" --threads "$THREADS" in.fasta"#;

/// A task with every property of a plugin: its default, or something of its type.
pub(super) fn of_plugin(plugin: &Plugin) -> String {
    let id = plugin.name.rsplit('.').next().unwrap();
    let mut out = format!("- id: {id}\n  type: {}\n", plugin.name);
    for property in &plugin.properties {
        let value = match (&property.default, property.ty) {
            (Some(node), _) => node.to_json().to_string(),
            (None, PropertyType::String) => "text".to_owned(),
            (None, PropertyType::Int) => "1".to_owned(),
            (None, PropertyType::Float) => "0.5".to_owned(),
            (None, PropertyType::Bool) => "true".to_owned(),
            (None, PropertyType::Duration) => "PT5M".to_owned(),
            (None, PropertyType::List) => "[text]".to_owned(),
            (None, PropertyType::Map) => "{key: text}".to_owned(),
            (None, PropertyType::Any) => "\"{{ outputs.fetch.uri }}\"".to_owned(),
        };
        writeln!(out, "  {}: {value}", property.name).unwrap();
    }
    out.trim_end().to_owned()
}

/// The section about what a script hands back.
pub(super) fn hands_back() -> String {
    format!(
        "## What a script hands back\n\n\
         The program of a script or a container hands values back by lines on its standard output or by two files. A \
         line that\n\
         begins with `::{{` and ends with `}}::` is not shown in the log; it holds JSON with `outputs`, `metrics` and \
         `logs`. The\n\
         file named by `$OPERON_OUTPUTS` holds a JSON object, or one JSON object or `key=value` per line; the file \
         named by\n\
         `$OPERON_METRICS` a JSON list of metrics, or one per line. Both variables are set in every attempt, also in \
         a container.\n\n\
         ```yaml\n{SCRIPT}\n```\n\n\
         - Values become `outputs.<task>.vars`; of a name that is given twice the later value counts, and files count \
         after lines.\n\
         \x20 A `key=value` is a text. At most {OUTPUTS_MAX} bytes of JSON together: larger things are files \
         (`outputFiles`).\n\
         - A metric has `name`, `value`, `type` (`counter`, which adds up; `timer`, in seconds; `gauge`, of which the \
         last counts) and\n\
         \x20 `tags`. At most {METRICS_MAX} per attempt. They are shown with the execution, and counted by \
         CloudWatch on AWS.\n\
         - A log line has `message` and `level` (`INFO` unless it says another).\n\
         - Values that cannot be read make a task that succeeded `FAILED`, with the reason `OUTPUT`; a metric that \
         cannot is a\n\
         \x20 warning in the log.\n\n",
    )
}

#[test]
fn there_is_an_input_of_every_type() {
    let (flow, found) = findings(INPUTS, &Plugins::default());
    assert!(flow.is_some() && found.is_empty(), "{found:#?}");
    for name in INPUT_TYPES {
        assert!(INPUTS.contains(&format!("type: {name},")), "{name}");
    }
}

#[test]
fn what_a_script_hands_back_is_taken() {
    let (flow, found) = findings(SCRIPT, &Plugins::default());
    assert!(flow.is_some() && found.is_empty(), "{found:#?}");
    let mut emitted = Emitted::default();
    let mut logs = Vec::new();
    let mut files = [String::new(), String::new()];
    for line in SCRIPT
        .lines()
        .filter_map(|line| line.trim().strip_prefix("echo '"))
    {
        let (text, rest) = line.split_once('\'').unwrap();
        match rest {
            "" => logs.extend(emitted.take(parse_line(text).unwrap().unwrap(), text.len())),
            " >> \"$OPERON_OUTPUTS\"" => files[0].extend([text, "\n"]),
            " >> \"$OPERON_METRICS\"" => files[1].extend([text, "\n"]),
            other => panic!("{other}"),
        }
    }
    emitted.take_outputs_file(&files[0]);
    assert!(emitted.take_metrics_file(&files[1]).is_empty());
    assert_eq!(emitted.problem, None);
    assert_eq!(logs.len(), 1);
    let names: Vec<&str> = emitted.vars.keys().map(String::as_str).collect();
    assert_eq!(names, ["accepted", "names", "rejected", "lineages"]);
    assert_eq!(emitted.metrics.len(), 2);
}

#[test]
fn a_plugin_with_every_property_loads_and_is_used() {
    let (loaded, problems) = Plugins::load([("screen.yaml", PLUGIN)]);
    assert!(problems.is_empty(), "{problems:#?}");
    let source = in_a_flow(loaded.get("demo.screen").unwrap());
    let (flow, found) = findings(&source, &loaded);
    assert!(flow.is_some() && found.is_empty(), "{found:#?}\n{source}");
    for property in crate::lang::plugins::PROPERTY {
        assert!(
            PLUGIN.contains(&format!("{}: ", property.name)),
            "{}",
            property.name
        );
    }
}

#[test]
fn every_property_of_every_plugin_can_be_given() {
    let plugins = plugins();
    for plugin in plugins.iter() {
        let source = in_a_flow(plugin);
        let (flow, found) = findings(&source, &plugins);
        assert!(flow.is_some() && found.is_empty(), "{found:#?}\n{source}");
    }
}

fn in_a_flow(plugin: &Plugin) -> String {
    let task = of_plugin(plugin).replace('\n', "\n  ");
    format!(
        "id: example\nnamespace: genomics\ntasks:\n  - {{id: fetch, type: download, uri: \"https://example.org/a\"}}\n  {task}\n"
    )
}
