"""RunTask and its kin answer as ECS does."""

from __future__ import annotations

import http.client
import unittest
from urllib.parse import urlsplit

from rates import Bucket
from service import Rates
from testing import Refused, StandInCase, container, until


class Launching(StandInCase):
    def test_a_client_token_names_one_task(self) -> None:
        definition = self.register([container("main", "sleep 30")])
        first = self.run_task(definition, clientToken="t-1", startedBy="e/0/3/1")["tasks"]
        again = self.run_task(definition, clientToken="t-1", startedBy="e/0/3/1")["tasks"]
        other = self.run_task(definition, clientToken="t-2", startedBy="e/0/3/1")["tasks"]
        self.assertEqual([task["taskArn"] for task in first], [task["taskArn"] for task in again])
        self.assertNotEqual(first[0]["taskArn"], other[0]["taskArn"])
        with self.assertRaises(Refused) as refused:
            self.run_task(definition, clientToken="t-1", startedBy="e/0/3/2")
        self.assertEqual(refused.exception.kind, "ConflictException")
        self.assertEqual(refused.exception.body["resourceIds"], [first[0]["taskArn"]])
        self.control("tokens/expire")
        later = self.run_task(definition, clientToken="t-1", startedBy="e/0/3/1")["tasks"]
        self.assertNotEqual(first[0]["taskArn"], later[0]["taskArn"])

    def test_what_ecs_refuses(self) -> None:
        definition = self.register([container("main")])
        override = lambda **fields: {"containerOverrides": [{"name": "main", **fields}]}  # noqa: E731
        long_value = "x" * 8192
        for words, request in (
            ("Container Overrides length", {"overrides": override(environment=[{"name": "A", "value": long_value}])}),
            ("not a container", {"overrides": {"containerOverrides": [{"name": "other"}]}}),
            ("no member image", {"overrides": override(image="other")}),
            ("No Fargate configuration", {"overrides": {"cpu": "256", "memory": "4096"}}),
            ("between 21 and 200", {"overrides": {"ephemeralStorage": {"sizeInGiB": 20}}}),
            ("clientToken", {"clientToken": "x" * 65}),
            ("startedBy", {"startedBy": "x" * 129}),
            ("startedBy", {"startedBy": "a b"}),
            ("between 1 and 10", {"count": 11}),
        ):
            with self.subTest(words=words), self.assertRaises(Refused) as refused:
                self.run_task(definition, **request)
            self.assertIn(words, refused.exception.message)
        with self.assertRaises(Refused) as refused:
            self.ecs("RunTask", taskDefinition=definition)
        self.assertIn("Network Configuration", refused.exception.message)
        with self.assertRaises(Refused) as refused:
            self.run_task("other:7")
        self.assertEqual(refused.exception.kind, "ClientException")

    def test_overrides_reach_the_container(self) -> None:
        containers = [container("main", "exit 9", environment=[{"name": "A", "value": "1"}])]
        override = {"name": "main", "command": ["exit $((A + B))"], "environment": [
            {"name": "A", "value": "3"}, {"name": "B", "value": "4"}]}  # fmt: skip
        arn = self.started(containers, overrides={"containerOverrides": [override]})
        self.assertEqual(self.stopped(arn)["containers"][0]["exitCode"], 7)

    def test_tasks_are_listed_by_who_started_them(self) -> None:
        definition = self.register([container("main", "sleep 30")])
        mine = self.run_task(definition, startedBy="e/0/3/1")["tasks"][0]["taskArn"]
        self.run_task(definition, startedBy="e/0/3/2")
        listed = lambda **more: self.ecs("ListTasks", startedBy="e/0/3/1", **more)["taskArns"]  # noqa: E731
        self.assertEqual(listed(), [mine])
        self.assertEqual(listed(desiredStatus="STOPPED"), [])
        self.ecs("StopTask", task=mine, reason="killed")
        self.assertEqual(listed(), [])
        self.assertEqual(listed(desiredStatus="STOPPED"), [mine])
        task = self.stopped(mine)
        self.assertEqual((task["stopCode"], task["stoppedReason"]), ("UserInitiated", "killed"))

    def test_lists_come_in_pages(self) -> None:
        definition = self.register([container("main")])
        arns = [task["taskArn"] for task in self.run_task(definition, count=5)["tasks"]]
        for arn in arns:
            self.stopped(arn)
        found: list[str] = []
        page = self.ecs("ListTasks", desiredStatus="STOPPED", maxResults=2)
        found += page["taskArns"]
        while "nextToken" in page:
            page = self.ecs("ListTasks", desiredStatus="STOPPED", maxResults=2, nextToken=page["nextToken"])
            found += page["taskArns"]
        self.assertEqual(found, arns)

    def test_unknown_and_forgotten_tasks_are_missing(self) -> None:
        arn = self.started([container("main")])
        self.stopped(arn)
        answer = self.ecs("DescribeTasks", tasks=[arn, "f" * 32])
        self.assertEqual([task["taskArn"] for task in answer["tasks"]], [arn])
        self.assertEqual(answer["failures"][0]["reason"], "MISSING")
        self.control("tasks/forget", task=arn)
        self.assertEqual(self.ecs("DescribeTasks", tasks=[arn])["failures"][0], {"arn": arn, "reason": "MISSING"})
        with self.assertRaises(Refused) as refused:
            self.ecs("DescribeTasks", tasks=[arn] * 101)
        self.assertIn("100", refused.exception.message)

    def test_definitions_are_numbered_and_checked(self) -> None:
        self.assertTrue(self.register([container("main")]).endswith("/f:1"))
        self.assertTrue(self.register([container("main")]).endswith("/f:2"))
        found = self.ecs("DescribeTaskDefinition", taskDefinition="f")["taskDefinition"]
        self.assertEqual(found["revision"], 2)
        waits = [{"containerName": "b", "condition": "SUCCESS"}]
        for containers in (
            [],
            [container("a", essential=False)],
            [container("a"), container("a")],
            [container("a", dependsOn=waits)],
            [container("a", dependsOn=waits), container("b")],
        ):
            with self.subTest(containers=containers), self.assertRaises(Refused) as refused:
                self.register(containers)
            self.assertEqual(refused.exception.kind, "ClientException")


