"""The emulators that stand in for AWS: started in seconds, ready when they say they are, gone afterwards.

    with lanes.start("ministack") as lane:
        lane.endpoint                    # http://127.0.0.1:PORT

Invariant: what a lane started is gone when its context ends, whatever happened: SIGTERM by process id,
then SIGKILL for the process group. Each lane has a free loopback port and a directory of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/tools"))

import venvs  # noqa: E402 - it lives with the tools of the tests

REGION = "us-east-1"
ACCOUNT = "000000000000"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}
_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 5


class LaneFailed(Exception):
    """An emulator did not start; the message ends with what it said."""


@dataclass(frozen=True)
class Lane:
    """An emulator that runs, or an endpoint that somebody else runs."""

    name: str
    endpoint: str
    directory: Path
    """Logs of the emulator; empty for an endpoint of somebody else."""
    log: Path | None = None

    def environment(self) -> dict[str, str]:
        """What a process needs to speak to it; nothing of the caller's own configuration of AWS."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return mine | CREDENTIALS | {"AWS_ENDPOINT_URL": self.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Kind:
    """How an emulator is installed and started."""

    name: str
    requirements: Path
    package: Path | None
    command: Callable[[Path], list[str]]
    settings: Callable[[int, Path], Mapping[str, str]]
    health: str
    capabilities: frozenset[str] = field(default_factory=frozenset)

    def install(self) -> Path:
        """Its environment below .tools."""
        return venvs.ensure(self.name, self.requirements, self.package)


def _localstack(port: int, directory: Path) -> dict[str, str]:
    return {
        "OVERRIDE_IN_DOCKER": "0",
        "LOCALSTACK_VOLUME_DIR": str(directory),
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "EAGER_SERVICE_LOADING": "0",
        # A plain IPv4 host is ignored by its server, which then binds every interface.
        "GATEWAY_LISTEN": f"[::ffff:127.0.0.1]:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "SQS_ENDPOINT_STRATEGY": "path",
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",
        "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "moto",
        "LAMBDA_RUNTIME_EXECUTOR": "process",
        "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "1",
        "TMPDIR": str(directory),
    }


def _ministack(port: int, directory: Path) -> dict[str, str]:
    return {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        # Without it Lambda functions do not get it.
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(directory),
    }


KINDS = {
    "localstack": Kind(
        "localstack",
        HERE / "requirements-localstack.txt",
        HERE / "localstack_plugin",
        lambda place: [str(place / "bin/python"), "-m", "localstack.runtime.main"],
        _localstack,
        "/_localstack/health",
    ),
    "ministack": Kind(
        "ministack",
        HERE / "requirements-ministack.txt",
        None,
        lambda place: [str(place / "bin/ministack")],
        _ministack,
        "/_ministack/health",
    ),
}


def free_port() -> int:
    """A loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def start(name: str) -> Iterator[Lane]:
    """Starts an emulator and ends it with the context."""
    kind = KINDS[name]
    place = kind.install()
    with tempfile.TemporaryDirectory(prefix=f"operon-{name}-", ignore_cleanup_errors=True) as text:
        directory = Path(text)
        port = free_port()
        log = directory / "emulator.log"
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(directory),
            **CREDENTIALS,
            **kind.settings(port, directory),
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                kind.command(place),
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        lane = Lane(name, f"http://127.0.0.1:{port}", directory, log)
        try:
            _wait_until_healthy(lane, kind, process)
            yield lane
        finally:
            stop(process)


def _wait_until_healthy(lane: Lane, kind: Kind, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(lane.endpoint + kind.health, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise LaneFailed(f"{lane.name} did not start within {_START_TIMEOUT_S} s:\n{tail(lane)}")


def tail(lane: Lane, characters: int = 4000) -> str:
    """The end of what the emulator wrote."""
    return lane.log.read_text(errors="replace")[-characters:] if lane.log else ""


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its group: politely, and then not."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_S)
    # Functions are children of the emulator and outlive its polite end.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_TIMEOUT_S)
