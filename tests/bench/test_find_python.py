"""tests/find-python: the order of its search, and what it does not trust."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "find-python"


class TestFindPython(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name)
        self.path = self.root / "bin"
        self.path.mkdir()
        for needed in ("sort", "head", "cat"):
            found = subprocess.run(
                ["sh", "-c", f"command -v {needed}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            (self.path / needed).symlink_to(found)

    def program(self, place: Path, body: str) -> Path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#!/bin/sh\n{body}\n")
        place.chmod(0o755)
        return place

    def python(self, place: Path, version: tuple[int, int, int]) -> Path:
        """A Python that claims a version and its own path, and otherwise is this one."""
        claim = f"import sys; sys.version_info = {version}; sys.executable = {str(place)!r}\n"
        run = f'exec {shlex.quote(sys.executable)} -c {shlex.quote(claim)}"$2"'
        return self.program(place, run)

    def find(self, **env: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(self.path), "HOME": str(self.root / "home")} | env
        return subprocess.run(
            ["/bin/sh", str(SCRIPT)], env=env, capture_output=True, text=True, check=False
        )

    def assert_found(self, expected: Path, **env: str) -> None:
        found = self.find(**env)
        self.assertEqual(found.stdout, f"{expected}\n", found.stderr)
        self.assertEqual(found.returncode, 0)

    def test_the_callers_choice_comes_first(self) -> None:
        self.python(self.path / "python3.14", (3, 14, 0))
        chosen = self.python(self.root / "mine/python", (3, 12, 0))
        self.assert_found(chosen, PYTHON=str(chosen))

    def test_a_choice_that_is_too_old_is_passed_over_with_a_word(self) -> None:
        new = self.python(self.path / "python3.12", (3, 12, 4))
        old = self.python(self.root / "mine/python", (3, 11, 9))
        self.assert_found(new, PYTHON=str(old))
        self.assertIn("is not a Python >= 3.12", self.find(PYTHON=str(old)).stderr)

    def test_newer_names_come_before_older_ones(self) -> None:
        self.python(self.path / "python3.12", (3, 12, 4))
        newer = self.python(self.path / "python3.13", (3, 13, 0))
        self.assert_found(newer)

    def test_a_shim_that_refuses_to_run_is_passed_over(self) -> None:
        self.program(self.path / "python3.14", "echo 'pyenv: python3.14: not found' >&2; exit 127")
        self.program(self.path / "python3.13", "exit 0")
        plain = self.python(self.path / "python3", (3, 12, 1))
        self.assert_found(plain)

    def test_a_name_says_nothing_about_the_version(self) -> None:
        self.python(self.path / "python3.13", (3, 11, 0))
        self.assertEqual(self.find().returncode, 1)

    def test_pyenvs_versions_come_last_and_newest_first(self) -> None:
        versions = self.root / "home/.pyenv/versions"
        self.python(versions / "3.9.18/bin/python3", (3, 9, 18))
        self.python(versions / "3.12.9/bin/python3", (3, 12, 9))
        newest = self.python(versions / "3.12.10/bin/python3", (3, 12, 10))
        self.assert_found(newest)
        elsewhere = self.python(self.root / "py env/versions/a/bin/python3", (3, 13, 0))
        self.assert_found(elsewhere, PYENV_ROOT=str(self.root / "py env"))
        on_path = self.python(self.path / "python3", (3, 12, 0))
        self.assert_found(on_path)

    def test_none_is_an_error_with_the_remedy(self) -> None:
        found = self.find()
        self.assertEqual((found.returncode, found.stdout), (1, ""))
        self.assertIn("Install one", found.stderr)
        self.assertIn("PYTHON=", found.stderr)


if __name__ == "__main__":
    unittest.main()
