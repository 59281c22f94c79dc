#![allow(clippy::unwrap_used, clippy::expect_used)]

mod limits;

use proptest::prelude::*;
use serde_json::json;

use super::super::diagnostic::{Diagnostic, Rule, Severity};
use super::super::format::{FormatOptions, format};
use super::{Document, Limits, Node, Style, Yaml, parse};

fn read(source: &str) -> Node {
    parse(source, &Limits::default()).unwrap_or_else(|e| panic!("{source}\n{e:#?}"))
}

fn fail(source: &str) -> Diagnostic {
    let found = parse(source, &Limits::default()).expect_err(source);
    let errors: Vec<_> = found
        .into_iter()
        .filter(|d| d.severity == Severity::Error)
        .collect();
    assert_eq!(errors.len(), 1, "{source}\n{errors:#?}");
    let error = errors.into_iter().next().unwrap();
    assert!(error.help.is_some(), "every error has a fix: {error:#?}");
    assert!(source.get(error.span.clone()).is_some(), "{error:#?}");
    error
}

/// The rule and the text that the error points at.
fn fails(source: &str) -> (Rule, String) {
    let error = fail(source);
    (error.rule, source[error.span].to_owned())
}

#[test]
fn core_schema() {
    let source = "
n: [null, Null, NULL, ~, ]
empty:
b: [true, True, TRUE, false, False, FALSE]
i: [0, -1, +7, 0x1F, 0o17, 9223372036854775807]
f: [1.5, .5, 1., 1e3, -2.5E-3, +.inf, -.inf, .nan]
s: ['1', \"true\", yes, 1_000, 12:30:45, 1.2.3, 0x, 0b1, 0x_1, 0x-1, 9223372036854775808, e1, '.', +, -a, 1.10a, 2024-01-31, .info, infinity, nan]
";
    let value = read(source).to_json();
    assert_eq!(value["n"], json!([null, null, null, null]));
    assert_eq!(value["empty"], json!(null));
    assert_eq!(value["b"], json!([true, true, true, false, false, false]));
    assert_eq!(value["i"], json!([0, -1, 7, 31, 15, i64::MAX]));
    assert_eq!(
        value["f"],
        json!([1.5, 0.5, 1.0, 1000.0, -0.0025, ".inf", "-.inf", ".nan"])
    );
    for text in value["s"].as_array().unwrap() {
        assert!(text.is_string(), "{text}");
    }
}

#[test]
fn old_spellings_stay_text_with_a_warning_unless_quoted() {
    let source = "a: yes\nb: 'no'\non: x\nc: [OFF, 0755, \"0755\", 0, 00]\nd: y\n";
    let document = Document::parse(source, &Limits::default()).unwrap();
    assert_eq!(
        document.root.to_json(),
        json!({"a": "yes", "b": "no", "on": "x", "c": ["OFF", "0755", "0755", 0, "00"], "d": "y"})
    );
    let warned: Vec<_> = document
        .warnings
        .iter()
        .map(|d| (d.rule, &source[d.span.clone()], d.help.as_deref().unwrap()))
        .collect();
    assert_eq!(
        warned,
        [
            (
                Rule::YamlBoolean,
                "yes",
                "write `true`, or `\"yes\"` if the text is meant"
            ),
            (
                Rule::YamlBoolean,
                "OFF",
                "write `false`, or `\"OFF\"` if the text is meant"
            ),
            (
                Rule::YamlLeadingZero,
                "0755",
                "quote it if the text is meant; write `755` for the number, or `0o…` for an octal one"
            ),
            (
                Rule::YamlLeadingZero,
                "00",
                "quote it if the text is meant; write `0` for the number, or `0o…` for an octal one"
            ),
        ]
    );
}

#[test]
fn spans_are_what_is_written() {
    let source = "é: 'ü'\nlist:\n- a\n-   {x: [1, 2], y: }\nblock: &k !!str |-  # note\n  text\n  more\ntag: !!int 3\nnull:\nlast: &z\n  q: \"\\u00e9\"\n";
    let root = read(source);
    let written = |key: &str| root.get(key).unwrap().raw(source);
    assert_eq!(written("é"), "'ü'");
    assert_eq!(written("list"), "- a\n-   {x: [1, 2], y: }");
    assert_eq!(written("block"), "|-  # note\n  text\n  more\n");
    assert_eq!(written("tag"), "3");
    assert_eq!(written("null"), "");
    assert_eq!(written("last"), "q: \"\\u00e9\"");
    let item = &root.get("list").unwrap().as_seq().unwrap()[1];
    assert_eq!(
        (item.raw(source), item.style()),
        ("{x: [1, 2], y: }", Style::Flow)
    );
    assert_eq!(item.get("x").unwrap().raw(source), "[1, 2]");
    assert!(item.get("y").unwrap().is_null());
    let (key, _) = root.entry("é").unwrap();
    assert_eq!(&source[key.span.clone()], "é");
    assert_eq!(root.get("block").unwrap().as_str(), Some("text\nmore"));
    assert_eq!(root.span, 0..source.len() - 1);
}

#[test]
fn empty_blocks_and_blocks_in_lists_have_their_header() {
    let source = "a: |\nb:\n  - >-\n    x\n  - |2\n      y\nc: # | no\n  |\n  z\n";
    let root = read(source);
    assert_eq!(root.get("a").unwrap().raw(source), "|\n");
    let items = root.get("b").unwrap().as_seq().unwrap();
    assert!(items[0].raw(source).starts_with(">-\n"));
    assert!(items[1].raw(source).starts_with("|2\n"));
    assert_eq!(items[1].as_str(), Some("  y\n"));
    assert!(root.get("c").unwrap().raw(source).starts_with("|\n"));
}

#[test]
fn lists_as_deep_as_their_key_begin_at_their_dash() {
    let source = "a:\n# c\n- {x: 1}\n-  [y]\nb: &k\n- - z\nc:\n  - - z\n";
    let root = read(source);
    let list = |key: &str| root.get(key).unwrap();
    assert_eq!(list("a").raw(source), "- {x: 1}\n-  [y]");
    assert_eq!(list("a").style(), Style::Plain);
    assert_eq!(list("a").as_seq().unwrap()[1].raw(source), "[y]");
    assert_eq!(list("b").raw(source), "- - z");
    assert_eq!(list("c").as_seq().unwrap()[0].raw(source), "- z");
}

#[test]
fn values_left_out_are_after_their_indicator() {
    let source = "a: # c\nb:\n  - k:\n  -\n  - &x\n\nc: {d, e: }\nf: !!null\n";
    let root = read(source);
    let at = |node: &Node| {
        source[..node.span.start]
            .lines()
            .last()
            .unwrap()
            .trim()
            .to_owned()
    };
    let list = root.get("b").unwrap();
    let items = list.as_seq().unwrap();
    assert_eq!(at(root.get("a").unwrap()), "a:");
    assert_eq!(at(items[0].get("k").unwrap()), "- k:");
    assert_eq!(items[0].raw(source), "k:");
    assert_eq!(at(&items[1]), "-");
    assert_eq!(at(&items[2]), "- &x");
    assert_eq!(at(root.get("c").unwrap().get("d").unwrap()), "c: {d");
    assert_eq!(at(root.get("c").unwrap().get("e").unwrap()), "c: {d, e:");
    assert_eq!(at(root.get("f").unwrap()), "f: !!null");
    assert_eq!(list.raw(source), "- k:\n  -\n  - &x");
}

#[test]
fn raw_keeps_what_numbers_lose() {
    let source = "version: 1.10\n";
    let root = read(source);
    let version = root.get("version").unwrap();
    assert_eq!(version.value, Yaml::Float(1.1));
    assert_eq!(version.raw(source), "1.10");
    assert_eq!(version.kind_name(), "a number");
}

#[test]
fn keys_are_text() {
    let root = read("8080: a\ntrue: b\n'<<': c\n\"q r\": d\n? plain\n: e\n");
    assert_eq!(
        root.to_json(),
        json!({"8080": "a", "true": "b", "<<": "c", "q r": "d", "plain": "e"})
    );
}

#[test]
fn anchors_aliases_and_merges() {
    let source = "
base: &base {cpu: 1, memory: 2}
other: &other {memory: 3, gpu: 1}
copy: *base
merged: {<<: *base, cpu: 9}
both: {a: 0, <<: [*base, *other], z: 1}
";
    let root = read(source);
    let value = root.to_json();
    assert_eq!(value["copy"], json!({"cpu": 1, "memory": 2}));
    assert_eq!(value["merged"], json!({"cpu": 9, "memory": 2}));
    assert_eq!(
        value["both"],
        json!({"a": 0, "cpu": 1, "memory": 2, "gpu": 1, "z": 1})
    );
    let names: Vec<_> = root
        .get("both")
        .unwrap()
        .as_map()
        .unwrap()
        .iter()
        .map(|(k, _)| k.name.as_str())
        .collect();
    assert_eq!(names, ["a", "cpu", "memory", "gpu", "z"]);
    assert_eq!(
        root.get("copy").unwrap().raw(source),
        "{cpu: 1, memory: 2}",
        "where the text is"
    );
    assert_eq!(
        fails("a: &x 1\nb: {<<: *x}\n"),
        (Rule::YamlMerge, "1".into())
    );
    assert_eq!(
        fails("b: {<<: [{a: 1}, 2]}\n"),
        (Rule::YamlMerge, "2".into())
    );
    assert_eq!(fails("a: *nope\n"), (Rule::YamlAnchor, "*".into()));
    assert_eq!(fails("a: &x [*x]\n"), (Rule::YamlAnchor, "*x".into()));
    assert_eq!(
        fails("a: &x {}\nb: {<<: *x, <<: *x}\n").0,
        Rule::YamlDuplicateKey
    );
}

#[test]
fn duplicate_keys_name_both_lines() {
    let source = "a: 1\nb: 2\n\"a\": 3\nc: {x: 1, y: 2, x: 3}\n";
    let found = parse(source, &Limits::default()).unwrap_err();
    assert_eq!(found.len(), 2, "all of them are found: {found:#?}");
    assert_eq!(
        found[0].message,
        "`a` is written twice, in line 1 and in line 3"
    );
    assert_eq!(found[0].span, 10..13);
    assert_eq!(found[0].labels[0].0, 0..1);
    assert_eq!(
        found[1].message,
        "`x` is written twice, in line 4 and in line 4"
    );
}

#[test]
fn tags() {
    assert_eq!(
        read(
            "a: !!str 3\nb: ! x\nc: !!float 3\nd: !!map {x: !!null ''}\ne: !!seq []\nf: !!int \"3\""
        )
        .to_json(),
        json!({"a": "3", "b": "x", "c": 3.0, "d": {"x": null}, "e": [], "f": 3})
    );
    assert_eq!(fails("a: !!int x\n"), (Rule::YamlTag, "x".into()));
    assert_eq!(fails("a: !local x\n"), (Rule::YamlTag, "x".into()));
    assert_eq!(fails("a: !e!tag x\n").0, Rule::YamlTag);
    assert_eq!(fails("a: !!set {}\n").0, Rule::YamlTag);
    assert_eq!(fails("a: !!map []\n").0, Rule::YamlTag);
    assert_eq!(fails("a: !!binary aGk=\n").0, Rule::YamlTag);
}

#[test]
fn advice_for_usual_mistakes() {
    use Rule::{
        YamlDirective, YamlEmpty, YamlIndentation, YamlKey, YamlSeveralDocuments, YamlSyntax,
        YamlTab, YamlUnquotedTemplate,
    };
    for (source, rule, at) in [
        ("", YamlEmpty, ""),
        ("# nothing\n", YamlEmpty, ""),
        ("---\n", YamlEmpty, ""),
        ("a: 1\n---\nb: 2\n", YamlSeveralDocuments, "---"),
        ("a:\n\tb: 1\n", YamlTab, "\t"),
        ("a:\n  b: 1\n\tc: 2\n", YamlTab, "\t"),
        ("a: |\n  x\n\ty\n", YamlTab, "\t"),
        (
            "when: {{ inputs.x }}\n",
            YamlUnquotedTemplate,
            "{{ inputs.x }}",
        ),
        (
            "image: {{ x }}:{{ y }} # c\n",
            YamlUnquotedTemplate,
            "{{ x }}:{{ y }}",
        ),
        ("- {{ x }}\n", YamlUnquotedTemplate, "{{ x }}"),
        ("{{ x }}: 1\n", YamlUnquotedTemplate, "{{ x }}"),
        ("a: 1\n b: 2\n", YamlIndentation, "b"),
        ("a:\n  - 1\n - 2\n", YamlIndentation, "-"),
        ("  a: 1\nb: 2\n", YamlIndentation, "b"),
        ("a: |\n     \n  x\n", YamlIndentation, "x"),
        ("a: b: c\n", YamlSyntax, "b: c"),
        ("a: see: \"b\" now\n", YamlSyntax, "see: \"b\" now"),
        ("a: [1, 2\nb: 3\n", YamlSyntax, ":"),
        ("a: {b: 1\n", YamlSyntax, ""),
        ("a: ]\n", YamlSyntax, "]"),
        ("a: \"x\nb: 3\n", YamlSyntax, "\""),
        ("a: 'x\n", YamlSyntax, "'"),
        ("a: \"\\q\"\n", YamlSyntax, "\""),
        ("a: \"x\" y\n", YamlSyntax, "y"),
        ("a: @x\n", YamlSyntax, "@"),
        ("a: `x`\n", YamlSyntax, "`"),
        ("a: *\n", YamlSyntax, "*"),
        ("a: - b\n", YamlSyntax, "-"),
        ("a: |x\n y\n", YamlSyntax, "|"),
        ("a: 1\na\n", YamlSyntax, ""),
        ("[a, b]: c\n", YamlKey, "["),
        ("? [a]\n: c\n", YamlKey, "["),
        ("%YAML 1.1\n---\na: 1\n", YamlDirective, "%YAML 1.1"),
        ("a: 1\u{0}\nb: 2", YamlSyntax, "\u{0}"),
        ("a: 1\rb: 2", YamlSyntax, "\r"),
    ] {
        assert_eq!(fails(source), (rule, at.to_owned()), "{source}");
    }
    assert_eq!(fail("a: b: c\n").help.unwrap(), "quote the value: \"b: c\"");
    assert_eq!(
        fail("when: {{ x | default(\"a\") }}\n").help.unwrap(),
        "write '{{ x | default(\"a\") }}'"
    );
    read("%YAML 1.2\n---\na: 1\n");
    read("\u{feff}a: 1\r\nb: |\r\n  x\r\n");
}

#[test]
fn content_offsets_point_at_the_source() {
    let source = "\
plain: one é
  two

  three{{x}}
single: 'it''s
  {{y}}'
double: \"\\u00e9\\t\\\"a \\
   {{z}}
   é{{w}}\"
literal: |-  # | {{no}}

  line {{l}}
    deep {{d}}

  \u{20}
  last {{e}}
folded: >
  one {{f}}
  two
    deep {{g}}

  é {{h}}
list:
  - |2
      in {{i}}
";
    let root = read(source);
    let items = root.get("list").unwrap().as_seq().unwrap();
    let nodes =
        ["plain", "single", "double", "literal", "folded"].map(|key| root.get(key).unwrap());
    let mut seen = 0;
    for node in nodes.into_iter().chain(items) {
        let text = node.as_str().unwrap();
        for (open, _) in text.match_indices("{{") {
            let name = &text[open..open + 5];
            let span = node.content_span(source, open..open + 5);
            assert_eq!(&source[span.clone()], name, "{text:?}");
            assert_eq!(source.matches(name).count(), 1);
            assert!(node.span.start < span.start && span.end <= node.span.end);
            seen += 1;
        }
        // Every letter and digit is found, and offsets never go back.
        let mut last = 0;
        for (at, c) in text.char_indices() {
            let there = node.content_offset(source, at);
            assert!(there >= last, "{text:?} at {at}");
            last = there;
            if c.is_ascii_alphanumeric() {
                assert_eq!(source[there..].chars().next(), Some(c), "{text:?} at {at}");
            }
        }
    }
    assert_eq!(seen, 11);
    assert_eq!(
        root.get("plain").unwrap().content_offset(source, 9_999),
        root.get("plain").unwrap().span.end
    );
}

/// A word that occurs once: its number tells where a mapping went wrong.
fn words(lines: &[Vec<u8>]) -> Vec<String> {
    let mut next = 0;
    let mut word = |kind: &u8| {
        next += 1;
        match kind % 5 {
            0 => format!("é{next}"),
            1 => format!("{{{{a{next}}}}}"),
            2 => format!("'{next}"),
            3 => format!("\\\"{next}\t"),
            _ => format!("w{next}"),
        }
    };
    lines
        .iter()
        .map(|line| line.iter().map(&mut word).collect::<Vec<_>>().join(" "))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_style_leads_back_to_the_source(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 1..6),
        indent in 3_usize..8,
        more in 0_usize..3,
        keep in prop::sample::select(vec!["", "-", "+"]),
    ) {
        let lines = words(&lines);
        let text = lines.join("\n");
        let pad = " ".repeat(indent);
        let body: String = lines
            .iter()
            .enumerate()
            .map(|(n, line)| match (line.is_empty(), n % 3) {
                (true, _) => "\n".to_owned(),
                // Some lines of a block are indented more.
                (false, 1) => format!("{pad}{}{line}\n", " ".repeat(more)),
                (false, _) => format!("{pad}{line}\n"),
            })
            .collect();
        let double = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t").replace('\n', "\\n");
        let single = text.replace('\'', "''").replace('\n', &format!("\n\n{pad}"));
        let folded = double.replace(' ', &format!("\n{pad}")).replace('é', "\\u00e9");
        let source = format!(
            "a:\n  l: |{keep}\n{pad}x\n{body}  f: >{keep} # c\n{pad}x\n{body}  d: \"{double}\"\n  s: '{single}'\n  q: \"x{folded}\"\n"
        );
        let root = read(&source);
        for (key, node) in root.get("a").unwrap().as_map().unwrap() {
            let value = node.as_str().unwrap();
            let mut last = 0;
            for (at, c) in value.char_indices() {
                let there = node.content_offset(&source, at);
                prop_assert!(there >= last, "{}: never back", key.name);
                last = there;
                let escaped = matches!(c, '"' | '\\' | '\t' | 'é' | '\n' | ' ');
                if !escaped {
                    prop_assert_eq!(source[there..].chars().next(), Some(c), "{} at {} of {:?} in\n{}", key.name, at, value, source);
                }
            }
        }
    }
}

