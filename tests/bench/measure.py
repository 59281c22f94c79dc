"""Timing whole processes, and the statistics over their runs.

A measurement is one process from before its start until it is reaped: wall-clock seconds by a
monotonic clock, CPU seconds and peak memory as the kernel accounts them (`wait4`), so nothing is
sampled. The kernel counts a child's own children once the child has reaped them: CPU is the sum
over that tree, peak memory the largest single process in it, not their sum.
"""

from __future__ import annotations

import fcntl
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

# `ru_maxrss` is in KiB on Linux and in bytes on macOS (getrusage(2) of each).
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
# What one read takes from a stream at most; the stream's reader must never be the bottleneck.
_CHUNK_BYTES_MAX = 1 << 20
# Linux' `fcntl` command to enlarge a pipe, so that the writer rarely waits for the reader.
_F_SETPIPE_SZ = 1031
# Bounds what a run-away process can make the harness keep in memory.
STREAM_BYTES_MAX = 1 << 30
_LOG_TAIL_CHARS = 2_000
# The status of a process that was ended for taking too long; no signal has this number.
TIMED_OUT = -1_000


# What `Popen` takes as an output: a file, or `subprocess.PIPE`.
_Output = BinaryIO | int


class RunFailed(Exception):
    """A measured process ended badly, or did not do what it was measured for."""


@dataclass(frozen=True)
class Command:
    """What to run: `argv` in `directory`, with `env` added to a small fixed environment."""

    argv: Sequence[str]
    directory: Path
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """One process from start to reaped."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Chunk:
    """Bytes of a stream and the monotonic time, in seconds, at which they were read."""

    at_s: float
    data: bytes


@dataclass(frozen=True)
class Summary:
    """Order statistics over the runs of one figure."""

    min: float
    median: float
    max: float
    runs: int


def summarize(values: Sequence[float]) -> Summary:
    """The smallest, middle and largest of `values`, of which there must be at least one."""
    if not values:
        raise ValueError("there is nothing to summarize")
    return Summary(min(values), statistics.median(values), max(values), len(values))


def measure(command: Command, log: Path, timeout_s: float) -> Measurement:
    """Runs `command` with both outputs in `log`; raises `RunFailed` unless it exits with 0."""
    with log.open("wb") as output, _started(command, output, output, timeout_s) as process:
        measurement, status = process.reap()
    _require_success(command, status, log, timeout_s)
    return measurement


def measure_stream(
    command: Command, log: Path, timeout_s: float
) -> tuple[Measurement, list[Chunk]]:
    """Like `measure`, and returns what the process wrote to standard output with arrival times.

    Chunks are kept as they come and parsed only afterwards: parsing here would take a processor
    from the measured process.
    """
    chunks: list[Chunk] = []
    total_bytes = 0
    with (
        log.open("wb") as errors,
        _started(command, subprocess.PIPE, errors, timeout_s) as process,
    ):
        assert process.popen.stdout is not None
        descriptor = process.popen.stdout.fileno()
        _enlarge_pipe(descriptor)
        while data := os.read(descriptor, _CHUNK_BYTES_MAX):
            chunks.append(Chunk(time.monotonic(), data))
            total_bytes += len(data)
            if total_bytes > STREAM_BYTES_MAX:
                raise RunFailed(f"{command.argv[0]} wrote more than {STREAM_BYTES_MAX} bytes")
        measurement, status = process.reap()
    _require_success(command, status, log, timeout_s)
    return measurement, chunks


def lines_with_times(chunks: Sequence[Chunk]) -> Iterator[tuple[float, bytes]]:
    """The complete lines of a stream, each with the time its end arrived.

    A cut last line is dropped.
    """
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk.data).split(b"\n")
        for line in complete:
            yield chunk.at_s, line


def environment(extra: dict[str, str], home: Path) -> dict[str, str]:
    """The environment of a measured process: nothing of the caller's settings but the search path.

    `HOME` and the caches lie inside `home`, so that one run leaves nothing for the next to find.
    """
    base = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
        "TMPDIR": tempfile.gettempdir(),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
    }
    return base | extra


class _Process:
    """A running process in a process group of its own, with a time limit."""

    def __init__(
        self, command: Command, stdout: _Output, stderr: _Output, timeout_s: float
    ) -> None:
        self._started_s = time.monotonic()
        try:
            self.popen = subprocess.Popen(
                list(command.argv),
                cwd=command.directory,
                env=environment(command.env, command.directory),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                process_group=0,
            )
        except OSError as error:
            raise RunFailed(f"cannot start {command.argv[0]}: {error}") from error
        self._timed_out = False
        self._watchdog = threading.Timer(timeout_s, self._expire)
        self._watchdog.daemon = True
        self._watchdog.start()

    def reap(self) -> tuple[Measurement, int]:
        """Waits for the process; the status is an exit code, or a negative signal number."""
        _, wait_status, usage = os.wait4(self.popen.pid, 0)
        ended_s = time.monotonic()
        self._watchdog.cancel()
        status = os.waitstatus_to_exitcode(wait_status)
        # `Popen` must not wait for the process again: its number may belong to another by then.
        self.popen.returncode = status
        measurement = Measurement(
            wall_s=ended_s - self._started_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_rss_bytes=usage.ru_maxrss * MAXRSS_UNIT_BYTES,
        )
        return measurement, TIMED_OUT if self._timed_out else status

    def end(self) -> None:
        """Leaves nothing of the process or of what it started in its group."""
        self._watchdog.cancel()
        self._kill_group()
        if self.popen.returncode is None:
            self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()

    def _expire(self) -> None:
        self._timed_out = True
        self._kill_group()

    def _kill_group(self) -> None:
        # The group is usually empty by now.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)


@contextmanager
def _started(
    command: Command, stdout: _Output, stderr: _Output, timeout_s: float
) -> Iterator[_Process]:
    process = _Process(command, stdout, stderr, timeout_s)
    try:
        yield process
    finally:
        process.end()


def _require_success(command: Command, status: int, log: Path, timeout_s: float) -> None:
    if status == 0:
        return
    shown = " ".join(command.argv)
    how = f"exit code {status}" if status > 0 else f"signal {-status}"
    if status == TIMED_OUT:
        how = f"still running after {timeout_s:g} s, so it was ended"
    tail = log.read_text(errors="replace")[-_LOG_TAIL_CHARS:].rstrip()
    raise RunFailed(f"{shown}: {how}; the end of its output:\n{tail or '(it wrote nothing)'}")


def _enlarge_pipe(descriptor: int) -> None:
    if sys.platform != "linux":
        return
    # Above the user's limit, the default of 64 KiB stays: the writer then waits more often.
    with suppress(OSError):
        fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _CHUNK_BYTES_MAX)


def rss_floor_bytes(directory: Path) -> int:
    """The peak memory reported for a process that uses none.

    Linux carries the peak of the forked copy of this harness over into the program it executes, so
    no figure can lie below this one; a figure at the floor means "at most this".
    """
    return measure(Command(["true"], directory), directory / "true.log", 60).peak_rss_bytes
