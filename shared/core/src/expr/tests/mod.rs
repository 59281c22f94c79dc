//! Templates as users write them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calendar;
mod filters;
mod limits;
mod plan;
mod properties;
mod secrets;
mod syntax;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Context, ExprError, LookupError, Rendered, Resolver, Template};

/// Answers from constants.
struct Fixed;

impl Resolver for Fixed {
    fn secret(&self, name: &str) -> Result<String, LookupError> {
        match name {
            "TOKEN" => Ok("s3cr3t-Value".into()),
            "PIN" => Ok("12345".into()),
            "JSON" => Ok(r#"{"user":"ena","password":"hunter22"}"#.into()),
            _ => Err(LookupError::NotFound {
                what: format!("the secret `{name}`"),
            }),
        }
    }
    fn kv(&self, key: &str, namespace: Option<&str>) -> Result<Option<Value>, LookupError> {
        Ok(match (key, namespace) {
            ("cursor", None) => Some(json!({"page": 3})),
            ("cursor", Some("other")) => Some(json!("far")),
            _ => None,
        })
    }
    fn read(&self, path: &str) -> Result<String, LookupError> {
        match path {
            "a.json" => Ok(r#"{"n": [1, 2]}"#.into()),
            "lines" => Ok("{\"a\":1}\n{\"a\":2}\n".into()),
            _ => Err(LookupError::Unavailable {
                what: path.into(),
                reason: "not fetched".into(),
            }),
        }
    }
    fn file_size(&self, _: &str) -> Result<u64, LookupError> {
        Ok(1234)
    }
    fn now(&self) -> jiff::Timestamp {
        "2026-03-29T00:30:15.123456Z".parse().unwrap()
    }
    fn random_seed(&self) -> u64 {
        7
    }
}

fn context() -> Context {
    let roots = json!({
        "inputs": {"organism": "mpox", "n": 3, "ratio": 0.5, "empty": "", "none": null, "yes": true,
                   "list": ["a", "b", "c"], "body": "say \"hi\"\nthere", "zero": 0, "evil": "{{ secret('TOKEN') }}"},
        "outputs": {"align": {"vars": {"n": 42, "name": "x"}, "outputFiles": {"valid.fasta": "s3://b/v"}},
                    "sequence-qc": {"passed": true}, "each": {"one": {"value": "first"}}},
        "vars": {"nested": "{{ inputs.organism | upper }}", "self": "{{ render(vars.self) }}",
                 "twice": "{{ vars.nested }}", "evil": "{{ inputs.evil }}", "mine": "{{ vars.inner }}", "inner": "{{ secret('TOKEN') }}"},
        "taskrun": {"value": "one"}, "item": {"value": "one", "index": 0, "parents": []},
        "execution": {"id": "e1", "startDate": "2026-03-28T23:15:00.5Z", "state": "SUCCESS"},
    });
    let Value::Object(roots) = roots else {
        unreachable!()
    };
    Context::new(roots, Arc::new(Fixed))
}

fn rendered(source: &str) -> Result<Rendered, ExprError> {
    Template::parse(source)?.render(&context())
}

#[track_caller]
fn value(source: &str) -> Value {
    rendered(source)
        .unwrap_or_else(|error| panic!("{source}: {error}"))
        .value
}

/// The message and the part of the source that it points at.
#[track_caller]
fn error(source: &str) -> (String, String) {
    let error = rendered(source).expect_err(source);
    let at = error
        .span()
        .map_or_else(String::new, |span| source[span].to_owned());
    (error.to_string(), at)
}
