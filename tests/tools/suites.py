"""Runs every test of the repository, suite by suite, and prints totals.

    python3 suites.py

The suites: the Rust tests (by cargo-nextest if it is there, by cargo otherwise), the examples in the
Rust documentation, each directory with Python tests, the console (its logic, and its pages in a browser
against the real server), and the tests that need AWS, on two emulators. A suite that fails stops no other.
Exits with 1 if a test failed, a suite could not be run, or a suite had no tests.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import postgres
import venvs

ROOT = Path(__file__).resolve().parents[2]

# Where the tests are that need AWS; tests/aws/run.py runs those in `suite`.
AWS_TESTS = Path("tests/aws")

# It takes minutes in which it mostly waits: a suite of its own, beside the others.
CRASHES = "kill_9_at_any_moment_loses_nothing"

# What cargo-nextest, cargo and unittest say at their end.
_NEXTEST = re.compile(r"Summary \[.*\] +(?:\d+/)?\d+ tests? run: (.*)")
_CARGO = re.compile(r"test result: \w+\. (.*?)(?:; finished|$)")
_UNITTEST_RAN = re.compile(r"Ran (\d+) tests? in ")
_UNITTEST_END = re.compile(r"(?:OK|FAILED)(?: \((.*)\))?$")
_COUNT = re.compile(r"(\d+) (passed|failed|timed out|ignored|skipped)")
_UNITTEST_COUNT = re.compile(r"(failures|errors|unexpected successes|expected failures|skipped)=(\d+)")
# What vitest and node say at their end.
_VITEST = re.compile(r"Tests +((?:\d+ (?:failed|passed|skipped|todo)(?: \| )?)+) \(\d+\)$")
_NODE = re.compile(r"# (pass|fail|cancelled|skipped|todo) (\d+)$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Counts:
    """How many tests ended how. `skipped` are those that the code itself marks so."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )


@dataclass(frozen=True)
class Suite:
    """Tests that one command runs."""

    name: str
    command: Sequence[str]
    beside: bool = False
    """It waits more than it works: those after it run meanwhile, and what it says comes in one piece."""
    elsewhere: int = 0
    """Tests that it leaves to another suite, and says it has skipped."""


@dataclass(frozen=True)
class Result:
    """How a suite ended."""

    suite: Suite
    counts: Counts
    exit_code: int
    seconds: float

    @property
    def good(self) -> bool:
        """A suite without tests is no success: then its tests were not found."""
        return self.exit_code == 0 and self.counts.failed == 0 and self.counts.passed > 0


def count(lines: Iterable[str]) -> Counts:
    """Adds up what the test programs report about themselves."""
    total = Counts()
    nextest: Counts | None = None
    ran = 0
    for line in lines:
        text = _COLOUR.sub("", line).strip()
        if match := _NEXTEST.search(text):
            nextest = _rust(match[1])
        elif match := _CARGO.match(text):
            total += _rust(match[1])
        elif match := _UNITTEST_RAN.match(text):
            ran = int(match[1])
        elif ran and (match := _UNITTEST_END.match(text)):
            total += _python(ran, match[1] or "")
            ran = 0
        elif match := _VITEST.match(text):
            total += _rust(match[1])
        elif match := _NODE.match(text):
            total += _node(match[1], int(match[2]))
    # What nextest shows of a failed test has a result of its own: its summary alone counts.
    return nextest or total


def _rust(facts: str) -> Counts:
    counts = Counts()
    for number, word in _COUNT.findall(facts):
        match word:
            case "passed":
                counts.passed += int(number)
            case "failed" | "timed out":
                counts.failed += int(number)
            case _:
                counts.skipped += int(number)
    return counts


def _node(word: str, number: int) -> Counts:
    match word:
        case "pass":
            return Counts(passed=number)
        case "fail" | "cancelled":
            return Counts(failed=number)
        case _:
            return Counts(skipped=number)


def _python(ran: int, facts: str) -> Counts:
    """`ran` includes those that failed or were skipped."""
    counts = Counts()
    for word, number in _UNITTEST_COUNT.findall(facts):
        match word:
            case "failures" | "errors" | "unexpected successes":
                counts.failed += int(number)
            case "skipped":
                counts.skipped += int(number)
            case _:
                pass  # An expected failure is a test that did what it should.
    # An error outside of any test, such as in setUpClass, is a failure without a test.
    counts.passed = max(0, ran - counts.failed - counts.skipped)
    return counts


