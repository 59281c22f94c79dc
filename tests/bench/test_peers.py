"""The task graph, and that every generated definition holds exactly that graph."""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
import tempfile
import types
import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import operon
import peers
from measure import Command


@contextmanager
def stub_modules(**stubs: types.ModuleType) -> Iterator[None]:
    """Stands in for the peers' packages, so that what is generated can be executed here."""
    with mock.patch.dict(sys.modules, stubs):
        yield


def module(name: str, **content: object) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__dict__.update(content)
    return made


class TestGraph(unittest.TestCase):
    def setUp(self) -> None:
        self.graph = peers.layered_graph()

    def test_has_a_thousand_tasks_in_ten_layers(self) -> None:
        self.assertEqual(len(self.graph), 1_000)
        self.assertEqual(len({task[:3] for task in self.graph}), 10)

    def test_first_layer_depends_on_nothing_and_the_others_on_two_of_the_layer_above(self) -> None:
        for task, depends_on in self.graph.items():
            layer = int(task[1:3])
            self.assertEqual(len(set(depends_on)), 0 if layer == 0 else 2)
            self.assertTrue(all(int(above[1:3]) == layer - 1 for above in depends_on))
        self.assertEqual(self.graph["l03-017"], ["l02-017", "l02-018"])
        self.assertEqual(self.graph["l03-099"], ["l02-099", "l02-000"])

    def test_is_in_an_order_in_which_it_may_run(self) -> None:
        seen: set[str] = set()
        for task, depends_on in self.graph.items():
            self.assertLessEqual(set(depends_on), seen)
            seen.add(task)

    def test_leaves_are_the_last_layer_and_need_everything(self) -> None:
        leaves = peers.leaves(self.graph)
        self.assertEqual(leaves, [peers.task_id(9, position) for position in range(100)])
        needed, open_ids = set(leaves), list(leaves)
        while open_ids:
            new = [above for above in self.graph[open_ids.pop()] if above not in needed]
            needed.update(new)
            open_ids += new
        self.assertEqual(needed, set(self.graph))


