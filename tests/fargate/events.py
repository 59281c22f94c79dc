"""Task state changes: made as AWS makes them, lost, doubled and reordered on demand, given to whom rules name.

Nobody but AWS may put events of `aws.ecs` on a bus, and emulators keep to that. So the rules of the emulator's
bus (or of a file) are read, their patterns applied here, and their targets called directly.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import json

from definitions import ACCOUNT
from faults import Faults, Kind
from lane import Lane, LaneError
from model import Task, iso
from patterns import matches

_TRIES = 5
_KEPT = 10_000


@dataclass(frozen=True)
class Rule:
    """Whom to give which events."""

    name: str
    pattern: Mapping[str, object]
    deliver: Callable[[Mapping[str, object]], None]


def change(task: Task) -> dict[str, object]:
    """The event of a task's present state."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "account": ACCOUNT,
        "time": (iso(time.time()) or "")[:19] + "Z",
        "region": task.region,
        "resources": [task.arn],
        "detail": task.shown(event=True),
    }


def rules_of(lane: Lane) -> list[Rule]:
    """The rules of the emulator's bus that want events of ECS, one per target."""
    found = []
    listed = lane.json("events", "AWSEvents.ListRules", "1.1", {})["Rules"]
    assert isinstance(listed, list)
    for one in listed:
        pattern = json.loads(one.get("EventPattern") or "{}")
        if "aws.ecs" not in pattern.get("source", ()) or one.get("State") == "DISABLED":
            continue
        body = {"Rule": one["Name"]}
        targets = lane.json("events", "AWSEvents.ListTargetsByRule", "1.1", body)["Targets"]
        assert isinstance(targets, list)
        found.extend(Rule(one["Name"], pattern, _target(lane, target["Arn"])) for target in targets)
    return found


def _target(lane: Lane, arn: str) -> Callable[[Mapping[str, object]], None]:
    match arn.split(":")[2]:
        case "lambda":
            return lambda event: lane.invoke(arn, event)
        case "sqs":
            url = lane.queue_url(arn)
            return lambda event: lane.enqueue(url, event)
        case service:
            raise LaneError(f"{arn}: targets of {service} are not known here")


class Bus:
    """Delivers events in the background, in order unless told otherwise."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._rules: Sequence[Rule] = ()
        self._lock = threading.Lock()
        self._held: dict[str, dict[str, object]] = {}
        self._queue: queue.Queue[tuple[Rule, dict[str, object]] | None] = queue.Queue()
        self.sent: list[dict[str, object]] = []
        self.problems: list[str] = []
        threading.Thread(target=self._deliver, daemon=True).start()

    def use(self, rules: Sequence[Rule]) -> None:
        """From now on, these."""
        self._rules = rules

    def publish(self, task: Task) -> None:
        """Tells what a task is now."""
        event = change(task)
        with self._lock:
            self.sent.append(event)
            del self.sent[:-_KEPT]
            about = {"started_by": task.started_by or "", "status": task.last}
            if self._faults.take(Kind.EVENT_LOST, **about):
                return
            if self._faults.take(Kind.EVENT_REORDER, **about):
                self._held[task.id] = event
                return
            copies = 2 if self._faults.take(Kind.EVENT_DUPLICATE, **about) else 1
            for _ in range(copies):
                self._put(event)
            held = self._held.pop(task.id, None)
            if held is not None:
                self._put(held)

    def repeat(self, task_arn: str) -> int:
        """Delivers all events of a task once more, as at-least-once allows at any time."""
        with self._lock:
            again = [event for event in self.sent if event["resources"] == [task_arn]]
            for event in again:
                self._put(event)
            return len(again)

    def flush(self) -> None:
        """Waits until everything was delivered."""
        self._queue.join()

    def _put(self, event: dict[str, object]) -> None:
        for rule in self._rules:
            if matches(rule.pattern, event):
                self._queue.put((rule, event))

    def _deliver(self) -> None:
        while (next_one := self._queue.get()) is not None:
            rule, event = next_one
            for attempt in range(_TRIES):
                try:
                    rule.deliver(event)
                    break
                except (LaneError, OSError) as error:
                    if attempt + 1 == _TRIES:
                        self.problems.append(f"{rule.name}: {error}")
                    time.sleep(0.1 * 2**attempt)
            self._queue.task_done()
