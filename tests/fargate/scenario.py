"""The agent beside an image in a task of the stand-in: the same stories with processes and with real containers.

`Stories` is mixed into a test case that says which runtime runs the containers.
"""

from __future__ import annotations

import hashlib
import json
import unittest
from collections.abc import Mapping
from typing import Any

from cloud import Cloud
from testing import StandInCase, until

ATTEMPT = "e-1:0:3:1"
PREFIX = "data/artifacts/e-1/0.3.1"
SECRET = "hunter2-swordfish"
_LOG = {"awslogs-group": "/operon/test", "awslogs-stream-prefix": "operon", "awslogs-region": "eu-central-1"}
_MOUNT = [{"sourceVolume": "operon", "containerPath": "/operon"}]


def spec(**fields: object) -> dict[str, object]:
    """A specification of the attempt."""
    target = {"bucket": "data", "key": "artifacts/e-1/0.3.1", "uri": "operon:///e-1/0.3.1"}
    return {
        "format": 1,
        "attempt": ATTEMPT,
        "name": "align",
        "target": target,
        "timeoutMs": 600_000,
        "reports": {"startedAfterMs": 0, "heartbeatMs": 0},
        **fields,
    }


def shell(script: str) -> dict[str, object]:
    """An input file that is a script, to be run by `main`."""
    return {"path": "run.sh", "source": {"inline": [{"text": script}]}, "executable": True}


class AgentCase(StandInCase):
    """A stand-in before S3 and SQS, and a task definition as the launcher registers it."""

    cloud: Cloud
    kind_of_cloud: type[Cloud] = Cloud

    def setUp(self) -> None:
        self.cloud = self.kind_of_cloud()
        self.addCleanup(self.cloud.close)
        super().setUp()

    def containers(self, **main: object) -> list[dict[str, object]]:
        """`stage`, `main` and `agent`."""
        log = {"logDriver": "awslogs", "options": _LOG}
        secret = [{"name": "OPERON_SECRET_0", "valueFrom": "plain"}]
        ours = {"image": "agent", "logConfiguration": log, "mountPoints": _MOUNT, "secrets": secret}
        return [
            {"name": "stage", "essential": False, "command": ["stage"], **ours},
            {
                "name": "main",
                "image": "shell",
                "essential": False,
                "command": ["/operon/work/run.sh"],
                "workingDirectory": "/operon/work",
                "mountPoints": _MOUNT,
                "secrets": [{"name": "PASSWORD", "valueFrom": "plain"}],
                "environment": [
                    {"name": "OPERON_OUTPUTS", "value": "/operon/control/outputs"},
                    {"name": "OUTPUT_DIR", "value": "/operon/control/output"},
                ],
                "dependsOn": [
                    {"containerName": "stage", "condition": "SUCCESS"},
                    {"containerName": "agent", "condition": "START"},
                ],
                "logConfiguration": {"logDriver": "awsfirelens", "options": {}},
                "stopTimeout": 60,
                **main,
            },
            {
                "name": "agent",
                "command": ["watch"],
                "stopTimeout": 120,
                "firelensConfiguration": {"type": "fluentbit"},
                **ours,
            },
        ]

    def launched(self, document: Mapping[str, object], **main: object) -> str:
        """Runs an attempt; gives the task's ARN."""
        variables = {
            "OPERON_ATTEMPT": ATTEMPT,
            "OPERON_SPEC": json.dumps(document),
            "OPERON_PLAN_QUEUE_URL": f"{self.cloud.url}/000000000000/plan",
        }
        environment = [{"name": name, "value": value} for name, value in variables.items()]
        overrides = [{"name": name, "environment": environment} for name in ("stage", "agent")]
        return self.started(
            self.containers(**main), startedBy="e-1/0/3/1", overrides={"containerOverrides": overrides}
        )

    def done(self) -> dict[str, Any]:
        """The result that was sent: one, and the last message."""
        results = [message for message in self.cloud.messages if "done" in message["said"]]  # type: ignore[operator]
        self.assertEqual(len(results), 1, self.cloud.messages)
        message: dict[str, Any] = results[0]
        self.assertEqual((message["agent"], message["attempt"]), (1, ATTEMPT))
        found: dict[str, Any] = message["said"]["done"]
        return found

    def manifest(self) -> dict[str, Any]:
        """What the attempt left in S3 about itself."""
        found: dict[str, Any] = json.loads(self.cloud.objects[f"{PREFIX}/.operon/manifest.json"])
        return found

    def lines(self, arn: str) -> list[dict[str, Any]]:
        """The log that the agent forwarded."""
        stream = f"operon/agent/{arn.rsplit('/', 1)[-1]}"
        return [json.loads(line) for line in self.control("logs")["streams"].get(stream, [])]


