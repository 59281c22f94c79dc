"""What runs containers: by default processes of this machine.

An image is an entry of a table: a program, its default arguments, its environment. Entrypoint and command mean
what they mean in a container. A volume is a directory of the task; where a path of it stands in the environment or
in an argument, the directory's real path is put there instead, because nothing is mounted. A memory limit is
watched, not enforced by the kernel: what exceeds it is killed within a few hundredths of a second.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from logs import Driver, pump

_WATCH_S = 0.04
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Image:
    """What a registry would know of an image."""

    entry_point: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class ImageMissing(Exception):
    """There is no such image."""


class StartFailed(Exception):
    """The image is there and its program cannot be started."""


@dataclass(frozen=True)
class Launch:
    """One container to be started."""

    container_id: str
    image: str
    entry_point: Sequence[str] | None
    command: Sequence[str] | None
    environment: Mapping[str, str]
    working_directory: str | None
    # Path in the container to directory of this machine.
    mounts: Mapping[str, Path]
    memory_bytes: int | None
    user: str | None
    init: bool
    # Where the log goes: a driver here, or for a real engine the socket of the router.
    driver: Driver | None
    router_socket: Path | None


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    out_of_memory: bool


class Running(Protocol):
    """A container that was started."""

    def wait(self) -> Exit:
        """Blocks until it has ended and its log was read."""

    def signal(self, number: int) -> None:
        """Sends a signal, if it still runs."""

    def kill_for_memory(self) -> None:
        """Ends it as the kernel ends what uses too much memory."""

    def stats(self) -> Mapping[str, object] | None:
        """Docker's counters."""


class Runtime(Protocol):
    """Starts containers."""

    def pull(self, image: str) -> None:
        """Raises ImageMissing."""

    def start(self, launch: Launch) -> Running:
        """Raises StartFailed."""


class ProcessRuntime:
    """Containers are processes."""

    def __init__(self, images: Mapping[str, Image], root: Path) -> None:
        self._images = images
        self._root = root

    @staticmethod
    def table(text: str) -> dict[str, Image]:
        """Reads the table of images from JSON: name to `entryPoint`, `command`, `environment`."""
        return {
            name: Image(one.get("entryPoint", ()), one.get("command", ()), one.get("environment", {}))
            for name, one in json.loads(text).items()
        }

    def pull(self, image: str) -> None:
        if image not in self._images:
            raise ImageMissing(f"{image}: not found")

    def start(self, launch: Launch) -> Running:
        image = self._images[launch.image]
        # An entrypoint of the task definition replaces the image's, and with it the image's command.
        entry = image.entry_point if launch.entry_point is None else launch.entry_point
        inherited = image.command if launch.entry_point is None else ()
        command = inherited if launch.command is None else launch.command
        here = self._root / launch.container_id
        here.mkdir(parents=True, exist_ok=True)
        place = _placer(launch.mounts)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(here),
            "HOSTNAME": launch.container_id[:12],
            **image.environment,
            **launch.environment,
        }
        words = [place(word) for word in (*entry, *command)]
        directory = place(launch.working_directory) if launch.working_directory else str(here)
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
            process = subprocess.Popen(
                words,
                cwd=directory,
                env={name: place(value) for name, value in environment.items()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, IndexError, ValueError) as error:
            raise StartFailed(f"CannotStartContainerError: {error}") from error
        return _Process(process, launch)


def _placer(mounts: Mapping[str, Path]) -> Callable[[str], str]:
    """Replaces paths of mounts by those of this machine."""

    def place(text: str) -> str:
        for inside, outside in mounts.items():
            # At the beginning of a path only: an address may have the same name within.
            path = re.compile(rf"(?<![\w/.:-]){re.escape(inside.rstrip('/'))}(?=/|$)")
            text = path.sub(str(outside), text)
        return text

    return place


class _Process:
    """A process group that plays a container."""

    def __init__(self, process: subprocess.Popen[bytes], launch: Launch) -> None:
        self._process = process
        self._limit = launch.memory_bytes
        self._out_of_memory = False
        self._cpu_ns = 0
        self._rss = 0
        self._ended = threading.Event()
        assert process.stdout is not None and process.stderr is not None
        self._pumps = [
            threading.Thread(target=pump, args=(stream, source, launch.driver), daemon=True)
            for stream, source in ((process.stdout, "stdout"), (process.stderr, "stderr"))
        ]
        for one in self._pumps:
            one.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def wait(self) -> Exit:
        code = self._process.wait()
        self._ended.set()
        # What the container's first process leaves behind ends with it.
        self._send(signal.SIGKILL)
        for one in self._pumps:
            one.join()
        return Exit(128 - code if code < 0 else code, self._out_of_memory)

    def signal(self, number: int) -> None:
        # It does nothing to a process that has ended and was waited for.
        self._process.send_signal(number)

    def kill_for_memory(self) -> None:
        self._out_of_memory = True
        self._send(signal.SIGKILL)

    def stats(self) -> Mapping[str, object] | None:
        if self._ended.is_set():
            return None
        self._measure()
        return {
            "read": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cpu_stats": {"cpu_usage": {"total_usage": self._cpu_ns}, "online_cpus": os.cpu_count()},
            "memory_stats": {"usage": self._rss, "stats": {"inactive_file": 0}, "limit": self._limit},
        }

    def _send(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH_S):
            self._measure()
            if self._limit is not None and self._rss > self._limit:
                self.kill_for_memory()
                return

    def _measure(self) -> None:
        pages = ticks = 0
        for pid in _members(self._process.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            # User and system time of the process and of children it has waited for; resident pages.
            ticks += sum(int(value) for value in fields[11:15])
            pages += int(fields[21])
        self._rss = pages * _PAGE
        self._cpu_ns = max(self._cpu_ns, ticks * 1_000_000_000 // _TICKS)


def _members(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.getsid(int(entry)) == session:
                    found.append(int(entry))
            except OSError:
                continue
    return found
