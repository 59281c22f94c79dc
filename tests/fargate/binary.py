"""The agent's binary: the one that OPERON_AGENT names, or this workspace's, built when it is first wanted."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def agent() -> Path:
    """Its path; an AssertionError says what is missing."""
    if named := os.environ.get("OPERON_AGENT"):
        path = Path(named).resolve()
        assert path.is_file(), f"OPERON_AGENT names {path}, and there is no such file"
        return path
    # The whole workspace's features, as the Rust tests have them: nothing is compiled twice.
    command = ["cargo", "build", "--locked", "--workspace", "--bin", "operon-agent", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, f"{' '.join(command)} failed:\n{built.stderr[-4000:]}"
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            if message["target"]["name"] == "operon-agent":
                return Path(message["executable"])
    raise AssertionError(f"{' '.join(command)} told of no executable")
