"""Measuring real processes, and the arithmetic over what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from measure import (
    Chunk,
    Command,
    RunFailed,
    environment,
    lines_with_times,
    measure,
    measure_stream,
    summarize,
)


class TestStatistics(unittest.TestCase):
    def test_summary_of_odd_even_and_single_counts(self) -> None:
        odd = summarize([3.0, 1.0, 2.0])
        self.assertEqual((odd.min, odd.median, odd.max, odd.runs), (1.0, 2.0, 3.0, 3))
        self.assertEqual(summarize([4.0, 1.0, 2.0, 3.0]).median, 2.5)
        self.assertEqual(summarize([7.0]).median, 7.0)

    def test_nothing_has_no_summary(self) -> None:
        with self.assertRaises(ValueError):
            summarize([])


class TestLines(unittest.TestCase):
    def test_a_line_has_the_time_at_which_its_end_arrived(self) -> None:
        chunks = [Chunk(1.0, b"a\nb"), Chunk(2.0, b"c"), Chunk(3.0, b"d\ne\nf\ncut")]
        self.assertEqual(
            list(lines_with_times(chunks)),
            [(1.0, b"a"), (3.0, b"bcd"), (3.0, b"e"), (3.0, b"f")],
        )


class ProcessCase(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.log = self.directory / "log"

    def python(self, program: str) -> Command:
        return Command([sys.executable, "-c", program], self.directory)


class TestMeasure(ProcessCase):
    def test_wall_time_covers_sleeping_and_cpu_time_does_not(self) -> None:
        measured = measure(Command(["sleep", "0.3"], self.directory), self.log, 30)
        self.assertGreaterEqual(measured.wall_s, 0.3)
        self.assertLess(measured.cpu_s, 0.2)

    def test_cpu_time_counts_children(self) -> None:
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
        self.assertGreaterEqual(measure(self.python(program), self.log, 30).cpu_s, 0.3)

    def test_peak_memory_is_in_bytes(self) -> None:
        measured = measure(self.python("x = b'x' * (200 << 20)"), self.log, 30)
        self.assertGreater(measured.peak_rss_bytes, 200 << 20)
        self.assertLess(measured.peak_rss_bytes, 400 << 20)

    def test_a_failure_says_how_and_shows_the_end_of_the_output(self) -> None:
        command = self.python("import sys; print('the cause'); sys.exit(3)")
        with self.assertRaisesRegex(RunFailed, r"(?s)exit code 3.*the cause"):
            measure(command, self.log, 30)

    def test_a_missing_program_is_a_failure_to_run(self) -> None:
        with self.assertRaisesRegex(RunFailed, "cannot start"):
            measure(Command([str(self.directory / "absent")], self.directory), self.log, 30)

    def test_what_takes_too_long_is_ended_with_its_children(self) -> None:
        child = self.directory / "child"
        script = f"sleep 60 & echo $! > '{child}'; wait"
        started_s = time.monotonic()
        with self.assertRaisesRegex(RunFailed, "still running after 1 s"):
            measure(Command(["sh", "-c", script], self.directory), self.log, 1)
        self.assertLess(time.monotonic() - started_s, 20)
        self.assert_gone(int(child.read_text()))

    def test_children_left_behind_by_a_success_are_ended(self) -> None:
        child = self.directory / "child"
        script = f"sleep 60 & echo $! > '{child}'"
        measure(Command(["sh", "-c", script], self.directory), self.log, 30)
        self.assert_gone(int(child.read_text()))

    def test_the_environment_holds_nothing_of_the_callers_settings(self) -> None:
        os.environ["BENCH_TEST_LEAK"] = "1"
        self.addCleanup(os.environ.pop, "BENCH_TEST_LEAK")
        program = "import json, os; print(json.dumps(dict(os.environ)))"
        measure(self.python(program), self.log, 30)
        seen = json.loads(self.log.read_text())
        self.assertNotIn("BENCH_TEST_LEAK", seen)
        self.assertEqual(seen["HOME"], str(self.directory))
        self.assertEqual(environment({"HOME": "x"}, self.directory)["HOME"], "x")

    def assert_gone(self, pid: int) -> None:
        for _ in range(100):
            # A killed orphan stays visible, as Z, until its new parent reaps it.
            if self.process_state(pid) in ("", "Z"):
                return
            time.sleep(0.05)
        self.fail(f"process {pid} is still alive")

    @staticmethod
    def process_state(pid: int) -> str:
        """The letter of a process' state, empty when it is gone. Small Linux images have no `ps`."""
        if Path("/proc/self/stat").exists():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                return ""
            return stat.rpartition(")")[2].split()[0]
        shown = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return shown.stdout.strip()[:1]


class TestMeasureStream(ProcessCase):
    def test_lines_carry_the_times_at_which_they_were_written(self) -> None:
        program = "import time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.2)"
        measured, chunks = measure_stream(self.python(program), self.log, 30)
        times, lines = zip(*lines_with_times(chunks), strict=True)
        self.assertEqual(lines, (b"0", b"1", b"2"))
        self.assertGreater(times[1] - times[0], 0.1)
        self.assertGreater(times[2] - times[1], 0.1)
        self.assertGreaterEqual(measured.wall_s, 0.6)

    def test_a_failure_shows_standard_error(self) -> None:
        command = self.python("import sys; sys.exit('broken')")
        with self.assertRaisesRegex(RunFailed, "broken"):
            measure_stream(command, self.log, 30)

    def test_a_stream_that_never_ends_is_ended(self) -> None:
        with self.assertRaisesRegex(RunFailed, "still running"):
            measure_stream(Command(["sleep", "60"], self.directory), self.log, 0.5)


if __name__ == "__main__":
    unittest.main()
