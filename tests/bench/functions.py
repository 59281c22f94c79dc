"""Starting the Lambda functions: from the process' start until its first answer, and its peak memory.

A stand-in for Lambda's runtime API gives a function one invocation and takes its answer. What the function asks of
AWS meanwhile goes by TLS to a stand-in that has no data: so the time has in it what a cold start has on Lambda
once the sandbox is there: the environment, the clients, the trusted certificates, a handshake, a first request. It
has not in it how long Lambda takes to make the sandbox and to fetch the zip.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measure import MAXRSS_UNIT_BYTES, Measurement, RunFailed, environment, summarize
from report import Bound, Figure, Target

TLS = Path(__file__).resolve().parents[1] / "fixtures/tls"
MB = 1_000_000
START_MS_MAX = 50
PEAK_MB_MAX = 40
_TIMEOUT_S = 60.0
_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# Names of an execution that is nowhere: the function reads, finds nothing, and is done.
_ATTEMPT = {"execution": "exec-1", "task_run": {"shard": "0", "slot": 3}, "attempt": 1}
_PROBLEM_STATUS_MAX = 499
# Messages of the intake's own queue are events of triggers; those of others belong to a trigger that reads them.
_INTAKE = "arn:aws:sqs:us-east-1:000000000000:intake"


def _sqs(body: Mapping[str, object]) -> dict[str, object]:
    record = {
        "messageId": "00000000-0000-0000-0000-000000000001",
        "receiptHandle": "handle",
        "body": json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": _INTAKE,
        "awsRegion": "us-east-1",
    }
    return {"Records": [record]}


def _http(path: str) -> dict[str, object]:
    """An event of a function URL, payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"accept": "application/json", "host": "bench.lambda-url.us-east-1.on.aws"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "bench",
            "domainName": "bench.lambda-url.us-east-1.on.aws",
            "domainPrefix": "bench",
            "http": {
                "method": "GET",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "bench",
            },
            "requestId": "1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2030:00:00:00 +0000",
            "timeEpoch": 1893456000000,
        },
        "isBase64Encoded": False,
    }


