//! What holds for every text and every value.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Context, Template};
use super::{Fixed, context};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON", |number| number.is_finite())
            .prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,8}", inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Words of the language in any order: nearer to its corners than arbitrary characters.
fn word_salad() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "-",
        "if",
        "for",
        "in",
        "set",
        "endif",
        "endfor",
        "raw",
        "endraw",
        "filter",
        "endfilter",
        "else",
        "inputs",
        ".n",
        ".list",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ":",
        ",",
        "?",
        "??",
        "???",
        "|",
        "upper",
        "default",
        "join",
        "is",
        "not",
        "defined",
        "and",
        "or",
        "==",
        "+",
        "~",
        "..",
        "1",
        "2.5",
        "'a'",
        "\"é\"",
        "loop",
        "loop.index",
        "x",
        "=",
        " ",
        "secret",
        "render",
        "contains",
        "matches",
        "jq",
        "date",
        "slice",
        "'yyyy'",
        "'.[]'",
        "now()",
        "9e9",
        "\\",
    ]);
    prop::collection::vec(words, 0..25).prop_map(|words| words.join(" "))
}

fn check(source: &str) {
    match Template::parse(source) {
        Ok(template) => {
            assert_eq!(template.source(), source);
            if let Err(error) = template.render(&context()) {
                let message = error.to_string();
                assert!(!message.is_empty());
                if let Some(span) = error.span() {
                    assert!(source.get(span.clone()).is_some(), "{span:?} {message}");
                }
            }
        }
        Err(error) => {
            let span = error.span().unwrap();
            assert!(source.get(span.clone()).is_some(), "{span:?} {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_makes_it_panic(source in "\\PC{0,60}") {
        check(&source);
        check(&format!("{{{{ {source} }}}}"));
        check(&format!("{{% {source} %}}"));
    }

    #[test]
    fn no_order_of_words_makes_it_panic(source in word_salad()) {
        check(&source);
        check(&format!("{{{{ {source} }}}}"));
        check(&format!("a{{{{ {source} }}}}b"));
    }

    #[test]
    fn text_without_braces_renders_to_itself(source in "[^{]{0,200}") {
        let template = Template::parse(&source).unwrap();
        prop_assert!(template.is_literal());
        prop_assert_eq!(template.render(&context()).unwrap().value, json!(source));
    }

    #[test]
    fn values_go_through_unchanged(value in any_json()) {
        let roots = json!({"x": value});
        let Value::Object(roots) = roots else { unreachable!() };
        let context = Context::new(roots, Arc::new(Fixed));
        for source in ["{{ x }}", "{{ [x][0] ?? x }}", "{{ {'k': x}.k }}"] {
            let rendered = Template::parse(source).unwrap().render(&context).unwrap();
            prop_assert_eq!(&rendered.value, &value, "{}", source);
            prop_assert!(rendered.secrets.is_empty());
        }
    }

    #[test]
    fn rendering_is_repeatable(source in word_salad()) {
        let random = format!("{{{{ uuid() ~ id() ~ randomInt(1, 9) ~ now() }}}}{source}");
        if let Ok(template) = Template::parse(&random) {
            let first = template.render(&context()).map(|rendered| rendered.value);
            prop_assert_eq!(first, template.render(&context()).map(|rendered| rendered.value));
        }
    }
}
