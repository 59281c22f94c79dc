"""Checks the infrastructure: cfn-lint, `sam validate --lint`, checkov, and that the Terraform module parses.

    python3 check.py

The tools are installed below .tools from infra/requirements-*.txt. None of them speaks to AWS.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INFRA = Path(__file__).resolve().parents[1]
ROOT = INFRA.parent
sys.path.insert(0, str(ROOT / "tests/tools"))

import venvs  # noqa: E402 - it lives with the tools of the tests

_PARSE = """
import pathlib, sys
import hcl2
for name in sys.argv[1:]:
    try:
        hcl2.loads(pathlib.Path(name).read_text(encoding="utf-8"))
    except Exception as error:
        sys.exit(f"{name}: {error}")
"""


def commands() -> list[list[str]]:
    """What is run, in this order."""
    lint = venvs.ensure("lint", INFRA / "requirements-lint.txt") / "bin"
    checkov = venvs.ensure("checkov", INFRA / "requirements-checkov.txt") / "bin"
    template = str(INFRA / "template.yaml")
    modules = sorted(str(path) for path in (INFRA / "terraform").rglob("*.tf"))
    return [
        [str(lint / "cfn-lint"), "--non-zero-exit-code", "informational", template],
        [str(lint / "sam"), "validate", "--lint", "--template", template],
        [str(lint / "python"), "-c", _PARSE, *modules],
        [str(checkov / "checkov"), "--config-file", str(INFRA / ".checkov.yaml"), "--skip-download",
         "--file", template, *modules],
    ]  # fmt: skip


def main() -> int:
    """Runs all of them; returns 1 if one found something."""
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAM_CLI_TELEMETRY": "0",
        # A check reads no one's configuration of AWS.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    failed = False
    try:
        for command in commands():
            tool = " ".join([Path(command[0]).name, *command[1:2]]) if "-c" not in command else "terraform parses"
            done = subprocess.run(command, cwd=INFRA, env=environment, check=False, stdin=subprocess.DEVNULL)
            print(f"infrastructure: {tool}: {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
            failed |= done.returncode != 0
    except venvs.InstallFailed as error:
        sys.exit(f"check: {error}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
