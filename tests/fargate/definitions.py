"""Task definitions: registered, numbered, checked as Fargate checks them."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence

from errors import client, invalid

ACCOUNT = "000000000000"
_FAMILY = re.compile(r"[A-Za-z0-9_-]{1,255}")

# CPU units to the MiB that go with them (aws.md 2.4).
_SIZES: dict[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}


def check_size(cpu: object, memory: object) -> None:
    """Fargate has only some sizes."""
    try:
        fits = int(str(memory)) in _SIZES.get(int(str(cpu)), ())
    except ValueError:
        fits = False
    if not fits:
        raise client("No Fargate configuration exists for given values.")


class Definitions:
    """All that were registered."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._lock = threading.Lock()
        self._by_family: dict[str, list[dict[str, object]]] = {}

    def register(self, request: Mapping[str, object]) -> dict[str, object]:
        """A new revision of a family."""
        family = str(request.get("family", ""))
        if not _FAMILY.fullmatch(family):
            raise client(f"Invalid task definition family '{family[:300]}'.")
        containers = request.get("containerDefinitions")
        if not isinstance(containers, list) or not containers:
            raise client("Container list cannot be empty.")
        _check_containers(containers)
        if "FARGATE" in _list(request.get("requiresCompatibilities")):
            if request.get("networkMode") != "awsvpc":
                raise client("Fargate only supports network mode ‘awsvpc’.")
            check_size(request.get("cpu"), request.get("memory"))
        with self._lock:
            revisions = self._by_family.setdefault(family, [])
            number = len(revisions) + 1
            arn = f"arn:aws:ecs:{self._region}:{ACCOUNT}:task-definition/{family}:{number}"
            definition = {
                **{name: value for name, value in request.items() if name != "tags"},
                "taskDefinitionArn": arn,
                "revision": number,
                "status": "ACTIVE",
                "compatibilities": ["EC2", "FARGATE"],
            }
            revisions.append(definition)
            return definition

    def find(self, name: object) -> dict[str, object]:
        """By family, family and revision, or ARN; the newest active one if there is no revision."""
        text = str(name or "").rsplit("/", 1)[-1]
        family, _, revision = text.partition(":")
        with self._lock:
            revisions = self._by_family.get(family, [])
            if revision:
                found = [one for one in revisions if str(one["revision"]) == revision]
            else:
                found = [one for one in revisions if one["status"] == "ACTIVE"]
        if not found:
            raise client("Unable to describe task definition.")
        return found[-1]

    def deregister(self, name: object) -> dict[str, object]:
        """Marks one as inactive."""
        if ":" not in str(name or "").rsplit("/", 1)[-1]:
            raise invalid("Family:revision is required.")
        definition = self.find(name)
        definition["status"] = "INACTIVE"
        return definition

    def arns(self, prefix: str) -> list[str]:
        """Those of active definitions."""
        with self._lock:
            return [
                str(one["taskDefinitionArn"])
                for family, revisions in sorted(self._by_family.items())
                if family.startswith(prefix)
                for one in revisions
                if one["status"] == "ACTIVE"
            ]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _check_containers(containers: Sequence[Mapping[str, object]]) -> None:
    names = [str(one.get("name", "")) for one in containers]
    if len(set(names)) != len(names) or not all(names):
        raise client("Container names must be unique and not empty.")
    if not any(one.get("essential", True) for one in containers):
        raise client("A task definition must have at least one essential container.")
    waits: dict[str, list[str]] = {}
    for one, name in zip(containers, names, strict=True):
        if not one.get("image"):
            raise client(f"Container.image should not be null or empty: {name}.")
        waits[name] = []
        for dependency in _list(one.get("dependsOn")):
            assert isinstance(dependency, Mapping)
            other = str(dependency.get("containerName"))
            if other not in names or other == name:
                raise client(f"Invalid dependency: container {name} depends on {other}.")
            essential = containers[names.index(other)].get("essential", True)
            if dependency.get("condition") in ("SUCCESS", "COMPLETE") and essential:
                raise client(
                    f"A container with condition {dependency['condition']} cannot be essential: {other}."
                )
            waits[name].append(other)
    while waits:
        free = [name for name, others in waits.items() if not any(other in waits for other in others)]
        if not free:
            raise client("The dependencies of the containers are a circle.")
        for name in free:
            del waits[name]
