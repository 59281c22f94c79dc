"""Starting and ending lanes, and what is said about them, without an emulator."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

import lanes
from limits import CANNOT

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


class TestStop(unittest.TestCase):
    """Nothing outlives its lane."""

    def test_what_ignores_its_end_is_killed_with_its_children(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        child = int(process.stdout.readline())
        before, lanes._STOP_TIMEOUT_S = lanes._STOP_TIMEOUT_S, 1
        try:
            lanes.stop(process)
        finally:
            lanes._STOP_TIMEOUT_S = before
        process.stdout.close()
        self.assertEqual(process.returncode, -signal.SIGKILL)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.lives(child):
            time.sleep(0.05)
        self.assertFalse(self.lives(child))

    def lives(self, pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        return state != "Z"


class TestEnvironment(unittest.TestCase):
    """No test may reach an account."""

    def test_the_callers_configuration_of_aws_is_hidden(self) -> None:
        lane = lanes.Lane("ministack", "http://127.0.0.1:1", lanes.HERE)
        found = {key: value for key, value in lane.environment().items() if key.startswith("AWS_")}
        self.assertEqual(found["AWS_ACCESS_KEY_ID"], "test")
        self.assertEqual(found["AWS_ENDPOINT_URL"], "http://127.0.0.1:1")
        self.assertNotIn("AWS_PROFILE", found)


class TestLimits(unittest.TestCase):
    """What a lane cannot do is written where people look for it."""

    def test_docs_list_every_limit_with_its_reason(self) -> None:
        text = " ".join((lanes.ROOT / "docs/testing.md").read_text(encoding="utf-8").split())
        for lane, limits in CANNOT.items():
            self.assertIn(lane, lanes.KINDS)
            for capability, reason in limits.items():
                with self.subTest(lane=lane, capability=capability):
                    self.assertIn(f"`{capability}`", text)
                    self.assertIn(reason, text)


if __name__ == "__main__":
    unittest.main()