INVOCATIONS: Mapping[str, dict[str, object]] = {
    "intake": _sqs({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"}),
    "planner": _sqs({"v": 1, "execution": "exec-1", "shard": "0", "event": {"event": "start"}}),
    "launcher": _sqs({"v": 1, "kind": "launch", "id": _ATTEMPT, "sinceMs": 1893456000000}),
    "worker": _sqs({"v": 1, "kind": "execute", "id": _ATTEMPT, "sinceMs": 1893456000000}),
    "watcher": {
        "version": "0",
        "source": "aws.ecs",
        "detail-type": "ECS Task State Change",
        "detail": {
            "taskArn": "arn:aws:ecs:us-east-1:000000000000:task/operon/1",
            "startedBy": "operon/00000000000000000000000000000000000000",
            "lastStatus": "STOPPED",
            "desiredStatus": "STOPPED",
            "stopCode": "TaskFailedToStart",
            "containers": [],
            "version": 3,
        },
    },
    "reconciler": {"source": "aws.scheduler"},
    "api": _http("/api/v1/health"),
}
"""What each function is invoked with first."""


@dataclass
class RuntimeApi:
    """Lambda's runtime API for one function: one invocation, then nothing more."""

    event: Mapping[str, object]
    answered: threading.Event = field(default_factory=threading.Event)
    answered_s: float = 0.0
    error: str = ""
    given: bool = False

    def handle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """One request of the function."""
        if request.command == "GET" and request.path.endswith("/invocation/next"):
            if self.given:
                self.answered.wait(_TIMEOUT_S)
                return
            self.given = True
            head = {
                "Lambda-Runtime-Aws-Request-Id": "bench-1",
                "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 60_000),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:bench",
            }
            _answer(request, 200, json.dumps(self.event).encode(), head)
            return
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if not self.answered.is_set():
            self.answered_s = time.monotonic()
            if not request.path.endswith("/response"):
                self.error = body.decode(errors="replace")
            elif failed := _failure(body):
                self.error = failed
            self.answered.set()
        with contextlib.suppress(OSError):
            _answer(request, 202, b'{"status":"OK"}', {})


def _failure(body: bytes) -> str:
    """What is wrong with an answer that is no error to Lambda: messages not handled, an HTTP status of the server."""
    try:
        document = json.loads(body or b"null")
    except ValueError:
        return "the answer is not JSON"
    if isinstance(document, dict):
        if document.get("batchItemFailures"):
            return f"messages were not handled: {document}"
        status = document.get("statusCode")
        if isinstance(status, int) and status > _PROBLEM_STATUS_MAX:
            return f"it answered {status}: {document.get('body')}"
    return ""


def _answer(
    request: http.server.BaseHTTPRequestHandler, status: int, body: bytes, head: Mapping[str, str]
) -> None:
    request.send_response(status)
    for name, value in head.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def empty_aws(request: http.server.BaseHTTPRequestHandler) -> None:
    """AWS without any data: DynamoDB, SQS and ECS speak JSON, S3 knows no key."""
    request.rfile.read(int(request.headers.get("Content-Length") or 0))
    target = request.headers.get("X-Amz-Target") or ""
    operation = target.rpartition(".")[2]
    if not operation:
        _answer(request, 404, b"", {})
        return
    documents: dict[str, dict[str, object]] = {
        "Query": {"Items": [], "Count": 0, "ScannedCount": 0},
        "ListTasks": {"taskArns": []},
        "GetQueueUrl": {"QueueUrl": "https://127.0.0.1/000000000000/dead"},
        "GetQueueAttributes": {"Attributes": {}},
    }
    body = json.dumps(documents.get(operation, {})).encode()
    _answer(request, 200, body, {"Content-Type": "application/x-amz-json-1.0"})


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Functions are killed while they wait: nothing to report."""


@contextlib.contextmanager
def served(handle: object, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on a free port of the loopback interface; yields the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes: the second would wait 40 ms for the client's acknowledgement of the first, which
        # no service of AWS does.
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            handle(self)  # type: ignore[operator]

        do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    with _Server(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _certificates(directory: Path) -> Path:
    """As many as a system trusts, and the stand-in's: reading them is part of a start."""
    own = (TLS / "authority.pem").read_text()
    known = _SYSTEM_CERTIFICATES.read_text() if _SYSTEM_CERTIFICATES.is_file() else ""
    bundle = directory / "certificates.pem"
    bundle.write_text(known + own)
    return bundle


def settings(runtime_port: int, aws_port: int, certificates: Path) -> dict[str, str]:
    """The environment that Lambda and the template give a function."""
    queue = f"https://127.0.0.1:{aws_port}/000000000000"
    return {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_ENDPOINT_URL": f"https://127.0.0.1:{aws_port}",
        "SSL_CERT_FILE": str(certificates),
        "OPERON_STAGE": "bench",
        "OPERON_STATE_TABLE": "bench",
        "OPERON_DATA_BUCKET": "bench",
        "OPERON_PLAN_QUEUE_URL": f"{queue}/plan",
        "OPERON_LAUNCH_QUEUE_URL": f"{queue}/launch",
        "OPERON_WORK_QUEUE_URL": f"{queue}/work",
        "OPERON_CLUSTER": "bench",
        "OPERON_SUBNETS": "subnet-1",
        "OPERON_SECURITY_GROUPS": "sg-1",
        "OPERON_TASK_ROLE_ARN": "arn:aws:iam::000000000000:role/task",
        "OPERON_EXECUTION_ROLE_ARN": "arn:aws:iam::000000000000:role/execution",
        "OPERON_AGENT_IMAGE": "agent:bench",
        "OPERON_LOG_GROUP": "bench",
        "OPERON_SECRETS_PREFIX": "operon/bench",
        "OPERON_IAM_ROLES": "arn:aws:iam::000000000000:user/bench=viewer",
        "OPERON_SCHEDULE_GROUP": "bench",
        "OPERON_SCHEDULE_ROLE_ARN": "arn:aws:iam::000000000000:role/schedule",
        "OPERON_INTAKE_QUEUE_ARN": _INTAKE,
    }


def start_once(argv: list[str], role: str, directory: Path) -> Measurement:
    """Starts a function, gives it an invocation, and ends it after its answer; raises `RunFailed`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    runtime = RuntimeApi(INVOCATIONS[role])
    log = directory / f"{role}.log"
    with served(runtime.handle) as runtime_port, served(empty_aws, context) as aws_port, log.open("wb") as output:
        env = environment(settings(runtime_port, aws_port, _certificates(directory)), directory)
        started_s = time.monotonic()
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
        deadline_s = started_s + _TIMEOUT_S
        # Asked seldom: the answer itself carries its time.
        while not (answered := runtime.answered.wait(0.05)) and time.monotonic() < deadline_s:
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = -signal.SIGKILL
    if not answered or runtime.error:
        said = runtime.error or f"it ended or gave no answer in {_TIMEOUT_S:g} s"
        raise RunFailed(f"{role}: {said}\n{log.read_text(errors='replace')[-2000:]}")
    return Measurement(
        wall_s=runtime.answered_s - started_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=usage.ru_maxrss * MAXRSS_UNIT_BYTES,
    )


def binary_of(directory: Path, role: str) -> Path:
    """Where cargo puts the binary of a function."""
    return directory / f"operon-{role}-function"


def starts(binaries: Path, runs: int) -> tuple[list[Figure], dict[str, list[Measurement]]]:
    """Starts every function `runs` times, in turn."""
    samples: dict[str, list[Measurement]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="operon-functions-") as temporary:
        for _ in range(runs):
            for role in INVOCATIONS:
                binary = binary_of(binaries, role)
                samples[role].append(start_once([str(binary)], role, Path(temporary)))
    figures = []
    for role, measured in samples.items():
        start_ms = summarize([sample.wall_s * 1e3 for sample in measured])
        peak = summarize([sample.peak_rss_bytes / MB for sample in measured])
        figures += [
            Figure.of(f"{role}: first answer", start_ms, "ms", Target(Bound.AT_MOST, START_MS_MAX)),
            Figure.of(f"{role}: peak memory", peak, "MB", Target(Bound.AT_MOST, PEAK_MB_MAX)),
        ]
    return figures, samples
