"""The whole of Operon on a lane: the template with the project's own functions, the Fargate stand-in as ECS with the
project's own agent, and a driver that asks of it what people ask.

    cloud = cloud.stands()                          # once for all tests of a lane
    cloud.deploy(source)
    execution = cloud.ended("genomics", "demo")     # waits; fails with what is known of it
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deployment
from counting import Counter
from fixtures import BINARIES, ENDPOINT, LANE, aws, until, variables

sys.path.insert(0, str(deployment.ROOT / "tests/fargate"))

from events import Rule, rules_of  # noqa: E402 - of the stand-in
from lane import Lane  # noqa: E402
from lifecycle import Pace  # noqa: E402
from runtime import Image, ProcessRuntime  # noqa: E402
from server import Options, StandIn  # noqa: E402

NAMESPACE = "tests"
ENDED = ("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED")
# An emulator is slower than AWS, and everything of a lane runs on the cores of one machine.
WAIT_S = 240.0 if LANE == "localstack" else 120.0
LIBRARY = "public.ecr.aws/docker/library"


class Driver:
    """The driver (tests/driver) as a child that answers line by line."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [str(BINARIES / "operon-driver")],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()

    def ask(self, wish: object) -> Any:
        """The answer to a wish; a RuntimeError says why there is none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(wish) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the driver ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{json.dumps(wish)[:200]}: {answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@dataclass
class Cloud:
    """A deployment with everything before and behind it."""

    stand: deployment.Deployment
    stand_in: StandIn
    driver: Driver
    root: Path
    rules: list[Rule]

    # What people do.

    def deploy(self, source: str, directory: Path | None = None) -> dict[str, Any]:
        """Makes a flow the one that counts; with the files of a directory."""
        wish = {"source": source, "directory": None if directory is None else str(directory)}
        return dict(self.driver.ask({"deploy": wish}))

    def executions(self, flow: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        """Of a flow."""
        return list(self.driver.ask({"executions": {"namespace": namespace, "flow": flow}}))

    def execution(self, identity: str) -> dict[str, Any]:
        """`row` and `attempts` of one."""
        return dict(self.driver.ask({"execution": identity}))

    def kill(self, identity: str) -> None:
        """Kills one."""
        self.driver.ask({"kill": identity})

    def dead_letters(self) -> list[dict[str, Any]]:
        """What nobody could handle."""
        return list(self.driver.ask({"deadLetters": {}}))

    def start(self, flow: str, **inputs: object) -> str:
        """Starts an execution as the command line does: by an invocation of intake. Gives its id."""
        wish = {"operon": "start", "namespace": NAMESPACE, "flow": flow, "inputs": inputs}
        return str(self.invoke("intake", wish)["id"])

    def upload(self, key: str, body: bytes) -> None:
        """Puts an object where uploads start flows."""
        aws().client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)

    # What AWS does.

    def invoke(self, role: str, event: object) -> Any:
        """Calls a function and gives its answer."""
        answer = aws().client("lambda").invoke(
            FunctionName=f"operon-{self.stand.stage}-{role}:live", Payload=json.dumps(event).encode()
        )
        text = answer["Payload"].read().decode()
        if "FunctionError" in answer:
            raise RuntimeError(f"{role}: {text}")
        return json.loads(text or "null")

    def reconcile(self) -> Any:
        """What happens each minute."""
        return self.invoke("reconciler", {"source": "aws.events"})

    @contextlib.contextmanager
    def without_reader(self, name: str) -> Iterator[None]:
        """A queue that no function reads for a while."""
        client = aws().client("lambda")
        listed = client.list_event_source_mappings()["EventSourceMappings"]
        (mapping,) = [one["UUID"] for one in listed if one["EventSourceArn"].endswith(f"operon-{self.stand.stage}-{name}")]

        def switch(on: bool) -> None:
            client.update_event_source_mapping(UUID=mapping, Enabled=on)
            wanted = "Enabled" if on else "Disabled"
            until(lambda: client.get_event_source_mapping(UUID=mapping)["State"] == wanted, f"{name} is {wanted}")

        switch(False)
        try:
            yield
        finally:
            switch(True)

    def probe(self, started_by: str) -> None:
        """Lets the launcher ask ECS after an attempt, as a tick does when nothing was heard of it for five minutes."""
        execution, shard, slot, attempt = started_by.split("/")
        identity = {
            "execution": execution, "task_run": {"shard": shard, "slot": int(slot)}, "attempt": int(attempt),
        }  # fmt: skip
        launched = int(time.time() * 1000) - 300_000
        message = {"v": 1, "kind": "probe", "id": identity, "launchedMs": launched, "missed": 0}
        aws().client("sqs").send_message(QueueUrl=self.queue("launch"), MessageBody=json.dumps(message))

    # What is seen.

    @property
    def bucket(self) -> str:
        """The data bucket."""
        return self.stand.outputs["DataBucket"]

    def queue(self, name: str) -> str:
        """URL of a queue."""
        found = aws().client("sqs").get_queue_url(QueueName=f"operon-{self.stand.stage}-{name}")
        return str(found["QueueUrl"])

    def depth(self, name: str) -> int:
        """Messages in a queue that are not delayed."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = aws().client("sqs").get_queue_attributes(QueueUrl=self.queue(name), AttributeNames=names)
        return sum(int(found["Attributes"][one]) for one in names)

    def tasks(self, execution: str) -> list[dict[str, Any]]:
        """Of an execution, as the stand-in knows them."""
        every = self.stand_in.control("state", {})["tasks"]
        assert isinstance(every, list)
        return [task for task in every if str(task.get("startedBy", "")).startswith(f"{execution}/")]

    def control(self, path: str, **body: object) -> dict[str, Any]:
        """The control interface of the stand-in."""
        return dict(self.stand_in.control(path, body))

    def one(self, flow: str, namespace: str = NAMESPACE) -> str:
        """The id of the only execution of a flow, once there is one."""
        found = until(lambda: self.executions(flow, namespace), f"an execution of {namespace}.{flow}", WAIT_S)
        assert len(found) == 1, found
        return str(found[0]["meta"]["id"])

    def ended(self, identity: str, seconds: float = WAIT_S) -> dict[str, Any]:
        """An execution at its end."""
        return self.until(identity, lambda found: found["row"]["state"] in ENDED, "ended", seconds)

    def until(
        self, identity: str, wanted: Callable[[dict[str, Any]], bool], what: str, seconds: float = WAIT_S
    ) -> dict[str, Any]:
        """An execution once something holds of it; the failure shows all that is known of it."""
        end = time.monotonic() + seconds
        while True:
            found = self.execution(identity)
            if wanted(found):
                return found
            if time.monotonic() > end:
                raise AssertionError(f"{identity}: not {what} within {seconds:.0f} s\n{self.explained(identity)}")
            time.sleep(0.3)

    def explained(self, identity: str) -> str:
        """All that is known of an execution."""
        found = self.execution(identity)
        row = found["row"]
        lines = [f"{row['state']} {row['reason'] or ''}"]
        for one in found["attempts"]:
            lines.append(
                f"  {one['name']} attempt {one['attempt']}: {one['state']} {one['reason'] or ''} {one['message'] or ''}"
            )
        for task in self.tasks(identity):
            codes = {one["name"]: one.get("exitCode", one["lastStatus"]) for one in task["containers"]}
            lines.append(f"  task {task['startedBy']}: {task['lastStatus']} {task.get('stopCode', '')} {codes}")
        depths = {name: self.depth(name) for name in ("intake", "plan", "launch", "work")}
        depths |= {f"{name}-dlq": self.depth(f"{name}-dlq") for name in list(depths)}
        lines.append(f"  queues {depths}")
        problems = self.stand_in.control("state", {})["problems"]
        lines.append(f"  problems of the stand-in: {problems}")
        for role in deployment.ROLES:
            for line in self.said(role)[-6:]:
                lines.append(f"  {role}: {line[:600]}")
        return "\n".join(lines)

    def said(self, role: str) -> list[str]:
        """Warnings and errors that a function logged."""
        logs = aws().client("logs")
        lines: list[str] = []
        group = f"/operon/{self.stand.stage}/{role}"
        for name in (group, f"/aws/lambda/operon-{self.stand.stage}-{role}"):
            try:
                streams = logs.describe_log_streams(logGroupName=name)["logStreams"]
            except logs.exceptions.ResourceNotFoundException:
                continue
            for stream in streams[-5:]:
                found = logs.get_log_events(logGroupName=name, logStreamName=stream["logStreamName"])
                lines.extend(event["message"].strip() for event in found["events"])
        return [line for line in lines if "WARN" in line or "ERROR" in line or "panic" in line or "rror:" in line]


