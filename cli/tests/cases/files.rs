//! Commands about files and the machine.

use super::lab::Lab;

const TWO: &str = "tasks:\n  - id: a\n    type: log\n    message: one\n  - id: b\n    type: log\n    message: two\n";

#[test]
fn validate_names_every_mistake_with_its_line() {
    let lab = Lab::new();
    lab.flow("good", TWO);
    lab.flow(
        "bad",
        "tasks:\n  - id: a\n    type: nonsense\n  - id: a\n    type: shell\n    script: x\n",
    );
    let done = lab.operon(&["validate", "."]);
    assert_eq!(done.code, Some(2), "{done}");
    insta::assert_snapshot!("validate_human", done.stable());
    let done = lab.operon(&["validate", "bad.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(2), "{done}");
    let value = done.json();
    assert_eq!(value["valid"], false);
    assert_eq!(value["findings"][0]["line"], 5);
    assert_eq!(lab.operon(&["validate", "good.yaml"]).code, Some(0));
}

#[test]
fn a_plugin_is_validated_as_a_plugin() {
    let lab = Lab::new();
    lab.write(
        "plugins/lab.say.yaml",
        "type: lab.say\ntask:\n  type: log\n  message: hi\n",
    );
    lab.flow("uses", "tasks:\n  - id: a\n    type: lab.say\n");
    let done = lab.operon(&["validate", "uses.yaml", "plugins/lab.say.yaml"]);
    assert_eq!(done.code, Some(0), "{done}");
    lab.write(
        "plugins/lab.say.yaml",
        "type: lab.say\ntask:\n  type: nonsense\n",
    );
    let done = lab.operon(&["validate", "plugins/lab.say.yaml"]);
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.err.contains("nonsense"), "{done}");
}

#[test]
fn flows_are_drawn_explained_and_laid_out() {
    let lab = Lab::new();
    lab.flow("two", TWO);
    insta::assert_snapshot!("graph_text", lab.operon(&["graph", "two.yaml"]).stable());
    assert!(
        lab.operon(&["graph", "two.yaml", "--format", "svg"])
            .out
            .starts_with("<svg")
    );
    let mermaid = lab.operon(&["graph", "two.yaml", "--format", "mermaid"]);
    assert!(mermaid.out.contains("flowchart"), "{mermaid}");
    let plan = lab.operon(&["explain-plan", "two.yaml", "-o", "json"]);
    assert_eq!(plan.json()["flow"], "two");
    lab.write(
        "wild.yaml",
        "id:   wild\nnamespace: lab\ntasks:\n- id: a\n  type: log\n  message: one\n",
    );
    assert_eq!(lab.operon(&["fmt", "--check", "wild.yaml"]).code, Some(1));
    assert_eq!(lab.operon(&["fmt", "wild.yaml"]).code, Some(0));
    assert_eq!(lab.operon(&["fmt", "--check", "wild.yaml"]).code, Some(0));
}

#[test]
fn the_binary_describes_itself() {
    let lab = Lab::new();
    let version = lab.operon(&["--version"]);
    assert_eq!(
        version.out,
        format!("operon {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = lab.operon(&["--help"]);
    assert!(help.out.contains("130"), "{help}");
    assert_eq!(lab.operon(&["schema"]).json()["type"], "object");
    let plugin = lab.operon(&["plugins", "show", "genomics.nextclade"]);
    assert!(plugin.out.contains("properties:"), "{plugin}");
    assert_eq!(lab.operon(&["plugins", "show", "no.such"]).code, Some(2));
    assert!(lab.operon(&["completions", "bash"]).out.contains("operon"));
    assert_eq!(lab.operon(&["doctor"]).code, Some(0));
}

#[test]
fn a_file_that_is_no_text_hides_no_other() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path().join("flows")).unwrap();
    std::fs::write(lab.path().join("flows/a.yaml"), b"id: \xff\n").unwrap();
    lab.write(
        "flows/b.yaml",
        "id: b\nnamespace: lab\ntasks: [{id: t, type: lgo, message: x}]\n",
    );
    let done = lab.operon(&["validate", "flows", "-o", "json"]);
    assert_eq!(done.code, Some(2), "{done}");
    let said = done.json();
    assert_eq!(said["files"], 2, "{done}");
    let findings = said["findings"].as_array().unwrap();
    let of = |name: &str| {
        let mut all = findings.iter();
        all.any(|finding| finding.to_string().contains(name))
    };
    assert!(of("a.yaml") && of("b.yaml"), "{done}");
    assert!(done.out.contains("is not UTF-8 text"), "{done}");
}
