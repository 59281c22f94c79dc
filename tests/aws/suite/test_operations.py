"""What operators do with a deployment, by the command line, which signs its requests for the api function."""

from __future__ import annotations

import json
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar

import deployment
import flows
from botocore.credentials import Credentials
from fixtures import ENDPOINT, LANE, OPERON, aws, until, variables
from flows import NAMESPACE
from gateway import Gateway
from limits import CANNOT

ARN = "arn:aws:sts::000000000000:assumed-role/ops/ada"


class OperationsCase(unittest.TestCase):
    """The command line with a context of this deployment."""

    here: ClassVar[flows.Cloud]
    gateway: ClassVar[Gateway]
    home: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        if ENDPOINT is None:
            raise unittest.SkipTest("AWS itself needs no stand-in, and these tests do")
        cls.here = flows.stands()
        client = aws().client("lambda")
        function = f"operon-{cls.here.stand.stage}-api:live"
        cls.gateway = Gateway(client, function, Credentials("test", "test"), ARN)
        cls.addClassCleanup(cls.gateway.close)
        home = tempfile.TemporaryDirectory(prefix="operon-home-")
        cls.addClassCleanup(home.cleanup)
        cls.home = Path(home.name)
        cls.command("context", "add", "lane", cls.gateway.url, "--iam", "--region", "us-east-1")
        cls.command("context", "use", "lane")

    @classmethod
    def call(cls, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Calls `operon`."""
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(cls.home), "XDG_CONFIG_HOME": str(cls.home), "NO_COLOR": "1",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", **variables(), **more,
        }  # fmt: skip
        return subprocess.run(
            [str(OPERON), *arguments], cwd=cls.home, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    @classmethod
    def command(cls, *arguments: str) -> str:
        """Calls `operon`, which must succeed; what it says."""
        done = cls.call(*arguments)
        if done.returncode != 0:
            raise AssertionError(f"operon {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def asked(self, *arguments: str) -> Any:
        """The answer as JSON of a command that must succeed."""
        return json.loads(self.command(*arguments, "--output", "json"))

    def flow(self, name: str, tasks: str, more: str = "") -> str:
        """A flow's file in the home directory."""
        (self.home / f"{name}.yaml").write_text(f"id: {name}\nnamespace: {NAMESPACE}\n{more}\ntasks:\n{tasks}\n")
        return f"{name}.yaml"

    def over(self, identity: str, state: str) -> dict[str, Any]:
        """An execution at its end, which must be this, as the interface shows it."""
        def ended() -> dict[str, Any] | None:
            shown = dict(self.asked("executions", "show", identity))
            return shown if shown["state"] in flows.ENDED else None

        shown = until(ended, f"the end of {identity}", flows.WAIT_S)
        self.assertEqual(shown["state"], state, self.here.explained(identity))
        return shown


class TestCommandLine(OperationsCase):
    """From a directory to an execution and its log."""

    def test_a_flow_with_files_beside_it_is_deployed_started_and_read(self) -> None:
        (self.home / "beside").mkdir()
        (self.home / "beside/words.txt").write_text("out of a file\n")
        task = (
            "  - id: main\n    type: container\n    containerImage: shell\n    namespaceFiles: {enabled: true}\n"
            '    commands: ["cat words.txt"]\n'
        )
        name = self.flow("files", task)
        deployed = self.asked("flows", "deploy", name, "--files", "beside")
        self.assertEqual((deployed["revision"], deployed["created"]), (1, True))
        start = ("flows", "start", f"{NAMESPACE}/files", "--idempotency-key", "once")
        identity = self.asked(*start)["id"]
        self.assertEqual(self.asked(*start)["id"], identity)
        shown = self.over(identity, "SUCCESS")
        self.assertEqual([run["task"] for run in shown["taskRuns"]], ["main"])
        # Lines of containers are in CloudWatch Logs.
        lines = until(lambda: self.command("executions", "logs", identity), "its log")
        self.assertIn("out of a file", lines)
        listed = self.asked("executions", "list", "--flow", "files")
        self.assertEqual([one["id"] for one in listed["items"]], [identity])
        audit = self.asked("audit")["items"]
        self.assertEqual({one["who"] for one in audit}, {ARN})
        self.assertIn("flow.deploy", {one["action"] for one in audit})
        self.assertEqual(self.gateway.refused, [])

    def test_who_signs_with_another_key_is_refused_with_the_reason(self) -> None:
        done = self.call("flows", "list", AWS_SECRET_ACCESS_KEY="guessed")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("lambda:InvokeFunctionUrl", done.stderr)
        self.assertIn("signature we calculated does not match", self.gateway.refused.pop())

    def test_a_dead_letter_is_put_back_and_does_what_it_should_have_done(self) -> None:
        key = "uploads/redriven/a.fasta"
        trigger = f"triggers:\n  - {{id: upload, type: s3, bucket: {self.here.bucket}, prefix: uploads/redriven/}}"
        self.asked("flows", "deploy", self.flow("redriven", '  - {id: say, type: log, message: "x"}', trigger))
        # An upload of which nobody could be told at the time.
        uploaded = {
            "version": "0", "id": "e1", "detail-type": "Object Created", "source": "aws.s3", "account": "000000000000",
            "time": "2026-01-01T00:00:00Z", "region": "us-east-1", "resources": [f"arn:aws:s3:::{self.here.bucket}"],
            "detail": {
                "version": "0", "bucket": {"name": self.here.bucket}, "reason": "PutObject",
                "object": {"key": key, "size": 1, "etag": "0cc175b9c0f1b6a831c399e269772661", "sequencer": "0062E99A88DC407460"},
            },
        }  # fmt: skip
        aws().client("sqs").send_message(QueueUrl=self.here.queue("intake-dlq"), MessageBody=json.dumps(uploaded))

        def letters() -> list[dict[str, Any]]:
            self.here.reconcile()
            return [one for one in self.asked("redrive")["items"] if one["queue"] == "intake"]

        (letter,) = until(letters, "the dead letter")
        self.assertEqual(self.here.executions("redriven"), [])
        self.assertEqual(self.asked("redrive", letter["id"]), {"redriven": 1, "failed": []})
        self.over(self.here.one("redriven"), "SUCCESS")

    def test_a_task_calls_a_function_and_reads_its_answer(self) -> None:
        function = f"operon-{self.here.stand.stage}-reconciler:live"
        task = (
            f"  - id: call\n    type: lambda\n    functionArn: {function}\n    functionPayload: {{source: aws.events}}\n"
            '  - {id: size, type: return, format: "{{ outputs.call.contentLength }}"}\n'
        )
        more = 'outputs:\n  - {id: size, type: INT, value: "{{ outputs.size.value }}"}'
        self.asked("flows", "deploy", self.flow("calling", task, more))
        identity = self.asked("flows", "start", f"{NAMESPACE}/calling")["id"]
        self.assertGreater(self.over(identity, "SUCCESS")["outputs"]["size"], 0)

    def schedules(self, trigger: str) -> list[dict[str, Any]]:
        """Targets of the schedules that were made for triggers of this name."""
        group = self.here.stand.outputs["ScheduleGroup"]
        scheduler = aws().client("scheduler")
        names = [one["Name"] for one in scheduler.list_schedules(GroupName=group)["Schedules"]]
        targets = [scheduler.get_schedule(GroupName=group, Name=name)["Target"] for name in names]
        return [target for target in targets if trigger in target.get("Input", "")]

    def test_a_schedule_of_a_flow_comes_and_goes_with_its_revision(self) -> None:
        task = '  - {id: say, type: log, message: "x"}'
        trigger = 'triggers:\n  - {id: nightly, type: schedule, cron: "0 3 * * *", timezone: Europe/Zurich}'
        self.asked("flows", "deploy", self.flow("dated", task, trigger))
        self.assertEqual(len(self.schedules("nightly")), 1)
        self.asked("flows", "deploy", self.flow("dated", task))
        self.assertEqual(self.schedules("nightly"), [])

    def test_a_schedule_starts_its_flow_without_the_reconciler(self) -> None:
        events = aws().client("events")
        rule = f"operon-{self.here.stand.stage}-reconcile"
        events.disable_rule(Name=rule)
        self.addCleanup(events.enable_rule, Name=rule)
        task = '  - {id: say, type: log, message: "{{ trigger.date }}"}'
        trigger = 'triggers:\n  - {id: punctual, type: schedule, cron: "* * * * *"}'
        self.asked("flows", "deploy", self.flow("punctual", task, trigger))
        self.addCleanup(self.asked, "flows", "deploy", self.flow("punctual", task))
        self.assertEqual(len(self.schedules("punctual")), 1)
        # Nobody else looks: what comes is EventBridge Scheduler's own message.
        first, *_ = until(lambda: self.here.executions("punctual"), "an execution by its schedule", 180)
        self.assertEqual(events.describe_rule(Name=rule)["State"], "DISABLED")
        self.over(first["meta"]["id"], "SUCCESS")

    def test_queues_topics_buses_and_alarms_start_flows_by_themselves(self) -> None:
        name = f"source-{self.here.stand.stage}"
        sqs, sns, events = (aws().client(service) for service in ("sqs", "sns", "events"))
        queue = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
        self.addCleanup(sqs.delete_queue, QueueUrl=queue)
        topic = sns.create_topic(Name=name)["TopicArn"]
        self.addCleanup(sns.delete_topic, TopicArn=topic)
        inputs = "inputs:\n  - {id: what, type: STRING}\n"
        task = '  - {id: say, type: log, message: "{{ inputs.what }}"}'
        sources = {
            "queued": f'{{id: source, type: sqs, queueUrl: "{queue}", inputs: {{what: "{{{{ trigger.body }}}}"}}}}',
            "published": f'{{id: source, type: sns, topicArn: "{topic}", inputs: {{what: "{{{{ trigger.message }}}}"}}}}',
            "bussed": "{id: source, type: eventbridge, eventPattern: {source: [lab]}, inputs: "
            '{what: "{{ trigger.detail.what }}"}}',
            "alarmed": '{id: source, type: cloudwatch, alarmName: backlog, inputs: {what: "{{ trigger.reason }}"}}',
        }
        for flow, source in sources.items():
            said = self.asked("flows", "deploy", self.flow(flow, task, f"{inputs}triggers:\n  - {source}"))
            self.assertEqual(said["warnings"], [])
        sqs.send_message(QueueUrl=queue, MessageBody="by a queue")
        sns.publish(TopicArn=topic, Message="by a topic")
        alarm = {
            "alarmName": "backlog", "previousState": {"value": "OK"},
            "state": {"value": "ALARM", "reason": "by an alarm", "timestamp": "2026-01-01T00:00:00.000+0000"},
        }  # fmt: skip
        said = {"Source": "lab", "DetailType": "Said", "Detail": json.dumps({"what": "by a bus"})}
        self.assertEqual(events.put_events(Entries=[said])["FailedEntryCount"], 0)
        # Nobody but AWS may say what its services do, and the emulators' alarms do not tell the bus: this is what the rule
        # would send.
        rules = events.list_rules(NamePrefix=f"operon-{self.here.stand.stage}.")["Rules"]
        (pattern,) = [one["EventPattern"] for one in rules if "backlog" in one["EventPattern"]]
        event = {
            "version": "0", "id": "a1", "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
            "account": "000000000000", "time": "2026-01-01T00:00:00Z", "region": "us-east-1", "resources": [], "detail": alarm,
        }  # fmt: skip
        self.assertTrue(events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"])
        sqs.send_message(QueueUrl=self.here.queue("intake"), MessageBody=json.dumps(event))
        expected = {"queued": "by a queue", "published": "by a topic", "bussed": "by a bus", "alarmed": "by an alarm"}
        for flow, words in expected.items():
            with self.subTest(flow):
                shown = self.over(self.here.one(flow), "SUCCESS")
                self.assertEqual(shown["inputs"], {"what": words})
        # They go with their triggers.
        for flow in sources:
            self.asked("flows", "deploy", self.flow(flow, task, inputs))
        rules = events.list_rules(NamePrefix=f"operon-{self.here.stand.stage}.")["Rules"]
        self.assertEqual(rules, [])
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

        def left() -> bool:
            readers = aws().client("lambda").list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
            return all(one["State"] == "Deleting" for one in readers)

        until(left, "the end of who reads the queue")
        sqs.send_message(QueueUrl=queue, MessageBody="for later")
        waits = until(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages"), "the message that waits")
        self.assertEqual(waits[0]["Body"], "for later")

    def made(self) -> dict[str, Any]:
        """What the deployment consists of, as far as somebody could change it in passing."""
        function, events, sqs = (aws().client(service) for service in ("lambda", "events", "sqs"))
        stage = f"operon-{self.here.stand.stage}"
        functions = function.list_functions()["Functions"]
        mappings = function.list_event_source_mappings()["EventSourceMappings"]
        rules = events.list_rules(NamePrefix=stage)["Rules"]
        return {
            "functions": sorted((one["FunctionName"], one["CodeSha256"], one["LastModified"]) for one in functions),
            "readers": sorted((one["UUID"], one["State"]) for one in mappings),
            "rules": sorted((one["Name"], one["State"]) for one in rules),
            "queues": sorted(sqs.list_queues(QueueNamePrefix=stage)["QueueUrls"]),
            "executions": [one["id"] for one in self.asked("executions", "list")["items"]],
            "audit": self.asked("audit")["items"],
        }

    def doctor(self, stage: str) -> tuple[int, dict[str, list[str]]]:
        """The exit code, and what is said of each kind of thing: `ok`, `wrong` and so on, in order."""
        said = self.call("doctor", "--target", "aws", "--stage", stage)
        found: dict[str, list[str]] = {}
        for line in said.stdout.splitlines():
            mark, part = line.split()[:2]
            found.setdefault(part, []).append(mark)
        return said.returncode, found

    def test_doctor_finds_what_stands_and_changes_nothing(self) -> None:
        # What other tests had given up is taken up.
        self.here.reconcile()
        before = self.made()
        code, found = self.doctor(self.here.stand.stage)
        self.assertEqual(self.made(), before)
        expected = {
            "region": 1, "table": 1, "cluster": 1, "queue": 4, "function": 7, "call": 2, "reader": 4, "rule": 4, "letters": 5,
            "bucket": 1,
        }  # fmt: skip
        cannot = CANNOT.get(LANE, {})
        unlike = {"cluster": "ecs-resources", "function": "alias-configuration"}
        for part, count in expected.items():
            with self.subTest(part):
                mark = "wrong" if unlike.get(part) in cannot else "ok"
                self.assertEqual(found.get(part), [mark] * count)
        # No emulator has quotas. Images of the stand-in are in no registry; that of the agent every container needs.
        self.assertEqual((found["quota"], found["agent"], code), (["missing"] * 3, ["wrong"], 1))

    def test_doctor_sees_what_stands_still_and_what_was_given_up(self) -> None:
        stage, events, sqs = self.here.stand.stage, aws().client("events"), aws().client("sqs")
        rule, letters = f"operon-{stage}-reconcile", self.here.queue("plan-dlq")
        # Nobody takes up the letter meanwhile.
        events.disable_rule(Name=rule)
        self.addCleanup(events.enable_rule, Name=rule)
        sqs.send_message(QueueUrl=letters, MessageBody="given up")
        self.addCleanup(sqs.purge_queue, QueueUrl=letters)
        _, found = self.doctor(stage)
        self.assertEqual(found["rule"], ["wrong", "ok", "ok", "ok"])
        self.assertEqual(found["letters"], ["ok", "warning", "ok", "ok", "ok"])

    def test_doctor_finds_nothing_of_a_stage_that_is_not_there(self) -> None:
        code, found = self.doctor("nobody")
        for part, count in {"table": 1, "queue": 4, "function": 7, "call": 2, "rule": 4, "letters": 5}.items():
            self.assertEqual(found[part], ["wrong"] * count, part)
        # Which bucket, the functions would say.
        self.assertEqual((found["agent"], "bucket" in found, code), (["missing"], False, 1))


if __name__ == "__main__":
    unittest.main()
