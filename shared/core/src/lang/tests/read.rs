//! Nothing is accepted and then ignored: every property that the catalogue calls supported is named where its type is
//! executed.
//!
//! The table says where that is. A property whose name stands there in no literal and as no field has no effect: it is to be
//! read, or to be rejected or warned about.

use std::collections::BTreeMap;

use super::files;
use crate::lang::catalogue::{
    FLOW, PropInfo, PropType, Support, TASK, TRIGGER, task_types, trigger_types,
};

/// Class names (or beginnings of them) and the files, or directories, that read their properties. First match wins.
const READERS: &[(&str, &[&str])] = &[
    (
        "io.kestra.plugin.core.flow.Subflow",
        &["shared/engine/src/subflow.rs"],
    ),
    (
        "io.kestra.plugin.core.flow.ForEachItem",
        &[
            "shared/engine/src/subflow.rs",
            "shared/core/src/lang/parse/loops.rs",
            "shared/core/src/lang/parse/control.rs",
        ],
    ),
    // What is inside; the file as a whole also reads what only scripts have.
    (
        "io.kestra.plugin.core.flow.WorkingDirectory.namespaceFiles",
        &["shared/engine/src/script.rs"],
    ),
    (
        "io.kestra.plugin.core.flow.",
        &[
            "shared/core/src/lang/parse/control.rs",
            "shared/core/src/lang/parse/loops.rs",
        ],
    ),
    (
        "io.kestra.plugin.scripts.",
        &[
            "shared/engine/src/registry.rs",
            "shared/engine/src/script.rs",
            "shared/core/src/lang/parse/script.rs",
        ],
    ),
    (
        "container",
        &[
            "shared/engine/src/registry.rs",
            "shared/engine/src/script.rs",
            "shared/core/src/lang/parse/script.rs",
        ],
    ),
    (
        "io.kestra.plugin.core.storage.LocalFiles",
        &["shared/engine/src/script.rs"],
    ),
    (
        "io.kestra.plugin.core.storage.",
        &["shared/engine/src/tasks/storage/"],
    ),
    (
        "io.kestra.plugin.core.kv.",
        &["shared/engine/src/tasks/kv.rs"],
    ),
    (
        "io.kestra.plugin.core.log.",
        &["shared/engine/src/tasks/log.rs"],
    ),
    (
        "io.kestra.plugin.core.debug.",
        &["shared/engine/src/tasks/log.rs"],
    ),
    (
        "io.kestra.plugin.core.output.",
        &["shared/engine/src/tasks/log.rs"],
    ),
    (
        "io.kestra.plugin.core.execution.Count",
        &["shared/engine/src/tasks/count.rs"],
    ),
    (
        "io.kestra.plugin.core.execution.",
        &["shared/engine/src/tasks/execution.rs"],
    ),
    (
        "io.kestra.plugin.core.http.",
        &["shared/engine/src/tasks/http/"],
    ),
    (
        "io.kestra.plugin.jdbc.",
        &["shared/engine/src/tasks/sql.rs"],
    ),
    (
        "io.kestra.plugin.aws.sns.",
        &["shared/engine/src/tasks/message.rs"],
    ),
    (
        "io.kestra.plugin.aws.",
        &["shared/engine/src/tasks/services.rs"],
    ),
    (
        "io.kestra.plugin.slack.",
        &["shared/engine/src/tasks/message.rs"],
    ),
    (
        "io.kestra.plugin.email.",
        &["shared/engine/src/tasks/message.rs"],
    ),
    (
        "io.kestra.plugin.pagerduty.",
        &["shared/engine/src/tasks/message.rs"],
    ),
    ("webhook", &["shared/engine/src/tasks/message.rs"]),
    (
        "trigger io.kestra.plugin.core.http.Trigger",
        &[
            "shared/core/src/triggers/config/read.rs",
            "shared/core/src/lang/parse/trigger_rules.rs",
            "shared/engine/src/triggers/http.rs",
            "shared/engine/src/tasks/http/",
        ],
    ),
    (
        "trigger io.kestra.plugin.core.trigger.Flow",
        &[
            "shared/core/src/triggers/config/read.rs",
            "shared/core/src/lang/parse/trigger_rules.rs",
            "shared/core/src/lang/parse/triggers.rs",
            "shared/core/src/lang/parse/conditions.rs",
        ],
    ),
    (
        "trigger ",
        &[
            "shared/core/src/triggers/config/read.rs",
            "shared/core/src/lang/parse/trigger_rules.rs",
        ],
    ),
    ("every task", &["shared/core/src/lang/parse/"]),
    (
        "every trigger",
        &[
            "shared/core/src/triggers/config/read.rs",
            "shared/core/src/lang/parse/triggers.rs",
        ],
    ),
    ("the flow", &["shared/core/src/lang/parse/"]),
];

