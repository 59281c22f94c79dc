"""Containers by a Docker engine, through its command line and its socket.

The same tasks as with processes, but with real images, mounts, memory limits, exit codes and log drivers: main's
log goes to the agent by Docker's own `fluentd` driver, which is what ECS' `awsfirelens` is.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from logs import pump
from runtime import Exit, ImageMissing, Launch, Running, StartFailed

_LABEL = "operon.fargate"


class EngineRuntime:
    """Containers of an engine at a Unix socket."""

    def __init__(self, host: str) -> None:
        self._host = host

    def pull(self, image: str) -> None:
        """Images are made locally: what is not there cannot be pulled."""
        if self._docker("image", "inspect", image).returncode != 0:
            raise ImageMissing(f"{image}: not found")

    def start(self, launch: Launch) -> Running:
        made = self._docker("create", *_arguments(launch))
        if made.returncode != 0:
            raise StartFailed(f"CannotCreateContainerError: {made.stderr.decode(errors='replace')[:500]}")
        container = made.stdout.decode().strip()
        if launch.router_socket is None:
            command = [*self._command(), "start", "--attach", container]
            attached = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            return _Attached(self, container, launch, attached)
        started = self._docker("start", container)
        if started.returncode != 0:
            raise StartFailed(f"CannotStartContainerError: {started.stderr.decode(errors='replace')[:500]}")
        return _Container(self, container)

    def remove_all(self) -> None:
        """Removes every container that was made here."""
        listed = self._docker("ps", "--all", "--quiet", "--filter", f"label={_LABEL}").stdout.decode().split()
        if listed:
            self._docker("rm", "--force", "--volumes", *listed)

    def _command(self) -> list[str]:
        return ["docker", "--host", self._host]

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._command(), *arguments], capture_output=True, check=False)

    def stats(self, container: str) -> Mapping[str, object] | None:
        """One sample of its counters, as the engine and so the metadata endpoint give it."""
        connection = _UnixConnection(self._host.removeprefix("unix://"))
        try:
            connection.request("GET", f"/containers/{container}/stats?stream=false&one-shot=true")
            answer = connection.getresponse()
            found = json.loads(answer.read()) if answer.status == 200 else None
            return found if isinstance(found, dict) else None
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def _arguments(launch: Launch) -> Sequence[str]:
    words = ["--network", "host", "--label", f"{_LABEL}=1", "--name", f"fargate-{launch.container_id}"]
    for inside, outside in launch.mounts.items():
        words += ["--volume", f"{outside}:{inside}"]
    if "OPERON_LOG_SOCKET" in launch.environment:
        # ECS mounts the directory of the router's socket here.
        directory = Path(launch.environment["OPERON_LOG_SOCKET"]).parent
        words += ["--volume", f"{directory}:/var/run"]
    for name, value in launch.environment.items():
        if name != "OPERON_LOG_SOCKET":
            words += ["--env", f"{name}={value}"]
    if launch.memory_bytes is not None:
        words += ["--memory", str(launch.memory_bytes), "--memory-swap", str(launch.memory_bytes)]
    if launch.working_directory:
        words += ["--workdir", launch.working_directory]
    if launch.user:
        words += ["--user", launch.user]
    if launch.init:
        words += ["--init"]
    if launch.router_socket is not None:
        words += [
            "--log-driver", "fluentd", "--log-opt", f"fluentd-address=unix://{launch.router_socket}",
            "--log-opt", "fluentd-async=true", "--log-opt", "fluentd-sub-second-precision=true",
        ]  # fmt: skip
    entry = list(launch.entry_point or ())
    if entry:
        words += ["--entrypoint", entry[0]]
    return [*words, launch.image, *entry[1:], *(launch.command or ())]


class _Container:
    """A container whose log goes elsewhere."""

    def __init__(self, engine: EngineRuntime, container: str) -> None:
        self._engine = engine
        self._container = container
        self._killed_for_memory = False

    def wait(self) -> Exit:
        self._engine._docker("wait", self._container)
        shown = self._engine._docker("inspect", "--format", "{{json .State}}", self._container)
        state = json.loads(shown.stdout or b"{}")
        self._engine._docker("rm", "--force", "--volumes", self._container)
        code = int(state.get("ExitCode", 137))
        return Exit(code, bool(state.get("OOMKilled")) or self._killed_for_memory)

    def signal(self, number: int) -> None:
        self._engine._docker("kill", "--signal", str(number), self._container)

    def kill_for_memory(self) -> None:
        self._killed_for_memory = True
        self._engine._docker("kill", "--signal", "KILL", self._container)

    def stats(self) -> Mapping[str, object] | None:
        return self._engine.stats(self._container)


class _Attached(_Container):
    """A container whose output is read here."""

    def __init__(
        self, engine: EngineRuntime, container: str, launch: Launch, attached: subprocess.Popen[bytes]
    ) -> None:
        super().__init__(engine, container)
        self._attached = attached
        assert attached.stdout is not None and attached.stderr is not None
        self._pumps = [
            threading.Thread(target=pump, args=(stream, source, launch.driver), daemon=True)
            for stream, source in ((attached.stdout, "stdout"), (attached.stderr, "stderr"))
        ]
        for one in self._pumps:
            one.start()

    def wait(self) -> Exit:
        self._attached.wait()
        for one in self._pumps:
            one.join()
        return super().wait()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def host() -> str | None:
    """The engine that is to be used, if one is named."""
    return os.environ.get("DOCKER_HOST") or None
