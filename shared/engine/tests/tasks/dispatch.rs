//! The list of built-in tasks.

use operon_core::lang::catalogue::{self, Shape};
use operon_engine::script;
use operon_engine::tasks::{SUPPORTED, is_supported, unrendered};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn every_supported_type_is_dispatched() {
    let world = World::new();
    assert!(SUPPORTED.is_sorted());
    for name in SUPPORTED {
        if let Err(error) = world.run(name, json!({})).await {
            assert!(!error.message.contains("in this release"), "{name}");
        }
    }
    let error = world.run("core.flow.Sleep", json!({})).await.unwrap_err();
    assert!(error.message.contains("in this release"));
}

#[test]
fn the_catalogue_and_this_list_agree() {
    // A subflow is started by the engine itself, and `LocalFiles` is done where the directory is: by the runner.
    let catalogue: Vec<_> = catalogue::task_types()
        .filter(|info| info.shape == Shape::BuiltIn)
        .filter(|info| !script::is_subflow(info.name) && !script::is_process(info.name))
        .map(|info| info.name)
        .collect();
    for name in &catalogue {
        assert!(is_supported(name), "{name} is in the catalogue only");
    }
    assert_eq!(catalogue.len(), SUPPORTED.len());
    for name in SUPPORTED {
        let of_kestra = catalogue::task_type(&format!("io.kestra.plugin.{name}"));
        let info = of_kestra.or_else(|| catalogue::task_type(name)).unwrap();
        for property in unrendered(name) {
            assert!(info.prop(property).is_some(), "{name}.{property}");
        }
    }
}