def python_directories(root: Path) -> Iterator[Path]:
    """The directories with `test_*.py`, relative to `root`; neither hidden ones nor build output."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(
            name for name in names if not name.startswith(".") and name not in {"target", "node_modules"}
        )
        if Path(directory) == root / AWS_TESTS:
            names.remove("suite")
        if any(name.startswith("test_") and name.endswith(".py") for name in files):
            yield Path(directory).relative_to(root)


def suites(root: Path, *, nextest: bool) -> list[Suite]:
    """Everything there is to run."""
    workspace = ["--locked", "--workspace"]
    # Not the examples, which have no tests and take long to build.
    targets = ["--lib", "--bins", "--tests", "--no-fail-fast"]
    rust = ["cargo", *(["nextest", "run"] if nextest else ["test"]), *workspace]
    others = ["-E", f"not test({CRASHES})"] if nextest else ["--", "--skip", CRASHES]
    # What is built is the same: only then cargo builds nothing anew.
    return [
        Suite("Rust", [*rust, *targets, *others], elsewhere=int(nextest)),
        Suite("Rust documentation", ["cargo", "test", *workspace, "--doc", "--no-fail-fast"]),
        Suite("Crashes at any moment", [*rust, "--test", "crash"], beside=True),
        Suite("AWS on emulators", [sys.executable, str(AWS_TESTS / "run.py")], beside=True),
        *(
            Suite(f"Python {directory}", [sys.executable, "-m", "unittest", "discover", "-s", str(directory)])
            for directory in python_directories(root)
        ),
        Suite("Console logic", ["tests/tools/console", "units"]),
        Suite("Console in a browser", ["tests/tools/console", "browser"]),
    ]


def run(suite: Suite, root: Path, environment: Mapping[str, str], out: TextIO | None = None) -> Result:
    """Runs a suite, shows its output as it comes, and counts."""
    out = out or sys.stdout
    print(f"\n── {suite.name}: {' '.join(suite.command)}", file=out, flush=True)
    started = time.monotonic()

    def shown(stream: Iterable[str]) -> Iterator[str]:
        for line in stream:
            out.write(line)
            out.flush()
            yield line

    with subprocess.Popen(
        suite.command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        counts = count(shown(process.stdout))
    counts.skipped = max(0, counts.skipped - suite.elsewhere)
    return Result(suite, counts, process.returncode, time.monotonic() - started)


def run_all(every: Sequence[Suite], root: Path, environment: Mapping[str, str]) -> list[Result]:
    """Runs suites in order, those that are `beside` while the later ones run; results in the same order."""
    with ThreadPoolExecutor() as pool:

        def begun(suite: Suite) -> Callable[[], Result]:
            if not suite.beside:
                result = run(suite, root, environment)
                return lambda: result
            said = io.StringIO()
            running = pool.submit(run, suite, root, environment, said)

            def over() -> Result:
                result = running.result()
                print(said.getvalue(), end="", flush=True)
                return result

            return over

        return [over() for over in [begun(suite) for suite in every]]


def table(results: Sequence[Result]) -> str:
    """A line per suite, and one for all."""
    total = sum((result.counts for result in results), Counts())
    seconds = sum(result.seconds for result in results)
    good = all(result.good for result in results)
    rows = [(result.suite.name, result.counts, result.seconds, result.good) for result in results]
    width = max(len(result.suite.name) for result in results)
    lines = [f"{'SUITE':<{width}}  PASSED  FAILED  SKIPPED  SECONDS"]
    for name, counts, took, fine in [*rows, ("TOTAL", total, seconds, good)]:
        lines.append(
            f"{name:<{width}}  {counts.passed:>6}  {counts.failed:>6}  {counts.skipped:>7}  {took:>7.1f}"
            + ("" if fine else "  FAILED")
        )
    return "\n".join(lines)


def has_nextest() -> bool:
    """Whether cargo can run cargo-nextest; a broken installation counts as none."""
    probe = ["cargo", "nextest", "--version"]
    return subprocess.run(probe, cwd=ROOT, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Runs all suites and returns the exit code."""
    try:
        postgres.ensure()
    except venvs.InstallFailed as error:
        # The tests that need it fail and say so; the others are worth running.
        print(f"no PostgreSQL for the tests: {error}", file=sys.stderr, flush=True)
    # Python's caches would be the only thing the tests leave in the source tree.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    results = run_all(suites(ROOT, nextest=has_nextest()), ROOT, environment)
    print(f"\n{table(results)}", flush=True)
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    if sys.version_info < (3, 12):
        sys.exit("suites: needs Python 3.12 or newer; tests/find-python prints one")
    sys.exit(main())