class Faults(StandInCase):
    def test_throttles_plain_and_in_disguise(self) -> None:
        definition = self.register([container("main")])
        self.control("faults", kind="throttle", operation="RunTask")
        self.control("faults", kind="throttle-disguised", operation="RunTask")
        with self.assertRaises(Refused) as refused:
            self.run_task(definition)
        self.assertEqual(refused.exception.kind, "ThrottlingException")
        with self.assertRaises(Refused) as refused:
            self.run_task(definition)
        self.assertEqual(refused.exception.kind, "InvalidParameterException")
        self.assertIn("Rate exceeded", refused.exception.message)
        self.assertEqual(self.run_task(definition)["failures"], [])

    def test_failures_come_with_status_200(self) -> None:
        definition = self.register([container("main")])
        self.control("faults", kind="failure", reason="RESOURCE:MEMORY")
        self.control("faults", kind="capacity", status="FARGATE_SPOT")
        self.assertEqual(self.run_task(definition)["failures"], [{"reason": "RESOURCE:MEMORY"}])
        self.assertEqual(self.run_task(definition)["failures"], [])
        spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        answer = self.run_task(definition, capacityProviderStrategy=spot)
        self.assertIn("Capacity is unavailable", answer["failures"][0]["reason"])
        demand = [{"capacityProvider": "FARGATE", "weight": 1}]
        (task,) = self.run_task(definition, capacityProviderStrategy=demand)["tasks"]
        self.assertEqual(task["capacityProviderName"], "FARGATE")

    def test_an_answer_that_is_lost_leaves_its_task(self) -> None:
        definition = self.register([container("main")])
        self.control("faults", kind="answer-lost", operation="RunTask")
        with self.assertRaises((OSError, http.client.HTTPException)):
            self.run_task(definition, clientToken="t", startedBy="e/0/3/1")
        found = until(
            lambda: self.ecs("ListTasks", startedBy="e/0/3/1", desiredStatus="STOPPED")["taskArns"], "the task"
        )
        again = self.run_task(definition, clientToken="t", startedBy="e/0/3/1")["tasks"]
        self.assertEqual([task["taskArn"] for task in again], found)

    def test_any_error_of_any_operation(self) -> None:
        self.control("faults", kind="error", operation="DescribeTasks", type="ServerException", message="busy")
        with self.assertRaises(Refused) as refused:
            self.ecs("DescribeTasks", tasks=["x"])
        self.assertEqual((refused.exception.kind, refused.exception.message), ("ServerException", "busy"))

    def test_a_fault_that_is_not_known_is_refused(self) -> None:
        with self.assertRaises(Refused):
            self.control("faults", kind="earthquake")


class Quota(StandInCase):
    # Time stands still, so nothing refills.
    rates = staticmethod(lambda: Rates.of_aws(lambda: 0.0))

    def test_more_launches_than_the_bucket_holds_are_throttled(self) -> None:
        definition = self.register([container("main")])
        kinds = []
        for _ in range(12):
            try:
                self.run_task(definition, count=10)
                kinds.append("ok")
            except Refused as refused:
                kinds.append(refused.kind)
        self.assertEqual(kinds[:10], ["ok"] * 10)
        self.assertEqual(kinds[10:], ["ThrottlingException"] * 2)


class Buckets(unittest.TestCase):
    def test_it_holds_its_burst_and_refills(self) -> None:
        now = 0.0
        bucket = Bucket(100, 20, lambda: now)
        self.assertTrue(bucket.take(100))
        self.assertFalse(bucket.take(1))
        now = 0.5
        self.assertTrue(bucket.take(10))
        self.assertFalse(bucket.take(1))
        now = 1000.0
        self.assertFalse(bucket.take(101))
        self.assertTrue(bucket.take(100))


class Protocol(StandInCase):
    def test_an_unknown_operation_is_said_to_be_one(self) -> None:
        with self.assertRaises(Refused) as refused:
            self.ecs("CreateService")
        self.assertEqual(refused.exception.kind, "UnknownOperationException")

    def test_it_listens_on_loopback_only(self) -> None:
        self.assertEqual(urlsplit(self.stand_in.url).hostname, "127.0.0.1")


if __name__ == "__main__":
    unittest.main()