class Stories(AgentCase):
    """What must hold whatever runs the containers."""

    def test_from_input_files_to_output_files(self) -> None:
        data = bytes(range(256)) * 50_000  # More than one part.
        self.cloud.objects["data/artifacts/in.bin"] = data
        self.cloud.breaks_after = 1_000_000
        inputs = [
            shell(
                "#!/bin/sh\nset -e\ncat in/data.bin > out.bin\nmkdir -p deep/er\necho x > deep/er/x.tsv\n"
                "echo given > $OUTPUT_DIR/given.txt\necho n=3 > $OPERON_OUTPUTS\n"
            ),
            {"path": "in/data.bin", "source": {"s3": {"bucket": "data", "key": "artifacts/in.bin",
                                                     "sha256": hashlib.sha256(data).hexdigest()}}},
        ]  # fmt: skip
        arn = self.launched(spec(inputFiles=inputs, outputFiles=["out.bin", "deep/**"]))
        task = self.stopped(arn)
        codes = {one["name"]: one["exitCode"] for one in task["containers"]}
        self.assertEqual(codes, {"stage": 0, "main": 0, "agent": 0}, self.control("logs"))
        done = self.done()
        self.assertEqual((done["outcome"], done["exitCode"]), ("success", 0))
        self.assertEqual(done["outputs"]["vars"], {"n": "3"})
        uri = "operon:///e-1/0.3.1"
        self.assertEqual(
            done["outputs"]["outputFiles"],
            {name: f"{uri}/{name}" for name in ("deep/er/x.tsv", "given.txt", "out.bin")},
        )
        self.assertEqual(self.cloud.objects[f"{PREFIX}/out.bin"], data)
        listed = {one["name"]: one for one in self.manifest()["outputFiles"]}
        self.assertEqual(listed["out.bin"]["sha256"], hashlib.sha256(data).hexdigest())
        self.assertEqual(listed["out.bin"]["bytes"], len(data))
        self.assertEqual((self.cloud.problems, self.cloud.uploads), ([], {}))
        self.assertEqual(self.cloud.signed_by, {"test"})
        self.assertEqual(done["taskArn"], arn)
        self.assertEqual(done["log"]["stream"], f"operon/agent/{arn.rsplit('/', 1)[-1]}")

    def test_no_secret_is_in_the_log_the_result_or_the_events(self) -> None:
        script = (
            "#!/bin/sh\necho \"config: password='$PASSWORD'\"\nprintf %s \"$PASSWORD\" | base64\n"
            "echo \"::{\\\"outputs\\\":{\\\"p\\\":\\\"$PASSWORD\\\",\\\"n\\\":7}}::\"\n"
            "echo \"login with $PASSWORD refused\" >&2\nexit 5\n"
        )
        arn = self.launched(spec(inputFiles=[shell(script)], secretVariables=["OPERON_SECRET_0"]))
        self.stopped(arn)
        done = self.done()
        self.assertEqual(done["outcome"], {"failed": "exit_code"})
        self.assertEqual(done["message"], "the container ended with exit code 5: login with ****** refused")
        self.assertEqual(done["outputs"]["vars"], {"p": "******", "n": 7})
        lines = self.lines(arn)
        self.assertEqual([line["seq"] for line in lines], list(range(len(lines))))
        texts = {line["text"] for line in lines}
        self.assertEqual(texts, {"config: password='******'", "******", "login with ****** refused"})
        everything = json.dumps([self.cloud.messages, self.control("logs"), self.events, self.manifest()])
        self.assertNotIn("swordfish", everything)
        self.assertNotIn("aHVudGVyMi", everything)

    def test_a_missing_input_is_told_and_main_never_runs(self) -> None:
        gone = {"path": "in", "source": {"s3": {"bucket": "data", "key": "gone"}}}
        self.stopped(self.launched(spec(inputFiles=[gone, shell("#!/bin/sh\ntouch ran\n")])))
        done = self.done()
        self.assertEqual((done["outcome"], done["exitCode"]), ({"failed": "invalid_input"}, None))
        self.assertIn("s3://data/gone", done["message"])
        self.assertEqual(list(self.root.glob("*/volumes/operon/work/ran")), [])

    def test_running_out_of_memory_has_its_own_reason(self) -> None:
        script = "#!/bin/sh\nhead -c 300m /dev/zero | tail > /dev/null\n"
        self.stopped(self.launched(spec(inputFiles=[shell(script)], memoryMib=64), memory=64))
        done = self.done()
        self.assertEqual((done["outcome"], done["exitCode"]), ({"failed": "out_of_memory"}, 137))
        self.assertIn("of 64 MiB", done["message"])

    def test_an_interruption_is_reported_after_main_has_stopped(self) -> None:
        script = "#!/bin/sh\ntrap 'exit 0' TERM\ntouch up\nwhile :; do sleep 0.1; done\n"
        arn = self.launched(spec(inputFiles=[shell(script)]))
        until(lambda: list(self.root.glob("*/volumes/operon/work/up")), "the start of `main`")
        self.control("tasks/interrupt", task=arn)
        task = self.stopped(arn)
        self.assertEqual(task["stopCode"], "SpotInterruption")
        # It says that all is well, and may have done half.
        self.assertEqual(self.done()["outcome"], {"failed": "interrupted"})

    def test_after_its_timeout_the_task_ends_and_main_with_it(self) -> None:
        script = "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n"
        arn = self.launched(spec(inputFiles=[shell(script)], timeoutMs=1_000))
        task = self.stopped(arn)
        codes = {one["name"]: one["exitCode"] for one in task["containers"]}
        self.assertEqual((codes["main"], codes["agent"]), (137, 76))
        # Nothing is reported while `main` may still be alive.
        self.assertEqual(self.cloud.messages, [])
        self.assertEqual(self.manifest()["outcome"], {"failed": "timeout"})

    def test_long_attempts_say_that_they_run(self) -> None:
        script = "#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.1; done\n"
        reports = {"startedAfterMs": 1, "heartbeatMs": 200}
        arn = self.launched(spec(inputFiles=[shell(script)], reports=reports))
        kinds = lambda: [next(iter(message["said"])) for message in self.cloud.messages]  # type: ignore  # noqa: E731
        until(lambda: kinds().count("alive") >= 2, "a heartbeat")
        self.assertEqual(kinds().count("started"), 1)
        self.assertGreater(self.cloud.messages[-1]["said"]["alive"]["usage"]["peakRssBytes"], 0)  # type: ignore
        next(self.root.glob("*/volumes/operon/work")).joinpath("go").touch()
        self.stopped(arn)
        self.assertEqual(self.done()["outcome"], "success")

    def test_names_and_links_lead_nowhere_outside(self) -> None:
        script = "#!/bin/sh\nln -s /etc/passwd leak.txt\nln -s / all\necho fine > fine.txt\n"
        self.stopped(self.launched(spec(inputFiles=[shell(script)], outputFiles=["**"])))
        self.assertEqual(set(self.done()["outputs"]["outputFiles"]), {"fine.txt", "run.sh"})
        self.assertFalse(any("leak" in name or "passwd" in name for name in self.cloud.objects))


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """The stories are run by those who say how."""
    return unittest.TestSuite()
