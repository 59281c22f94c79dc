"""What the tests share: a stand-in with shell images, a client, and waiting for what must come."""

from __future__ import annotations

import json
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from events import Rule
from lifecycle import Pace
from runtime import Image, ProcessRuntime
from server import Options, StandIn
from service import Rates

# A test that waits longer has found something that does not come.
PATIENCE_S = 60.0

SHELL = {"shell": Image(entry_point=("/bin/sh", "-c"), command=("exit 0",))}


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.kind = str(body.get("__type"))
        self.message = str(body.get("message"))
        self.body = body


def call(url: str, operation: str, **request: object) -> dict[str, Any]:
    """One request to ECS, as an SDK makes it."""
    return post(f"{url}/", request, {"X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}"})


def post(url: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """JSON out, JSON in."""
    request = urllib.request.Request(url, json.dumps(body).encode(), dict(headers or {}), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        raise Refused(error.code, json.loads(error.read() or b"{}")) from error


def container(name: str, command: str | None = None, **more: object) -> dict[str, object]:
    """A container of the image `shell`."""
    words = {} if command is None else {"command": [command]}
    return {"name": name, "image": "shell", **words, **more}


def until(what: Callable[[], Any], about: str) -> Any:
    """Waits for something to be true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{about} did not come within {PATIENCE_S:.0f} s")
        time.sleep(0.01)
    return found


class StandInCase(unittest.TestCase):
    """A test with a stand-in of its own."""

    images: Mapping[str, Image] = SHELL
    rates: Callable[[], Rates] | None = None

    def setUp(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.addCleanup(self._directory.cleanup)
        self.root = Path(self._directory.name)
        self.stand_in = StandIn(self.options())
        self.addCleanup(self.stand_in.close)
        self.events: list[Mapping[str, Any]] = []
        everything = {"source": ["aws.ecs"]}
        self.stand_in.bus.use([Rule("all", everything, self.events.append)])

    def options(self) -> Options:
        """How the stand-in is set up."""
        return Options(
            runtime=ProcessRuntime(self.images, self.root / "containers"),
            root=self.root,
            secrets={"arn:aws:secretsmanager:eu-central-1:0:secret:s-1": '{"password": "hunter2"}', "plain": "x"},
            pace=Pace(stop_scale=0.05),
            rates=None if self.rates is None else self.rates(),
        )

    def ecs(self, operation: str, **request: object) -> dict[str, Any]:
        """One request."""
        return call(self.stand_in.url, operation, **request)

    def control(self, path: str, **body: object) -> dict[str, Any]:
        """One request to the control interface."""
        return post(f"{self.stand_in.url}/_fargate/{path}", body)

    def register(self, containers: Sequence[Mapping[str, object]], family: str = "f") -> str:
        """Registers a definition; gives its ARN."""
        answer = self.ecs(
            "RegisterTaskDefinition",
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=containers,
            volumes=[{"name": "operon"}],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def run_task(self, definition: str, **request: object) -> dict[str, Any]:
        """RunTask with what it always needs."""
        network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
        return self.ecs("RunTask", taskDefinition=definition, networkConfiguration=network, **request)

    def started(self, containers: Sequence[Mapping[str, object]], **request: object) -> str:
        """Registers and runs; gives the task's ARN."""
        answer = self.run_task(self.register(containers), **request)
        return str(answer["tasks"][0]["taskArn"])

    def described(self, arn: str) -> dict[str, Any]:
        """One task."""
        found: dict[str, Any] = self.ecs("DescribeTasks", tasks=[arn])["tasks"][0]
        return found

    def stopped(self, arn: str) -> dict[str, Any]:
        """One task, at its end."""

        def look() -> dict[str, Any] | None:
            task = self.described(arn)
            return task if task["lastStatus"] == "STOPPED" else None

        found: dict[str, Any] = until(look, "STOPPED")
        return found

    def statuses(self, arn: str) -> list[str]:
        """Of the events of a task, in the order in which they came."""
        self.stand_in.bus.flush()
        return [event["detail"]["lastStatus"] for event in self.events if event["resources"] == [arn]]
