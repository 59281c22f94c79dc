#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod renewed;

use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::diagnostic::Rule;
use super::super::yaml::{Limits, parse};
use super::{FormatOptions, format, same};

fn fmt(source: &str) -> String {
    let formatted =
        format(source, &FormatOptions::default()).unwrap_or_else(|e| panic!("{source}\n{e:#?}"));
    let again = format(&formatted, &FormatOptions::default()).unwrap();
    assert_eq!(
        formatted, again,
        "formatting twice is formatting once:\n{source}"
    );
    let json = |text: &str| parse(text, &Limits::default()).unwrap().to_json();
    assert_eq!(json(source), json(&formatted), "{source}\n->\n{formatted}");
    formatted
}

fn to_v2(source: &str) -> String {
    let options = FormatOptions { to_v2: true };
    let formatted = format(source, &options).unwrap_or_else(|e| panic!("{source}\n{e:#?}"));
    assert_eq!(formatted, format(&formatted, &options).unwrap(), "{source}");
    formatted
}

#[test]
fn indentation_lists_spaces_and_sections() {
    let source = "\u{feff}id: a\r
namespace:   n   # kept   \r


tasks:
# first
-   id: one
    type: shell\t
    env:
          A: 1
       # odd
          B: {x: 1,
              y: 2}
    # about script
    script: |
        a   \r
          b

        c

# about two
-
    id: two
    commands: [
        a,

        b ]


  # belongs to tasks
errors:
- - x
  -   y
labels: {a: b}";
    let expected = "\
id: a
namespace:   n   # kept

tasks:
  # first
  - id: one
    type: shell
    env:
      A: 1
      # odd
      B: {x: 1,
          y: 2}
    # about script
    script: |
      a  \x20
        b

      c

  # about two
  -
    id: two
    commands: [
        a,

        b ]

  # belongs to tasks

errors:
  - - x
    - y

labels: {a: b}
";
    assert_eq!(fmt(source), expected);
}

#[test]
fn text_of_scalars_is_untouched() {
    let source = "\
a:
    literal: |2-
         x
        # no comment

    folded: >+
     one
     two


       deep


    quoted: \"a  \\
        b

        c \\  d\"
    plain: a
           b

           c
    below:
            text
            more
# end
b: |+

  x


c: &anchor
    - *unknown-is-fine-in-text
";
    let source = source.replace(
        "    - *unknown-is-fine-in-text\n",
        "    - k: v\nd: *anchor\n",
    );
    let expected = "\
a:
  literal: |2-
       x
      # no comment

  folded: >+
    one
    two


      deep


  quoted: \"a  \\
      b

      c \\  d\"
  plain: a
         b

         c
  below:
    text
    more

# end
b: |+

  x


c: &anchor
  - k: v

d: *anchor
";
    assert_eq!(fmt(&source), expected);
}

#[test]
fn comments_after_blocks_do_not_become_text() {
    let source = "a:\n      - s: |\n         x\n        # after\n      # item\n   # between\n# top\n\nb: 1\n";
    let expected = "a:\n  - s: |\n      x\n    # after\n  # item\n# between\n# top\n\nb: 1\n";
    assert_eq!(fmt(source), expected);
}

#[test]
fn what_cannot_be_laid_out_is_refused_or_kept() {
    assert_eq!(fmt("- a\n-   b\n"), "- a\n- b\n");
    assert_eq!(fmt("{a: 1,\n   b: 2}\n"), "{a: 1,\n   b: 2}\n");
    assert_eq!(
        fmt("a: # c\n   - # d\n       x: 1\n   -\n   - null\n"),
        "a: # c\n  - # d\n    x: 1\n  -\n  - null\n"
    );
    assert_eq!(fmt("# only\n\n\na: 1\n\n\n\n"), "# only\n\na: 1\n");
    assert_eq!(fmt("---\na: 1\n...\n"), "---\na: 1\n...\n");
    let complex = "a:\n      ? b\n      : c\n      d: 1\n";
    let errors = format(complex, &FormatOptions::default()).unwrap_err();
    assert_eq!(errors[0].rule, Rule::YamlFormat);
    let errors = format("a: 1\na: 2\n", &FormatOptions::default()).unwrap_err();
    assert_eq!(
        (errors[0].rule, errors[0].span.clone()),
        (Rule::YamlDuplicateKey, 5..6)
    );
}

