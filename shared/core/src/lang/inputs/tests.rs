#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::expr::{LookupError, Resolver};
use crate::lang::parse;
use crate::lang::plugins::Plugins;

struct Nothing;

impl Resolver for Nothing {
    fn secret(&self, _: &str) -> Result<String, LookupError> {
        Ok("hidden".to_owned())
    }
    fn kv(&self, _: &str, _: Option<&str>) -> Result<Option<Value>, LookupError> {
        Ok(Some(json!(["mpox", "ebola"])))
    }
    fn read(&self, _: &str) -> Result<String, LookupError> {
        Ok(String::new())
    }
    fn file_size(&self, _: &str) -> Result<u64, LookupError> {
        Ok(0)
    }
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn random_seed(&self) -> u64 {
        0
    }
}

fn declared(inputs: &str) -> Vec<Input> {
    let indented = inputs
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect::<Vec<_>>()
        .concat();
    let source = format!(
        "id: a\nnamespace: b\ninputs:\n{indented}tasks:\n  - {{id: t, type: log, message: hello}}\n"
    );
    let parsed = parse(&source, &Plugins::default());
    let found = parsed.diagnostics.into_sorted();
    parsed.flow.unwrap_or_else(|| panic!("{found:?}")).inputs
}

fn resolve(inputs: &str, given: &Value) -> Result<Resolved, Vec<String>> {
    let given = given.as_object().unwrap().clone().into_iter().collect();
    let context = Context::new(Map::new(), Arc::new(Nothing));
    resolve_inputs(&declared(inputs), &given, &context)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn texts_from_a_command_line_become_typed_values() {
    let inputs = r#"
- {id: n, type: INT, min: 1, max: 10}
- {id: x, type: FLOAT}
- {id: go, type: BOOLEAN}
- {id: wait, type: DURATION, max: PT1H}
- {id: day, type: DATE, after: "2020-01-01"}
- {id: at, type: TIME}
- {id: when, type: DATETIME}
- {id: one, type: SELECT, values: [mpox, {value: ebola, label: Ebola}]}
- {id: some, type: MULTISELECT, values: [a, b, c]}
- {id: file, type: FILE, allowedFileExtensions: [.fasta, fa]}
- {id: doc, type: JSON, jsonSchema: {type: object, required: [a], properties: {a: {type: integer}}}}
- {id: conf, type: YAML}
- {id: link, type: URI}
- {id: who, type: EMAIL}
- {id: list, type: ARRAY, itemType: INT}
- {id: name, type: STRING, validator: "[a-z]+"}
"#;
    let resolved = resolve(
        inputs,
        &json!({
 "n": "5", "x": "1.5", "go": "TRUE", "wait": "15m", "day": "2030-01-31", "at": "09:30",
            "when": "2030-01-31T09:30:00+01:00", "one": "ebola", "some": "a, c", "file": "in.FASTA",
            "doc": "{\"a\": 1}", "conf": "a: [1, 2]", "link": "https://example.org/x",
            "who": "a@example.org", "list": "[1, \"2\"]", "name": "abc",
        }),
    )
    .unwrap();
    assert_eq!(
        Value::Object(resolved.values),
        json!({
            "n": 5, "x": 1.5, "go": true, "wait": "PT15M", "day": "2030-01-31", "at": "09:30:00",
            "when": "2030-01-31T08:30:00Z", "one": "ebola", "some": ["a", "c"], "file": "in.FASTA",
            "doc": {"a": 1}, "conf": {"a": [1, 2]}, "link": "https://example.org/x",
            "who": "a@example.org", "list": [1, 2], "name": "abc",
        })
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let inputs = r#"
- {id: n, type: INT, min: 1, max: 10}
- {id: go, type: BOOLEAN}
- {id: wait, type: DURATION, max: PT1H}
- {id: day, type: DATE, after: "2020-01-01"}
- {id: one, type: SELECT, values: [mpox]}
- {id: file, type: FILE, allowedFileExtensions: [.fasta]}
- {id: doc, type: JSON, jsonSchema: {type: object, required: [a]}}
- {id: link, type: URI}
- {id: who, type: EMAIL}
- {id: list, type: ARRAY, itemType: INT}
- {id: name, type: STRING, validator: "[a-z]+"}
- {id: pin, type: SECRET, validator: "[0-9]+"}
- {id: needed, type: STRING}
"#;
    let errors = resolve(
        inputs,
        &json!({
        "n": 11, "go": "yes", "wait": "2h", "day": "2019-12-31", "one": "flu", "file": "a.txt",
                   "doc": {"b": 1}, "link": "nowhere", "who": "a@b", "list": ["x"], "name": "ABC",
                   "pin": "geheim", "nmae": "x",
               }),
    )
    .unwrap_err();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn ids_with_dots_nest_and_groups_may_be_given() {
    let inputs = "\n- {id: ena.user, type: STRING}\n- {id: ena.password, type: SECRET}\n";
    let nested = resolve(inputs, &json!({"ena": {"user": "u", "password": "p"}})).unwrap();
    let flat = resolve(inputs, &json!({"ena.user": "u", "ena.password": "p"})).unwrap();
    assert_eq!(nested, flat);
    assert_eq!(
        Value::Object(nested.values),
        json!({"ena": {"user": "u", "password": "p"}})
    );
    assert_eq!(nested.secrets, ["ena.password"]);
}

#[test]
fn defaults_are_rendered_over_earlier_inputs_and_checked() {
    let inputs = r#"
- {id: organism, type: STRING, defaults: mpox}
- {id: url, type: URI, defaults: "https://example.org/{{ inputs.organism }}"}
- {id: n, type: INT, max: 3, defaults: "{{ 2 + 2 }}"}
"#;
    let errors = resolve(inputs, &json!({})).unwrap_err();
    assert_eq!(errors, ["input `n`: `4` is more than `3`"]);
    let resolved = resolve(inputs, &json!({"n": 1, "organism": "ebola"})).unwrap();
    assert_eq!(resolved.values["url"], "https://example.org/ebola");
}

#[test]
fn choices_conditions_and_optional_inputs() {
    let inputs = r#"
- {id: organism, type: SELECT, expression: "{{ kv('organisms') }}", autoSelectFirst: true}
- {id: note, type: STRING, required: false}
- id: clade
  type: STRING
  dependsOn: {inputs: [organism], condition: "{{ inputs.organism == 'mpox' }}"}
"#;
    assert_eq!(
        resolve(inputs, &json!({})).unwrap_err(),
        ["input `clade`: is required"]
    );
    let resolved = resolve(inputs, &json!({"organism": "ebola"})).unwrap();
    assert_eq!(Value::Object(resolved.values), json!({"organism": "ebola"}));
    let errors = resolve(inputs, &json!({"organism": "ebola", "clade": "x"})).unwrap_err();
    assert_eq!(
        errors,
        ["input `clade`: is not asked for with these values of other inputs"]
    );
    assert!(resolve(inputs, &json!({"organism": "flu", "clade": "x"})).is_err());
}

#[test]
fn objects_and_tables_are_checked_inside() {
    let inputs = "- {id: sample, type: OBJECT, properties: [{id: country, type: STRING}, {id: year, type: INT, min: 2000, required: false}]}\n\
                  - {id: rows, type: TABLE, required: false, rows: {min: 1, max: 2}, columns: [{id: n, type: INT}]}\n\
                  - {id: ion, type: ION, required: false}\n";
    let sample = json!({"country": "CH"});
    let good = resolve(
        inputs,
        &json!({"sample": {"country": "CH", "year": "2024"}, "rows": "[{\"n\": \"7\"}]", "ion": "{\"a\": 1}"}),
    );
    assert_eq!(
        Value::Object(good.unwrap().values),
        json!({"sample": {"country": "CH", "year": 2024}, "rows": [{"n": 7}], "ion": {"a": 1}})
    );
    for (given, reason) in [
        (json!({"sample": {"year": 2024}}), "`country` is required"),
        (
            json!({"sample": {"country": "CH", "year": 1990}}),
            "`year`: `1990` is less than `2000`",
        ),
        (
            json!({"sample": {"country": "CH", "town": "x"}}),
            "has no `town`; it has country, year",
        ),
        (json!({"sample": "CH"}), "is not JSON"),
        (json!({"sample": [1]}), "is not an object"),
        (
            json!({"sample": sample, "rows": []}),
            "`0 rows` is less than `1 rows`",
        ),
        (
            json!({"sample": sample, "rows": [{"n": 1}, {"n": 2}, {"n": 3}]}),
            "is more than",
        ),
        (
            json!({"sample": sample, "rows": [{"n": 1}, {}]}),
            "row 1: `n` is required",
        ),
        (
            json!({"sample": sample, "rows": {"n": 1}}),
            "is not a list of rows",
        ),
    ] {
        let errors = resolve(inputs, &given).unwrap_err();
        assert!(
            errors.len() == 1 && errors[0].contains(reason),
            "{given}: {errors:?}"
        );
    }
}
