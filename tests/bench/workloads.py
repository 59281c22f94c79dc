"""The three workloads: what is run how often, what is checked, and which figures come of it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import operon
from measure import (
    Chunk,
    Command,
    Measurement,
    RunFailed,
    Summary,
    lines_with_times,
    measure,
    measure_stream,
    summarize,
)
from peers import Graph, Peer, Site, layered_graph
from report import Bound, Figure, Target

MB = 1_000_000
_RUN_TIMEOUT_S = 600.0
_SHORT_TIMEOUT_S = 60.0

FAN_OUT_ITEMS = 100_000
FAN_OUT_RUNS_MAX = 5
# Where the time per transition is taken: over `WINDOW` items with the position in the middle.
EARLY_ITEM = 1_000
LATE_ITEM = 90_000
WINDOW = 1_000

CHAIN_TASKS = 10
CHAIN_RUNS_MIN = 20
LONG_FLOW_LINES = 1_000


@dataclass
class Result:
    """The figures of a workload with every measurement behind them."""

    figures: list[Figure] = field(default_factory=list)
    samples: dict[str, list[Measurement]] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """A tool that takes part in workload A; Operon has no `peer`."""

    name: str
    tool: Path
    generate: Callable[[Graph, Site], Command]
    runs: int
    peer: Peer | None = None


@contextmanager
def clean_directory(work: Path) -> Iterator[Path]:
    """A new directory for one run, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=work))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def contenders(
    peers: Sequence[tuple[Peer, Path]], binary: Path | None, runs: int
) -> list[Contender]:
    """Operon first, if there is a binary, then the peers with the runs each is given."""
    own = [Contender("operon", binary, operon.layers, runs)] if binary else []
    return own + [
        Contender(peer.name, place, peer.generate, min(runs, peer.runs_max), peer)
        for peer, place in peers
    ]


def rounds(participants: Sequence[Contender]) -> Iterator[Contender]:
    """A B C A B C …: whatever slows the machine for a while then slows everyone.

    Who has fewer runs than others stops taking part earlier.
    """
    for number in range(max((participant.runs for participant in participants), default=0)):
        yield from (one for one in participants if number < one.runs)


def layers(participants: Sequence[Contender], work: Path) -> Result:
    """Workload A: 1,000 shell tasks in ten layers."""
    graph = layered_graph()
    result = Result(samples=defaultdict(list))
    for participant in rounds(participants):
        with clean_directory(work) as directory:
            sample = _layers_once(participant, graph, directory)
        result.samples[participant.name].append(sample)
        # Whoever watches a run of minutes sees that it goes on; the table is not for that.
        print(f"bench: {participant.name} took {sample.wall_s:.3g} s", file=sys.stderr)
    medians = {}
    for participant in participants:
        samples = result.samples[participant.name]
        wall = summarize([sample.wall_s for sample in samples])
        medians[participant.name] = wall.median
        result.figures += [
            Figure.of(f"{participant.name}: wall", wall, "s"),
            Figure.of(f"{participant.name}: CPU", summarize([s.cpu_s for s in samples]), "s"),
            Figure.of(f"{participant.name}: peak memory", _peak_mb(samples), "MB"),
        ]
    result.figures += ratios(medians, [one.peer for one in participants if one.peer])
    return result


def ratios(medians: Mapping[str, float], peers: Sequence[Peer]) -> list[Figure]:
    """Operon's median over each peer's, with the peer's target; none without Operon."""
    if "operon" not in medians:
        return []
    return [
        Figure(
            f"operon / {peer.name}",
            medians["operon"] / medians[peer.name],
            "x",
            Target(Bound.AT_MOST, peer.ratio_max),
        )
        for peer in peers
    ]


def _layers_once(participant: Contender, graph: Graph, directory: Path) -> Measurement:
    site = Site(directory, participant.tool)
    site.out.mkdir()
    command = participant.generate(graph, site)
    measurement = measure(command, directory / "log", _RUN_TIMEOUT_S)
    check_files(participant.name, graph, site.out)
    return measurement


def check_files(name: str, graph: Graph, out: Path) -> None:
    """Raises `RunFailed` unless every task wrote its file, and not before those it depends on."""
    written_ns = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(out)}
    missing = sorted(graph.keys() - written_ns.keys())
    if missing:
        raise RunFailed(
            f"{name} exited with 0 but wrote {len(graph) - len(missing)} of {len(graph)} files;"
            f" the first missing is {missing[0]}"
        )
    for task, depends_on in graph.items():
        # Equal is allowed: file times advance with the kernel's tick only.
        late = [above for above in depends_on if written_ns[above] > written_ns[task]]
        if late:
            raise RunFailed(f"{name} ran {task} before {late[0]}, which it depends on")


