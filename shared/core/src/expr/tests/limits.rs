//! Every limit is an error that says how to stay below it.

use super::super::limits::{
    MAX_DATA_DEPTH, MAX_NESTING, MAX_OUTPUT_BYTES, MAX_RANGE_ITEMS, MAX_REGEX_BYTES, MAX_RENDERS,
    MAX_SOURCE_BYTES,
};
use super::super::{ExprError, Template};
use super::{rendered, value};

#[track_caller]
fn refused(source: &str, message: &str) {
    let error = rendered(source).expect_err(&source[..source.len().min(80)]);
    assert!(
        matches!(innermost(&error), ExprError::Limit { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(message), "{error}");
}

fn innermost(error: &ExprError) -> &ExprError {
    match error {
        ExprError::Nested { source, .. } => innermost(source),
        error => error,
    }
}

#[test]
fn sources_are_bounded() {
    assert!(Template::parse(&"x".repeat(MAX_SOURCE_BYTES)).is_ok());
    refused(&"x".repeat(MAX_SOURCE_BYTES + 1), "put it into a file");
}

#[test]
fn expressions_nest_to_a_bounded_depth() {
    // Each form at the deepest it may be must still be accepted by the engine below.
    let deep = |open: &str, close: &str, levels: usize| {
        format!("{{{{ {}1{} }}}}", open.repeat(levels), close.repeat(levels))
    };
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{'a': ", "}"),
        ("-", ""),
        ("not ", ""),
        ("max(1, ", ")"),
        ("true ? ", " : 2"),
        ("1 ?? ", ""),
        ("inputs.x ?? (", ")"),
        ("1 + (", ")"),
        ("true and (", ")"),
        ("inputs[", "]"),
        ("'a' ~ (1 | default(", "))"),
    ] {
        let deepest = (1..=MAX_NESTING)
            .rev()
            .find(|levels| Template::parse(&deep(open, close, *levels)).is_ok());
        assert!(
            deepest.is_some_and(|levels| levels >= 8),
            "{open}: {deepest:?}"
        );
        refused(&deep(open, close, 100), "split it");
        refused(&deep(open, close, 2000), "split it");
    }
    refused(&format!("{{{{ 1{} }}}}", " + 1".repeat(5000)), "split it");
    refused(&format!("{{{{ inputs{} }}}}", ".a".repeat(5000)), "at most");
    refused(&"{% if true %}".repeat(5000), "nest");
    assert_eq!(
        value(&format!(
            "{}x{}",
            "{% if true %}".repeat(MAX_NESTING),
            "{% endif %}".repeat(MAX_NESTING)
        )),
        "x"
    );
    let mixed = format!(
        "{}{{{{ {}1{} }}}}{}",
        "{% for x in [1] %}".repeat(MAX_NESTING),
        "(1 + ".repeat(15),
        ")".repeat(15),
        "{% endfor %}".repeat(MAX_NESTING)
    );
    assert_eq!(value(&mixed), "16");
}

#[test]
fn renders_take_bounded_time_and_space() {
    refused(
        "{% for a in 1..1000 %}{% for b in 1..1000 %}{{ a }}{% endfor %}{% endfor %}",
        "operations",
    );
    let doubled = format!(
        "{{% set s = 'abcdefgh' %}}{}",
        "{% set s = s ~ s %}".repeat(40)
    );
    refused(&doubled, &format!("{MAX_OUTPUT_BYTES} bytes"));
    let long = "x".repeat(100_000);
    refused(
        &format!("{{% for a in 1..1000 %}}{long}{{% endfor %}}"),
        "longer than",
    );
    let half = format!("{{% set s = '{long}' %}}{}", "{{ s }}".repeat(25));
    refused(&half, "longer than");
    refused(
        &format!("{{{{ range(1, {}) }}}}", MAX_RANGE_ITEMS + 1),
        "foreach",
    );
    refused("{{ -9223372036854775807..9223372036854775807 }}", "foreach");
}

#[test]
fn patterns_data_and_nested_renders_are_bounded() {
    refused(
        &format!("{{{{ 'a' matches '{}' }}}}", "a".repeat(MAX_REGEX_BYTES)),
        "shorten",
    );
    refused("{{ 'a' matches '(\\w{100}){100}' }}", "smaller repetitions");
    let levels = MAX_DATA_DEPTH + 1;
    refused(
        &format!(
            "{{{{ fromJson('{}{}') }}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        ),
        "nests more",
    );
    refused("{{ render(vars.self) }}", "render itself");
    refused(
        &format!(
            "{{% for i in 1..{} %}}{{{{ render('{{{{ 1 }}}}') }}}}{{% endfor %}}",
            MAX_RENDERS + 1
        ),
        "calls of render()",
    );
}

#[test]
fn jq_programs_are_bounded() {
    refused(
        &format!("{{{{ 1 | jq('{}') }}}}", " ".repeat(1025)),
        "bytes",
    );
    refused(&format!("{{{{ 1 | jq('{}') }}}}", "[".repeat(50)), "nests");
    refused(
        &format!("{{{{ 1 | jq('.{}') }}}}", "|.".repeat(400)),
        "nests",
    );
    refused("{{ 1 | jq('range(1000000)') }}", "range");
    refused(
        "{{ 1 | jq('[range(10000)] | map(range(10000))') }}",
        "steps",
    );
    refused(
        "{{ 1 | jq('reduce range(9999) as $i ([]; . + [$i])') }}",
        "steps",
    );
    refused(
        "{{ 1 | jq('reduce range(99) as $i (\"x\"; . + .)') }}",
        "steps",
    );
    refused("{{ 1 | jq('reduce range(9999) as $i (0; [.])') }}", "steps");
    refused("{{ 1 | jq('[range(9999)] - [range(9999)]') }}", "steps");
    refused("{{ 1 | jq('[range(9999)] | .[], .[]') }}", "results");
    refused(
        "{% for i in 1..500 %}{{ 1 | jq('[range(9000)]') | length }}{% endfor %}",
        "steps",
    );
}
