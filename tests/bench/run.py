"""Measures Operon, and the tools it is compared with, on this machine.

    python3 run.py --operon target/release/operon --tools .tools/bench [--json FILE]
                   [--functions DIR] [--planner PATH] [--only NAME ...] [--runs N]

Exits with 0 also when a target is missed, because a benchmark measures; with 1 when a workload
could not be run; with 2 when the arguments are wrong. README.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Before the harness' own modules, which an older Python may not even read.
if sys.version_info < (3, 12):
    sys.exit("bench: needs Python 3.12 or newer; tests/find-python prints one")

import functions
import planner
import tools
import workloads
from measure import RunFailed, rss_floor_bytes
from peers import PEERS
from report import machine, table

FORMAT = 1
OPERON_WORKLOADS = ("fanout", "chain")
WORKLOADS = ("layers", *OPERON_WORKLOADS, "functions", "planner")
TITLES = {
    "layers": "layers: 1,000 shell tasks in 10 layers, 4 in parallel",
    "fanout": "fanout: 100,000 no-ops from a file of items",
    "chain": "chain: 10 no-ops in a row; start-up",
    "functions": "functions: from process start to the first answer on Lambda's runtime API",
    "planner": "planner: a fan-out of 100,000 containers, what the planner's part of it takes and writes",
}


@dataclass(frozen=True)
class Selection:
    """What to run: `tools` are the names that take part in workload A."""

    workloads: Sequence[str]
    tools: Sequence[str]


def select(
    only: Sequence[str], *, with_operon: bool, with_functions: bool = False, with_planner: bool = False
) -> Selection:
    """What `--only` asks for: workloads, tools of workload A, or both; nothing means all.

    Without Operon's binary, all means the peers on workload A; without the functions', no functions; without the planner's, no planner.
    """
    every_tool = [*(["operon"] if with_operon else []), *(peer.name for peer in PEERS)]
    named_workloads = [name for name in WORKLOADS if name in only]
    named_tools = [name for name in every_tool if name in only]
    if not only:
        own = OPERON_WORKLOADS if with_operon else ()
        cloud = (["functions"] if with_functions else []) + (["planner"] if with_planner else [])
        return Selection(["layers", *own, *cloud], every_tool)
    if named_tools and "layers" not in named_workloads:
        named_workloads.insert(0, "layers")
    return Selection(named_workloads, named_tools or every_tool)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line, checked as far as it can be before anything is installed."""
    parser = argparse.ArgumentParser(
        prog="run.py", description="Measure Operon and the tools it is compared with."
    )
    parser.add_argument(
        "--operon",
        type=Path,
        metavar="PATH",
        help="the binary, built for release; without it only the peers are measured",
    )
    parser.add_argument(
        "--tools", type=Path, required=True, metavar="DIR", help="where the peers are installed"
    )
    parser.add_argument(
        "--functions", type=Path, metavar="DIR", help="where the binaries of the Lambda functions are"
    )
    parser.add_argument(
        "--planner", type=Path, metavar="PATH", help="the planner's benchmark, which tests/bench/planner.py builds"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to FILE")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=[*WORKLOADS, "operon", *(peer.name for peer in PEERS)],
        help="workloads (layers, fanout, chain, functions, planner) or tools of workload layers (operon, ninja, ...)",
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs per figure (5)")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.operon is None and {"operon", *OPERON_WORKLOADS} & set(options.only):
        parser.error("--only names something of Operon's: pass its binary with --operon PATH")
    if options.operon is not None:
        options.operon = options.operon.resolve()
        if not os.access(options.operon, os.X_OK) or not options.operon.is_file():
            parser.error(f"--operon {options.operon} is not a program: build it first")
    if options.functions is None and "functions" in options.only:
        parser.error("--only names the functions: pass where their binaries are with --functions DIR")
    if options.functions is not None:
        options.functions = options.functions.resolve()
        for role in functions.INVOCATIONS:
            binary = functions.binary_of(options.functions, role)
            if not os.access(binary, os.X_OK) or not binary.is_file():
                parser.error(f"--functions: {binary} is not a program: build it first")
    if options.planner is None and "planner" in options.only:
        parser.error("--only names the planner: pass its benchmark's binary with --planner PATH")
    if options.planner is not None:
        options.planner = options.planner.resolve()
        if not os.access(options.planner, os.X_OK) or not options.planner.is_file():
            parser.error(f"--planner {options.planner} is not a program: build it first")
    options.tools = options.tools.resolve()
    return options


def operon_version(binary: Path) -> str:
    """What `operon --version` prints."""
    try:
        done = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunFailed(f"{binary} --version: {error}") from error
    return done.stdout.strip()


def run_workload(
    name: str, selection: Selection, options: argparse.Namespace, work: Path
) -> workloads.Result:
    """One workload by its name; raises `RunFailed`."""
    if name == "fanout":
        return workloads.fan_out(options.operon, work, options.runs)
    if name == "chain":
        return workloads.chain(options.operon, work, options.runs)
    if name == "functions":
        figures, samples = functions.starts(options.functions, options.runs)
        return workloads.Result(figures, samples)
    if name == "planner":
        return workloads.Result(planner.figures(options.planner), {})
    chosen = [peer for peer in PEERS if peer.name in selection.tools]
    places = [(peer, tools.ensure(peer, options.tools)) for peer in chosen]
    binary = options.operon if "operon" in selection.tools else None
    return workloads.layers(workloads.contenders(places, binary, options.runs), work)


def report(options: argparse.Namespace) -> tuple[dict[str, object], bool]:
    """Runs what is selected and prints as it goes; the document, and whether all of it ran."""
    selection = select(
        options.only,
        with_operon=options.operon is not None,
        with_functions=options.functions is not None,
        with_planner=options.planner is not None,
    )
    document: dict[str, object] = {"format": FORMAT}
    results: dict[str, object] = {}
    complete = True
    with tempfile.TemporaryDirectory(prefix="operon-bench-") as temporary:
        work = Path(temporary)
        facts = machine() | {"rss_floor_bytes": rss_floor_bytes(work)}
        tool_versions = versions(selection, options)
        document |= {"machine": facts, "versions": tool_versions}
        print(facts_as_text(facts | tool_versions))
        for name in selection.workloads:
            print(f"\n{TITLES[name]}", flush=True)
            try:
                result = run_workload(name, selection, options, work)
            except RunFailed as error:
                print(f"FAILED TO RUN: {error}", flush=True)
                results[name] = {"error": str(error)}
                complete = False
                continue
            print(table(result.figures), flush=True)
            results[name] = {
                "figures": [figure.as_json() for figure in result.figures],
                "samples": {
                    sampled: [asdict(sample) for sample in samples]
                    for sampled, samples in result.samples.items()
                },
            }
    document["workloads"] = results
    return document, complete


def facts_as_text(facts: Mapping[str, object]) -> str:
    """One fact per line, the names aligned."""
    width = max(map(len, facts))
    return "\n".join(f"{name.ljust(width)}  {fact}" for name, fact in facts.items())


def versions(selection: Selection, options: argparse.Namespace) -> dict[str, str]:
    """The version of everything that is measured."""
    pinned = {
        peer.name: tools.pinned_version(peer)
        for peer in PEERS
        if "layers" in selection.workloads and peer.name in selection.tools
    }
    own = {"operon": operon_version(options.operon)} if options.operon else {}
    return own | pinned


def main(arguments: Sequence[str]) -> int:
    """The whole program; returns its exit code."""
    options = parse(arguments)
    try:
        document, complete = report(options)
    except RunFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
