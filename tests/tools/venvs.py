"""Virtual environments of tools written in Python, below .tools, from fully pinned requirements.

    python3 venvs.py NAME REQUIREMENTS [PACKAGE_DIRECTORY]   prints the environment's directory

Invariant: an environment with a stamp is complete. The stamp is written last and holds a hash of what
the environment was made from and where, so a cut installation, a changed pin or a moved checkout is made anew. Two processes that
want the same environment wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
_STAMP = ".stamp"
_INSTALL_TIMEOUT_S = 1200


class InstallFailed(Exception):
    """An environment could not be made; the message ends with what pip said."""


def stamp_of(requirements: Path, package: Path | None, place: Path) -> str:
    """A hash of all that decides what an environment holds: pins, Python, this module, where it is, the own package."""
    parts = [requirements.read_bytes(), sys.version.encode(), Path(__file__).read_bytes(), os.fsencode(place)]
    if package is not None:
        files = sorted(path for path in package.rglob("*") if path.suffix in {".py", ".toml"})
        parts += [part for path in files for part in (path.name.encode(), path.read_bytes())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def ensure(name: str, requirements: Path, package: Path | None = None, tools: Path = TOOLS) -> Path:
    """The environment `tools/name`, made if it is not there or not from these pins.

    `package` is the directory of a package of this repository that is installed into it, too.
    """
    tools.mkdir(parents=True, exist_ok=True)
    # What pip writes names its interpreter by its whole path, so a moved checkout needs its own anew.
    place = tools.resolve() / name
    wanted = stamp_of(requirements, package, place)
    stamp = place / _STAMP
    with (tools / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            started = time.monotonic()
            print(f"installing {requirements.name} into {place}", file=sys.stderr, flush=True)
            _install(place, requirements, package)
            stamp.write_text(wanted)
            print(f"installed in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return place


def _install(place: Path, requirements: Path, package: Path | None) -> None:
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(place)])
    pip = [str(place / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    # Compiling everything would take longer than what is used takes to compile itself.
    pip.append("--no-compile")
    _run([*pip, "--require-hashes", "--requirement", str(requirements)])
    if package is not None:
        # A copy, because a build leaves its traces beside the sources.
        copy = place / "own-package"
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
        _run([*pip, "--no-deps", "--no-build-isolation", str(copy)])


def _run(argv: list[str]) -> None:
    # PYTHONDONTWRITEBYTECODE would make every later start of the tools slow.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailed(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        tail = done.stdout.decode(errors="replace")[-2_000:]
        raise InstallFailed(f"{' '.join(argv)}: exit code {done.returncode}\n{tail}")


def main() -> int:
    """Makes one environment."""
    if not 3 <= len(sys.argv) <= 4:
        sys.exit("venvs: takes NAME REQUIREMENTS [PACKAGE_DIRECTORY]")
    package = Path(sys.argv[3]).resolve() if len(sys.argv) == 4 else None
    try:
        print(ensure(sys.argv[1], Path(sys.argv[2]).resolve(), package))
    except InstallFailed as error:
        sys.exit(f"venvs: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
