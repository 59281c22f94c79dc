"""Tasks live and end as on Fargate, and say so in events."""

from __future__ import annotations

import json
import unittest
import urllib.request
from typing import Any

from testing import StandInCase, container, until

AFTER_STAGE = [{"containerName": "stage", "condition": "SUCCESS"}]
MOUNT = [{"sourceVolume": "operon", "containerPath": "/operon"}]


def codes(task: dict[str, Any]) -> dict[str, int | None]:
    return {one["name"]: one.get("exitCode") for one in task["containers"]}


class Lives(StandInCase):
    def test_from_provisioning_to_stopped(self) -> None:
        arn = self.started([container("main", "sleep 0.05; exit 3")], startedBy="e/0/3/1")
        task = self.stopped(arn)
        self.assertEqual(task["stopCode"], "EssentialContainerExited")
        self.assertEqual(codes(task), {"main": 3})
        self.assertEqual(
            self.statuses(arn),
            ["PROVISIONING", "PENDING", "RUNNING", "RUNNING", "DEPROVISIONING", "STOPPED"],
        )
        versions = [event["detail"]["version"] for event in self.events]
        self.assertEqual(versions, sorted(set(versions)))
        last = self.events[-1]
        self.assertEqual((last["source"], last["detail-type"]), ("aws.ecs", "ECS Task State Change"))
        self.assertEqual(last["resources"], [arn])
        detail = last["detail"]
        self.assertEqual((detail["startedBy"], detail["desiredStatus"]), ("e/0/3/1", "STOPPED"))
        self.assertRegex(detail["stoppedAt"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertNotIn("tags", detail)

    def test_main_waits_for_stage_and_shares_its_volume(self) -> None:
        containers = [
            container("stage", "sleep 0.1; echo 5 > /operon/code", essential=False, mountPoints=MOUNT),
            container("main", "exit $(cat /operon/code)", dependsOn=AFTER_STAGE, mountPoints=MOUNT),
        ]
        self.assertEqual(codes(self.stopped(self.started(containers))), {"stage": 0, "main": 5})

    def test_after_a_failed_stage_main_never_starts(self) -> None:
        containers = [
            container("stage", "exit 78", essential=False),
            container("main", "touch /operon/ran", essential=False, dependsOn=AFTER_STAGE, mountPoints=MOUNT),
            container("agent", "sleep 0.2"),
        ]
        task = self.stopped(self.started(containers))
        self.assertEqual(codes(task), {"stage": 78, "main": 143, "agent": 0})
        main = next(one for one in task["containers"] if one["name"] == "main")
        self.assertIn("dependency graph", main["reason"])
        self.assertEqual(list(self.root.glob("*/volumes/operon/ran")), [])

    def test_what_is_not_essential_may_end(self) -> None:
        containers = [container("main", "exit 4", essential=False), container("agent", "sleep 0.2; exit 0")]
        task = self.stopped(self.started(containers))
        self.assertEqual(codes(task), {"main": 4, "agent": 0})

    def test_the_end_of_what_is_essential_stops_the_rest(self) -> None:
        containers = [container("main", "sleep 30", essential=False), container("agent", "sleep 0.1; exit 76")]
        task = self.stopped(self.started(containers))
        self.assertEqual(codes(task), {"main": 143, "agent": 76})
        self.assertEqual(task["stopCode"], "EssentialContainerExited")

    def test_main_is_stopped_before_the_agent_it_depends_on(self) -> None:
        order = self.root / "order"
        trap = f"trap 'echo NAME >> {order}; exit 0' TERM; while :; do sleep 0.02; done"
        containers = [
            container("agent", trap.replace("NAME", "agent"), stopTimeout=120),
            container(
                "main",
                trap.replace("NAME", "main"),
                essential=False,
                stopTimeout=120,
                dependsOn=[{"containerName": "agent", "condition": "START"}],
            ),
        ]
        arn = self.started(containers)
        until(lambda: self.described(arn)["lastStatus"] == "RUNNING", "RUNNING")
        self.ecs("StopTask", task=arn)
        self.stopped(arn)
        self.assertEqual(order.read_text().split(), ["main", "agent"])

    def test_what_ignores_sigterm_is_killed(self) -> None:
        stubborn = "trap '' TERM; while :; do sleep 0.05; done"
        arn = self.started([container("main", stubborn, stopTimeout=2)])
        until(lambda: self.described(arn)["lastStatus"] == "RUNNING", "RUNNING")
        self.ecs("StopTask", task=arn)
        self.assertEqual(codes(self.stopped(arn)), {"main": 137})

    def test_memory_that_exceeds_the_limit_is_noticed(self) -> None:
        greedy = "exec head -c 200m /dev/zero | tail"
        containers = [container("main", greedy, memory=64, essential=False), container("agent", "sleep 2")]
        arn = self.started(containers)
        task = self.stopped(arn)
        main = next(one for one in task["containers"] if one["name"] == "main")
        self.assertEqual(main["exitCode"], 137)
        self.assertIn("OutOfMemoryError", main["reason"])

    def test_out_of_memory_on_demand(self) -> None:
        self.control("faults", kind="oom", startedBy="e/0/3")
        arn = self.started([container("main", "sleep 30")], startedBy="e/0/3/1")
        task = self.stopped(arn)
        self.assertEqual(codes(task), {"main": 137})
        self.assertIn("OutOfMemoryError", task["containers"][0]["reason"])

    def test_spot_warns_with_an_event_and_sigterm(self) -> None:
        arn = self.started([container("main", "trap 'exit 9' TERM; while :; do sleep 0.02; done", stopTimeout=120)])
        until(lambda: self.described(arn)["lastStatus"] == "RUNNING", "RUNNING")
        self.control("tasks/interrupt", task=arn)
        task = self.stopped(arn)
        self.assertEqual((task["stopCode"], codes(task)), ("SpotInterruption", {"main": 9}))
        self.stand_in.bus.flush()
        warning = next(event["detail"] for event in self.events if "stopCode" in event["detail"])
        self.assertEqual((warning["lastStatus"], warning["desiredStatus"]), ("RUNNING", "STOPPED"))
        self.assertEqual(warning["stoppedReason"], "Your Spot Task was interrupted.")

    def test_a_task_that_fails_to_start_has_no_containers(self) -> None:
        self.control("faults", kind="fail-to-start")
        task = self.stopped(self.started([container("main")]))
        self.assertEqual((task["stopCode"], task["containers"]), ("TaskFailedToStart", []))
        self.assertIn("network interface", task["stoppedReason"])

    def test_an_image_that_is_not_there(self) -> None:
        task = self.stopped(self.started([{"name": "main", "image": "elsewhere/unknown:1"}]))
        self.assertEqual(task["stopCode"], "TaskFailedToStart")
        self.assertIn("CannotPullContainerError", task["stoppedReason"])
        self.assertNotIn("exitCode", task["containers"][0])

    def test_stopped_may_come_late(self) -> None:
        self.control("faults", kind="stopped-late", ms=300_000)
        arn = self.started([container("main", "exit 0")])
        found = until(
            lambda: (task := self.described(arn))["lastStatus"] == "DEPROVISIONING" and task, "DEPROVISIONING"
        )
        self.assertEqual(codes(found), {"main": 0})
        self.assertNotIn("stoppedAt", found)

    def test_secrets_are_injected_and_missing_ones_end_the_task(self) -> None:
        arn = "arn:aws:secretsmanager:eu-central-1:0:secret:s-1"
        check = '[ "$PASSWORD" = hunter2 ] && [ "$PLAIN" = x ]'
        wanted = [{"name": "PASSWORD", "valueFrom": f"{arn}:password::"}, {"name": "PLAIN", "valueFrom": "plain"}]
        self.assertEqual(codes(self.stopped(self.started([container("main", check, secrets=wanted)]))), {"main": 0})
        gone = [{"name": "X", "valueFrom": "gone"}]
        task = self.stopped(self.started([container("main", secrets=gone)]))
        self.assertEqual((task["stopCode"], task["containers"]), ("TaskFailedToStart", []))
        self.assertIn("ResourceInitializationError", task["stoppedReason"])

    def test_logs_go_to_their_stream(self) -> None:
        options = {"awslogs-group": "/operon", "awslogs-stream-prefix": "operon", "awslogs-region": "eu-central-1"}
        log = {"logDriver": "awslogs", "options": options}
        command = "echo one; echo two >&2; head -c 40000 /dev/zero | tr '\\0' x"
        arn = self.started([container("main", command, logConfiguration=log)])
        self.stopped(arn)
        lines = self.control("logs")["streams"][f"operon/main/{arn.rsplit('/', 1)[-1]}"]
        self.assertEqual(sorted(len(line) for line in lines), [3, 3, 40_000])


class Events(StandInCase):
    def test_events_are_lost_doubled_and_reordered_on_demand(self) -> None:
        self.control("faults", kind="event-lost", status="PENDING")
        self.control("faults", kind="event-duplicate", status="STOPPED")
        self.control("faults", kind="event-reorder", status="DEPROVISIONING")
        arn = self.started([container("main", "exit 0")])
        self.stopped(arn)
        seen = self.statuses(arn)
        self.assertNotIn("PENDING", seen)
        self.assertEqual(seen[-3:], ["STOPPED", "STOPPED", "DEPROVISIONING"])
        used = {fault["kind"]: fault["used"] for fault in self.control("state")["faults"]}
        self.assertEqual(set(used.values()), {1})

    def test_all_events_may_come_again(self) -> None:
        arn = self.started([container("main", "exit 0")])
        self.stopped(arn)
        before = self.statuses(arn)
        self.control("events/repeat", task=arn)
        self.assertEqual(self.statuses(arn), before * 2)


class Metadata(StandInCase):
    def read(self, task: str, path: str) -> Any:
        name = task.rsplit("/", 1)[-1]
        with urllib.request.urlopen(f"{self.stand_in.url}/v4/{name}-0000000000{path}") as answer:
            return json.loads(answer.read())

    def test_the_task_sees_itself(self) -> None:
        containers = [container("main", "sleep 30", memory=64), container("side", "exit 6", essential=False)]
        arn = self.started(containers)
        until(lambda: "exitCode" in str(self.described(arn)["containers"][1]), "the end of `side`")
        task = self.read(arn, "/task")
        self.assertEqual((task["TaskARN"], task["DesiredStatus"]), (arn, "RUNNING"))
        main, side = task["Containers"]
        self.assertEqual((main["KnownStatus"], side["KnownStatus"], side["ExitCode"]), ("RUNNING", "STOPPED", 6))
        self.assertIn("StartedAt", main)
        stats = self.read(arn, "/task/stats")
        self.assertGreater(stats[main["DockerId"]]["memory_stats"]["usage"], 0)
        self.assertIsNone(stats[side["DockerId"]])
        self.assertEqual(self.read(arn, "")["Name"], "main")
        self.ecs("StopTask", task=arn)
        self.assertEqual(self.read(arn, "/task")["DesiredStatus"], "STOPPED")
        self.assertIn("ExecutionStoppedAt", self.read(arn, "/task"))

    def test_containers_know_where_they_are(self) -> None:
        check = 'case "$ECS_CONTAINER_METADATA_URI_V4" in http://127.0.0.1:*/v4/*) ;; *) exit 1;; esac'
        check += '; [ "$AWS_REGION" = eu-central-1 ] && [ -n "$AWS_CONTAINER_CREDENTIALS_FULL_URI" ]'
        self.assertEqual(codes(self.stopped(self.started([container("main", check)]))), {"main": 0})


if __name__ == "__main__":
    unittest.main()
