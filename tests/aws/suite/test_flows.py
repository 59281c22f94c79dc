"""Whole flows through the deployed functions: from what starts them to their end."""

from __future__ import annotations

import json
import time
import unittest
import uuid
from typing import Any

import deployment
import flows
from flows import NAMESPACE
from fixtures import ENDPOINT, LANE, aws, until
from limits import CANNOT

DEMO = deployment.ROOT / "flows/demo"
# Uploads at once: the number, and as many as a slower emulator carries in the same time.
BURST = 100 if "burst-1000" in CANNOT.get(LANE, {}) else 1000


def attempts(found: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """Attempts of a task, in order."""
    own = [one for one in found["attempts"] if one["task"] == task]
    return sorted(own, key=lambda one: int(one["attempt"]))


def flow(name: str, tasks: str, more: str = "") -> str:
    """A flow in the namespace of these tests."""
    return f"id: {name}\nnamespace: {NAMESPACE}\n{more}\ntasks:\n{tasks}\n"


def container(command: str, more: str = "") -> str:
    """A task `main` in a container, with a timeout that only a mistake reaches."""
    return (
        f"  - id: main\n    type: container\n    containerImage: shell\n    timeout: PT5M\n{more}"
        f"    commands: [{json.dumps(command)}]\n"
    )


class FlowCase(unittest.TestCase):
    """A test of the deployment with everything in it."""

    here: flows.Cloud

    @classmethod
    def setUpClass(cls) -> None:
        if ENDPOINT is None:
            raise unittest.SkipTest("AWS itself needs no stand-in, and these tests do")
        cls.here = flows.stands()

    def setUp(self) -> None:
        self.addCleanup(self.here.control, "faults/clear")

    def is_at_end(self, identity: str, state: str) -> dict[str, Any]:
        """An execution at its end, which must be this."""
        found = self.here.ended(identity)
        self.assertEqual(found["row"]["state"], state, self.here.explained(identity))
        return found

    def used(self, kind: str) -> int:
        """How often a fault came about."""
        faults = self.here.control("state")["faults"]
        return sum(int(fault["used"]) for fault in faults if fault["kind"] == kind)

    def all_stopped(self, identity: str, count: int) -> None:
        """ECS knows so many tasks of an execution, and all have stopped."""
        tasks = self.here.tasks(identity)
        self.assertEqual(len(tasks), count, self.here.explained(identity))
        self.assertEqual([task["lastStatus"] for task in tasks], ["STOPPED"] * count)


class TestStarts(FlowCase):
    """What starts flows."""

    def test_an_upload_carries_the_demo_flow_to_success(self) -> None:
        source = (DEMO / "pathoplexus-processing.yaml").read_text(encoding="utf-8")
        trigger = (
            "\ntriggers:\n"
            f"  - {{id: upload, type: s3, bucket: {self.here.bucket}, prefix: uploads/demo/,\n"
            '     inputs: {sequences: "{{ trigger.uri }}"}}\n'
        )
        self.here.deploy(source + trigger, DEMO)
        name = "sequences" if "keys-on-the-bus" in CANNOT.get(LANE, {}) else "my sequences+1"
        self.here.upload(f"uploads/demo/{name}.fasta", (DEMO / "data/sequences.fasta").read_bytes())
        found = self.is_at_end(self.here.one("pathoplexus-processing", "genomics"), "SUCCESS")
        outputs = found["row"]["outputs"]
        counts = {name: outputs[name] for name in ("accepted", "rejected", "duplicates")}
        self.assertEqual(counts, {"accepted": 29, "rejected": 10, "duplicates": 1})
        self.assertEqual(len(attempts(found, "references")), 2)

    def test_a_schedule_starts_a_flow_each_minute(self) -> None:
        task = '  - {id: say, type: log, message: "at {{ trigger.date }}"}'
        trigger = 'triggers:\n  - {id: minutely, type: schedule, cron: "* * * * *"}'
        self.here.deploy(flow("scheduled", task, trigger))
        # The template's rule calls the reconciler each minute; nothing here does.
        until(lambda: self.here.executions("scheduled"), "an execution by schedule", 300)
        self.here.deploy(flow("scheduled", task))
        first = min(self.here.executions("scheduled"), key=lambda row: int(row["meta"]["createdMs"]))
        self.is_at_end(str(first["meta"]["id"]), "SUCCESS")
        self.assertIn("date", first["meta"]["trigger"])

    def test_the_command_line_starts_a_flow_by_invoking_intake(self) -> None:
        task = '  - {id: say, type: log, message: "{{ inputs.name }}"}'
        self.here.deploy(flow("direct", task, "inputs:\n  - {id: name, type: STRING}"))
        wish = {"operon": "start", "namespace": NAMESPACE, "flow": "direct", "key": "once", "inputs": {"name": "x"}}
        first, again = self.here.invoke("intake", wish), self.here.invoke("intake", wish)
        self.assertEqual((first["created"], again["created"]), (True, False))
        self.assertEqual(first["id"], again["id"])
        self.is_at_end(first["id"], "SUCCESS")
        refused = self.here.invoke("intake", {**wish, "key": "other", "inputs": {}})
        self.assertIn("name", refused["error"])
        self.assertEqual(len(self.here.executions("direct")), 1)

    def test_the_end_of_a_flow_starts_another(self) -> None:
        say = '  - {id: say, type: log, message: "x"}'
        self.here.deploy(flow("leader", say))
        trigger = "triggers:\n  - {id: after, type: flow, dependsOn: [{flowId: leader, states: [SUCCESS]}]}"
        self.here.deploy(flow("follower", say, trigger))
        self.is_at_end(self.here.start("leader"), "SUCCESS")
        self.is_at_end(self.here.one("follower"), "SUCCESS")

    def test_a_burst_of_uploads_is_exactly_as_many_executions(self) -> None:
        trigger = f"triggers:\n  - {{id: upload, type: s3, bucket: {self.here.bucket}, prefix: uploads/burst/}}"
        say = '  - {id: say, type: log, message: "{{ trigger.key }}"}'
        self.here.deploy(flow("burst", say, trigger))
        names = [f"uploads/burst/{number:04}.fasta" for number in range(BURST)]
        uploaded = {}
        for name in names:
            uploaded[name] = time.time()
            self.here.upload(name, name.encode())

        def over() -> bool:
            rows = self.here.executions("burst")
            return len(rows) >= BURST and all(row["state"] in flows.ENDED for row in rows)

        until(over, f"the end of {BURST} executions", 600)
        rows = self.here.executions("burst")
        self.assertEqual({row["state"] for row in rows}, {"SUCCESS"})
        self.assertEqual(sorted(row["meta"]["trigger"]["key"] for row in rows), names)
        created = {row["meta"]["trigger"]["key"]: row["meta"]["createdMs"] / 1000 for row in rows}
        lags = sorted(created[name] - uploaded[name] for name in names)
        median, late = lags[len(lags) // 2], lags[len(lags) * 95 // 100]
        print(f"upload to execution, in a burst of {BURST}: p50 {median:.2f} s, p95 {late:.2f} s", flush=True)


class TestAttempts(FlowCase):
    """What happens to tasks in containers."""

    def test_a_task_that_fails_is_tried_again_and_tells_why(self) -> None:
        retry = "    retry: {type: constant, interval: PT1S, maxAttempts: 2}\n"
        self.here.deploy(flow("failing", container("echo 'no such reference' >&2; exit 3", retry)))
        found = self.is_at_end(self.here.start("failing"), "FAILED")
        own = attempts(found, "main")
        self.assertEqual([(one["state"], one["exitCode"]) for one in own], [("FAILED", 3)] * 2)
        self.assertIn("no such reference", own[-1]["message"])
        self.all_stopped(found["row"]["meta"]["id"], 2)

    def test_out_of_memory_is_tried_again_with_more(self) -> None:
        retry = "    retry: {type: constant, interval: PT1S, maxAttempts: 2}\n"
        self.here.deploy(flow("hungry", container("sleep 1", retry)))
        self.here.control("faults", kind="oom")
        identity = self.here.start("hungry")
        found = self.is_at_end(identity, "SUCCESS")
        own = attempts(found, "main")
        self.assertEqual([one["reason"] for one in own][:1], ["out of memory"])
        sizes = [int(task["memory"]) for task in sorted(self.here.tasks(identity), key=lambda t: t["startedBy"])]
        self.assertEqual(len(sizes), 2)
        self.assertLess(sizes[0], sizes[1])
        self.assertEqual(self.used("oom"), 1)

    def test_spot_interruptions_cost_no_attempt_and_end_on_demand(self) -> None:
        self.here.deploy(flow("cheap", container("sleep 1")))
        self.here.control("faults", kind="spot", count=2)
        identity = self.here.start("cheap")
        found = self.is_at_end(identity, "SUCCESS")
        tasks = sorted(self.here.tasks(identity), key=lambda task: task["startedBy"])
        providers = [task["capacityProviderName"] for task in tasks]
        self.assertEqual(providers, ["FARGATE_SPOT", "FARGATE_SPOT", "FARGATE"])
        self.assertEqual([one["reason"] for one in attempts(found, "main")][:2], ["interrupted"] * 2)
        self.assertEqual(self.used("spot"), 2)

    def test_a_kill_stops_every_container_of_the_execution_and_of_its_subflows(self) -> None:
        stubborn = container("trap '' TERM; sleep 500 & touch up; while :; do sleep 0.2; done")
        self.here.deploy(flow("child", stubborn))
        sub = f"  - {{id: sub, type: subflow, namespace: {NAMESPACE}, flowId: child, wait: true, timeout: PT5M}}\n"
        both = f"  - id: both\n    type: parallel\n    tasks:\n{indented(stubborn + sub)}"
        self.here.deploy(flow("parent", both))
        parent = self.here.start("parent")
        child = self.here.one("child")

        def up() -> bool:
            tasks = [*self.here.tasks(parent), *self.here.tasks(child)]
            mains = [one for task in tasks for one in task["containers"] if one["name"] == "main"]
            return len(mains) == 2 and all(one["lastStatus"] == "RUNNING" for one in mains)

        until(up, "both containers", flows.WAIT_S)
        self.here.kill(parent)
        self.is_at_end(parent, "KILLED")
        self.is_at_end(child, "KILLED")
        self.all_stopped(parent, 1)
        self.all_stopped(child, 1)

    def test_what_no_launcher_can_handle_ends_visibly_poisoned(self) -> None:
        self.here.deploy(flow("poisoned", container("exit 0")))
        with self.here.without_reader("launch"):
            identity = self.here.start("poisoned")
            # A launcher that dies of it, each time: SQS itself gives the message up.
            sqs, url = aws().client("sqs"), self.here.queue("launch")
            received = 0

            def dead() -> bool:
                nonlocal received
                answer = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=1)
                received += len(answer.get("Messages", []))
                return self.here.depth("launch-dlq") == 1

            until(dead, "the dead letter", flows.WAIT_S)
            self.assertEqual(received, 5)
        self.here.reconcile()
        found = self.is_at_end(identity, "FAILED")
        own = attempts(found, "main")
        self.assertEqual([one["reason"] for one in own], ["poisoned"])
        letters = [one for one in self.here.dead_letters() if one["execution"] == identity]
        self.assertEqual([one["queue"] for one in letters], ["launch"])
        self.assertEqual(self.here.depth("launch-dlq"), 0)
        self.all_stopped(identity, 0)


class TestSignals(FlowCase):
    """Each of the three signals of an end is enough by itself."""

    def test_the_result_message_alone(self) -> None:
        self.here.deploy(flow("by-result", container("echo broken >&2; exit 4")))
        self.here.control("faults", kind="event-lost", count=1000)
        found = self.is_at_end(self.here.start("by-result"), "FAILED")
        (only,) = attempts(found, "main")
        self.assertEqual((only["exitCode"], only["reason"]), (4, "exit code"))
        self.assertGreater(self.used("event-lost"), 0)

    def test_the_state_change_event_alone(self) -> None:
        # Nothing of the agent ever starts, so nobody else can tell.
        self.here.deploy(flow("by-event", container("exit 0")))
        self.here.control("faults", kind="cannot-pull", count=20)
        found = self.is_at_end(self.here.start("by-event"), "FAILED")
        self.assertIn("pull", attempts(found, "main")[-1]["message"])
        self.assertGreater(self.used("cannot-pull"), 0)

    def test_the_reconciler_alone(self) -> None:
        self.here.deploy(flow("by-question", container("exit 0")))
        self.here.control("faults", kind="cannot-pull", count=20)
        self.here.control("faults", kind="event-lost", count=1000)
        identity = self.here.start("by-question")

        def over() -> bool:
            for task in self.here.tasks(identity):
                if task["lastStatus"] == "STOPPED":
                    # What the tick after five minutes asks is asked now.
                    self.here.probe(str(task["startedBy"]))
            return str(self.here.execution(identity)["row"]["state"]) in flows.ENDED

        until(over, "the end by asking ECS", flows.WAIT_S)
        found = self.is_at_end(identity, "FAILED")
        self.assertIn("pull", attempts(found, "main")[-1]["message"])


def indented(text: str) -> str:
    """Tasks as children."""
    return "".join(f"    {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    unittest.main()
