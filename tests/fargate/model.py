"""A task and its containers, and how ECS shows them: to callers, in events, and to the task itself."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from definitions import ACCOUNT


def iso(seconds: float | None) -> str | None:
    """A time as events and metadata write it."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


@dataclass
class Container:
    """One container of a task."""

    definition: Mapping[str, object]
    override: Mapping[str, object]
    arn: str
    runtime_id: str
    status: str = "PENDING"
    exit_code: int | None = None
    reason: str | None = None
    started: float | None = None
    finished: float | None = None
    log_stream: str | None = None

    @property
    def name(self) -> str:
        return str(self.definition["name"])

    @property
    def essential(self) -> bool:
        return bool(self.definition.get("essential", True))

    @property
    def waits_for(self) -> list[tuple[str, str]]:
        """Names and conditions of `dependsOn`."""
        listed = self.definition.get("dependsOn") or []
        assert isinstance(listed, list)
        found = [(str(one["containerName"]), str(one["condition"])) for one in listed]
        return found

    @property
    def command(self) -> list[str] | None:
        """None leaves the image's."""
        command = self.override.get("command") or self.definition.get("command")
        return [str(word) for word in command] if isinstance(command, list) else None

    @property
    def memory_mib(self) -> int | None:
        """The hard limit, if it has one of its own."""
        limit = self.override.get("memory") or self.definition.get("memory")
        return None if limit is None else int(str(limit))

    @property
    def stop_timeout_s(self) -> float:
        return float(str(self.definition.get("stopTimeout") or 30))

    @property
    def environment(self) -> dict[str, str]:
        """Of the definition, and the override's over it. Secrets are not in it."""
        pairs: dict[str, str] = {}
        for source in (self.definition, self.override):
            listed = source.get("environment") or []
            assert isinstance(listed, list)
            pairs.update({str(one["name"]): str(one["value"]) for one in listed})
        return pairs

    def shown(self, task: Task) -> dict[str, object]:
        """As DescribeTasks and events show it."""
        return _without_none(
            {
                "containerArn": self.arn,
                "taskArn": task.arn,
                "name": self.name,
                "image": self.definition["image"],
                "runtimeId": self.runtime_id if self.started or self.exit_code is not None else None,
                "lastStatus": self.status,
                "exitCode": self.exit_code,
                "reason": self.reason,
                "networkInterfaces": [],
                "healthStatus": "UNKNOWN",
                "cpu": str(self.definition.get("cpu") or 0),
                "memory": None if self.memory_mib is None else str(self.memory_mib),
            }
        )

    def metadata(self, task: Task, options: Mapping[str, str]) -> dict[str, object]:
        """As the task metadata endpoint, version 4, shows it."""
        return _without_none(
            {
                "DockerId": self.runtime_id,
                "Name": self.name,
                "DockerName": f"ecs-{task.family}-{self.name}",
                "Image": self.definition["image"],
                "Labels": {"com.amazonaws.ecs.task-arn": task.arn, "com.amazonaws.ecs.container-name": self.name},
                "DesiredStatus": task.desired if self.status != "STOPPED" else "STOPPED",
                "KnownStatus": self.status,
                "ExitCode": self.exit_code,
                "CreatedAt": iso(task.created),
                "StartedAt": iso(self.started),
                "FinishedAt": iso(self.finished),
                "Type": "NORMAL",
                "ContainerARN": self.arn,
                "LogDriver": "awslogs" if options else None,
                "LogOptions": dict(options) or None,
                "Limits": {"CPU": self.definition.get("cpu") or 0, "Memory": self.memory_mib or 0},
                "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.0.1"]}],
            }
        )


