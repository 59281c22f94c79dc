"""The totals of `make test`: what is counted, and what is not taken for success."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import unittest
from pathlib import Path

from suites import CRASHES, Counts, Result, Suite, count, python_directories, run, run_all, suites, table


class TestCount(unittest.TestCase):
    """What the test programs report, in their own words."""

    def test_nextest(self) -> None:
        lines = ["\x1b[32m     Summary\x1b[0m [  12.34s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 3 skipped"]
        self.assertEqual(count(lines), Counts(7, 2, 3))

    def test_nextest_that_was_stopped(self) -> None:
        self.assertEqual(count(["Summary [ 0.1s] 3/9 tests run: 2 passed, 1 failed, 0 skipped"]), Counts(2, 1, 0))

    def test_nextest_shows_the_result_of_a_failed_test(self) -> None:
        lines = [
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.1s",
            "     Summary [   0.2s] 3 tests run: 2 passed, 1 failed, 0 skipped",
        ]
        self.assertEqual(count(lines), Counts(2, 1, 0))

    def test_cargo_has_a_line_per_binary(self) -> None:
        lines = [
            "test a::b ... ok",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ]
        self.assertEqual(count(lines), Counts(6, 2, 1))

    def test_unittest(self) -> None:
        self.assertEqual(count(["Ran 4 tests in 0.1s", "", "OK"]), Counts(4, 0, 0))
        lines = ["Ran 9 tests in 0.1s", "", "FAILED (failures=1, errors=2, skipped=3, expected failures=1)"]
        self.assertEqual(count(lines), Counts(3, 3, 3))

    def test_vitest(self) -> None:
        self.assertEqual(count(["\x1b[2m      Tests \x1b[22m 1 failed | 55 passed | 2 skipped (58)"]), Counts(55, 1, 2))
        self.assertEqual(count(["Test Files  5 passed (5)", "Tests  56 passed (56)"]), Counts(56, 0, 0))

    def test_node(self) -> None:
        lines = ["# tests 9", "# suites 0", "# pass 6", "# fail 1", "# cancelled 1", "# skipped 1", "# todo 0"]
        self.assertEqual(count(lines), Counts(6, 2, 1))

    def test_a_line_ok_of_a_test_is_no_end(self) -> None:
        self.assertEqual(count(["OK", "FAILED (failures=9)"]), Counts())


class TestRun(unittest.TestCase):
    """A suite is good only if it says so in every way."""

    def result(self, script: str) -> Result:
        with contextlib.redirect_stdout(io.StringIO()):
            return run(Suite("x", [sys.executable, "-c", script]), Path.cwd(), dict(os.environ))

    def test_good(self) -> None:
        result = self.result("import sys; print('Ran 2 tests in 0s\\n\\nOK', file=sys.stderr)")
        self.assertTrue(result.good)
        self.assertEqual(result.counts, Counts(2, 0, 0))

    def test_no_tests_are_no_success(self) -> None:
        self.assertFalse(self.result("print('Ran 0 tests in 0s\\n\\nOK')").good)
        self.assertFalse(self.result("").good)

    def test_the_exit_code_counts(self) -> None:
        self.assertFalse(self.result("print('Ran 2 tests in 0s\\n\\nOK'); exit(101)").good)

    def test_the_table_adds_up(self) -> None:
        suite = Suite("one", [])
        text = table([Result(suite, Counts(1, 0, 2), 0, 1.0), Result(suite, Counts(3, 4, 0), 1, 2.0)])
        self.assertEqual(text.splitlines()[-1].split(), ["TOTAL", "4", "4", "2", "3.0", "FAILED"])


class TestBeside(unittest.TestCase):
    """A suite that waits more than it works does not hold up the others."""

    def test_the_others_run_meanwhile_and_what_it_says_comes_in_one_piece(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            # It ends only once the other has begun.
            waits = "until [ -e there ]; do sleep 0.05; done; echo 'Ran 2 tests in 0.1s'; echo OK"
            other = "echo 'Ran 1 test in 0.1s'; echo FAILED; touch there"
            every = [
                Suite("waits", ["timeout", "30", "sh", "-c", waits], beside=True),
                Suite("other", ["sh", "-c", other]),
            ]
            with contextlib.redirect_stdout(io.StringIO()) as said:
                results = run_all(every, Path(directory), os.environ)
        self.assertEqual([result.suite.name for result in results], ["waits", "other"])
        self.assertEqual(results[0].counts, Counts(2, 0, 0))
        text = said.getvalue()
        self.assertLess(text.index("── other"), text.index("── waits"))
        self.assertLess(text.index("── waits"), text.index("Ran 2 tests"))


class TestSuites(unittest.TestCase):
    """No tests are left out."""

    def test_directories_with_python_tests_are_found(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            for path in ["a/b/test_x.py", "c/test.py", "target/test_y.py", ".tools/z/test_z.py", "d/test_w.txt"]:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
            self.assertEqual(list(python_directories(root)), [Path("a/b")])

    def test_what_one_suite_leaves_out_another_runs(self) -> None:
        root = Path(__file__).resolve().parents[2]
        for nextest in (True, False):
            first, *others = suites(root, nextest=nextest)
            self.assertIn(CRASHES, first.command[-1])
            self.assertTrue(any(other.command[-2:] == ["--test", "crash"] for other in others))
        # It is the only test of that target, and its name is the one that is left out.
        sources = (root / "tests/tests/crash").glob("*.rs")
        tests = [line for source in sources for line in source.read_text(encoding="utf-8").split("#[test]")[1:]]
        self.assertEqual([test.split("(")[0].split()[-1] for test in tests], [CRASHES])

    def test_what_is_left_to_another_suite_is_not_skipped(self) -> None:
        said = "print('Summary [ 0.1s] 3 tests run: 3 passed, 2 skipped')"
        suite = Suite("x", [sys.executable, "-c", said], elsewhere=1)
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(run(suite, Path.cwd(), dict(os.environ)).counts, Counts(3, 0, 1))

    def test_cargo_stands_in_for_nextest(self) -> None:
        root = Path(__file__).resolve().parents[2]
        with_nextest, without = suites(root, nextest=True), suites(root, nextest=False)
        self.assertEqual(with_nextest[0].command[:3], ["cargo", "nextest", "run"])
        self.assertEqual(without[0].command[:2], ["cargo", "test"])
        names = [suite.name for suite in without]
        self.assertEqual([suite.name for suite in with_nextest], names)
        self.assertIn("Python tests/tools", names)
        self.assertIn("Python tests/api", names)
        self.assertIn("Console in a browser", names)
        self.assertIn("AWS on emulators", names)


if __name__ == "__main__":
    unittest.main()
