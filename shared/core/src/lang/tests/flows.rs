//! The flows of this repository are valid, and the seed flows mean what they say.

use super::{files, findings, plugins};
use crate::lang::model::{Dynamic, TaskKind};
use crate::plan::compile;

#[test]
fn every_flow_is_valid() {
    let plugins = plugins();
    let mut checked = 0;
    for (name, text) in files("flows", "yaml") {
        let flow = text.lines().any(|line| line.starts_with("tasks:"));
        if name.starts_with("flows/plugins/") || !flow {
            continue;
        }
        let (flow, found) = findings(&text, &plugins);
        let flow = flow.unwrap_or_else(|| panic!("{name}: {found:#?}"));
        assert_eq!(compile(&flow).err(), None, "{name}");
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} flows");
}

#[test]
fn the_seed_flows_are_accepted_as_written() {
    let plugins = plugins();
    let flows = files("flows/seed", "yaml");
    let (flow, found) = findings(&flows[0].1, &plugins);
    assert_eq!(found, Vec::<String>::new());
    let flow = flow.unwrap();
    assert!(!flow.tasks.graph, "no dependsOn: a sequence");
    let ingest = &flow.tasks.tasks[0];
    assert_eq!(
        ingest.props["containerImage"],
        "ghcr.io/loculus-project/ingest"
    );
    assert_eq!(ingest.task_type, "io.kestra.plugin.scripts.python.Script");
    assert_eq!(ingest.timeout_ms, Dynamic::Constant(3_600_000));
    assert!(!flow.tasks.tasks[2].props.contains_key("containerImage"));

    let (flow, found) = findings(&flows[1].1, &plugins);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("implicit-root: task `sequence-qc`"),
        "{found:?}"
    );
    let flow = flow.unwrap();
    assert!(flow.tasks.graph);
    let [qc, lineage, upload] = flow.tasks.tasks.as_slice() else {
        panic!("three tasks")
    };
    assert_eq!(qc.plugin.as_deref(), Some("genomics.nextclade"));
    assert_eq!(lineage.depends_on, ["sequence-qc"]);
    assert!(qc.idempotent && lineage.idempotent);
    assert!(
        !upload.idempotent,
        "a submission that is sent twice is a second record"
    );
    assert_eq!(upload.quarantine_ms, 900_000);
    assert_eq!(upload.kind, TaskKind::Run);
}

#[test]
fn three_spellings_of_an_image_are_one() {
    let plugins = plugins();
    let flow = |image: &str| {
        let source = format!(
            "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.scripts.python.Script\n    script: print(1)\n{image}"
        );
        let (flow, found) = findings(&source, &plugins);
        let mut flow = flow.unwrap_or_else(|| panic!("{found:?}"));
        flow.tasks.tasks[0].span = 0..0;
        serde_json::to_string(&flow).unwrap()
    };
    let canonical = flow("    containerImage: x:1\n");
    assert_eq!(flow("    docker:\n      image: x:1\n"), canonical);
    assert_eq!(flow("    docker.image: x:1\n"), canonical);
    assert_eq!(
        flow("    docker.image: x:1\n    containerImage: x:1\n    docker: {image: x:1}\n"),
        canonical
    );
}
