"""The planner's own benchmark, a program in Rust: events a second, and what each task run writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from measure import RunFailed
from report import Bound, Figure, Target

ROOT = Path(__file__).resolve().parents[2]
TASK_RUNS = 100_000
TIMEOUT_S = 1800
# As shared/engine/benches/planner.rs has them.
RATE = Target(Bound.AT_LEAST, 2_000)
UNITS = Target(Bound.AT_MOST, 2.5)
ITEM = Target(Bound.AT_MOST, 65_536)


def figures(binary: Path, task_runs: int = TASK_RUNS) -> list[Figure]:
    """One run of it; it exits with 1 when a target is missed, and says its figures all the same."""
    command = [str(binary), str(task_runs), "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise RunFailed(f"{binary}: {error}") from error
    return [
        Figure("planned over a store in memory", found["events_per_s"], "events/s", RATE),
        Figure("DynamoDB's write units per task run", found["units"], "WRU", UNITS),
        Figure("largest item", found["item_bytes"], "bytes", ITEM),
    ]


def built(profile: str) -> Path:
    """Builds it and gives the binary's path."""
    command = ["cargo", "build", "--locked", "--profile", profile, "-p", "operon-engine", "--bench", "planner"]
    command += ["--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            return Path(message["executable"])
    raise RunFailed("cargo names no binary of the planner's benchmark")


if __name__ == "__main__":
    print(built(sys.argv[1]))
