"""What is found wrong in documentation, and what is left alone."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import check_docs

RUST = """
#[test]
fn plain() {}

#[tokio::test(flavor = "current_thread")]
async fn asynchronous() {}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(9))]

    /// Holds always.
    #[test]
    // Why.
    fn property(x in 0..9) {}
}

fn helper() {}
"""


class TestIsTest(unittest.TestCase):
    """What counts as a test."""

    def test_rust(self) -> None:
        for name in ["plain", "asynchronous", "property"]:
            self.assertTrue(check_docs.is_test(RUST, name, ".rs"), name)
        for name in ["helper", "plai", "absent"]:
            self.assertFalse(check_docs.is_test(RUST, name, ".rs"), name)

    def test_python(self) -> None:
        text = "class A:\n    def test_a(self):\n        pass\n    def helper(self):\n        pass\n"
        self.assertTrue(check_docs.is_test(text, "test_a", ".py"))
        self.assertFalse(check_docs.is_test(text, "helper", ".py"))


class TestMistakes(unittest.TestCase):
    """A small repository with and without mistakes."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.write("Makefile", "test: x ## Tests.\nneed-x:\n")
        self.write("shared/a.rs", RUST)
        self.invariants("`shared/a.rs::plain`")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def invariants(self, last: str) -> None:
        items = [f"{number}. Always\n   `shared/a.rs::plain`." for number in range(1, 9)]
        self.write("docs/ARCHITECTURE.md", "## Invariants\n\n" + "\n".join([*items, f"9. Never {last}"]) + "\n\n## More\n")

    def found(self, text: str) -> list[str]:
        self.write("docs/x.md", text)
        return list(check_docs.mistakes(self.root))

    def test_nothing_wrong(self) -> None:
        text = (
            "[a](../shared/a.rs#L1) [b](https://a.b/c) [c](#here) `shared/a.rs::property` `shared/*.rs` `make test`\n"
            "`shared/{a,b}` and it may make sense\nmake test\n"
        )
        self.assertEqual(self.found(text), [])

    def test_each_mistake_has_its_line(self) -> None:
        text = "\n[a](b.md)\n`shared/b.rs` `shared/a.rs::gone` `shared/b.rs::plain`\n`make tests`\nmake test all\n"
        self.assertEqual(
            self.found(text),
            [
                "docs/x.md:2: the link leads nowhere: b.md",
                "docs/x.md:3: no such file: shared/b.rs",
                "docs/x.md:3: no such test: shared/a.rs::gone",
                "docs/x.md:3: no such file: shared/b.rs",
                "docs/x.md:4: no such target of make: tests",
                "docs/x.md:5: no such target of make: all",
            ],
        )

    def test_an_invariant_needs_a_test(self) -> None:
        self.invariants("`shared/a.rs`")
        self.assertEqual(
            self.found(""), ["docs/ARCHITECTURE.md: invariant 9 names no test that holds it"]
        )
        self.write("docs/ARCHITECTURE.md", "")
        self.assertEqual(len(self.found("")), 9)


if __name__ == "__main__":
    unittest.main()
