//! What people get wrong, and what they are told: rule, place, message and fix.

use std::fmt::Write as _;

use super::{findings, plugins};

/// Everything of a flow but what the mistake is in.
fn whole(text: &str) -> String {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    let mut source = String::new();
    for (key, line) in [("id:", "id: a\n"), ("namespace:", "namespace: b\n")] {
        if !has(key) && !text.starts_with('#') {
            source.push_str(line);
        }
    }
    source.push_str(text);
    if !has("tasks:") && !text.starts_with('#') {
        source.push_str("\ntasks:\n  - {id: t, type: log, message: hello}");
    }
    source
}

#[test]
fn mistakes_are_explained() {
    let plugins = plugins();
    let text = include_str!("mistakes.txt");
    let mut report = String::new();
    let mut count = 0;
    for case in text.split("\n=== ").filter(|case| !case.trim().is_empty()) {
        let (title, body) = case.split_once('\n').unwrap();
        let source = whole(body.trim_end());
        let (flow, found) = findings(&source, &plugins);
        assert!(!found.is_empty(), "nothing found: {title}\n{source}");
        let errors = found.iter().any(|line| line.contains(" error "));
        assert_eq!(
            flow.is_none(),
            errors,
            "{title}: a flow exactly when there is no error"
        );
        writeln!(
            report,
            "{}\n    {}\n",
            title.trim_start_matches("=== "),
            found.join("\n    ")
        )
        .unwrap();
        count += 1;
    }
    assert!(count >= 60, "only {count} mistakes");
    insta::assert_snapshot!(report);
}
