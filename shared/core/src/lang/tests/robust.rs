//! Whatever is written, the parser answers: it never panics, and it never returns a flow with an error.

use proptest::prelude::*;

use super::plugins;
use crate::lang::catalogue::{task_types, trigger_types};
use crate::lang::diagnostic::Severity;
use crate::lang::parse;
use crate::lang::plugins::Plugins;
use crate::plan::compile;

const SEED: &str = r#"id: a
namespace: b
inputs:
  - {id: organism, type: SELECT, values: [mpox, ebola], defaults: mpox}
  - {id: ena.user, type: STRING, required: false}
variables: {x: "{{ inputs.organism }}"}
pluginDefaults: [{type: http, values: {timeout: PT1M}}]
concurrency: {limit: 1, key: "shared:{{ inputs.organism }}"}
tasks:
  - {id: qc, type: genomics.nextclade, organism: "{{ inputs.organism }}", dependsOn: []}
  - id: each
    type: foreach
    values: ["ä", "{{ vars.x }}"]
    dependsOn: [qc]
    tasks:
      - {id: say, type: log, message: "{{ item.value | upper }}"}
      - id: run
        type: python
        docker: {image: "x:1"}
        script: |
          print("{{ inputs.organism }}")
errors:
  - {id: alert, type: http, uri: "https://x/{{ secret('A') }}", body: {a: ["{{ outputs.qc }}"]}}
triggers:
  - {id: s, type: schedule, cron: "0 2 * * *"}
"#;

/// One change to a text, at a place given as a fraction.
#[derive(Debug, Clone)]
enum Change {
    Delete(usize),
    Insert(usize, String),
    Repeat(usize),
    Truncate(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let piece = prop_oneof![
        Just("{{".to_owned()),
        Just("}}".to_owned()),
        Just(": ".to_owned()),
        Just("- ".to_owned()),
        Just("'".to_owned()),
        Just("\n".to_owned()),
        Just("[".to_owned()),
        Just("null".to_owned()),
        Just("props.organism".to_owned()),
        Just("999999999999999999999".to_owned()),
        "\\PC{0,3}",
    ];
    prop_oneof![
        (0_usize..2_000).prop_map(Change::Delete),
        ((0_usize..2_000), piece).prop_map(|(at, text)| Change::Insert(at, text)),
        (0_usize..40).prop_map(Change::Repeat),
        (0_usize..2_000).prop_map(Change::Truncate),
    ]
}

fn changed(source: &str, change: &Change) -> String {
    let mut characters: Vec<char> = source.chars().collect();
    match change {
        Change::Delete(at) if *at < characters.len() => {
            characters.remove(*at);
        }
        Change::Insert(at, text) => {
            let at = (*at).min(characters.len());
            characters.splice(at..at, text.chars());
        }
        Change::Truncate(at) if *at > 200 => characters.truncate(*at),
        Change::Repeat(line) => {
            let lines: Vec<&str> = source.lines().collect();
            let mut copy = lines.clone();
            copy.insert((*line).min(lines.len()), lines[line % lines.len()]);
            return copy.join("\n");
        }
        Change::Delete(_) | Change::Truncate(_) => {}
    }
    characters.into_iter().collect()
}

fn check(source: &str, plugins: &Plugins) {
    let parsed = parse(source, plugins);
    let errors = parsed.diagnostics.has_errors();
    assert_eq!(parsed.flow.is_none(), errors);
    if let Some(flow) = &parsed.flow {
        assert_eq!(compile(flow).err(), None, "{source}");
    }
    for diagnostic in parsed.diagnostics.into_sorted() {
        let span = diagnostic.span;
        assert!(
            span.start <= span.end && span.end <= source.len(),
            "{span:?} of {}",
            source.len()
        );
        assert!(source.is_char_boundary(span.start) && source.is_char_boundary(span.end));
        assert!(!diagnostic.message.is_empty());
        assert!(matches!(
            diagnostic.severity,
            Severity::Error | Severity::Warning
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_flows_are_answered(changes in proptest::collection::vec(change(), 1..6)) {
        thread_local! {
            static PLUGINS: Plugins = plugins();
        }
        let source = changes.iter().fold(SEED.to_owned(), |source, change| changed(&source, change));
        PLUGINS.with(|plugins| check(&source, plugins));
    }

    #[test]
    fn damaged_plugins_are_answered(changes in proptest::collection::vec(change(), 1..6)) {
        let seed = "type: a.b\nproperties:\n  organism: {type: string, default: x, pattern: \"[a-z]+\"}\n  n: {type: int, min: 1}\ntask:\n  type: sequential\n  tasks:\n    - {id: one, type: return, format: \"{{ props.organism ~ outputs.one }} {{ props.n }}\"}\n    - {id: two, type: log, message: \"{{ props.organism }}\", dependsOn: [one]}\n";
        let source = changes.iter().fold(seed.to_owned(), |source, change| changed(&source, change));
        let (plugins, problems) = Plugins::load([("a.yaml", source.as_str())]);
        prop_assert!(plugins.names().count() == 1 || !problems.is_empty());
        check("id: a\nnamespace: b\ntasks:\n  - {id: t, type: a.b, n: 3, organism: \"{{ execution.id }}\"}\n", &plugins);
    }
}

#[test]
fn every_example_with_any_one_line_or_word_missing_is_answered() {
    let plugins = Plugins::default();
    for info in task_types().chain(trigger_types()) {
        let part = if info.timeout_ms == 0 && trigger_types().any(|t| t.name == info.name) {
            "triggers"
        } else {
            "tasks"
        };
        let body: Vec<String> = info
            .example
            .lines()
            .enumerate()
            .map(|(at, line)| format!("{}{line}", if at == 0 { "  - " } else { "    " }))
            .collect();
        for gone in 0..body.len() {
            let mut lines = body.clone();
            lines.remove(gone);
            check(
                &format!("id: a\nnamespace: b\n{part}:\n{}\n", lines.join("\n")),
                &plugins,
            );
        }
        let source = format!("id: a\nnamespace: b\n{part}:\n{}\n", body.join("\n"));
        for (at, _) in source.match_indices(' ') {
            check(&format!("{}{}", &source[..at], &source[at + 1..]), &plugins);
            check(&source[..at], &plugins);
        }
    }
}

#[test]
fn the_seed_of_the_damage_is_valid() {
    let parsed = parse(SEED, &plugins());
    assert!(
        parsed.flow.is_some(),
        "{:#?}",
        parsed.diagnostics.into_sorted()
    );
}
