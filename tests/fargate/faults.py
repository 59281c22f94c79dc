"""What goes wrong on demand.

A fault has a kind, applies to tasks or requests that match, and is used up after `count` times. Nothing happens
at random: a test says what it wants, and sees in `used` that it came.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What can go wrong."""

    EVENT_LOST = "event-lost"
    EVENT_DUPLICATE = "event-duplicate"
    EVENT_REORDER = "event-reorder"  # Held back until after the task's next event.
    THROTTLE = "throttle"
    THROTTLE_DISGUISED = "throttle-disguised"
    ERROR = "error"  # `type` and `message` of an answer.
    FAILURE = "failure"  # `reason` in `failures[]`.
    CAPACITY = "capacity"
    ANSWER_LOST = "answer-lost"  # Done, and the connection breaks.
    FAIL_TO_START = "fail-to-start"  # STOPPED with `containers: []`.
    CANNOT_PULL = "cannot-pull"
    OOM = "oom"
    SPOT = "spot"  # Two minutes' warning as soon as `main` runs.
    STOPPED_LATE = "stopped-late"  # `ms` between the last exit and STOPPED.
    VANISH = "vanish"  # Neither described nor listed any more.


@dataclass
class Fault:
    """One thing that goes wrong, some times."""

    kind: Kind
    count: int = 1
    operation: str | None = None
    started_by: str = ""
    status: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    used: int = 0

    def applies(self, operation: str | None, started_by: str, status: str | None) -> bool:
        """Whether it is for this request, task or event, and not yet used up."""
        return (
            self.used < self.count
            and (self.operation is None or self.operation == operation)
            and started_by.startswith(self.started_by)
            and (self.status is None or self.status == status)
        )

    def shown(self) -> dict[str, object]:
        """For the control interface."""
        return {"kind": self.kind.value, "count": self.count, "used": self.used, "startedBy": self.started_by}


class Faults:
    """All that are armed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []

    def arm(self, body: Mapping[str, object]) -> Fault:
        """Arms one, as the control interface describes it; ValueError says what is wrong with it."""
        known = {"kind", "count", "operation", "startedBy", "status"}
        operation, status = body.get("operation"), body.get("status")
        fault = Fault(
            kind=Kind(str(body.get("kind", ""))),
            count=int(str(body.get("count", 1))),
            operation=None if operation is None else str(operation),
            started_by=str(body.get("startedBy", "")),
            status=None if status is None else str(status),
            options={name: value for name, value in body.items() if name not in known},
        )
        with self._lock:
            self._armed.append(fault)
        return fault

    def take(
        self, kind: Kind, *, operation: str | None = None, started_by: str = "", status: str | None = None
    ) -> Fault | None:
        """Uses up one of this kind, if there is one for this."""
        with self._lock:
            for fault in self._armed:
                if fault.kind is kind and fault.applies(operation, started_by, status):
                    fault.used += 1
                    return fault
        return None

    def shown(self) -> list[dict[str, object]]:
        """All, with how often each was used."""
        with self._lock:
            return [fault.shown() for fault in self._armed]

    def clear(self) -> None:
        """Disarms all."""
        with self._lock:
            self._armed.clear()
