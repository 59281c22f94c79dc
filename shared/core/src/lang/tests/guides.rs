//! Flows in the guides are flows.

use crate::lang::{Plugins, parse};
use crate::plan::compile;
use crate::triggers::Config;

/// Every block of YAML in a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn examples_of_triggers_compile() {
    let page = include_str!("../../../../../docs/triggers.md");
    let blocks = blocks(page);
    let mut types = Vec::new();
    for source in &blocks {
        let parsed = parse(source, &Plugins::default());
        let flow = parsed
            .flow
            .unwrap_or_else(|| panic!("{source}\n{:?}", parsed.diagnostics.into_sorted()));
        compile(&flow).unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
        for trigger in &flow.triggers {
            Config::read(trigger).unwrap();
            types.push(trigger.trigger_type.clone());
        }
    }
    for info in crate::lang::catalogue::trigger_types() {
        // The realtime variant is the same trigger.
        let shown =
            types.iter().any(|name| name == info.name) || info.name.ends_with("RealtimeTrigger");
        assert!(shown, "docs/triggers.md has no example of `{}`", info.name);
    }
}
