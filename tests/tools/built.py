"""The command line as the tests have built it."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


EXAMPLE = "console_at_issuer"
"""Of the console's tests; see `operon`."""


class NotBuilt(Exception):
    """Cargo has said why."""


def operon() -> Path:
    """The debug binary of `operon`. The Rust suite has built it; this makes sure, also when a suite runs alone."""
    # With the features of the whole workspace, and by the example with those of the tests, so that nothing is built twice.
    build = ["cargo", "build", "--locked", "--quiet", "--workspace", "--bin", "operon", "--example", EXAMPLE]
    if subprocess.run(build, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise NotBuilt("the command line does not build")
    place = subprocess.run(["tests/tools/binary", "debug"], cwd=ROOT, check=True, capture_output=True, text=True)
    return Path(place.stdout.strip())
