"""The Fargate stand-in in front of a lane: what its tasks do reaches the functions by the template's rules.

The functions are probes; what the real watcher makes of an event is tested beside it.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import deployment
from fixtures import ENDPOINT, aws, probed, until

sys.path.insert(0, str(deployment.ROOT / "tests/fargate"))

from events import Rule, rules_of  # noqa: E402 - of the stand-in
from lane import Lane  # noqa: E402
from lifecycle import Pace  # noqa: E402
from runtime import Image, ProcessRuntime  # noqa: E402
from server import Options, StandIn  # noqa: E402


@unittest.skipIf(ENDPOINT is None, "AWS itself needs no stand-in")
class TestEvents(unittest.TestCase):
    """From the end of a task to the watcher."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        root = Path(directory.name)
        image = Image(entry_point=("/bin/sh", "-c"), command=("exit 0",))
        lane = Lane(str(ENDPOINT), aws().region)
        self.stand_in = StandIn(
            Options(
                runtime=ProcessRuntime({"shell": image}, root / "containers"),
                root=root,
                region=aws().region,
                lane=lane,
                pace=Pace(stop_scale=0.05),
            )
        )
        self.addCleanup(self.stand_in.close)
        self.heard: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        prefix = f"operon-{probed().stage}-"
        rules = [self.watched(rule) for rule in rules_of(lane) if rule.name.startswith(prefix)]
        self.assertEqual(len(rules), 2, "stopped and interrupted are the template's rules about ECS")
        self.stand_in.bus.use(rules)
        self.ecs = deployment.Aws(self.stand_in.url).client("ecs")

    def watched(self, rule: Rule) -> Rule:
        """The rule, noting what its target took."""

        def deliver(event: Mapping[str, Any]) -> None:
            rule.deliver(event)
            with self.lock:
                self.heard.append((rule.name.rpartition("-")[2], event["detail"]["startedBy"]))

        return Rule(rule.name, rule.pattern, deliver)

    def run_task(self, command: str, started_by: str) -> str:
        cluster = f"operon-{probed().stage}"
        self.ecs.register_task_definition(
            family="probe",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "main", "image": "shell", "command": [command]}],
        )
        answer = self.ecs.run_task(
            cluster=cluster,
            taskDefinition="probe",
            startedBy=started_by,
            networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        )
        return str(answer["tasks"][0]["taskArn"])

    def test_the_watcher_is_told_of_a_failure_and_not_of_success(self) -> None:
        cluster = f"operon-{probed().stage}"
        tasks = [self.run_task("exit 0", "good"), self.run_task("exit 3", "bad")]

        def stopped() -> bool:
            found = self.ecs.describe_tasks(cluster=cluster, tasks=tasks)["tasks"]
            return all(task["lastStatus"] == "STOPPED" for task in found)

        until(stopped, "the end of both tasks")
        self.stand_in.bus.flush()
        until(lambda: bool(self.heard), "an event at the watcher")
        self.assertEqual(self.heard, [("stopped", "bad")])
        self.assertEqual(self.stand_in.bus.problems, [])


if __name__ == "__main__":
    unittest.main()
