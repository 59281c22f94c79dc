//! What a plan learns from a template without rendering it, and conditions.

use super::super::Template;
use super::context;

fn references(source: &str) -> Vec<(String, String, bool)> {
    let template = Template::parse(source).unwrap();
    let shown = template.references().iter();
    shown
        .map(|found| {
            (
                found.path.join("/"),
                source[found.span.clone()].to_owned(),
                found.conditional,
            )
        })
        .collect()
}

#[track_caller]
fn uses(source: &str, expected: &[(&str, &str, bool)]) {
    let found = references(source);
    let found: Vec<(&str, &str, bool)> = found
        .iter()
        .map(|(path, text, conditional)| (&**path, &**text, *conditional))
        .collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn references_are_the_paths_that_are_read() {
    uses(
        "{{ outputs.align.vars['n'] }}",
        &[("outputs/align/vars/n", "outputs.align.vars['n']", false)],
    );
    uses(
        "é{{ outputs['a-b'].x | upper }}",
        &[("outputs/a-b/x", "outputs['a-b'].x", false)],
    );
    uses(
        "{{ trigger.objects[0].key }}",
        &[("trigger/objects/0/key", "trigger.objects[0].key", false)],
    );
    uses(
        "{{ outputs[inputs.which].vars }}",
        &[
            ("outputs", "outputs", false),
            ("inputs/which", "inputs.which", false),
        ],
    );
    uses(
        "{{ inputs.a ?? (outputs.b.c | default(vars.d)) }}",
        &[
            ("inputs/a", "inputs.a", true),
            ("outputs/b/c", "outputs.b.c", true),
            ("vars/d", "vars.d", false),
        ],
    );
    uses(
        "{{ inputs.a is defined ? inputs.a.x : labels.b }}",
        &[
            ("inputs/a/x", "inputs.a.x", true),
            ("inputs/a", "inputs.a", true),
            ("labels/b", "labels.b", false),
        ],
    );
    uses(
        "{% set x = inputs.a %}{% for y in outputs.b %}{{ x ~ y.c ~ loop.index ~ z.d }}{% endfor %}{{ y.e }}",
        &[
            ("inputs/a", "inputs.a", false),
            ("outputs/b", "outputs.b", false),
            ("z/d", "z.d", false),
            ("y/e", "y.e", false),
        ],
    );
    uses("{# inputs.a #}{% raw %}{{ inputs.b }}{% endraw %}${x}", &[]);
}

/// Everything that is wrong, as the text it is about.
#[track_caller]
fn wrong(source: &str, expected: &[&str], used: &[&str]) {
    let (references, problems) = Template::check(source);
    let found: Vec<&str> = problems
        .iter()
        .map(|problem| &source[problem.span().unwrap()])
        .collect();
    assert_eq!(found, expected, "{source}: {problems:?}");
    let paths: Vec<String> = references
        .iter()
        .map(|found| found.path.join("."))
        .collect();
    assert_eq!(paths, used, "{source}");
    assert_eq!(
        Template::parse(source).err().as_ref(),
        problems.first(),
        "{source}"
    );
}

#[test]
fn everything_that_is_wrong_with_a_text_is_found() {
    wrong("{{ a.b | nix }} {{ c.d | nux }}", &["nix", "nux"], &[]);
    wrong("{{ a.b | nix }} {{ c.d }}{{ e + }}", &["nix", ""], &["c.d"]);
    wrong("{{ $ }}{{ a }}{{ 'x }}", &["$", "'"], &["a"]);
    wrong("{{ a {{ b | nix }}", &["{{ a {{ b | nix }}", "nix"], &[]);
    wrong(
        "{% if a.b | nix %}{{ c | nux }}{% endif %}{{ d }}",
        &["nix", "nux"],
        &["d"],
    );
    wrong(
        "{% for x in $ %}{{ x }}{% endfor %}{{ nix() }}",
        &["$", "nix"],
        &[],
    );
    wrong("{% nix x %}{{ x }}{{ nux() }}", &["nix", "nux"], &[]);
    wrong(
        "{% if a %}{% for x in b %}{% endif %}{{ c | nix }}",
        &["{% endif %}", "nix"],
        &["a", "b"],
    );
    wrong(
        "{% endfor %}{% if a %}",
        &["{% endfor %}", "{% if a %}"],
        &["a"],
    );
    wrong("{{ é | nix }}ü{{ $ ü", &["nix", "$"], &[]);
}

#[test]
fn calls_name_what_must_be_fetched() {
    let source = "{{ secret('A') }}{{ secret(inputs.which) }}{{ kv('k') ?? read('f') }}";
    let template = Template::parse(source).unwrap();
    let calls: Vec<_> = template
        .calls()
        .iter()
        .map(|call| {
            (
                call.name,
                call.argument.as_deref(),
                &source[call.span.clone()],
                call.conditional,
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            ("secret", Some("A"), "secret('A')", false),
            ("secret", None, "secret(inputs.which)", false),
            ("kv", Some("k"), "kv('k')", true),
            ("read", Some("f"), "read('f')", false),
        ]
    );
}

#[test]
fn literals_are_known() {
    for (source, literal) in [
        ("x", true),
        ("", true),
        ("a {# b #}", true),
        ("}} { {", true),
        ("{{ 1 }}", false),
        ("{% if 1 %}{% endif %}", false),
    ] {
        assert_eq!(
            Template::parse(source).unwrap().is_literal(),
            literal,
            "{source}"
        );
    }
}

#[test]
fn conditions_follow_kestras_rule() {
    for (source, expected) in [
        ("{{ false }}", false),
        ("{{ true }}", true),
        ("false", false),
        (" false ", false),
        ("False", true),
        ("0", false),
        ("-0", false),
        ("0.0", true),
        ("{{ 0 }}", false),
        ("{{ -0.0 }}", false),
        ("{{ 1 }}", true),
        ("", false),
        ("  ", false),
        ("no", true),
        ("{{ null }}", false),
        ("{{ [] }}", false),
        ("{{ {} }}", false),
        ("{{ [0] }}", true),
        ("{{ '0' }}", false),
        ("{{ inputs.n > 2 }}", true),
        ("{{ inputs.n > 2 and inputs.empty }}", false),
        ("{{ inputs.yes }} ", true),
        ("{% if inputs.yes %}false{% endif %}", false),
    ] {
        let template = Template::parse(source).unwrap();
        assert_eq!(
            template.render_condition(&context()).unwrap(),
            expected,
            "{source:?}"
        );
    }
}