def _programs(root: Path) -> str:
    """A PATH on which `python3` is the Python of the tests, which is new enough for the demo."""
    place = root / "bin"
    place.mkdir()
    (place / "python3").symlink_to(Path(sys.executable).resolve())
    return f"{place}:{os.environ.get('PATH', os.defpath)}"


def endpoints(counter: Counter | None, who: str, ecs: str = "") -> dict[str, str]:
    """Variables that lead one who asks by the counter, if there is one. By service, because an emulator overwrites
    AWS_ENDPOINT_URL of its functions."""
    if counter is None or ENDPOINT is None:
        return {}
    url = counter.before(ENDPOINT, who)
    found = {f"AWS_ENDPOINT_URL_{service}": url for service in ("DYNAMODB", "SQS", "S3", "SECRETS_MANAGER")}
    return {**found, "AWS_ENDPOINT_URL_ECS": counter.before(ecs, who)} if ecs else found


@functools.cache
def stands() -> Cloud:
    """The deployment with the real functions, made once for a lane."""
    return stand()


def stand(counter: Counter | None = None) -> Cloud:
    """A deployment with the real functions, which is gone with this process; what it asks of AWS is counted if somebody
    wants to know."""
    assert ENDPOINT is not None, "the stand-in takes the place of ECS before an emulator"
    directory = tempfile.TemporaryDirectory(prefix="operon-", ignore_cleanup_errors=True)
    root = Path(directory.name)
    path = {"PATH": _programs(root)}
    shell = Image(command=("/bin/sh",), environment=path)
    images = {
        "agent": Image(entry_point=(str(BINARIES / "operon-agent"),)),
        "shell": Image(entry_point=("/bin/sh", "-c"), environment=path),
        f"{LIBRARY}/debian:stable-slim": shell,
        f"{LIBRARY}/python:3.13-slim": shell,
    }
    lane = Lane(ENDPOINT, aws().region)
    stand_in = StandIn(
        Options(
            runtime=ProcessRuntime(images, root / "c"),
            root=root,
            region=aws().region,
            lane=lane,
            # What is not mounted must be told to the agent.
            environment={"OPERON_VOLUME": "/operon/", **endpoints(counter, "agent")},
            pace=Pace(stop_scale=0.2),
            places=4,
        )
    )
    atexit.register(directory.cleanup)
    atexit.register(stand_in.close)
    stage = f"r{uuid.uuid4().hex[:6]}"
    own = {role: endpoints(counter, role, stand_in.url) for role in deployment.ROLES}
    stand = deployment.deploy(
        aws(),
        {role: BINARIES / f"operon-{role}-function" for role in deployment.ROLES},
        stage,
        {"AgentImage": "agent"},
        {**variables(), "AWS_ENDPOINT_URL_ECS": stand_in.url},
        own,
    )
    rules = [rule for rule in rules_of(lane) if rule.name.startswith(f"operon-{stage}-")]
    stand_in.bus.use(rules)
    for queue in ("intake", "plan", "launch", "work"):
        # What failed is tried again after seconds and not minutes.
        url = aws().client("sqs").get_queue_url(QueueName=f"operon-{stage}-{queue}")["QueueUrl"]
        aws().client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "8"})
    function = aws().client("lambda").get_function_configuration(FunctionName=f"operon-{stage}-planner")
    given = function["Environment"]["Variables"].items()
    # What the driver asks is no request of the planner.
    driver = Driver({name: value for name, value in given if name not in own["planner"]} | {"AWS_ENDPOINT_URL_ECS": stand_in.url})
    atexit.register(driver.close)
    return Cloud(stand, stand_in, driver, root, rules)