def fan_out(binary: Path, work: Path, runs: int) -> Result:
    """Workload B: 100,000 no-ops from a file of items."""
    runs = min(runs, FAN_OUT_RUNS_MAX)
    whole: list[Measurement] = []
    streamed: list[Measurement] = []
    early: list[float] = []
    late: list[float] = []
    for _ in range(runs):
        with clean_directory(work) as directory:
            command = operon.fan_out(binary, directory, FAN_OUT_ITEMS, stream=False)
            whole.append(measure(command, directory / "log", _RUN_TIMEOUT_S))
        with clean_directory(work) as directory:
            command = operon.fan_out(binary, directory, FAN_OUT_ITEMS, stream=True)
            measurement, chunks = measure_stream(command, directory / "log", _RUN_TIMEOUT_S)
            streamed.append(measurement)
            times = finish_times(chunks)
        early.append(time_per_item(times, EARLY_ITEM, WINDOW) * 1e6)
        late.append(time_per_item(times, LATE_ITEM, WINDOW) * 1e6)
    rate = summarize([FAN_OUT_ITEMS / sample.wall_s for sample in whole])
    ratio = summarize([b / a for a, b in zip(early, late, strict=True)])
    return Result(
        figures=[
            Figure.of("task runs", rate, "1/s", Target(Bound.AT_LEAST, 10_000)),
            Figure.of("peak memory", _peak_mb(whole), "MB", Target(Bound.AT_MOST, 150)),
            Figure.of(f"per item at {EARLY_ITEM:,}", summarize(early), "us"),
            Figure.of(f"per item at {LATE_ITEM:,}", summarize(late), "us"),
            Figure.of("late / early", ratio, "x", Target(Bound.AT_MOST, 1.2)),
        ],
        samples={"whole": whole, "streamed": streamed},
    )


def finish_times(chunks: Sequence[Chunk]) -> list[float]:
    """When each item was reported as finished, in the order of the reports.

    All 100,000 must be: this is also the check that the workload did what it says.
    """
    times = [at_s for at_s, line in lines_with_times(chunks) if operon.is_finished_item(line)]
    if len(times) != FAN_OUT_ITEMS:
        raise RunFailed(
            f"the event stream reports {len(times):,} finished items instead of {FAN_OUT_ITEMS:,}"
        )
    return times


def time_per_item(times: Sequence[float], position: int, window: int) -> float:
    """Seconds from one finished item to the next, over the `window` items around `position`."""
    first, last = position - window // 2, position + window // 2
    elapsed = times[last] - times[first]
    if elapsed <= 0:
        raise RunFailed(
            f"items {first:,} to {last:,} arrived in one piece, so their times say nothing:"
            " the event stream is written in blocks that are too large"
        )
    return elapsed / (last - first)


def chain(binary: Path, work: Path, runs: int) -> Result:
    """Workload C: ten no-ops in a row, and how long the program takes to start."""
    runs = max(runs, CHAIN_RUNS_MIN)
    samples: dict[str, list[Measurement]] = defaultdict(list)
    for _ in range(runs):
        with clean_directory(work) as directory:
            for name, command in _chain_commands(binary, directory).items():
                log = directory / f"{name}.log"
                samples[name].append(measure(command, log, _SHORT_TIMEOUT_S))
    wall_ms = {
        name: summarize([sample.wall_s * 1e3 for sample in measured])
        for name, measured in samples.items()
    }
    start_ms = wall_ms["version"].median
    per_task_ms = [
        max(0.0, sample.wall_s * 1e3 - start_ms) / CHAIN_TASKS for sample in samples["chain"]
    ]
    return Result(
        figures=[
            Figure.of("per task of a chain", summarize(per_task_ms), "ms", Target(Bound.AT_MOST, 2)),
            Figure.of("start-up: --version", wall_ms["version"], "ms", Target(Bound.AT_MOST, 20)),
            Figure.of(
                "start-up: validate, small flow",
                wall_ms["validate-small"],
                "ms",
                Target(Bound.AT_MOST, 20),
            ),
            Figure.of(
                f"validate, {LONG_FLOW_LINES:,} lines",
                wall_ms["validate-long"],
                "ms",
                Target(Bound.AT_MOST, 50),
            ),
        ],
        samples=samples,
    )


def _chain_commands(binary: Path, directory: Path) -> dict[str, Command]:
    flows = {
        "small": operon.small_flow(),
        "long": operon.long_flow(LONG_FLOW_LINES),
        "chain": operon.chain_flow(CHAIN_TASKS),
    }
    paths = {name: directory / f"{name}.yaml" for name in flows}
    for name, text in flows.items():
        paths[name].write_text(text)
    return {
        "version": Command([str(binary), "--version"], directory),
        "validate-small": Command([str(binary), "validate", str(paths["small"])], directory),
        "validate-long": Command([str(binary), "validate", str(paths["long"])], directory),
        "chain": operon.run_command(binary, paths["chain"], directory),
    }


def _peak_mb(samples: Sequence[Measurement]) -> Summary:
    return summarize([sample.peak_rss_bytes / MB for sample in samples])
