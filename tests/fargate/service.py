"""The operations of ECS that Operon uses, as ECS answers them."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from definitions import ACCOUNT, Definitions, check_size
from errors import EcsError, disguised_throttle, invalid, throttled
from faults import Faults, Kind
from lifecycle import Led, World
from model import Task
from rates import Bucket

OVERRIDES_MAX = 8192
DESCRIBE_MAX = 100
_RUN_COUNT_MAX = 10
_TOKEN = re.compile(r"[!-~]{1,64}")
_STARTED_BY = re.compile(r"[A-Za-z0-9_/-]{1,128}")
_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"


class AnswerLost(Exception):
    """The request was carried out, and the caller does not learn it."""


@dataclass
class _Token:
    """What a client token was used for."""

    request: str
    arns: list[str]


@dataclass
class Rates:
    """The quotas of an account; for Spot and on demand apart."""

    calls: Bucket
    launches: Mapping[str, Bucket]

    @classmethod
    def of_aws(cls, clock: Callable[[], float] = time.monotonic) -> Rates:
        """AWS' defaults."""
        kinds = ("FARGATE", "FARGATE_SPOT")
        return cls(Bucket(20, 20, clock), {kind: Bucket(100, 20, clock) for kind in kinds})


@dataclass
class Service:
    """The state of one region."""

    region: str
    world: World
    faults: Faults
    rates: Rates | None
    definitions: Definitions = field(init=False)
    calls: dict[str, int] = field(default_factory=dict)
    _led: dict[str, Led] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], _Token] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.definitions = Definitions(self.region)

    def answer(self, operation: str, request: Mapping[str, object]) -> dict[str, object]:
        """Carries out one request."""
        handler = _OPERATIONS.get(operation)
        if handler is None:
            raise EcsError("UnknownOperationException", f"{operation} is not known here")
        with self._lock:
            self.calls[operation] = self.calls.get(operation, 0) + 1
        by = str(request.get("startedBy") or "")
        if self.faults.take(Kind.THROTTLE, operation=operation, started_by=by):
            raise throttled()
        if self.faults.take(Kind.THROTTLE_DISGUISED, operation=operation, started_by=by):
            raise disguised_throttle()
        if fault := self.faults.take(Kind.ERROR, operation=operation, started_by=by):
            raise EcsError(str(fault.options["type"]), str(fault.options["message"]))
        answer = handler(self, request)
        if self.faults.take(Kind.ANSWER_LOST, operation=operation, started_by=by):
            raise AnswerLost
        return answer

    # For the control interface and the metadata endpoint.

    def led(self, name: str) -> Led | None:
        """A task by id, ARN or the beginning of `startedBy`; the newest of several."""
        with self._lock:
            found = self._led.get(name.rsplit("/", 1)[-1]) if "/" not in name or name.startswith("arn:") else None
            if found is None:
                named = [led for led in self._led.values() if (led.task.started_by or "").startswith(name)]
                found = named[-1] if named else None
            return found

    def by_container(self, runtime_id: str) -> Led | None:
        """The task of a container."""
        return self._led.get(runtime_id.rsplit("-", 1)[0])

    def tasks(self) -> list[Task]:
        """All, oldest first."""
        with self._lock:
            return [led.task for led in self._led.values()]

    def expire_tokens(self) -> int:
        """Forgets all client tokens, as ECS does an hour after a task's end."""
        with self._lock:
            count = len(self._tokens)
            self._tokens.clear()
            return count

    # Operations.

    def _run_task(self, request: Mapping[str, object]) -> dict[str, object]:
        definition = self.definitions.find(request.get("taskDefinition"))
        cluster = self._cluster_arn(request)
        _check_run(request, definition)
        token = request.get("clientToken")
        parameters = json.dumps(
            {name: value for name, value in request.items() if name != "clientToken"}, sort_keys=True
        )
        with self._lock:
            known = self._tokens.get((cluster, str(token))) if token is not None else None
            if known is not None:
                if known.request != parameters:
                    raise EcsError(
                        "ConflictException",
                        "The request parameters do not match those of the request with the same client token.",
                        resource_ids=known.arns,
                    )
                tasks = [led.task.shown() for arn in known.arns if (led := self.led(arn))]
                return {"tasks": tasks, "failures": []}
            provider = _provider(request)
            count = int(str(request.get("count") or 1))
            if self.rates is not None:
                if not self.rates.calls.take(1):
                    raise throttled()
                if not self.rates.launches[provider].take(count):
                    raise throttled("Tasks provisioning capacity limit exceeded.")
            by = str(request.get("startedBy") or "")
            if fault := self.faults.take(Kind.FAILURE, operation="RunTask", started_by=by):
                return {"tasks": [], "failures": [{"reason": str(fault.options["reason"])}]}
            # Shown of tasks that were launched by a strategy, not of those with a launch type.
            named = provider if request.get("capacityProviderStrategy") else None
            fault = self.faults.take(Kind.CAPACITY, operation="RunTask", started_by=by, status=provider)
            if fault is not None:
                return {"tasks": [], "failures": [{"reason": _CAPACITY}]}
            begun = [self._begin(request, definition, cluster, named) for _ in range(count)]
            if token is not None:
                self._tokens[cluster, str(token)] = _Token(parameters, [led.task.arn for led in begun])
            shown = [led.task.shown() for led in begun]
        for led in begun:
            led.begin()
        return {"tasks": shown, "failures": []}

    def _begin(
        self, request: Mapping[str, object], definition: Mapping[str, object], cluster: str, provider: str | None
    ) -> Led:
        overrides = request.get("overrides") or {}
        assert isinstance(overrides, Mapping)
        by = request.get("startedBy")
        task = Task(
            cluster_arn=cluster,
            definition=definition,
            overrides=overrides,
            started_by=None if by is None else str(by),
            group=str(request.get("group") or f"family:{definition['family']}"),
            capacity_provider=provider,
            region=self.region,
        )
        led = Led(task, self.world)
        self._led[task.id] = led
        if self.faults.take(Kind.VANISH, started_by=task.started_by or ""):
            task.gone = True
        return led

    def _list_tasks(self, request: Mapping[str, object]) -> dict[str, object]:
        cluster = self._cluster_arn(request)
        desired = str(request.get("desiredStatus") or "RUNNING")
        if desired not in ("RUNNING", "PENDING", "STOPPED"):
            raise invalid("Invalid desiredStatus.")
        limit = min(int(str(request.get("maxResults") or 100)), 100)
        start = int(str(request.get("nextToken") or 0))
        found = [
            task.arn
            for task in self.tasks()
            if task.cluster_arn == cluster
            and task.desired == desired
            and not task.gone
            and ("startedBy" not in request or task.started_by == request["startedBy"])
            and ("family" not in request or task.family == request["family"])
        ]
        answer: dict[str, object] = {"taskArns": found[start : start + limit]}
        if start + limit < len(found):
            answer["nextToken"] = str(start + limit)
        return answer

    def _describe_tasks(self, request: Mapping[str, object]) -> dict[str, object]:
        cluster = self._cluster_arn(request)
        names = request.get("tasks")
        if not isinstance(names, list) or not names:
            raise invalid("Tasks cannot be empty.")
        if len(names) > DESCRIBE_MAX:
            raise invalid("Tasks cannot be more than 100.")
        tasks, failures = [], []
        for name in names:
            led = self._led.get(str(name).rsplit("/", 1)[-1])
            if led is None or led.task.gone or led.task.cluster_arn != cluster:
                arn = str(name) if str(name).startswith("arn:") else self._task_arn(cluster, str(name))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                tasks.append(led.task.shown())
        return {"tasks": tasks, "failures": failures}

    def _stop_task(self, request: Mapping[str, object]) -> dict[str, object]:
        led = self._led.get(str(request.get("task") or "").rsplit("/", 1)[-1])
        if led is None or led.task.gone or led.task.cluster_arn != self._cluster_arn(request):
            raise invalid("The referenced task was not found.")
        led.stop("UserInitiated", str(request.get("reason") or "Task stopped by user"))
        return {"task": led.task.shown()}

    def _register(self, request: Mapping[str, object]) -> dict[str, object]:
        return {"taskDefinition": self.definitions.register(request), "tags": request.get("tags") or []}

    def _describe_definition(self, request: Mapping[str, object]) -> dict[str, object]:
        return {"taskDefinition": self.definitions.find(request.get("taskDefinition")), "tags": []}

    def _deregister(self, request: Mapping[str, object]) -> dict[str, object]:
        return {"taskDefinition": self.definitions.deregister(request.get("taskDefinition"))}

    def _list_definitions(self, request: Mapping[str, object]) -> dict[str, object]:
        return {"taskDefinitionArns": self.definitions.arns(str(request.get("familyPrefix") or ""))}

    def _describe_clusters(self, request: Mapping[str, object]) -> dict[str, object]:
        names = request.get("clusters") or ["default"]
        assert isinstance(names, list)
        clusters = [self._cluster_arn({"cluster": name}) for name in names]
        shown = [
            {"clusterArn": arn, "clusterName": arn.rsplit("/", 1)[-1], "status": "ACTIVE"} for arn in clusters
        ]
        return {"clusters": shown, "failures": []}

    def _cluster_arn(self, request: Mapping[str, object]) -> str:
        name = str(request.get("cluster") or "default")
        return name if name.startswith("arn:") else f"arn:aws:ecs:{self.region}:{ACCOUNT}:cluster/{name}"

    def _task_arn(self, cluster: str, task: str) -> str:
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:task/{cluster.rsplit('/', 1)[-1]}/{task}"


