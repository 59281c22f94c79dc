"""The workloads as a whole, against a stand-in that keeps to Operon's command line."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import run
import workloads
from measure import RunFailed

# It reads just enough of the generated flows to do what they say, and takes its faults from a file.
STAND_IN = """\
import json, pathlib, re, sys, time

fault = (pathlib.Path(__file__).parent / "fault").read_text()
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("operon 0.0.0")
    sys.exit()
flow = pathlib.Path(arguments[1]).read_text()
if arguments[0] == "validate":
    sys.exit(fault == "invalid")
if "id: layers" in flow:
    names = re.findall(r"- id: (l\\d\\d-\\d\\d\\d)", flow)
    out = pathlib.Path(json.loads(re.search(r"OUT: (.*)}", flow).group(1)))
    for name in names[: -1 if fault == "file" else None]:
        (out / name).touch()
if "ndjson" in arguments:
    items = pathlib.Path(arguments[-1].partition("=")[2]).read_text().splitlines()
    for position, item in enumerate(items[: -1 if fault == "item" else None]):
        time.sleep(0.002 if position < 100 else 0.02)
        print(json.dumps({"state": "SUCCESS", "task": "noop"}), flush=True)
"""


class TestAgainstStandIn(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name)
        (self.root / "stand_in.py").write_text(STAND_IN)
        self.fault("")
        self.binary = self.root / "operon"
        self.binary.write_text(f'#!/bin/sh\nexec {sys.executable} {self.root}/stand_in.py "$@"\n')
        self.binary.chmod(0o755)

    def fault(self, name: str) -> None:
        (self.root / "fault").write_text(name)

    def figures(self, result: workloads.Result) -> dict[str, float]:
        return {figure.name: figure.value for figure in result.figures}

    def fan_out(self) -> workloads.Result:
        small = {"FAN_OUT_ITEMS": 200, "EARLY_ITEM": 50, "LATE_ITEM": 150, "WINDOW": 40}
        with mock.patch.multiple(workloads, **small):
            return workloads.fan_out(self.binary, self.root, runs=2)

    def test_fan_out_finds_that_late_items_take_longer(self) -> None:
        result = self.fan_out()
        # Ten times, with room for a machine that does other work.
        self.assertGreater(self.figures(result)["late / early"], 2.0)
        self.assertEqual(result.figures[-1].verdict, "missed")
        self.assertEqual(
            {name: len(runs) for name, runs in result.samples.items()}, {"whole": 2, "streamed": 2}
        )

    def test_fan_out_fails_when_an_item_is_not_reported(self) -> None:
        self.fault("item")
        with self.assertRaisesRegex(RunFailed, "199 finished items instead of 200"):
            self.fan_out()

    def test_chain_measures_four_figures_at_least_twenty_times(self) -> None:
        result = workloads.chain(self.binary, self.root, runs=1)
        self.assertEqual([figure.summary.runs for figure in result.figures], [20] * 4)
        figures = self.figures(result)
        self.assertGreater(figures["start-up: --version"], 1)
        # The stand-in's chain does nothing: what is left after its start-up is noise.
        self.assertLess(figures["per task of a chain"], figures["start-up: --version"])

    def test_layers_are_run_and_checked(self) -> None:
        self.assertEqual(self.layers()[0], 0)
        self.fault("file")
        code, printed = self.layers()
        self.assertEqual(code, 1)
        self.assertIn("wrote 999 of 1000 files; the first missing is l09-099", printed)

    def test_an_invalid_flow_fails_only_its_workload(self) -> None:
        self.fault("invalid")
        code, printed = self.main("--only", "operon", "chain")
        self.assertEqual(code, 1)
        self.assertIn("operon: wall", printed)
        self.assertIn("FAILED TO RUN", printed)

    def layers(self) -> tuple[int, str]:
        return self.main("--only", "operon")

    def main(self, *arguments: str) -> tuple[int, str]:
        printed = io.StringIO()
        tools = str(self.root / "tools")
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            code = run.main(
                ["--operon", str(self.binary), "--tools", tools, "--runs", "1", *arguments]
            )
        return code, printed.getvalue()


if __name__ == "__main__":
    unittest.main()
