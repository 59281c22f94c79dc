"""The agent's binary beside a program, containers being processes.

    python3 test_agent.py

Builds the agent with cargo unless OPERON_AGENT names one.
"""

from __future__ import annotations

import unittest

from binary import agent
from lifecycle import Pace
from runtime import Image, ProcessRuntime
from scenario import ATTEMPT, SECRET, Stories, shell, spec
from server import Options


class WithProcesses(Stories):
    def options(self) -> Options:
        images = {"shell": Image(entry_point=("/bin/sh",)), "agent": Image(entry_point=(str(agent()),))}
        return Options(
            runtime=ProcessRuntime(images, self.root / "containers"),
            root=self.root,
            secrets={"plain": SECRET},
            environment={
                "AWS_ENDPOINT_URL": self.cloud.url,
                # What is not mounted must be told to the agent.
                "OPERON_VOLUME": "/operon/",
            },
            pace=Pace(stop_scale=0.2),
        )

    def test_a_secret_that_the_agent_does_not_get_stops_everything(self) -> None:
        document = spec(inputFiles=[shell("#!/bin/sh\ntouch ran\n")], secretVariables=["OPERON_SECRET_9"])
        task = self.stopped(self.launched(document))
        codes = {one["name"]: one.get("exitCode") for one in task["containers"]}
        self.assertEqual(codes["agent"], 78)
        self.assertEqual(list(self.root.glob("*/volumes/operon/work/ran")), [])
        self.assertIn("OPERON_SECRET_9", str(self.control("logs")))

    def test_a_specification_of_another_attempt_is_refused(self) -> None:
        task = self.stopped(self.launched(spec(attempt="e-1:0:3:2")))
        codes = {one["name"]: one.get("exitCode") for one in task["containers"]}
        self.assertEqual((codes["stage"], codes["agent"]), (78, 78))
        self.assertIn(ATTEMPT, str(self.control("logs")))


del Stories

if __name__ == "__main__":
    unittest.main()
