"""The HTTP interface held against its own OpenAPI document: it does what it says, and whatever is asked, it does not fail.

A real `operon server` is started on a free port, with flows and executions in it: one that succeeds, one with failed
items, one that waits for a person. schemathesis then makes requests from the document, good ones and bad ones, and
holds every answer against it: status, media type, headers, and the JSON. It is installed below .tools from
tests/api/requirements.txt.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))

import built  # noqa: E402 - as the next
import venvs  # noqa: E402 - it lives with the tools of the tests

FLOWS = {
    "good.yaml": """
id: good
namespace: api
inputs:
  - {id: name, type: STRING, defaults: world}
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "hello {{ inputs.name }}"
  - id: write
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    outputFiles: ["*.fasta"]
    commands: ["printf '>a\\nACGT\\n' > a.fasta", "echo line"]
""",
    "items.yaml": """
id: items
namespace: api
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2, 3]
    tasks:
      - id: odd
        type: io.kestra.plugin.core.execution.Fail
        condition: "{{ taskrun.value == 2 }}"
""",
    "pause.yaml": """
id: pause
namespace: api
concurrency: {limit: 1}
tasks:
  - id: approve
    type: io.kestra.plugin.core.flow.Pause
    onResume:
      - {id: reason, type: STRING}
""",
}
# Generated requests per operation, besides those that cover every parameter and every wrong type of it.
EXAMPLES = 12
# What every answer is held against.
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth",
)  # fmt: skip
# So that a hang ends, on the slowest of machines.
TIMEOUT_S = 900


def binary() -> Path:
    """The `operon` that was built last for tests."""
    named = os.environ.get("OPERON_BINARY")
    if named:
        return Path(named)
    return built.operon()


class Server:
    """A server in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        flows = directory / "flows"
        flows.mkdir()
        for name, text in FLOWS.items():
            (flows / name).write_text(text)
        self.log = (directory / "server.log").open("w+")
        self.process = subprocess.Popen(
            [str(binary()), "server", "--listen", "127.0.0.1:0", "--state", str(directory / "state"),
             "--flows", str(flows)],
            stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        self.url, _, self.token = line.partition("/?token=")
        if not self.token:
            self.log.seek(0)
            raise AssertionError(f"the server did not start: {self.log.read()}")

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        """Status and JSON of an answer."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def start(self, flow: str, states: set[str]) -> str:
        """Starts a flow and waits for one of the states."""
        status, answer = self.ask("POST", "/executions", {"namespace": "api", "flow": flow})
        assert status == 201, answer
        for _ in range(1200):
            _, detail = self.ask("GET", f"/executions/{answer['id']}")
            if detail["state"] in states:
                return answer["id"]
            time.sleep(0.1)
        raise AssertionError(f"{flow} is {detail['state']}, not one of {states}")

    def stop(self) -> None:
        """Ends the server."""
        self.process.terminate()
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


class Api(unittest.TestCase):
    """The real server with real executions."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.server = Server(Path(cls.directory.name))
        cls.addClassCleanup(cls.directory.cleanup)
        cls.addClassCleanup(cls.server.stop)
        cls.good = cls.server.start("good", {"SUCCESS"})
        cls.failed = cls.server.start("items", {"FAILED"})
        cls.paused = cls.server.start("pause", {"PAUSED"})

    def test_an_execution_shows_what_it_did(self) -> None:
        _, runs = self.server.ask("GET", f"/executions/{self.good}/task-runs")
        self.assertEqual([run["task"] for run in runs["items"]], ["say", "write"])
        _, graph = self.server.ask("GET", f"/executions/{self.failed}/graph")
        each = next(node for node in graph["nodes"] if node["id"] == "each")
        self.assertEqual((each["counts"]["done"], each["counts"]["failed"], each["counts"]["total"]), (2, 1, 3))
        _, artifacts = self.server.ask("GET", f"/executions/{self.good}/artifacts")
        uri = next(item["uri"] for item in artifacts["items"] if item["name"] == "a.fasta")
        _, preview = self.server.ask("GET", f"/artifacts/preview?uri={uri}")
        self.assertEqual((preview["kind"], preview["text"]), ("fasta", ">a\nACGT\n"))
        write = runs["items"][1]["id"]
        _, log = self.server.ask("GET", f"/executions/{self.good}/logs?taskRun={write}")
        self.assertIn("line", [line["text"] for line in log["items"]])
        self.assertTrue(log["ended"])

    def test_a_pause_is_answered_with_typed_values(self) -> None:
        status, problem = self.server.ask("POST", f"/executions/{self.paused}/resume", {"inputs": {}})
        self.assertEqual((status, problem["errors"][0]["rule"]), (422, "reason"))
        status, _ = self.server.ask("POST", f"/executions/{self.paused}/resume", {"inputs": {"reason": "fine"}})
        self.assertEqual(status, 202)
        for _ in range(600):
            _, detail = self.server.ask("GET", f"/executions/{self.paused}")
            if detail["state"] == "SUCCESS":
                break
            time.sleep(0.1)
        _, runs = self.server.ask("GET", f"/executions/{self.paused}/task-runs")
        self.assertEqual(runs["items"][0]["outputs"], {"onResume": {"reason": "fine"}})

    def test_every_answer_is_as_the_document_says(self) -> None:
        tools = venvs.ensure("api", ROOT / "tests/api/requirements.txt")
        command = [
            str(tools / "bin/schemathesis"), "run", f"{self.server.url}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {self.server.token}",
            "--checks", ",".join(CHECKS),
            "--phases", "examples,coverage,fuzzing",
            # The same requests in the same order each time, but for the ids that the server gives.
            "--max-examples", str(EXAMPLES), "--generation-deterministic", "--workers", "1",
            "--request-timeout", "60",
            # Streams do not end.
            "--exclude-path-regex", "/(events|logs/stream)$",
            "--suppress-health-check", "all", "--warnings", "off",
        ]  # fmt: skip
        ran = subprocess.run(
            command, cwd=self.directory.name, capture_output=True, text=True, timeout=TIMEOUT_S,
            env={**os.environ, "NO_COLOR": "1"}, check=False,
        )  # fmt: skip
        self.assertEqual(ran.returncode, 0, f"{ran.stdout[-8000:]}\n{ran.stderr[-2000:]}")
        self.assertIsNone(self.server.process.poll(), "the server is gone")


if __name__ == "__main__":
    unittest.main()
