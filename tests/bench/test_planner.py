"""What is read from the planner's benchmark."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import planner
from measure import RunFailed


class TestFigures(unittest.TestCase):
    """A program that says something stands in for it."""

    def said(self, script: str) -> Path:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "planner"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def test_a_missed_target_is_a_figure_and_no_error(self) -> None:
        said = '{"task_runs":100000,"events_per_s":2500.5,"units":2.51,"item_bytes":65536}'
        found = planner.figures(self.said(f"echo '{said}'; exit 1"))
        self.assertEqual([figure.verdict for figure in found], ["met", "missed", "met"])

    def test_what_says_nothing_has_not_run(self) -> None:
        with self.assertRaises(RunFailed):
            planner.figures(self.said("exit 101"))


if __name__ == "__main__":
    unittest.main()