def _provider(request: Mapping[str, object]) -> str:
    strategy = request.get("capacityProviderStrategy")
    if not isinstance(strategy, list) or not strategy:
        return "FARGATE"
    if request.get("launchType"):
        raise invalid("Specify either launchType or capacityProviderStrategy, not both.")
    first = str(strategy[0].get("capacityProvider"))
    if first not in ("FARGATE", "FARGATE_SPOT"):
        raise invalid("The specified capacity provider was not found.")
    return first


def _check_run(request: Mapping[str, object], definition: Mapping[str, object]) -> None:
    """What ECS refuses before anything begins."""
    token, by = request.get("clientToken"), request.get("startedBy")
    if token is not None and not _TOKEN.fullmatch(str(token)):
        raise invalid("clientToken must have 1 to 64 characters of ASCII 33-126.")
    if by is not None and not _STARTED_BY.fullmatch(str(by)):
        raise invalid("startedBy can have up to 128 letters, numbers, hyphens, underscores and slashes.")
    count = int(str(request.get("count") or 1))
    if not 1 <= count <= _RUN_COUNT_MAX:
        raise invalid("Count must be between 1 and 10.")
    network = request.get("networkConfiguration")
    subnets = network.get("awsvpcConfiguration", {}).get("subnets") if isinstance(network, Mapping) else None
    if definition.get("networkMode") == "awsvpc" and not subnets:
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    overrides = request.get("overrides") or {}
    assert isinstance(overrides, Mapping)
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > OVERRIDES_MAX:
        raise invalid(f"Container Overrides length must be at most {OVERRIDES_MAX}")
    containers = definition["containerDefinitions"]
    assert isinstance(containers, list)
    names = {one["name"] for one in containers}
    for one in overrides.get("containerOverrides") or []:
        if one.get("name") not in names:
            raise invalid(
                f"Override for container named {one.get('name')} is not a container in the TaskDefinition."
            )
        for unknown in set(one) - {
            "name", "command", "environment", "environmentFiles", "cpu", "memory", "memoryReservation",
            "resourceRequirements",
        }:  # fmt: skip
            raise EcsError("SerializationException", f"ContainerOverride has no member {unknown}.")
    if overrides.get("cpu") or overrides.get("memory"):
        check_size(
            overrides.get("cpu") or definition.get("cpu"), overrides.get("memory") or definition.get("memory")
        )
    storage = overrides.get("ephemeralStorage")
    if storage is not None and not 21 <= int(str(storage.get("sizeInGiB", 0))) <= 200:
        raise invalid("Ephemeral storage must be between 21 and 200 GiB.")


_OPERATIONS: Mapping[str, Callable[[Service, Mapping[str, object]], dict[str, object]]] = {
    "RunTask": Service._run_task,
    "ListTasks": Service._list_tasks,
    "DescribeTasks": Service._describe_tasks,
    "StopTask": Service._stop_task,
    "RegisterTaskDefinition": Service._register,
    "DescribeTaskDefinition": Service._describe_definition,
    "DeregisterTaskDefinition": Service._deregister,
    "ListTaskDefinitions": Service._list_definitions,
    "DescribeClusters": Service._describe_clusters,
}
