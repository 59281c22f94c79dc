"""Log drivers: `awslogs` and `awsfirelens`, as far as tasks of this project use them.

`awslogs` keeps lines by stream, and hands them to the emulator's CloudWatch Logs at the container's end if there is
one. `awsfirelens` delivers each line to the socket of the task's log router in Fluentd's forward protocol.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from lane import Lane, LaneError

# Docker cuts lines into pieces of this size.
PIECE_BYTES = 16 * 1024
# Lines in memory per stream; older ones go.
_LINES_MAX = 100_000
# CloudWatch Logs takes 10,000 events and a mebibyte at once.
_BATCH_LINES = 1_000
_BATCH_BYTES = 512 * 1024
_CONNECT_S = 10.0


@dataclass(frozen=True)
class Line:
    """One line of a stream."""

    time_ms: int
    text: str


class Streams:
    """What `awslogs` took, by group and stream."""

    def __init__(self, lane: Lane | None) -> None:
        self._lane = lane
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str], list[Line]] = {}
        self.problems: list[str] = []

    def append(self, group: str, stream: str, text: str) -> None:
        """Takes a line."""
        with self._lock:
            lines = self._lines.setdefault((group, stream), [])
            lines.append(Line(int(time.time() * 1000), text))
            del lines[:-_LINES_MAX]

    def lines(self, group: str, stream: str) -> Sequence[Line]:
        """What a stream has."""
        with self._lock:
            return list(self._lines.get((group, stream), ()))

    def shown(self) -> dict[str, list[str]]:
        """Everything, for the control interface."""
        with self._lock:
            return {stream: [line.text for line in lines] for (_, stream), lines in self._lines.items()}

    def publish(self, group: str, stream: str) -> None:
        """Hands a finished stream to the emulator."""
        lines = self.lines(group, stream)
        if self._lane is None or not lines:
            return
        try:
            for what, body in (("CreateLogGroup", {}), ("CreateLogStream", {"logStreamName": stream})):
                try:
                    self._call(what, {"logGroupName": group, **body})
                except LaneError as error:
                    if "AlreadyExists" not in str(error):
                        raise
            batch: list[dict[str, object]] = []
            size = 0
            for line in lines:
                batch.append({"timestamp": line.time_ms, "message": line.text or " "})
                size += len(line.text) + 26
                if len(batch) >= _BATCH_LINES or size >= _BATCH_BYTES:
                    self._put(group, stream, batch)
                    batch, size = [], 0
            self._put(group, stream, batch)
        except LaneError as error:
            # ECS goes on without a log as well; a test looks at this list.
            self.problems.append(str(error))

    def _put(self, group: str, stream: str, batch: Sequence[Mapping[str, object]]) -> None:
        if batch:
            self._call("PutLogEvents", {"logGroupName": group, "logStreamName": stream, "logEvents": batch})

    def _call(self, what: str, body: Mapping[str, object]) -> None:
        assert self._lane is not None
        self._lane.json("logs", f"Logs_20140328.{what}", "1.1", body)


class Driver(Protocol):
    """Takes the pieces of lines of one container."""

    def piece(self, source: str, text: bytes, *, partial: int, last: bool) -> None:
        """A whole line (`partial` 0), or the `partial`-th piece of one."""

    def close(self) -> None:
        """Nothing follows."""


class AwsLogs:
    """The driver `awslogs`."""

    def __init__(self, streams: Streams, group: str, stream: str) -> None:
        self._streams = streams
        self._group = group
        self._stream = stream
        self._open: dict[str, bytes] = {}

    def piece(self, source: str, text: bytes, *, partial: int, last: bool) -> None:
        whole = self._open.pop(source, b"") + text
        if last:
            self._streams.append(self._group, self._stream, whole.decode(errors="replace"))
        else:
            self._open[source] = whole

    def close(self) -> None:
        self._streams.publish(self._group, self._stream)


class FireLens:
    """The driver `awsfirelens`: what Docker's `fluentd` driver writes to the router's socket."""

    def __init__(self, path: Path, tag: str, container_id: str) -> None:
        self._path = path
        self._tag = tag
        self._container_id = container_id
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.lost = 0

    def piece(self, source: str, text: bytes, *, partial: int, last: bool) -> None:
        record: dict[str, str | bytes] = {
            "container_id": self._container_id,
            "container_name": f"/{self._tag}",
            "source": source,
            "log": text,
        }
        if partial:
            record |= {"partial_message": "true", "partial_id": "p", "partial_ordinal": str(partial),
                       "partial_last": "true" if last else "false"}  # fmt: skip
        message = _packed_message(self._tag, time.time(), record)
        with self._lock:
            try:
                self._connected().sendall(message)
            except OSError:
                self.lost += 1

    def close(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = _connect(str(self._path))
        return self._socket


def _connect(path: str) -> socket.socket:
    """The driver buffers until the router listens; here the line waits."""
    deadline = time.monotonic() + _CONNECT_S
    while True:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            one.connect(path)
            return one
        except OSError:
            one.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _packed_message(tag: str, seconds: float, record: Mapping[str, str | bytes]) -> bytes:
    whole = int(seconds)
    stamp = struct.pack(">BBII", 0xD7, 0, whole, int((seconds - whole) * 1e9))
    fields = b"".join(_packed(name) + _packed(value) for name, value in record.items())
    return b"\x94" + _packed(tag) + stamp + bytes([0x80 | len(record)]) + fields + b"\x80"


def _packed(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) < 32:
        return bytes([0xA0 | len(raw)]) + raw
    return struct.pack(">BI", 0xDB, len(raw)) + raw


def pump(stream: BinaryIO, source: str, driver: Driver | None) -> None:
    """Reads a container's output to its end, line by line and long lines in pieces, as Docker does."""
    with stream:
        _pump(stream, source, driver)


def _pump(stream: BinaryIO, source: str, driver: Driver | None) -> None:
    partial = 0
    while read := stream.readline(PIECE_BYTES):
        last = read.endswith(b"\n") or len(read) < PIECE_BYTES
        partial = partial + 1 if partial or not last else 0
        if driver is not None:
            driver.piece(source, read.removesuffix(b"\n"), partial=partial, last=last)
        if last:
            partial = 0
    if partial and driver is not None:
        driver.piece(source, b"", partial=partial + 1, last=True)