@dataclass
class Task:
    """One task, from RunTask to the hour after its end. `lock` guards everything that changes."""

    cluster_arn: str
    definition: Mapping[str, object]
    overrides: Mapping[str, object]
    started_by: str | None
    group: str
    capacity_provider: str | None
    region: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    containers: list[Container] = field(default_factory=list)
    last: str = "PROVISIONING"
    desired: str = "RUNNING"
    version: int = 1
    created: float = field(default_factory=time.time)
    times: dict[str, float] = field(default_factory=dict)
    stop_code: str | None = None
    stopped_reason: str | None = None
    gone: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        definitions = self.definition["containerDefinitions"]
        assert isinstance(definitions, list)
        listed = self.overrides.get("containerOverrides") or []
        assert isinstance(listed, list)
        overrides = {str(one["name"]): one for one in listed}
        for index, one in enumerate(definitions):
            runtime_id = f"{self.id}-{index:010}"
            arn = f"arn:aws:ecs:{self.region}:{ACCOUNT}:container/{self.cluster}/{self.id}/{uuid.uuid4()}"
            self.containers.append(Container(one, overrides.get(str(one["name"]), {}), arn, runtime_id))

    @property
    def cluster(self) -> str:
        return self.cluster_arn.rsplit("/", 1)[-1]

    @property
    def arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:task/{self.cluster}/{self.id}"

    @property
    def family(self) -> str:
        return str(self.definition["family"])

    @property
    def cpu(self) -> str:
        return str(self.overrides.get("cpu") or self.definition["cpu"])

    @property
    def memory(self) -> str:
        return str(self.overrides.get("memory") or self.definition["memory"])

    def container(self, name: str) -> Container:
        """By name."""
        return next(one for one in self.containers if one.name == name)

    def starts(self) -> bool:
        """Whether it failed before any container was made: ECS then shows none (E4)."""
        return not (self.stop_code == "TaskFailedToStart" and all(one.reason is None for one in self.containers))

    def shown(self, *, event: bool = False) -> dict[str, object]:
        """As DescribeTasks shows it: times in seconds; or as an event does: times as text, no tags."""
        with self.lock:
            when = iso if event else (lambda seconds: seconds)
            stamps: Sequence[str] = (
                "connectivityAt", "pullStartedAt", "pullStoppedAt", "startedAt", "stoppingAt",
                "executionStoppedAt", "stoppedAt",
            )  # fmt: skip
            shown: dict[str, object] = {
                "taskArn": self.arn,
                "clusterArn": self.cluster_arn,
                "taskDefinitionArn": self.definition["taskDefinitionArn"],
                "attachments": [{"id": str(uuid.UUID(self.id)), "type": "eni" if event else
                                 "ElasticNetworkInterface", "status": _eni(self.last), "details": []}],
                "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
                "availabilityZone": f"{self.region}a",
                "capacityProviderName": self.capacity_provider,
                "connectivity": "CONNECTED" if "connectivityAt" in self.times else None,
                "containers": [one.shown(self) for one in self.containers] if self.starts() else [],
                "cpu": self.cpu,
                "memory": self.memory,
                "createdAt": when(self.created),
                "desiredStatus": self.desired,
                "lastStatus": self.last,
                "enableExecuteCommand": False,
                "ephemeralStorage": self.overrides.get("ephemeralStorage") or {"sizeInGiB": 20},
                "group": self.group,
                "healthStatus": None if event else "UNKNOWN",
                "launchType": "FARGATE",
                "overrides": {**self.overrides, "containerOverrides": self.overrides.get("containerOverrides") or
                              [{"name": one.name} for one in self.containers]},
                "platformFamily": None if event else "Linux",
                "platformVersion": "1.4.0",
                "startedBy": self.started_by,
                "stopCode": self.stop_code,
                "stoppedReason": self.stopped_reason,
                "version": self.version,
                "tags": None if event else [],
                **{stamp: when(self.times[stamp]) for stamp in stamps if stamp in self.times},
            }
            if event:
                shown["updatedAt"] = iso(time.time())
            # A copy: what is shown does not change any more.
            found = json.loads(json.dumps(_without_none(shown)))
            assert isinstance(found, dict)
            return found

    def metadata(self, options: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
        """As its own metadata endpoint shows it."""
        with self.lock:
            return _without_none(
                {
                    "Cluster": self.cluster_arn,
                    "TaskARN": self.arn,
                    "Family": self.family,
                    "Revision": str(self.definition["revision"]),
                    "DesiredStatus": self.desired,
                    "KnownStatus": self.last if self.last in ("PENDING", "STOPPED") else "RUNNING",
                    "Containers": [one.metadata(self, options.get(one.name, {})) for one in self.containers],
                    "Limits": {"CPU": int(self.cpu) / 1024, "Memory": int(self.memory)},
                    "PullStartedAt": iso(self.times.get("pullStartedAt")),
                    "PullStoppedAt": iso(self.times.get("pullStoppedAt")),
                    "ExecutionStoppedAt": iso(self.times.get("executionStoppedAt")),
                    "AvailabilityZone": f"{self.region}a",
                    "LaunchType": "FARGATE",
                }
            )


def _eni(last: str) -> str:
    match last:
        case "PROVISIONING":
            return "PRECREATED"
        case "DEPROVISIONING" | "STOPPED":
            return "DELETED"
        case _:
            return "ATTACHED"


def _without_none(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
