"""Installing the peers: one virtual environment each, from fully pinned requirements.

Invariant: an environment with a stamp is complete. The stamp is written last and holds a hash of
what the environment was made from, so a cut installation or a changed pin is made anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from measure import RunFailed, environment
from peers import PREFECT_ENV, Peer

HERE = Path(__file__).resolve().parent
_STAMP = ".stamp"
_INSTALL_TIMEOUT_S = 900


def requirements_file(peer: Peer) -> Path:
    """The file that pins every package of the peer's environment."""
    return HERE / f"requirements-{peer.name}.txt"


def pinned_version(peer: Peer) -> str:
    """The peer's own version, from its pin."""
    for line in requirements_file(peer).read_text().splitlines():
        name, separator, version = line.partition("==")
        if separator and name == peer.name:
            return version
    raise RunFailed(f"{requirements_file(peer).name} does not pin {peer.name}")


def stamp_of(peer: Peer) -> str:
    """A hash of all that decides what an environment holds: pins, Python, and this module."""
    content = b"\0".join(
        [requirements_file(peer).read_bytes(), sys.version.encode(), Path(__file__).read_bytes()]
    )
    return hashlib.sha256(content).hexdigest()


def ensure(peer: Peer, tools: Path) -> Path:
    """The peer's environment below `tools`, made if it is not there or not from these pins."""
    place = tools / peer.name
    stamp = place / _STAMP
    if not stamp.is_file() or stamp.read_text() != stamp_of(peer):
        print(f"bench: installing {peer.name} {pinned_version(peer)}", file=sys.stderr)
        _install(peer, place)
        stamp.write_text(stamp_of(peer))
    _run([str(place / peer.start[0]), *peer.start[1:]], place, PREFECT_ENV, clean=True)
    return place


def _install(peer: Peer, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(place)], place.parent, {})
    pip = [str(place / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
    _run([*pip, "--quiet", "--requirement", str(requirements_file(peer))], place, {})
    if peer.name == "prefect":
        # Its empty database, which every run starts from a copy of.
        home = {"PREFECT_HOME": str(place / "prefect-home")}
        upgrade = [str(place / "bin/prefect"), "server", "database", "upgrade", "--yes"]
        _run(upgrade, place, PREFECT_ENV | home, clean=True)


def _run(argv: list[str], directory: Path, extra: dict[str, str], *, clean: bool = False) -> None:
    """Runs a command to success; `clean` hides the caller's settings, which pip may need."""
    env = environment(extra, directory) if clean else os.environ | extra
    try:
        done = subprocess.run(
            argv,
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        tail = done.stdout.decode(errors="replace")[-2_000:]
        raise RunFailed(f"{' '.join(argv)}: exit code {done.returncode}\n{tail}")
