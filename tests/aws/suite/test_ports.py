"""The ports of Operon on AWS (shared/aws) keep their contracts on this lane: a test target of its own, in Rust."""

from __future__ import annotations

import subprocess
import unittest
from pathlib import Path

from fixtures import LANE
from limits import CANNOT

ROOT = Path(__file__).resolve().parents[3]


class Ports(unittest.TestCase):
    """State, records, artifacts, queues, secrets, logs, and what they cost."""

    def test_they_keep_their_contracts(self) -> None:
        """All tests of the target `aws-ports`; it finds the lane by AWS_ENDPOINT_URL."""
        # The whole workspace, so that the crates of AWS are those that other builds have made already.
        command = ["cargo", "test", "--locked", "--workspace", "--test", "aws-ports"]
        if "conditional-delete" in CANNOT.get(LANE, {}):
            command += ["--", "--skip", "an_object_is_removed_or_moved"]
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        print(done.stdout, flush=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-8000:])


if __name__ == "__main__":
    unittest.main()