class GeneratorCase(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        root = Path(temporary.name)
        self.site = peers.Site(root / "run", root / "tool")
        self.site.out.mkdir(parents=True)
        (self.site.tool / "prefect-home").mkdir(parents=True)
        self.graph = peers.layered_graph(layers=3, width=4)
        before = os.getcwd()
        os.chdir(self.site.directory)
        self.addCleanup(os.chdir, before)

    def execute(self, name: str) -> dict[str, object]:
        return runpy.run_path(str(self.site.directory / name))

    def assert_files_written(self) -> None:
        self.assertEqual(sorted(self.graph), sorted(p.name for p in self.site.out.iterdir()))


class TestGenerators(GeneratorCase):
    def test_ninja_builds_each_file_from_those_it_depends_on(self) -> None:
        command = peers.ninja(self.graph, self.site)
        text = (self.site.directory / "build.ninja").read_text()
        found = {
            target: re.findall(r"out/(\S+)", inputs)
            for target, inputs in re.findall(r"^build out/(\S+): touch(.*)$", text, re.MULTILINE)
        }
        self.assertEqual(found, self.graph)
        self.assertIn("  command = true > $out\n", text)
        self.assertEqual(option(command, "-j"), "4")

    def test_snakemake_asks_for_the_leaves_and_looks_dependencies_up(self) -> None:
        command = peers.snakemake(self.graph, self.site)
        text = (self.site.directory / "Snakefile").read_text()
        self.assertIn('expand("out/{task}", task=LEAVES)', text)
        self.assertIn("GRAPH[wildcards.task]", text)
        self.assertIn('shell: "true > {output}"', text)
        self.assertEqual(self.read("graph.json"), self.graph)
        self.assertEqual(self.read("leaves.json"), peers.leaves(self.graph))
        self.assertEqual(option(command, "--cores"), "4")

    def test_luigi_module_has_the_graph_and_writes_the_files(self) -> None:
        class Task:
            def __init__(self, task: str = "") -> None:
                self.task = task

        luigi = module(
            "luigi", Task=Task, WrapperTask=Task, Parameter=lambda: None, LocalTarget=str
        )
        command = peers.luigi(self.graph, self.site)
        with stub_modules(luigi=luigi):
            names = self.execute("layers_luigi.py")
        touch, top = names["Touch"], names["Layers"]
        found, open_tasks = {}, top().requires()  # type: ignore[operator]
        while open_tasks:
            task = open_tasks.pop()
            above = touch(task=task.task).requires()  # type: ignore[operator]
            found[task.task] = [other.task for other in above]
            open_tasks += above
            self.assertEqual(task.output(), f"out/{task.task}")
            task.run()
        self.assertEqual(found, self.graph)
        self.assert_files_written()
        self.assertEqual(option(command, "--workers"), "4")

    def test_redun_module_passes_results_on_along_the_graph(self) -> None:
        calls: dict[str, list[str]] = {}

        def task():
            def decorate(function):
                def call(*args):
                    if args:
                        calls[args[0]] = args[1]
                    return function(*args)

                return call

            return decorate

        peers.redun(self.graph, self.site)
        with stub_modules(redun=module("redun", task=task)):
            result = self.execute("layers_redun.py")["layers"]()  # type: ignore[operator]
        self.assertEqual(calls, self.graph)
        self.assertEqual(result, peers.leaves(self.graph))
        self.assert_files_written()
        config = (self.site.directory / "redun-config/redun.ini").read_text()
        self.assertIn("max_workers = 4", config)

    def test_prefect_flow_submits_each_task_after_those_it_depends_on(self) -> None:
        calls: dict[str, list[str]] = {}
        runners: list[int] = []

        def task(cache_policy):
            def decorate(function):
                def submit(name, wait_for):
                    calls[name] = [future.name for future in wait_for]
                    function(name)
                    return types.SimpleNamespace(name=name, result=lambda: None)

                return types.SimpleNamespace(submit=submit)

            return decorate

        def flow(task_runner):
            runners.append(task_runner)
            return lambda function: function

        stubs = {
            "prefect": module("prefect", task=task, flow=flow),
            "prefect.cache_policies": module("prefect.cache_policies", NO_CACHE=None),
            "prefect.task_runners": module(
                "prefect.task_runners", ThreadPoolTaskRunner=lambda max_workers: max_workers
            ),
        }
        command = peers.prefect(self.graph, self.site)
        with stub_modules(**stubs):
            self.execute("layers_prefect.py")["layers"]()  # type: ignore[operator]
        self.assertEqual(calls, self.graph)
        self.assertEqual(runners, [4])
        self.assert_files_written()
        home = Path(command.env["PREFECT_HOME"])
        self.assertTrue(home.is_dir())
        self.assertTrue(home.is_relative_to(self.site.directory), "each run has its own database")

    def test_operon_flow_has_the_graph_and_one_command_per_task(self) -> None:
        command = operon.layers(self.graph, self.site)
        text = (self.site.directory / "layers.yaml").read_text()
        tasks = re.findall(
            r"^  - id: (\S+)\n(?:    .*\n)*?"
            r"    env: \{OUT: (.*)\}\n    commands: \[(.*)\]\n    dependsOn: \[(.*)\]$",
            text,
            re.MULTILINE,
        )
        found = {task: [name for name in above.split(", ") if name] for task, _, _, above in tasks}
        self.assertEqual(found, self.graph)
        for task, out, shell, _ in tasks:
            self.assertEqual(json.loads(out), str(self.site.out))
            self.assertEqual(json.loads(shell), f'true > "$OUT/{task}"')
        self.assertEqual(option(command, "--max-parallel"), "4")
        self.assertEqual(option(command, "--output"), "json")
        self.assertIn("--quiet", command.argv)
        state = Path(option(command, "--state"))
        self.assertEqual(state.parent, self.site.directory)
        self.assertFalse(state.exists(), "each run starts without state")

    def read(self, name: str) -> object:
        return json.loads((self.site.directory / name).read_text())


class TestOperonFlows(GeneratorCase):
    def test_fan_out_reads_as_many_lines_as_asked_for(self) -> None:
        command = operon.fan_out(self.site.tool, self.site.directory, 7, stream=True)
        self.assertEqual(option(command, "--output"), "ndjson")
        name, _, path = option(command, "-f").partition("=")
        self.assertEqual(name, "items")
        values = [json.loads(line) for line in Path(path).read_text().splitlines()]
        self.assertEqual(values, list(range(7)))
        flow = (self.site.directory / "fanout.yaml").read_text()
        self.assertIn("concurrencyLimit: 0\n", flow)
        self.assertIn('values: "{{ inputs.items }}"\n', flow)

    def test_chain_has_its_tasks_one_after_the_other(self) -> None:
        text = operon.chain_flow(10)
        self.assertEqual(re.findall(r"- id: (\S+)", text), [f"t{n:02}" for n in range(10)])
        self.assertNotIn("dependsOn", text)

    def test_long_flow_has_exactly_as_many_lines_as_asked_for(self) -> None:
        for lines in (6, 100, 999, 1_000):
            text = operon.long_flow(lines)
            self.assertEqual(len(text.splitlines()), lines)
        tasks = re.findall(r"- id: (t\S+)", operon.long_flow(1_000))
        self.assertGreater(len(tasks), 80)
        self.assertEqual(len(tasks), len(set(tasks)))


def option(command: Command, name: str) -> str:
    """The value that follows an option of a command line."""
    argv: Sequence[str] = command.argv
    return argv[argv.index(name) + 1]


if __name__ == "__main__":
    unittest.main()
