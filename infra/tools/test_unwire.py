"""What is removed of what triggers had made, and what is left alone."""

from __future__ import annotations

import contextlib
import io
import unittest
from typing import Any

import unwire


class Service:
    """Answers lists from `answers` and notes every other call."""

    class exceptions:  # noqa: N801 - as boto3 has it
        """Errors by name."""

        class ClientError(Exception):
            """Any refusal."""

        class ClusterNotFoundException(Exception):  # noqa: N818
            """No cluster of that name."""

        class ResourceNotFoundException(Exception):  # noqa: N818
            """Nothing of that name."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def get_paginator(self, operation: str) -> Service:
        """Itself, which then gives the pages of that operation."""
        self.operation = operation
        return self

    def paginate(self, **arguments: Any) -> list[Any]:
        """The pages, or the error."""
        answer = self.answers[self.operation]
        if isinstance(answer, Exception):
            raise answer
        return list(answer(arguments))

    def get_waiter(self, _: str) -> Service:
        """Itself, whose `wait` is noted."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name in self.answers:
            return lambda **_: self.answers[name]
        return lambda **arguments: self.calls.append((name, arguments))


class Definitions(Service):
    """Deletes task definitions, as far as it does."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(answers)
        self.deleted: list[list[str]] = []
        self.failures: list[dict[str, str]] = []

    def delete_task_definitions(self, taskDefinitions: list[str]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        """Notes them."""
        self.deleted.append(taskDefinitions)
        return {"taskDefinitions": [], "failures": self.failures if len(self.deleted) == 1 else []}


class TestUnwire(unittest.TestCase):
    """Against lists as AWS gives them."""

    def test_rules_of_every_bus_go_with_their_targets(self) -> None:
        found = {"default": ["operon-main.1"], "labs": ["operon-main.2", "operon-main.3"]}

        def listed(arguments: dict[str, Any]) -> list[Any]:
            self.assertEqual(arguments["NamePrefix"], "operon-main.")
            return [{"Rules": [{"Name": name}]} for name in found[arguments["EventBusName"]]]

        events = Service({"list_event_buses": {"EventBuses": [{"Name": name} for name in found]}, "list_rules": listed})
        self.assertEqual(unwire.rules(lambda _: events, "main"), 3)
        removed = [(call, of.get("Rule") or of.get("Name"), of["EventBusName"]) for call, of in events.calls]
        self.assertEqual(
            removed[:2], [("remove_targets", "operon-main.1", "default"), ("delete_rule", "operon-main.1", "default")]
        )
        self.assertEqual(len(removed), 6)

    def test_only_subscriptions_of_the_intake_queue_end(self) -> None:
        def one(end: str, protocol: str = "sqs", arn: str = "arn:aws:sns:r:1:t:u") -> dict[str, str]:
            return {"Endpoint": f"arn:aws:sqs:r:1:{end}", "Protocol": protocol, "SubscriptionArn": arn}

        there = [
            one("operon-main-intake"), one("operon-main-intake-dlq"), one("xoperon-main-intake"), one("other"),
            one("operon-main-intake", protocol="lambda"), one("operon-main-intake", arn="PendingConfirmation"),
        ]  # fmt: skip
        sns = Service({"list_subscriptions": lambda _: [{"Subscriptions": there}]})
        self.assertEqual(unwire.subscriptions(lambda _: sns, "main"), 1)
        self.assertEqual(sns.calls, [("unsubscribe", {"SubscriptionArn": "arn:aws:sns:r:1:t:u"})])

    def test_the_intake_goes_on_reading_its_own_queue(self) -> None:
        there = [
            {"UUID": "own", "EventSourceArn": "arn:aws:sqs:r:1:operon-main-intake", "State": "Enabled"},
            {"UUID": "other", "EventSourceArn": "arn:aws:sqs:r:1:events", "State": "Enabled"},
            {"UUID": "going", "EventSourceArn": "arn:aws:sqs:r:1:events", "State": "Deleting"},
        ]
        function = Service({"list_event_source_mappings": lambda _: [{"EventSourceMappings": there}]})
        self.assertEqual(unwire.readers(lambda _: function, "main"), 1)
        self.assertEqual(function.calls, [("delete_event_source_mapping", {"UUID": "other"})])

    def test_a_deployment_that_is_gone_has_no_readers(self) -> None:
        gone = Service({"list_event_source_mappings": Service.exceptions.ResourceNotFoundException()})
        self.assertEqual(unwire.readers(lambda _: gone, "main"), 0)


    def test_what_runs_is_stopped_and_awaited_and_nothing_more_launched(self) -> None:
        rounds = iter([["t1", "t2"], ["t3"], []])
        ecs = Service({"list_tasks": lambda _: [{"taskArns": next(rounds)}]})
        launcher = {"UUID": "launch", "EventSourceArn": "arn:aws:sqs:r:1:operon-main-launch", "State": "Enabled"}
        function = Service({"list_event_source_mappings": lambda _: [{"EventSourceMappings": [launcher]}]})
        services = {"ecs": ecs, "lambda": function}
        self.assertEqual(unwire.tasks(lambda name: services[name], "main"), 3)
        self.assertEqual(function.calls, [("update_event_source_mapping", {"UUID": "launch", "Enabled": False})])
        stopped = [of["task"] for name, of in ecs.calls if name == "stop_task"]
        self.assertEqual(stopped, ["t1", "t2", "t3"])
        self.assertEqual([of["tasks"] for name, of in ecs.calls if name == "wait"], [["t1", "t2"], ["t3"]])

    def test_only_task_definitions_of_the_stage_are_taken_back(self) -> None:
        ecs = self.definitions({"ACTIVE": 1}, ["operon-main-0a1b", "operon-main-two-0a1b"])
        self.assertEqual(unwire.definitions(lambda _: ecs, "main"), 1)
        self.assertEqual(ecs.calls, [("deregister_task_definition", {"taskDefinition": "operon-main-0a1b:ACTIVE-0"})])
        self.assertEqual(ecs.deleted, [["operon-main-0a1b:ACTIVE-0"]])

    def test_task_definitions_are_deleted_ten_at_a_time_also_those_that_were_taken_back_before(self) -> None:
        ecs = self.definitions({"ACTIVE": 2, "INACTIVE": 21}, ["operon-main-0a1b"])
        self.assertEqual(unwire.definitions(lambda _: ecs, "main"), 23)
        self.assertEqual(len(ecs.calls), 2)
        self.assertEqual([len(batch) for batch in ecs.deleted], [10, 10, 3])
        self.assertEqual(len({arn for batch in ecs.deleted for arn in batch}), 23)

    def test_who_may_not_delete_task_definitions_still_removes_the_deployment(self) -> None:
        ecs = self.definitions({"INACTIVE": 11}, ["operon-main-0a1b"])

        def refused(**_: Any) -> dict[str, Any]:
            raise Service.exceptions.ClientError("AccessDenied")

        ecs.delete_task_definitions = refused  # type: ignore[method-assign]
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(unwire.definitions(lambda _: ecs, "main"), 11)
        self.assertIn("stay inactive: AccessDenied", said.getvalue())

    def test_a_task_definition_that_stays_holds_up_nothing(self) -> None:
        ecs = self.definitions({"INACTIVE": 11}, ["operon-main-0a1b"])
        ecs.failures = [{"arn": "operon-main-0a1b:INACTIVE-0", "reason": "in use"}]
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(unwire.definitions(lambda _: ecs, "main"), 11)
        self.assertEqual(len(ecs.deleted), 2)
        self.assertIn("operon-main-0a1b:INACTIVE-0 stays inactive: in use", said.getvalue())

    def definitions(self, found: dict[str, int], families: list[str]) -> Definitions:
        """ECS with so many task definitions of each family, by status."""

        def of_families(arguments: dict[str, Any]) -> list[Any]:
            # A family whose definitions were all taken back is no active one.
            self.assertEqual(arguments, {"familyPrefix": "operon-main-", "status": "ALL"})
            return [{"families": families}]

        def listed(of: dict[str, Any]) -> list[Any]:
            status = of["status"]
            return [{"taskDefinitionArns": [f"{of['familyPrefix']}:{status}-{at}" for at in range(found.get(status, 0))]}]

        return Definitions({"list_task_definition_families": of_families, "list_task_definitions": listed})


if __name__ == "__main__":
    unittest.main()