/// Properties with one possible value, which says what happens in any case.
const ONE_MEANING: &[(&str, &str)] = &[(
    "trigger io.kestra.plugin.core.trigger.Flow.onMiss",
    "behavior",
)];

/// The files that read the properties of a type.
fn readers(class: &str) -> &'static [&'static str] {
    READERS
        .iter()
        .find(|(prefix, _)| class.starts_with(prefix))
        .map_or(&[], |(_, files)| *files)
}

/// The name in the way the derived readers know it.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn unread(class: &str, props: &[PropInfo], text: &dyn Fn(&str) -> String, found: &mut Vec<String>) {
    let code = text(class);
    for prop in props
        .iter()
        .filter(|prop| prop.support == Support::Supported)
    {
        let literal = format!("\"{}\"", prop.name);
        let field = format!(" {}: ", snake(prop.name));
        let read = code.contains(&literal) || code.contains(&field);
        if !read && !ONE_MEANING.contains(&(class, prop.name)) {
            found.push(format!("`{}` of `{class}`", prop.name));
        }
        inner(&format!("{class}.{}", prop.name), &prop.ty, text, found);
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these have inner properties"
)]
fn inner(class: &str, ty: &PropType, text: &dyn Fn(&str) -> String, found: &mut Vec<String>) {
    match ty {
        PropType::Object(props) => unread(class, props, text, found),
        PropType::List(item) | PropType::OneOrMany(item) | PropType::Map(item) => {
            inner(class, item, text, found);
        }
        PropType::OneOf(types) => {
            for ty in *types {
                inner(class, ty, text, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_supported_property_is_read_where_its_type_is_executed() {
    let mut sources = BTreeMap::new();
    for directory in ["shared/core/src", "shared/engine/src", "shared/local/src"] {
        for (name, text) in files(directory, "rs") {
            let test = name.contains("tests") || name.contains("/catalogue/");
            let code = text.split("#[cfg(test)]\nmod tests {").next();
            if let (false, Some(code)) = (test, code) {
                sources.insert(name, code.to_owned());
            }
        }
    }
    let text_of = |class: &str| {
        let places = readers(class);
        let mut text = String::new();
        for place in places {
            let before = text.len();
            for (name, code) in &sources {
                if name.starts_with(place) {
                    text.push_str(code);
                }
            }
            assert!(text.len() > before, "there is no `{place}`");
        }
        assert!(!text.is_empty(), "say where `{class}` is read");
        text
    };
    let tasks = task_types().map(|info| (info.name.to_owned(), info.props));
    let triggers = trigger_types().map(|info| (format!("trigger {}", info.name), info.props));
    let common = [
        ("every task", TASK),
        ("every trigger", TRIGGER),
        ("the flow", FLOW),
    ];
    let common = common.map(|(name, props)| (name.to_owned(), props));
    let mut found = Vec::new();
    for (class, props) in tasks.chain(triggers).chain(common) {
        unread(&class, props, &text_of, &mut found);
    }
    assert!(
        found.is_empty(),
        "accepted and read nowhere: {}",
        found.join(", ")
    );
}
