#![allow(clippy::unwrap_used, clippy::expect_used)]

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
                   "list": ["a", "b", "c"], "body": "say \"hi\"\nthere", "zero": 0},
        "outputs": {"align": {"vars": {"n": 42, "name": "x"}, "outputFiles": {"valid.fasta": "s3://b/v"}},
                    "sequence-qc": {"passed": true}, "each": {"one": {"value": "first"}}},
        "vars": {"nested": "{{ inputs.organism | upper }}", "self": "{{ render(vars.self) }}",
                 "twice": "{{ vars.nested }}", "evil": "{{ inputs.evil }}"},
        "taskrun": {"value": "one"},
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

#[test]
fn values_keep_their_type_alone_and_are_text_among_others() {
    for (source, expected) in [
        ("plain", json!("plain")),
        ("{{ inputs.n }}", json!(3)),
        ("{{ inputs.list }}", json!(["a", "b", "c"])),
        ("n={{ inputs.n }}", json!("n=3")),
        ("{{ inputs.list }} ", json!("[\"a\",\"b\",\"c\"] ")),
        ("<{{ inputs.none }}>", json!("<>")),
        ("{{ inputs.yes }}{{ inputs.ratio }}", json!("true0.5")),
        (
            "{{ outputs.align.outputFiles['valid.fasta'] }}",
            json!("s3://b/v"),
        ),
        ("{{ outputs['sequence-qc'].passed }}", json!(true)),
        ("{{ inputs.list[1] }}{{ inputs.list[-1] }}", json!("bc")),
        ("a {# note #}b", json!("a b")),
        ("${#array[@]} } {", json!("${#array[@]} } {")),
        ("{% raw %}{{ x }}{% endraw %}", json!("{{ x }}")),
    ] {
        assert_eq!(value(source), expected, "{source}");
    }
}

#[test]
fn operators_are_pebbles() {
    for (source, expected) in [
        ("inputs.missing ?? 'd'", json!("d")),
        ("inputs.none ?? 'd'", json!("d")),
        ("inputs.none ??? 'd'", json!(null)),
        ("nothing.at.all ??? 'd'", json!("d")),
        ("inputs.zero ?? 5", json!(0)),
        ("inputs.empty ?? 5", json!("")),
        ("a.b ?? c.d ?? inputs.n", json!(3)),
        // Tighter than a filter, as in Pebble.
        ("inputs.missing ?? inputs.organism | upper", json!("MPOX")),
        ("(inputs.missing | upper) ?? 'd'", json!("d")),
        ("'a' ~ 'b' | upper", json!("AB")),
        ("inputs.n > 2 ? 'big' : 'small'", json!("big")),
        (
            "inputs.n == 1 ? 'one' : inputs.n == 3 ? 'three' : 'many'",
            json!("three"),
        ),
        ("inputs.missing == null ? 1 : 2", json!("?")),
        ("['apple', 'pear'] contains 'apple'", json!(true)),
        (
            "['apple', 'pear', 'plum'] contains ['apple', 'fig']",
            json!(false),
        ),
        ("{'apple': 'red'} contains 'apple'", json!(true)),
        ("inputs.organism contains 'po'", json!(true)),
        ("execution.state isIn ['SUCCESS', 'KILLED']", json!(true)),
        ("'abc' matches '[a-c]+'", json!(true)),
        ("'abcd' matches '[a-c]+'", json!(false)),
        ("2 + 2 / (10 % 3) * (8 - 1)", json!(16)),
        ("5 / 2", json!(2)),
        ("5 / 2.0", json!(2.5)),
        ("'apple' ~ 'pear' ~ 1", json!("applepear1")),
        ("'n' + 1", json!("n1")),
        ("[1] + [2, 3]", json!([1, 2, 3])),
        ("1..4", json!([1, 2, 3, 4])),
        ("2 is even and 3 is odd", json!(true)),
        ("(3 is not even) and (2 is odd or 3 is even)", json!(false)),
        ("inputs.x is defined || inputs.n is defined", json!(true)),
        ("!inputs.yes", json!(false)),
        ("not (1 == 2) && true", json!(true)),
        ("inputs.empty is empty", json!(true)),
        ("inputs.none is null", json!(true)),
        ("-inputs.n", json!(-3)),
        ("1 == 1.0", json!(true)),
        ("{\"title\": inputs.body, 'n': inputs.n}.n", json!(3)),
        ("range(0, 8, 2)", json!([0, 2, 4, 6, 8])),
        ("max(1, 20, 3) + min(4, 2.5)", json!(22.5)),
    ] {
        if expected == json!("?") {
            assert!(
                rendered(&format!("{{{{ {source} }}}}")).is_err(),
                "{source}"
            );
        } else {
            assert_eq!(value(&format!("{{{{ {source} }}}}")), expected, "{source}");
        }
    }
}

