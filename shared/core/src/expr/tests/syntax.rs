//! The language: operators, blocks, and errors that point at their place.

use serde_json::json;

use super::{error, rendered, value};

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
        ("inputs.organism ?? 'x' | upper", json!("MPOX")),
        ("1 + inputs.missing ?? 2", json!(3)),
        ("1 + 2 ?? 5", json!(3)),
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
fn errors_point_into_the_source_and_say_what_to_do() {
    let table = [
        (
            "a {{ inputs.organsm }}",
            "organsm",
            "`inputs.organsm` is not defined; did you mean `inputs.organism`?",
        ),
        ("{{ +input }}", "input", "did you mean `inputs`?"),
        ("{{ é ~ (input).n }}", "é", "`é` is not defined"),
        ("{{ 'é' ~ (input).n }}", "input", "did you mean `inputs`?"),
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
fn functions_of_kestra_that_do_not_exist_have_advice_and_no_spelling_guess() {
    for (source, advice) in [
        ("isPublicHoliday(now())", "`vars.holidays contains"),
        ("dayOfMonth(now())", "`date | date('d') | int`"),
        (
            "isDateAfter(now(), now())",
            "`(a | timestamp) > (b | timestamp)`",
        ),
        (
            "isDateBefore(now(), now())",
            "`(a | timestamp) < (b | timestamp)`",
        ),
        (
            "isDateBetween(now(), now(), now())",
            "(from | timestamp) and",
        ),
        ("'a' | regexMatch('b')", "`text matches '…'`"),
        ("'a' | regexExtract('b')", "regexp=true"),
        ("'a' | regexReplace('b', 'c')", "regexp=true"),
        ("'a' | jsonDecode", "`fromJson(text)`"),
        ("jsonEncode('a')", "`value | toJson`"),
        ("'a' | ionDecode", "`fromIon(text)`"),
        ("errorLogs()", "`tasks.<id>.state`"),
    ] {
        let error = crate::expr::Template::parse(&format!("{{{{ {source} }}}}")).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(advice) && !error.contains("did you mean"),
            "{source}: {error}"
        );
    }
}

/// What the advice says is what one would have got.
#[test]
fn the_advice_for_functions_of_kestra_works() {
    for (source, expected) in [
        ("execution.startDate | date('d') | int", json!(28)),
        (
            "(execution.startDate | timestamp) > ('2026-01-01T00:00:00Z' | timestamp)",
            json!(true),
        ),
        ("'ab12' matches '[a-z]+[0-9]+'", json!(true)),
        (
            "'run-42.txt' | replace({'.*-([0-9]+).*': '$1'}, regexp=true)",
            json!("42"),
        ),
        ("{'a': 1} | toJson", json!("{\"a\":1}")),
    ] {
        assert_eq!(value(&format!("{{{{ {source} }}}}")), expected, "{source}");
    }
}
