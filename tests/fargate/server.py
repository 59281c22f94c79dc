"""The stand-in as a server on a loopback port.

`POST /` is ECS (AWS' JSON protocol 1.1), `GET /v4/…` the task metadata endpoint, `GET /v2/credentials/…` the
credentials of a task's role. `/_fargate/…` is the control interface for tests:

    GET  /_fargate/state                     tasks, calls, events sent, faults, problems
    GET  /_fargate/logs                      lines by log stream
    POST /_fargate/faults                    arms a fault: {"kind": …, "count": …, "startedBy": …, …}
    POST /_fargate/faults/clear
    POST /_fargate/tasks/interrupt           {"task": id, ARN or beginning of startedBy}: Spot
    POST /_fargate/tasks/exhaust             {"task": …, "container": "main"}: out of memory
    POST /_fargate/tasks/forget              {"task": …}: neither described nor listed any more
    POST /_fargate/events/repeat             {"task": …}: all its events once more
    POST /_fargate/tokens/expire
    POST /_fargate/rules                     {"rules": […]}, or {} for those of the emulator's bus
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from errors import EcsError
from events import Bus, Rule, rules_of
from faults import Faults
from lane import Lane, LaneError
from lifecycle import Led, Pace, World
from logs import Streams
from runtime import Runtime
from service import AnswerLost, Rates, Service

_TARGET = "AmazonEC2ContainerServiceV20141113."
_BODY_MAX = 4 * 1024 * 1024


@dataclass
class Options:
    """How a stand-in is set up."""

    runtime: Runtime
    root: Path
    region: str = "eu-central-1"
    port: int = 0
    lane: Lane | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    rates: Rates | None = None
    places: int = 16


class StandIn:
    """A running stand-in."""

    def __init__(self, options: Options) -> None:
        self.faults = Faults()
        self.bus = Bus(self.faults)
        self.streams = Streams(options.lane)
        self._options = options
        self._http = _Server(("127.0.0.1", options.port), self)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        region = {"AWS_REGION": options.region, "AWS_DEFAULT_REGION": options.region}
        lane = {"AWS_ENDPOINT_URL": options.lane.endpoint} if options.lane else {}
        world = World(
            runtime=options.runtime,
            bus=self.bus,
            faults=self.faults,
            streams=self.streams,
            pace=options.pace,
            root=options.root,
            secret=self.secret,
            metadata_url=self.url,
            environment={**region, **lane, **options.environment},
            places=threading.Semaphore(options.places),
        )
        self.service = Service(options.region, world, self.faults, options.rates)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends all tasks at once, and the server."""
        for task in self.service.tasks():
            led = self.service.led(task.arn)
            if led is not None:
                led.end()
        self._http.shutdown()
        self._http.server_close()

    def secret(self, value_from: str) -> str:
        """What `valueFrom` of a task definition names: name or ARN, perhaps with a key of a JSON document."""
        parts = value_from.split(":")
        name, key = value_from, ""
        if value_from.startswith("arn:") and len(parts) > 7:
            name, key = ":".join(parts[:7]), parts[7]
        if name in self._options.secrets:
            value = self._options.secrets[name]
        elif self._options.lane is not None:
            value = self._options.lane.secret(name)
        else:
            raise LaneError(f"ResourceNotFoundException: Secrets Manager can't find the secret {name}")
        if not key:
            return value
        document = json.loads(value)
        if key not in document:
            raise LaneError(f"the secret {name} has no key {key}")
        return str(document[key])

    # The control interface.

    def use_rules(self, body: Mapping[str, object]) -> dict[str, object]:
        """Rules as given, or those of the emulator."""
        listed = body.get("rules")
        if listed is None:
            if self._options.lane is None:
                raise ValueError("there is no emulator whose rules could be read")
            rules: Sequence[Rule] = rules_of(self._options.lane)
        else:
            assert isinstance(listed, list)
            rules = [self._rule(one) for one in listed]
        self.bus.use(rules)
        return {"rules": [rule.name for rule in rules]}

    def _rule(self, one: Mapping[str, object]) -> Rule:
        target = one["target"]
        assert isinstance(target, Mapping)
        pattern = one["pattern"]
        assert isinstance(pattern, Mapping)
        name = str(one.get("name", "rule"))
        lane = self._options.lane
        if "http" in target:
            url = str(target["http"])
            return Rule(name, pattern, lambda event: _post(url, event))
        if lane is None:
            raise ValueError("a target other than `http` needs an emulator")
        if "function" in target:
            function = str(target["function"])
            return Rule(name, pattern, lambda event: lane.invoke(function, event))
        queue = str(target["queue"])
        return Rule(name, pattern, lambda event: lane.enqueue(queue, event))

    def control(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """One request of a test."""
        match path:
            case "state":
                return {
                    "tasks": [task.shown() for task in self.service.tasks()],
                    "calls": self.service.calls,
                    "events": self.bus.sent,
                    "faults": self.faults.shown(),
                    "problems": [*self.bus.problems, *self.streams.problems],
                }
            case "logs":
                return {"streams": self.streams.shown()}
            case "faults":
                return self.faults.arm(body).shown()
            case "faults/clear":
                self.faults.clear()
                return {}
            case "tasks/interrupt":
                self._task(body).interrupt()
                return {}
            case "tasks/exhaust":
                return {"killed": self._task(body).exhaust(str(body.get("container", "main")))}
            case "tasks/forget":
                self._task(body).task.gone = True
                return {}
            case "events/repeat":
                return {"events": self.bus.repeat(self._task(body).task.arn)}
            case "tokens/expire":
                return {"tokens": self.service.expire_tokens()}
            case "rules":
                return self.use_rules(body)
            case _:
                raise ValueError(f"there is no /_fargate/{path}")

    def _task(self, body: Mapping[str, object]) -> Led:
        led = self.service.led(str(body.get("task", "")))
        if led is None:
            raise ValueError(f"there is no task {body.get('task')}")
        return led

    # The metadata endpoint.

    def metadata(self, path: str) -> object | None:
        """`<container>`, `<container>/task`, `<container>/stats`, `<container>/task/stats`."""
        runtime_id, _, rest = path.partition("/")
        led = self.service.by_container(runtime_id)
        if led is None:
            return None
        options = led.log_options()
        match rest:
            case "task":
                return led.task.metadata(options)
            case "task/stats":
                return led.stats()
            case "stats":
                return led.stats().get(runtime_id)
            case "":
                own = [one for one in led.task.containers if one.runtime_id == runtime_id]
                return own[0].metadata(led.task, options.get(own[0].name, {})) if own else None
            case _:
                return None


def _post(url: str, event: Mapping[str, object]) -> None:
    request = urllib.request.Request(url, data=json.dumps(event).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], stand_in: StandIn) -> None:
        self.stand_in = stand_in
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the state says what was asked."""

    def do_GET(self) -> None:
        stand_in = self.server.stand_in
        try:
            if self.path.startswith("/v4/"):
                found = stand_in.metadata(self.path.removeprefix("/v4/"))
                self._answer(200 if found is not None else 404, found)
            elif self.path.startswith("/v2/credentials/"):
                self._answer(200, _credentials())
            elif self.path.startswith("/_fargate/"):
                self._answer(200, stand_in.control(self.path.removeprefix("/_fargate/"), {}))
            else:
                self._answer(404, {"message": "unknown path"})
        except ValueError as error:
            self._answer(400, {"message": str(error)})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _BODY_MAX:
            self.close_connection = True
            self._answer(413, {"__type": "RequestEntityTooLarge"})
            return
        raw = self.rfile.read(length)
        stand_in = self.server.stand_in
        try:
            body = json.loads(raw or b"{}")
            if self.path.startswith("/_fargate/"):
                self._answer(200, stand_in.control(self.path.removeprefix("/_fargate/"), body))
                return
            target = self.headers.get("X-Amz-Target") or ""
            if not target.startswith(_TARGET):
                raise EcsError("UnknownOperationException", f"{target!r} is no operation of ECS")
            self._answer(200, stand_in.service.answer(target.removeprefix(_TARGET), body))
        except EcsError as error:
            self._answer(error.status, error.body(), error.kind)
        except AnswerLost:
            self.close_connection = True
        except (ValueError, KeyError) as error:
            self._answer(400, {"__type": "SerializationException", "message": str(error)})

    def _answer(self, status: int, body: object, kind: str | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(raw)))
        if kind is not None:
            self.send_header("X-Amzn-ErrorType", kind)
        self.end_headers()
        self.wfile.write(raw)


def _credentials() -> dict[str, str]:
    return {
        "RoleArn": "arn:aws:iam::000000000000:role/task",
        "AccessKeyId": "test",
        "SecretAccessKey": "test",
        "Token": "test",
        "Expiration": "2099-01-01T00:00:00Z",
    }