/// Pieces that YAML gives a meaning to, and some that it does not.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b: ",
        "é",
        ": ",
        "- ",
        "? ",
        "\n",
        "\n  ",
        "\n    ",
        "\r\n",
        "[",
        "]",
        "{",
        "}",
        "{{ x }}",
        ",",
        "'",
        "\"",
        "\\",
        "\\u00e9",
        "|",
        ">-",
        "|2",
        "#",
        " # c",
        "&x ",
        "*x",
        "<<: ",
        "!!str ",
        "!t ",
        "---\n",
        "...",
        "%YAML 1.2\n",
        "\t",
        "yes",
        "0755",
        "1.5",
        "~",
        " ",
        "\u{feff}",
        "𝄞",
        "@",
        "`",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn check_everywhere(source: &str, node: &Node) {
    assert!(source.get(node.span.clone()).is_some(), "{node:?}");
    match &node.value {
        Yaml::Seq(items) => items.iter().for_each(|item| check_everywhere(source, item)),
        Yaml::Map(entries) => {
            for (key, value) in entries {
                assert!(source.get(key.span.clone()).is_some(), "{key:?}");
                check_everywhere(source, value);
            }
        }
        Yaml::String(text) => {
            for offset in 0..=text.len() + 1 {
                let at = node.content_offset(source, offset);
                assert!(
                    node.span.start <= at && at <= node.span.end,
                    "{node:?} {offset}"
                );
            }
        }
        Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn whatever_is_written_is_read_or_refused(source in pieces()) {
        match Document::parse(&source, &Limits::default()) {
            Ok(document) => check_everywhere(&source, &document.root),
            Err(found) => {
                prop_assert!(found.iter().any(|d| d.severity == Severity::Error));
                for diagnostic in found {
                    prop_assert!(source.get(diagnostic.span.clone()).is_some(), "{diagnostic:?}");
                    prop_assert!(diagnostic.help.is_some());
                }
            }
        }
        if let Ok(formatted) = format(&source, &FormatOptions::default()) {
            let again = format(&formatted, &FormatOptions::default());
            prop_assert_eq!(again.as_ref(), Ok(&formatted));
        }
    }
}
