"""Workload A's task graph, and how each peer expresses and runs it.

Every generator writes the same graph in the idiom of its tool and chooses whatever makes that tool
fastest while the work stays the same: one `sh -c 'true > FILE'` per task, four at a time, order by
dependency. What differs from the tool's defaults is said beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import Command

LAYERS = 10
TASKS_PER_LAYER = 100
PARALLEL_MAX = 4

Graph = Mapping[str, Sequence[str]]


def task_id(layer: int, position: int) -> str:
    """The name of a task, which is also the name of the file it writes: `l03-017`."""
    return f"l{layer:02}-{position:03}"


def layered_graph(layers: int = LAYERS, width: int = TASKS_PER_LAYER) -> dict[str, list[str]]:
    """Task ids with the ids they depend on, in an order in which they may run.

    A task depends on the one above it and on that one's right neighbour, the last on the first.
    """
    graph: dict[str, list[str]] = {}
    for layer in range(layers):
        for position in range(width):
            above = [] if layer == 0 else [position, (position + 1) % width]
            graph[task_id(layer, position)] = [task_id(layer - 1, other) for other in above]
    return graph


def leaves(graph: Graph) -> list[str]:
    """The tasks nothing depends on: what a pulling tool is asked to make."""
    needed = {above for depends_on in graph.values() for above in depends_on}
    return [task for task in graph if task not in needed]


@dataclass(frozen=True)
class Site:
    """Where one run happens: `directory` is new and empty but for `out`, where the files go."""

    directory: Path
    tool: Path

    @property
    def out(self) -> Path:
        """The directory that must hold one file per task afterwards."""
        return self.directory / "out"

    def write(self, name: str, text: str) -> Path:
        """Writes a generated definition and returns its path."""
        path = self.directory / name
        path.write_text(text)
        return path


def ninja(graph: Graph, site: Site) -> Command:
    """Ninja starts every command with `/bin/sh -c`."""
    lines = ["rule touch", "  command = true > $out"]
    for task, depends_on in graph.items():
        inputs = "".join(f" out/{above}" for above in depends_on)
        lines.append(f"build out/{task}: touch{inputs}")
    site.write("build.ninja", "\n".join(lines) + "\n")
    return Command(
        [str(site.tool / "bin/ninja"), "-j", str(PARALLEL_MAX), "--quiet"], site.directory
    )


_SNAKEFILE = """\
import json

# `sh` as for every other tool; the default is bash.
shell.executable("/bin/sh")

with open("graph.json") as file:
    GRAPH = json.load(file)
with open("leaves.json") as file:
    LEAVES = json.load(file)

rule all:
    input: expand("out/{task}", task=LEAVES)

# One rule with a wildcard: a thousand rules would each be matched against every file.
rule touch:
    input: lambda wildcards: [f"out/{above}" for above in GRAPH[wildcards.task]]
    output: "out/{task}"
    shell: "true > {output}"
"""


def snakemake(graph: Graph, site: Site) -> Command:
    """All defaults but the shell; progress lines are off."""
    _write_graph(graph, site)
    site.write("Snakefile", _SNAKEFILE)
    return Command(
        [str(site.tool / "bin/snakemake"), "--cores", str(PARALLEL_MAX), "--quiet", "all"],
        site.directory,
    )


_LUIGI_MODULE = """\
import json
import subprocess

import luigi

with open("graph.json") as file:
    GRAPH = json.load(file)
with open("leaves.json") as file:
    LEAVES = json.load(file)


class Touch(luigi.Task):
    task = luigi.Parameter()

    def requires(self):
        return [Touch(task=above) for above in GRAPH[self.task]]

    def output(self):
        return luigi.LocalTarget(f"out/{self.task}")

    def run(self):
        subprocess.run(["sh", "-c", f"true > 'out/{self.task}'"], check=True)


class Layers(luigi.WrapperTask):
    def requires(self):
        return [Touch(task=task) for task in LEAVES]