#[test]
fn the_check_sees_every_change_of_meaning() {
    let tree = |text: &str| parse(text, &Limits::default()).unwrap();
    let equal = ["a: [1, .nan, {b: x}]", "# c\na:\n- 1\n- .nan\n- b: 'x'"];
    assert!(same(&tree(equal[0]), &tree(equal[1])));
    for changed in [
        "a: [1, .nan]",
        "a: [1, .nan, {b: x}, 1]",
        "a: [1, .inf, {b: x}]",
        "a: [1, .nan, {c: x}]",
        "a: [1, .nan, {b: x, c: y}]",
        "a: [1, .nan, {b: y}]",
        "a: ['1', .nan, {b: x}]",
        "a: {b: x}",
    ] {
        assert!(!same(&tree(equal[0]), &tree(changed)), "{changed}");
    }
}

#[test]
fn old_spellings_are_rewritten_where_the_language_has_them() {
    let source = "\
id: a
taskDefaults:
  - type: io.kestra.core.tasks.log.Log
    values:
      docker: {image: a, pullPolicy: ALWAYS}
      runIf: x
checks:
  - condition: y
    message: m
retry:
  maxAttempt: 3
tasks:
  - id: one
    type: \"io.kestra.core.tasks.log.Log\"
    docker:       # pinned
      # for good
      image: \"x:1\"   # digest
    runIf: \"{{ a }}\"
    env:
      runIf: keep
      docker.image: keep
    retry: {type: constant, maxAttempt: 2}
  - id: each
    type: io.kestra.core.tasks.flows.EachSequential
    tasks:
      - docker: { image: x }
        id: two
      - docker.image: y
      - {id: four, docker: {image: z}, runIf: b}
      - runIf: a
        when: b
      - docker: {image: p}
        containerImage: q
  - type: io.kestra.plugin.core.flow.Approval
  - type: io.kestra.plugin.docker.Run
  - type: dag
    tasks:
      - task:
          runIf: c
        dependsOn: [x]
  - cases:
      A:
        - runIf: d
    else:
      - runIf: e
triggers:
  - type: io.kestra.core.models.triggers.types.Schedule
inputs:
  - name: n
    type: STRING
";
    let expected = "\
id: a

pluginDefaults:
  - type: io.kestra.plugin.core.log.Log
    values:
      docker: {image: a, pullPolicy: ALWAYS}
      when: x

checks:
  - when: y
    message: m

retry:
  maxAttempts: 3

tasks:
  - id: one
    type: io.kestra.plugin.core.log.Log
    # pinned
    # for good
    containerImage: \"x:1\"   # digest
    when: \"{{ a }}\"
    env:
      runIf: keep
      docker.image: keep
    retry: {type: constant, maxAttempts: 2}
  - id: each
    type: io.kestra.plugin.core.flow.Loop
    tasks:
      - containerImage: x
        id: two
      - containerImage: y
      - {id: four, containerImage: z, when: b}
      - runIf: a
        when: b
      - docker: {image: p}
        containerImage: q
  - type: io.kestra.plugin.core.flow.Approval
  - type: io.kestra.plugin.docker.Run
  - type: dag
    tasks:
      - task:
          when: c
        dependsOn: [x]
  - cases:
      A:
        - when: d
    else:
      - when: e

triggers:
  - type: io.kestra.plugin.core.trigger.Schedule

inputs:
  - id: n
    type: STRING
";
    assert_eq!(to_v2(source), expected);
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "tests read the flows of the repository"
)]
fn every_flow_of_the_repository_keeps_its_meaning() {
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../flows"
    ))];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                let source = std::fs::read_to_string(&path).unwrap();
                fmt(&source);
                to_v2(&source);
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "the seed flows at least");
}

