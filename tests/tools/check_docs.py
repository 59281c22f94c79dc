"""Checks what the documentation says about the repository.

    python3 check_docs.py

In every Markdown file: links to files lead somewhere; paths of the repository in `code` exist; each
`make` target exists; each test, written `path/to/file.rs::name_of_the_test` or the same with `.py`, is
a test in that file. In docs/ARCHITECTURE.md every invariant names a test. Prints a line per mistake and
exits with 1 if there is one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = Path("docs/ARCHITECTURE.md")
INVARIANTS = range(1, 10)
"""The numbers that the architecture's section `Invariants` must have."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_TEST = re.compile(r"^([\w./-]+\.(?:rs|py))::(\w+)$")
_MAKE = re.compile(r"\bmake ((?:[a-z][a-z-]*\b ?)+)")
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
_TOP = ("cli/", "docs/", "flows/", "infra/", "shared/", "tests/")


def documents(root: Path) -> Iterator[Path]:
    """Markdown files, relative to `root`; neither hidden directories nor build output."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(
            name for name in names if not name.startswith(".") and name not in {"target", "node_modules"}
        )
        for name in sorted(files):
            if name.endswith(".md"):
                yield (Path(directory) / name).relative_to(root)


def is_test(text: str, name: str, suffix: str) -> bool:
    """Whether source text has a test of this name. Properties of proptest are tests, too."""
    if suffix == ".py":
        return name.startswith("test") and re.search(rf"^ +def {name}\(", text, re.MULTILINE) is not None
    attribute = r"#\[(?:tokio::)?test(?:\([^\]]*\))?\]\s*(?:(?:#\[[^\]]*\]|///[^\n]*|//[^\n]*)\s*)*"
    return re.search(rf"{attribute}(?:async )?fn {name}\(", text) is not None


def mistakes_of_line(root: Path, document: Path, line: str, targets: set[str]) -> Iterator[str]:
    """What a line says that is not so."""
    for link in _LINK.findall(line):
        path = link.partition("#")[0]
        if path and "://" not in path and not path.startswith("mailto:"):
            if not (root / document.parent / path).exists():
                yield f"the link leads nowhere: {link}"
    for code in _CODE.findall(line):
        if test := _TEST.match(code):
            path = root / test[1]
            if not path.is_file():
                yield f"no such file: {test[1]}"
            elif not is_test(path.read_text(encoding="utf-8"), test[2], path.suffix):
                yield f"no such test: {code}"
        elif code.startswith(_TOP) and not re.search(r"[\s*<>{}…|]", code):
            if not (root / code).exists():
                yield f"no such file: {code}"
        elif code.startswith("make "):
            yield from _unknown_targets(code, targets)
    if line.startswith("make "):
        yield from _unknown_targets(line, targets)


def _unknown_targets(command: str, targets: set[str]) -> Iterator[str]:
    for words in _MAKE.findall(command):
        for target in words.split():
            if target not in targets:
                yield f"no such target of make: {target}"


def invariants_without_test(text: str) -> Iterator[str]:
    """Numbered invariants of the architecture that are missing or name no test."""
    section = re.search(r"^## Invariants$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^(\d+)\. ", section[1] if section else "", flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    for number in INVARIANTS:
        body = found.get(str(number))
        if body is None:
            yield f"invariant {number} is missing"
        elif not any(_TEST.match(code) for code in _CODE.findall(body)):
            yield f"invariant {number} names no test that holds it"


def mistakes(root: Path) -> Iterator[str]:
    """Everything that is wrong, with its file and line."""
    targets = set(_TARGET.findall((root / "Makefile").read_text(encoding="utf-8")))
    for document in documents(root):
        text = (root / document).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            for mistake in mistakes_of_line(root, document, line, targets):
                yield f"{document}:{number}: {mistake}"
    architecture = root / ARCHITECTURE
    text = architecture.read_text(encoding="utf-8") if architecture.is_file() else ""
    for mistake in invariants_without_test(text):
        yield f"{ARCHITECTURE}: {mistake}"


def main() -> int:
    """Prints the mistakes and returns the exit code."""
    found = list(mistakes(ROOT))
    for mistake in found:
        print(mistake, file=sys.stderr)
    print(f"documentation: {'nothing wrong' if not found else f'{len(found)} mistakes'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
