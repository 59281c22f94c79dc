"""Runs the tests that need AWS, on emulators or at an endpoint.

    python3 run.py [--lane localstack|ministack] [--endpoint URL] [--packaged | --binaries DIRECTORY]

Without arguments both lanes at the same time, and what each says when it is over. `--endpoint` names an emulator that already runs, or
`aws` for the account that the environment's credentials belong to: then only the template is tested, with a probe in place of
every function, and the stack stays and costs money until `aws cloudformation delete-stack` removes it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lanes
from limits import CANNOT

sys.path.insert(0, str(lanes.ROOT / "infra/tools"))

import built  # noqa: E402 - lanes has said where it is
import package  # noqa: E402

SUITE = Path(__file__).resolve().parent / "suite"


def binaries(profile: str) -> Path:
    """Builds what the suite runs and returns the directory it is in."""
    # With the features of the whole workspace, and by the example with those of the tests, so that nothing is built twice.
    command = ["cargo", "build", "--locked", "--profile", profile, "--workspace", "--bins", "--example", built.EXAMPLE]
    if subprocess.run(command, cwd=lanes.ROOT, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        sys.exit("aws: what the suite runs does not build")
    target = lanes.ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    return stripped(target / ("debug" if profile == "dev" else profile), target / "stripped")


def stripped(directory: Path, to: Path) -> Path:
    """Copies the binaries without what only debuggers read: emulators unpack each of them many times."""
    to.mkdir(exist_ok=True)
    functions = [package.program(role) for role in package.ROLES]
    for name in (*functions, "operon-agent", "operon-driver", "operon-probe"):
        subprocess.run(["strip", "-o", str(to / name), str(directory / name)], check=True)
    return to


def packaged(place: Path) -> Path:
    """The functions as `make package` makes them for this machine, with what else is in `place`."""
    try:
        functions = package.build(package.own_arch(), "lambda")
    except (package.PackageFailed, lanes.venvs.InstallFailed) as error:
        sys.exit(f"aws: {error}")
    to = place.parent / "packaged"
    shutil.copytree(place, to, dirs_exist_ok=True)
    for role in package.ROLES:
        binary = package.binary_of(functions, role).read_bytes()
        (to / package.program(role)).write_bytes(package.without_unwinding(binary))
    return to


@contextlib.contextmanager
def lane_of(name: str, endpoint: str | None) -> Iterator[lanes.Lane]:
    """An emulator of our own, or whatever is at the endpoint."""
    if endpoint is None:
        with lanes.start(name) as lane:
            yield lane
    else:
        yield lanes.Lane(name, "" if endpoint == "aws" else endpoint, Path())


@dataclass(frozen=True)
class Wanted:
    """What is run, and with what."""

    binaries: Path
    operon: Path
    pattern: str
    only: list[str]


def run(name: str, endpoint: str | None, wanted: Wanted) -> int:
    """Runs the suite on one lane; its exit code."""
    started = time.monotonic()
    # The client's Python is that of the lane: boto3 is pinned there.
    python = lanes.KINDS["ministack" if endpoint else name].install() / "bin/python"
    with lane_of(name, endpoint) as lane:
        ready = time.monotonic() - started
        environment = dict(os.environ) if endpoint == "aws" else lane.environment()
        environment |= {
            "OPERON_TEST_LANE": name,
            "OPERON_TEST_ENDPOINT": lane.endpoint,
            "OPERON_TEST_BINARIES": str(wanted.binaries),
            "OPERON_TEST_COMMAND": str(wanted.operon),
            "PYTHONPATH": str(SUITE.parent),
        }
        command = [str(python), "-m", "unittest", "discover", "-v", "-s", str(SUITE), "-p", wanted.pattern]
        command += [part for name in wanted.only for part in ("-k", name)]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            print(f"aws: the end of what {name} wrote:\n{lanes.tail(lane)}", flush=True)
    for capability, reason in CANNOT.get(name, {}).items():
        print(f"aws: lane {name} cannot `{capability}`: {reason}", flush=True)
    took = time.monotonic() - started
    print(f"aws: lane {name}: healthy after {ready:.1f} s, over after {took:.0f} s", flush=True)
    return done.returncode


def side_by_side(names: list[str], wanted: Wanted) -> list[int]:
    """Runs the suite on several lanes at once; they wait more than they work. What each says comes in one piece."""
    options = ["--binaries", str(wanted.binaries), "--operon", str(wanted.operon), "--pattern", wanted.pattern]
    options += [part for name in wanted.only for part in ("--only", name)]
    codes: list[int] = []
    with contextlib.ExitStack() as stack:
        started = []
        for name in names:
            said = stack.enter_context(tempfile.TemporaryFile())
            command = [sys.executable, __file__, "--lane", name, *options]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
            stack.callback(child.terminate)
            started.append((child, said))
        for child, said in started:
            codes.append(child.wait())
            said.seek(0)
            print(said.read().decode(errors="replace"), flush=True)
    return codes


def main() -> int:
    """Runs all lanes asked for, and fails if one does."""
    # Asked to end, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description="Tests on emulators of AWS")
    parser.add_argument("--lane", choices=sorted(lanes.KINDS), help="only this one")
    parser.add_argument("--endpoint", help="an emulator that runs already, or `aws`")
    parser.add_argument("--profile", default="dev", help="of cargo")
    made = parser.add_mutually_exclusive_group()
    made.add_argument("--packaged", action="store_true", help="the functions as `make package` makes them: takes long")
    made.add_argument("--binaries", type=Path, help="built before, in this directory")
    parser.add_argument("--operon", type=Path, help="the command line, built before")
    parser.add_argument("--pattern", default="test_*.py", help="only these files of the suite")
    parser.add_argument("--only", action="append", default=[], help="only tests whose name contains this; may be repeated")
    options = parser.parse_args()
    names = [options.lane] if options.lane else sorted(lanes.KINDS, reverse=True)
    if options.endpoint:
        names = ["aws" if options.endpoint == "aws" else options.lane or "endpoint"]
    directory = options.binaries.resolve() if options.binaries else binaries(options.profile)
    if options.packaged:
        directory = packaged(directory)
    try:
        operon = options.operon.resolve() if options.operon else built.operon()
        wanted = Wanted(directory, operon, options.pattern, options.only)
        codes = [run(names[0], options.endpoint, wanted)] if len(names) == 1 else side_by_side(names, wanted)
    except (built.NotBuilt, lanes.LaneFailed, lanes.venvs.InstallFailed) as error:
        sys.exit(f"aws: {error}")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