#[test]
fn errors_point_into_the_source_and_say_what_to_do() {
    let table = [
        (
            "a {{ inputs.organsm }}",
            "organsm",
            "`inputs.organsm` is not defined; did you mean `inputs.organism`?",
        ),
        (
            "{{ input.n }}",
            "input",
            "`input` is not defined; did you mean `inputs`?",
        ),
        (
            "{{ outputs.align.vars.m }}",
            "m",
            "`outputs.align.vars.m` is not defined; give a fallback",
        ),
        (
            "é {{ outputs.sequence-qc.passed }}",
            "sequence-qc",
            "write `outputs['sequence-qc']`",
        ),
        (
            "x {{ inputs.n | uper }}",
            "uper",
            "there is no filter `uper`; did you mean `upper`?",
        ),
        (
            "{{ printContext() }}",
            "printContext",
            "there is no function `printContext`",
        ),
        (
            "{{ inputs.n is evn }}",
            "evn",
            "there is no test `evn`; did you mean `even`?",
        ),
        ("{% include 'x' %}", "include", "there is no tag `include`"),
        (
            "{{ inputs.n ",
            "{{ inputs.n ",
            "`{{` is never closed; add `}}`",
        ),
        (
            "{% if inputs.yes %}x",
            "{% if inputs.yes %}",
            "is never closed; add `{% endif %}`",
        ),
        ("{{ inputs.n + }}", "", "a value is missing"),
        (
            "{{ not inputs.n == 2 }}",
            "not inputs.n ==",
            "write `not (…)`",
        ),
        (
            "{{ inputs.list | join(', ', 3) }}",
            "3",
            "too many arguments; it is used as `value | join(separator=…)`",
        ),
        (
            "{{ inputs.organism * 2 }}",
            "inputs.organism * 2",
            "`*` needs numbers, not a text",
        ),
        (
            "{{ inputs.none.x }}",
            "x",
            "inputs.none is null and has no `x`",
        ),
        (
            "{{ secret('NOPE') }}",
            "secret('NOPE')",
            "the secret `NOPE` does not exist",
        ),
        (
            "{{ render('{{ inputs.zzz }}') }}",
            "render('{{ inputs.zzz }}')",
            "in the rendered text: `inputs.zzz`",
        ),
    ];
    for (source, at, message) in table {
        let (shown, place) = error(source);
        assert!(shown.contains(message), "{source}: {shown}");
        assert_eq!(place, at, "{source}: {shown}");
    }
}

#[test]
fn blocks_loop_choose_and_filter() {
    for (source, expected) in [
        (
            "{% for x in inputs.list %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
            "0a,1b,2c",
        ),
        (
            "{% for e in outputs.align.vars %}{{ e.key }}={{ e.value }};{% endfor %}",
            "n=42;name=x;",
        ),
        ("{% for x in [] %}x{% else %}none{% endfor %}", "none"),
        (
            "{% if inputs.n == 1 %}one{% elseif inputs.n == 3 %}three{% else %}?{% endif %}",
            "three",
        ),
        ("{% set header = 'Welcome' %}{{ header }}", "Welcome"),
        (
            "{% filter lower | title %}HELLO world{% endfilter %}",
            "Hello World",
        ),
        ("a  {{- inputs.n -}}  b", "a3b"),
    ] {
        assert_eq!(value(source), json!(expected), "{source}");
    }
}

#[test]
fn secrets_are_followed_through_everything() {
    for (source, derived) in [
        ("{{ secret('TOKEN') }}", "s3cr3t-Value"),
        ("{{ secret('TOKEN') | upper }}", "S3CR3T-VALUE"),
        ("{{ secret('TOKEN') | base64encode }}", "czNjcjN0LVZhbHVl"),
        ("Bearer {{ secret('TOKEN') }}", "Bearer s3cr3t-Value"),
        ("{{ 'x' ~ secret('TOKEN') }}", "xs3cr3t-Value"),
        (
            "{{ {'t': secret('TOKEN')} | toJson }}",
            "{\"t\":\"s3cr3t-Value\"}",
        ),
        ("{{ (secret('TOKEN') | split('-'))[1] | lower }}", "value"),
        ("{{ secret('TOKEN') | slice(0, 2) | upper }}", "S3"),
        ("{{ secret('PIN') | number + 1 }}", "12346"),
        (
            "{{ fromJson(secret('JSON')).password | sha256 }}",
            "a9ba21e0bfe6eda88ea9afbea40eeac3dd3ac4e4a3fe4eda56a90a6f4ab32a1d",
        ),
        (
            "{% set t = secret('TOKEN') %}{{ t | lower }}",
            "s3cr3t-value",
        ),
        (
            "{% filter upper %}a {{ secret('TOKEN') }}{% endfilter %}",
            "A S3CR3T-VALUE",
        ),
        (
            "{% for c in secret('PIN') | split('') %}{{ c }}-{% endfor %}",
            "1-2-3-4-5-",
        ),
        (
            "{{ secret('NONE') ?? secret('TOKEN') | upper }}",
            "S3CR3T-VALUE",
        ),
        (
            "{{ inputs.yes ? secret('TOKEN') ~ '!' : 'n' }}",
            "s3cr3t-Value!",
        ),
        (
            "{{ render(\"{{ secret('TOKEN') | lower }}\") ~ '?' }}",
            "s3cr3t-value?",
        ),
    ] {
        let secrets = rendered(source).unwrap().secrets;
        if source.contains("sha256") {
            assert!(
                secrets.iter().any(|s| s.len() == 64),
                "{source}: {secrets:?}"
            );
        } else {
            assert!(
                secrets.iter().any(|secret| secret == derived),
                "{source}: {secrets:?}"
            );
        }
    }
    let plain = rendered("{{ inputs.organism | upper }} {{ secret('TOKEN') }}").unwrap();
    assert!(
        !plain.secrets.contains(&"MPOX".to_owned()),
        "{:?}",
        plain.secrets
    );
    assert!(
        rendered("{{ inputs.organism | upper }}")
            .unwrap()
            .secrets
            .is_empty()
    );
    assert!(!format!("{:?}", rendered("{{ secret('TOKEN') }}").unwrap()).contains("s3cr3t"));
}
