"""The template as it is deployed: what it consists of, and that its parts are connected.

Every function is the probe (tests/probe), so nothing here depends on what the functions do.
"""

from __future__ import annotations

import json
import unittest
from typing import Any

import deployment
from fixtures import attributes, aws, depth, needs, probed, queue_url, until

QUEUES = {"plan": "planner", "launch": "launcher", "work": "worker", "intake": "intake"}
"""The queues and who reads them."""


class TestStack(unittest.TestCase):
    """What is there."""

    def test_all_resources_stand(self) -> None:
        wanted = {
            name
            for name, resource in deployment.load_template()["Resources"].items()
            if resource.get("Condition", "MakesNetwork") == "MakesNetwork"
        }
        self.assertEqual(wanted - set(probed().resources()), set())

    def test_the_outputs_name_what_users_need(self) -> None:
        wanted = set(deployment.load_template()["Outputs"])
        self.assertEqual(wanted - {key for key, value in probed().outputs.items() if value}, set())

    @needs("ecs-resources")
    def test_the_cluster_is_there(self) -> None:
        found = aws().client("ecs").describe_clusters(clusters=[f"operon-{probed().stage}"])["clusters"]
        self.assertEqual([cluster["status"] for cluster in found], ["ACTIVE"])

    def test_the_table_has_its_keys_and_indexes(self) -> None:
        table = aws().client("dynamodb").describe_table(TableName=probed().outputs["StateTable"])["Table"]
        keys = {entry["KeyType"]: entry["AttributeName"] for entry in table["KeySchema"]}
        self.assertEqual(keys, {"HASH": "pk", "RANGE": "sk"})
        indexes = {
            index["IndexName"]: [entry["AttributeName"] for entry in index["KeySchema"]]
            for index in table["GlobalSecondaryIndexes"]
        }
        self.assertEqual(indexes, {"due": ["q", "due"], "list": ["l", "lk"]})

    def test_the_bucket_is_closed_and_tells_of_uploads(self) -> None:
        s3, bucket = aws().client("s3"), probed().outputs["DataBucket"]
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        self.assertTrue(all(block.values()), block)
        self.assertIn("EventBridgeConfiguration", s3.get_bucket_notification_configuration(Bucket=bucket))
        self.assertEqual(s3.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")


class TestFunctions(unittest.TestCase):
    """Seven functions behind their alias."""

    def environment(self, role: str) -> dict[str, str]:
        answer = aws().client("lambda").invoke(
            FunctionName=f"operon-{probed().stage}-{role}:live", Payload=json.dumps({"ask": role})
        )
        payload = json.load(answer["Payload"])
        self.assertNotIn("FunctionError", answer, payload)
        self.assertEqual(payload["event"], {"ask": role})
        return dict(payload["environment"])

    def test_each_runs_and_knows_the_deployment(self) -> None:
        wanted = set(deployment.load_template()["Globals"]["Function"]["Environment"]["Variables"])
        self.assertGreater(len(wanted), 10)
        # A further bucket is a parameter whose default is none.
        may_be_empty = {"OPERON_UPLOAD_BUCKET"}
        for role in deployment.ROLES:
            with self.subTest(role):
                found = self.environment(role)
                self.assertEqual(wanted - set(found), set())
                empty = {name for name in wanted if not found[name]}
                self.assertEqual(empty - may_be_empty, set())
                self.assertEqual(found["OPERON_STATE_TABLE"], probed().outputs["StateTable"])


class TestQueues(unittest.TestCase):
    """From a message to a function, and to where it goes if none can handle it."""

    def mappings(self) -> dict[str, dict[str, Any]]:
        listed = aws().client("lambda").list_event_source_mappings()["EventSourceMappings"]
        prefix = f"operon-{probed().stage}-"
        return {
            entry["EventSourceArn"].rpartition(":")[2].removeprefix(prefix): entry
            for entry in listed
            if prefix in entry["EventSourceArn"]
        }

    def test_each_is_read_by_its_function_with_partial_failures(self) -> None:
        mappings = self.mappings()
        self.assertEqual(set(mappings), set(QUEUES))
        for queue, role in QUEUES.items():
            with self.subTest(queue):
                self.assertEqual(mappings[queue]["FunctionResponseTypes"], ["ReportBatchItemFailures"])
                self.assertEqual(mappings[queue]["BatchSize"], 10)
                self.assertIn(f"-{role}:live", mappings[queue]["FunctionArn"])

    def test_each_is_invisible_for_six_timeouts_and_has_a_dead_letter_queue(self) -> None:
        for queue, role in QUEUES.items():
            with self.subTest(queue):
                found = attributes(queue)
                function = aws().client("lambda").get_function_configuration(
                    FunctionName=f"operon-{probed().stage}-{role}"
                )
                self.assertGreaterEqual(int(found["VisibilityTimeout"]), 6 * function["Timeout"])
                redrive = json.loads(found["RedrivePolicy"])
                self.assertEqual(int(redrive["maxReceiveCount"]), 5)
                self.assertTrue(redrive["deadLetterTargetArn"].endswith(f"{queue}-dlq"))
                self.assertEqual(int(attributes(f"{queue}-dlq")["MessageRetentionPeriod"]), 14 * 86400)

    def test_one_bad_message_fails_alone_and_ends_as_a_dead_letter(self) -> None:
        sqs = aws().client("sqs")
        for queue in QUEUES:
            # The next delivery is not to take minutes here.
            sqs.set_queue_attributes(QueueUrl=queue_url(queue), Attributes={"VisibilityTimeout": "1"})
            for body in ["good", "poison", "good too"]:
                sqs.send_message(QueueUrl=queue_url(queue), MessageBody=f"{body} of {queue}")
        for queue in QUEUES:
            with self.subTest(queue):
                until(lambda queue=queue: depth(f"{queue}-dlq") == 1, f"a dead letter of {queue}", 120)
                until(lambda queue=queue: depth(queue) == 0, f"{queue} is empty")
                dead = sqs.receive_message(QueueUrl=queue_url(f"{queue}-dlq"), WaitTimeSeconds=5)["Messages"]
                self.assertEqual([message["Body"] for message in dead], [f"poison of {queue}"])


class TestEvents(unittest.TestCase):
    """Rules and what they let through."""

    def pattern(self, rule: str) -> str:
        found = aws().client("events").describe_rule(Name=f"operon-{probed().stage}-{rule}")
        return str(found["EventPattern"])

    def matches(self, rule: str, source: str, kind: str, detail: dict[str, Any]) -> bool:
        event = {
            "id": "1", "account": "000000000000", "source": source, "time": "2026-01-01T00:00:00Z",
            "region": "us-east-1", "resources": [], "detail-type": kind, "detail": detail,
        }  # fmt: skip
        answer = aws().client("events").test_event_pattern(
            EventPattern=self.pattern(rule), Event=json.dumps(event)
        )
        return bool(answer["Result"])

    def test_an_upload_reaches_intake_and_files_of_executions_do_not(self) -> None:
        bucket = probed().outputs["DataBucket"]
        seen = [
            key
            for key in ["uploads/in/a b.json", "artifacts/x/1.json", "logs/x", "plans/x"]
            if self.matches(
                "upload", "aws.s3", "Object Created", {"bucket": {"name": bucket}, "object": {"key": key}}
            )
        ]
        self.assertEqual(seen, ["uploads/in/a b.json"])

    def test_the_watcher_hears_of_every_end_but_success(self) -> None:
        cluster = json.loads(self.pattern("stopped"))["detail"]["clusterArn"][0]
        ends = {
            "success": ("EssentialContainerExited", [{"exitCode": 0}, {"exitCode": 0}]),
            "failure": ("EssentialContainerExited", [{"exitCode": 0}, {"exitCode": 1}]),
            "never started": ("TaskFailedToStart", []),
            "spot": ("SpotInterruption", [{"exitCode": 0}]),
        }
        heard = {
            name
            for name, (code, containers) in ends.items()
            if self.matches(
                "stopped",
                "aws.ecs",
                "ECS Task State Change",
                {"clusterArn": cluster, "lastStatus": "STOPPED", "stopCode": code, "containers": containers},
            )
        }
        self.assertEqual(heard, set(ends) - {"success"})

    def test_the_reconciler_is_called_each_minute(self) -> None:
        found = aws().client("events").describe_rule(Name=f"operon-{probed().stage}-reconcile")
        self.assertEqual((found["ScheduleExpression"], found["State"]), ("rate(1 minute)", "ENABLED"))


if __name__ == "__main__":
    unittest.main()
