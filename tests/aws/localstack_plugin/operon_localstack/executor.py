"""Lambda functions as processes: `bootstrap` runs as it does on Lambda, against a runtime API of its own.

Invariant: an answer counts only for the invocation that is under way. An environment that was killed,
that crashed or that ran out of time is started anew for the next invocation, as Lambda does.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

_START_TIMEOUT_S = 20.0
_POLL_S = 0.05
_BODY_BYTES_MAX = 8 << 20
_PREFIX = "/2018-06-01/runtime/"


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """Selected by LAMBDA_RUNTIME_EXECUTOR=process."""

    name = "process"

    def load(self, *_args: object, **_kwargs: object) -> type[ProcessExecutor]:
        """The class LocalStack makes environments of."""
        return ProcessExecutor


class RuntimeApi(ThreadingHTTPServer):
    """The runtime API of one environment: one invocation at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.invocations: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bool, bytes]] = queue.Queue()
        self.asked = threading.Event()
        self.timeout_s = 3
        threading.Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True).start()

    def begin(self) -> None:
        """Forgets what a process that is gone asked for or answered."""
        self.asked.clear()
        self.invocations, self.answers = queue.Queue(), queue.Queue()

    def end(self) -> None:
        """Frees the port."""
        self.invocations.put(None)
        self.shutdown()
        self.server_close()


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RuntimeApi

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        """Says nothing: invocations are in the function's log."""

    def do_GET(self) -> None:
        """The next invocation; answers when there is one."""
        if self.path != f"{_PREFIX}invocation/next":
            return self._answer(404)
        self.server.asked.set()
        invocation = self.server.invocations.get()
        if invocation is None:
            return self._answer(410)
        deadline_ms = int((time.time() + self.server.timeout_s) * 1000)
        return self._answer(
            200,
            invocation["payload"].encode(),
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": invocation["invoke-id"],
                "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": invocation["invoked-function-arn"],
                "Lambda-Runtime-Trace-Id": invocation.get("trace-id") or "",
            },
        )

    def do_POST(self) -> None:
        """A response, an error, or an error before the first invocation."""
        body = self._body()
        if body is None:
            return self._answer(413)
        parts = self.path.removeprefix(_PREFIX).split("/")
        match parts:
            case ["init", "error"]:
                self.server.answers.put(("", True, body))
            case ["invocation", request, "response" | "error" as kind]:
                self.server.answers.put((request, kind == "error", body))
            case _:
                return self._answer(404)
        return self._answer(202)

    def _body(self) -> bytes | None:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length", "0"))
            return self.rfile.read(length) if length <= _BODY_BYTES_MAX else None
        body = bytearray()
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            if len(body) + size > _BODY_BYTES_MAX:
                return None
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(body)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # The process is gone; whoever waits for it finds out.


class ProcessExecutor(RuntimeExecutor):
    """One environment: a runtime API, and the process that asks it."""

    def __init__(self, id: str, function_version: Any) -> None:  # noqa: A002 - named by the base class
        super().__init__(id, function_version)
        self.api: RuntimeApi | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the environment
        self.environment: dict[str, str] = {}

    def start(self, env_vars: dict[str, str]) -> None:
        """Starts the process and waits until it asks for its first invocation."""
        self.api = RuntimeApi()
        self.api.timeout_s = self.function_version.config.timeout
        self.environment = {name: str(value) for name, value in env_vars.items()}
        self._spawn()

    def _spawn(self) -> None:
        assert self.api is not None
        code = Path(str(self.function_version.config.code.get_unzipped_code_location()))
        bootstrap = code / "bootstrap"
        bootstrap.chmod(0o755)
        self.api.begin()
        self.process = subprocess.Popen(
            [bootstrap],
            cwd=code,
            env={
                "PATH": "/usr/bin:/bin",
                **self.environment,
                "LAMBDA_TASK_ROOT": str(code),
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_port}",
            },
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + _START_TIMEOUT_S
        while not self.api.asked.wait(_POLL_S):
            if self.process.poll() is not None or time.monotonic() > end:
                self._kill()
                raise RuntimeError(f"bootstrap did not start: {self.get_logs()[-2000:]}")

    def _kill(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # It ended by itself meanwhile.
        self.process.wait(5)

    def stop(self) -> None:
        """Ends process and API."""
        self._kill()
        if self.api is not None:
            self.api.end()

    def invoke(self, payload: dict[str, Any]) -> InvocationResult:
        """Gives the process one invocation and waits for its answer."""
        assert self.process is not None
        assert self.api is not None
        request = payload["invoke-id"]
        if self.process.poll() is not None:
            self._spawn()
        position = self.log.seek(0, os.SEEK_END)
        started = time.monotonic()
        self.api.invocations.put(payload)
        failed, body = self._answer_to(request, started)
        self.log.seek(position)
        text = self.log.read().decode(errors="replace")
        took_ms = (time.monotonic() - started) * 1000
        version = self.function_version.id.qualifier
        logs = (
            f"START RequestId: {request} Version: {version}\n{text}"
            f"END RequestId: {request}\nREPORT RequestId: {request}\tDuration: {took_ms:.2f} ms\n"
        )
        return InvocationResult(request_id=request, payload=body, is_error=failed, logs=logs)

    def _answer_to(self, request: str, started: float) -> tuple[bool, bytes]:
        assert self.process is not None
        assert self.api is not None
        while True:
            try:
                answered, failed, body = self.api.answers.get(timeout=_POLL_S)
                if answered in (request, ""):
                    return failed, body
                continue  # Late: that invocation is over.
            except queue.Empty:
                pass
            if time.monotonic() - started > self.api.timeout_s:
                self._kill()
                text = f"{request} Task timed out after {self.api.timeout_s}.00 seconds"
                return True, _error("Sandbox.Timedout", text)
            if self.process.poll() is not None:
                text = f"RequestId: {request} Error: Runtime exited with error: {self.process.returncode}"
                return True, _error("Runtime.ExitError", text)

    def get_address(self) -> str:
        """Where the process is."""
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        """Where LocalStack is, seen from the process."""
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        """Asked for by LocalStack, used by nobody here."""
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"

    def get_logs(self) -> str:
        """Everything the process wrote."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    @classmethod
    def prepare_version(cls, function_version: Any) -> None:
        """Unpacks the zip."""
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: Any) -> None:
        """Nothing of a version outlives its environments."""


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": kind}).encode()