"""


def luigi(graph: Graph, site: Site) -> Command:
    """With the scheduler inside the process, as no server is part of the comparison."""
    _write_graph(graph, site)
    site.write("layers_luigi.py", _LUIGI_MODULE)
    return Command(
        [
            str(site.tool / "bin/luigi"),
            *("--module", "layers_luigi", "Layers"),
            *("--local-scheduler", "--workers", str(PARALLEL_MAX), "--log-level", "WARNING"),
        ],
        site.directory,
        {"PYTHONPATH": str(site.directory)},
    )


_REDUN_MODULE = """\
import json
import subprocess

from redun import task

redun_namespace = "bench"

with open("graph.json") as file:
    GRAPH = json.load(file)
with open("leaves.json") as file:
    LEAVES = json.load(file)


# A function that starts the shell: `script=True` would add a wrapper script per task.
@task()
def touch(name, above):
    subprocess.run(["sh", "-c", f"true > 'out/{name}'"], check=True)
    return name


@task()
def layers():
    results = {}
    for name, depends_on in GRAPH.items():
        results[name] = touch(name, [results[above] for above in depends_on])
    return [results[name] for name in LEAVES]
"""

_REDUN_CONFIG = f"""\
[backend]
db_uri = sqlite:///redun.db

[executors.default]
type = local
mode = thread
max_workers = {PARALLEL_MAX}
"""


def redun(graph: Graph, site: Site) -> Command:
    """In threads, its default: a process per task would only add to it."""
    _write_graph(graph, site)
    site.write("layers_redun.py", _REDUN_MODULE)
    config = site.directory / "redun-config"
    config.mkdir()
    (config / "redun.ini").write_text(_REDUN_CONFIG)
    return Command(
        [str(site.tool / "bin/redun"), "--config", str(config), "run", "layers_redun.py", "layers"],
        site.directory,
    )


_PREFECT_MODULE = f"""\
import json
import subprocess

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

with open("graph.json") as file:
    GRAPH = json.load(file)


@task(cache_policy=NO_CACHE)
def touch(name):
    subprocess.run(["sh", "-c", f"true > 'out/{{name}}'"], check=True)


@flow(task_runner=ThreadPoolTaskRunner(max_workers={PARALLEL_MAX}))
def layers():
    futures = {{}}
    for name, depends_on in GRAPH.items():
        futures[name] = touch.submit(name, wait_for=[futures[above] for above in depends_on])
    for future in futures.values():
        future.result()


if __name__ == "__main__":
    layers()
"""

# Sealed off from any real server, quiet, and without reports to its makers.
PREFECT_ENV = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def prefect(graph: Graph, site: Site) -> Command:
    """With the server it starts for itself and a database made beforehand.

    Making the database takes seconds once per installation, so it is not part of the figure: the
    run starts from a copy of the empty one made when the tool was installed.
    """
    _write_graph(graph, site)
    site.write("layers_prefect.py", _PREFECT_MODULE)
    home = site.directory / "prefect-home"
    shutil.copytree(site.tool / "prefect-home", home)
    return Command(
        [str(site.tool / "bin/python"), "layers_prefect.py"],
        site.directory,
        PREFECT_ENV | {"PREFECT_HOME": str(home)},
    )


def _write_graph(graph: Graph, site: Site) -> None:
    """The graph as data beside the peer's module: reading it costs a few milliseconds."""
    site.write("graph.json", json.dumps(graph))
    site.write("leaves.json", json.dumps(leaves(graph)))


@dataclass(frozen=True)
class Peer:
    """A tool to compare with.

    `ratio_max` is the target: Operon's median time over this peer's. `runs_max` bounds the runs of
    a slow peer. `start` is what shows that the tool starts, run once after installation, which
    also takes its files into the page cache.
    """

    name: str
    generate: Callable[[Graph, Site], Command]
    ratio_max: float
    runs_max: int
    start: Sequence[str]


PEERS = (
    Peer("ninja", ninja, 1.5, 100, ["bin/ninja", "--version"]),
    Peer("snakemake", snakemake, 1 / 5, 3, ["bin/snakemake", "--version"]),
    Peer("luigi", luigi, 1 / 5, 3, ["bin/python", "-c", "import luigi"]),
    Peer("redun", redun, 1 / 10, 2, ["bin/redun", "--version"]),
    Peer("prefect", prefect, 1 / 10, 2, ["bin/prefect", "--version"]),
)
