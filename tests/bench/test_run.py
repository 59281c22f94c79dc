"""The command line: what is selected, how it exits, what it writes."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import run
import tools
import workloads
from measure import Measurement, RunFailed, summarize
from peers import PEERS
from report import Bound, Figure, Target

EVERY_PEER = [peer.name for peer in PEERS]


class TestSelect(unittest.TestCase):
    def test_nothing_named_means_everything_there_is_a_binary_for(self) -> None:
        everything = run.select([], with_operon=True, with_functions=True, with_planner=True)
        tools_of_layers = ["operon", *EVERY_PEER]
        self.assertEqual(everything, run.Selection([*run.WORKLOADS], tools_of_layers))
        laptop = run.select([], with_operon=True)
        self.assertEqual(laptop, run.Selection([*run.WORKLOADS[:-2]], tools_of_layers))
        self.assertEqual(run.select([], with_operon=False), run.Selection(["layers"], EVERY_PEER))

    def test_a_workload_is_run_with_every_tool(self) -> None:
        selection = run.select(["chain", "layers"], with_operon=True)
        self.assertEqual(selection, run.Selection(["layers", "chain"], ["operon", *EVERY_PEER]))
        self.assertEqual(run.select(["chain"], with_operon=True).workloads, ["chain"])

    def test_a_tool_means_workload_layers_with_that_tool(self) -> None:
        selection = run.select(["ninja", "operon"], with_operon=True)
        self.assertEqual(selection, run.Selection(["layers"], ["operon", "ninja"]))
        both = run.select(["ninja", "chain"], with_operon=True)
        self.assertEqual(both, run.Selection(["layers", "chain"], ["ninja"]))


class TestArguments(unittest.TestCase):
    def assert_refused(self, message: str, *arguments: str) -> None:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), self.assertRaises(SystemExit) as caught:
            run.parse(arguments)
        self.assertEqual(caught.exception.code, 2)
        self.assertIn(message, errors.getvalue())

    def test_wrong_arguments_exit_with_2_and_say_why(self) -> None:
        self.assert_refused("--tools")
        self.assert_refused("at least 1", "--tools", "x", "--runs", "0")
        self.assert_refused("invalid choice", "--tools", "x", "--only", "make")
        self.assert_refused("pass its binary", "--tools", "x", "--only", "chain")
        self.assert_refused("not a program", "--tools", "x", "--operon", "/nowhere/operon")
        self.assert_refused("--functions DIR", "--tools", "x", "--only", "functions")
        self.assert_refused("operon-intake-function", "--tools", "x", "--functions", "/nowhere")


class TestExit(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.json = Path(temporary.name) / "bench.json"

    def main(self, outcome: workloads.Result | RunFailed) -> tuple[int, str]:
        printed = io.StringIO()
        patched = mock.patch.object(run, "run_workload", side_effect=[outcome])
        with patched, contextlib.redirect_stdout(printed):
            code = run.main(["--tools", "x", "--json", str(self.json)])
        return code, printed.getvalue()

    def test_a_missed_target_is_a_measurement_like_any_other(self) -> None:
        figure = Figure.of("slow", summarize([3.0]), "s", Target(Bound.AT_MOST, 1))
        sample = Measurement(wall_s=3.0, cpu_s=1.0, peak_rss_bytes=5)
        code, printed = self.main(workloads.Result([figure], {"slow": [sample]}))
        self.assertEqual(code, 0)
        self.assertIn("missed", printed)
        document = json.loads(self.json.read_text())
        self.assertEqual(document["format"], run.FORMAT)
        self.assertGreaterEqual(document["machine"]["cpu_count"], 1)
        self.assertIn("kernel", document["machine"])
        self.assertEqual(document["versions"]["ninja"], tools.pinned_version(PEERS[0]))
        layers = document["workloads"]["layers"]
        self.assertEqual(layers["figures"][0]["verdict"], "missed")
        self.assertEqual(layers["samples"]["slow"][0]["wall_s"], 3.0)

    def test_a_workload_that_cannot_run_exits_with_1_and_is_written_down(self) -> None:
        code, printed = self.main(RunFailed("no such luck"))
        self.assertEqual(code, 1)
        self.assertIn("FAILED TO RUN: no such luck", printed)
        document = json.loads(self.json.read_text())
        self.assertEqual(document["workloads"]["layers"], {"error": "no such luck"})


class TestTools(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.tools = Path(temporary.name)
        self.peer = PEERS[0]
        self.installed: list[Path] = []

    def ensure(self) -> None:
        def install(_peer: object, place: Path) -> None:
            self.installed.append(place)
            place.mkdir(exist_ok=True)

        with (
            mock.patch.object(tools, "_install", install),
            mock.patch.object(tools, "_run"),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            tools.ensure(self.peer, self.tools)

    def test_a_tool_is_installed_once_and_again_when_its_pins_change(self) -> None:
        self.ensure()
        self.ensure()
        self.assertEqual(len(self.installed), 1)
        other = self.tools / "requirements.txt"
        other.write_text("ninja==0\n")
        with mock.patch.object(tools, "requirements_file", return_value=other):
            self.ensure()
        self.assertEqual(len(self.installed), 2)

    def test_a_cut_installation_leaves_no_stamp(self) -> None:
        with (
            mock.patch.object(tools, "_install", side_effect=RunFailed("cut")),
            contextlib.redirect_stderr(io.StringIO()),
            self.assertRaises(RunFailed),
        ):
            tools.ensure(self.peer, self.tools)
        self.ensure()
        self.assertEqual(len(self.installed), 1)

    def test_every_requirement_is_pinned_to_one_version(self) -> None:
        for peer in PEERS:
            lines = tools.requirements_file(peer).read_text().splitlines()
            packages = [line for line in lines if not line.startswith("#")]
            for package in packages:
                self.assertRegex(
                    package, r"^[A-Za-z0-9._-]+==[^=*\s;]+(; python_version < \"[0-9.]+\")?$"
                )
            self.assertTrue(tools.pinned_version(peer))


if __name__ == "__main__":
    unittest.main()