/// A tree to be written down in some style.
#[derive(Debug, Clone)]
enum Tree {
    Scalar(String),
    Block(Vec<String>, &'static str),
    Seq(Vec<Self>),
    Map(Vec<Self>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "a",
            "12",
            "'it''s'",
            "\"q\\n\"",
            "{x: [1, 2]}",
            "[a, {b: c}]",
            "",
            "é ü",
            "\"{{ x }}\"",
            "a # note",
            "[a,\n@ b]",
            "\"x\n@ y\"",
            "x\n@ y"
        ])
        .prop_map(|s| Tree::Scalar(s.to_owned())),
        (
            prop::collection::vec(
                prop::sample::select(vec!["text", "  deep", "", "# hash", "é  ", "a: b", "- c"]),
                1..5
            ),
            prop::sample::select(vec!["|", "|-", "|+", ">", ">-", ">+"])
        )
            .prop_map(|(lines, header)| Tree::Block(
                lines.into_iter().map(str::to_owned).collect(),
                header
            )),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::Seq),
            prop::collection::vec(inner, 1..4).prop_map(Tree::Map),
        ]
    })
}

/// Writes in block style with indentations and blank lines drawn from `noise`.
struct Writer {
    out: String,
    noise: Vec<u8>,
    at: usize,
}

impl Writer {
    fn draw(&mut self, n: u8) -> u8 {
        self.at += 1;
        self.noise[self.at % self.noise.len()] % n
    }

    fn between(&mut self, column: usize) {
        for _ in 0..self.draw(3) {
            self.out.push('\n');
        }
        if self.draw(4) == 0 {
            let _ = writeln!(self.out, "{}# comment", " ".repeat(column));
        }
        if self.draw(7) == 0 {
            self.out.push_str("  \n");
        }
    }

    fn entries(&mut self, items: &[Tree], is_map: bool, column: usize, mut inline: bool) {
        for (n, item) in items.iter().enumerate() {
            if !inline {
                self.between(column);
                self.out.push_str(&" ".repeat(column));
            }
            inline = false;
            if is_map {
                let _ = write!(self.out, "key{n}:");
            } else {
                self.out.push('-');
            }
            self.value(item, is_map, column);
        }
    }

    fn value(&mut self, item: &Tree, in_map: bool, column: usize) {
        let step = 1 + usize::from(self.draw(5));
        match item {
            Tree::Scalar(text) => {
                let text = text.replace('@', &" ".repeat(column + step));
                let gap = if text.is_empty() {
                    0
                } else {
                    1 + usize::from(self.draw(2))
                };
                let _ = writeln!(self.out, "{}{text}", " ".repeat(gap));
            }
            Tree::Block(lines, header) => {
                // The first line must show the indentation.
                let _ = writeln!(self.out, " {header}\n{}first", " ".repeat(column + step));
                for line in lines {
                    let _ = writeln!(self.out, "{}{line}", " ".repeat(column + step));
                }
            }
            Tree::Seq(items) | Tree::Map(items) => {
                let inner_map = matches!(item, Tree::Map(_));
                if !in_map && self.draw(2) == 0 {
                    self.out.push_str(&" ".repeat(step));
                    self.entries(items, inner_map, column + 1 + step, true);
                    return;
                }
                self.out.push('\n');
                let indentless = in_map && !inner_map && self.draw(3) == 0;
                let column = if indentless { column } else { column + step };
                self.entries(items, inner_map, column, false);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn generated_documents_keep_their_meaning(
        items in prop::collection::vec(tree(), 1..5),
        noise in prop::collection::vec(any::<u8>(), 40),
        crlf in any::<bool>(),
    ) {
        let mut writer = Writer { out: String::new(), noise, at: 0 };
        writer.entries(&items, true, 0, false);
        let source = if crlf { writer.out.replace('\n', "\r\n") } else { writer.out };
        let formatted = fmt(&source);
        for line in formatted.lines() {
            prop_assert!(!line.contains('\r'));
        }
        prop_assert!(formatted.ends_with('\n'));
    }
}
