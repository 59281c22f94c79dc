"""A file of 5 GB through the agent's binary, in and out, and what memory that takes.

    python3 large.py

`make test-large` calls it with the agent's release binary in OPERON_AGENT; LARGE_BYTES makes the file smaller. It needs
as much disk as the file has bytes. Not part of `make test`: it takes a minute or two.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import resource
import tempfile
import unittest

import testing
from binary import agent
from cloud import Cloud
from lifecycle import Pace
from runtime import Image, ProcessRuntime
from scenario import AgentCase, shell, spec
from server import Options

SIZE = int(os.environ.get("LARGE_BYTES", 5_000_000_000))
STEP = 8 << 20
"""Bytes of each part of the agent's uploads."""
MEMORY_MAX = 160 << 20
"""Four parts under way and one that is read, and as much again for everything else."""


class LargeCloud(Cloud):
    """One that keeps of uploads only their hash."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: dict[int, tuple[int, bytes]] = {}
        self.completed: list[str] = []

    def part(self, upload: str, number: int, body: bytes) -> None:
        self.sums[number] = (len(body), hashlib.sha256(body).digest())

    def complete(self, name: str, upload: str) -> None:
        self.completed.append(name)


class Large(AgentCase):
    cloud: LargeCloud
    kind_of_cloud = LargeCloud

    def setUp(self) -> None:
        testing.PATIENCE_S = 900
        super().setUp()

    def options(self) -> Options:
        images = {"shell": Image(entry_point=("/bin/sh",)), "agent": Image(entry_point=(str(agent()),))}
        return Options(
            runtime=ProcessRuntime(images, self.root / "containers"),
            root=self.root,
            secrets={"plain": "hunter2-swordfish"},
            environment={"AWS_ENDPOINT_URL": self.cloud.url, "OPERON_VOLUME": "/operon/"},
            pace=Pace(stop_scale=0.2),
        )

    def test_it_is_never_in_memory(self) -> None:
        with tempfile.TemporaryFile() as file:
            # Holes but for the beginning of each part, so that no two parts are the same.
            for at in range(0, SIZE, STEP):
                file.seek(at)
                file.write(b"part %d" % at)
            file.truncate(SIZE)
            file.flush()
            with mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole:
                self._through(whole)

    def _through(self, whole: memoryview) -> None:
        known = hashlib.sha256(whole).hexdigest()
        self.cloud.objects["data/artifacts/in.bin"] = whole
        source = {"s3": {"bucket": "data", "key": "artifacts/in.bin", "sha256": known}}
        inputs = [shell("#!/bin/sh\nmv in/data.bin out.bin\n"), {"path": "in/data.bin", "source": source}]
        task = self.stopped(self.launched(spec(inputFiles=inputs, outputFiles=["out.bin"])))
        codes = {one["name"]: one["exitCode"] for one in task["containers"]}
        self.assertEqual(codes, {"stage": 0, "main": 0, "agent": 0}, self.control("logs"))
        self.assertEqual(self.cloud.problems, [])
        self.assertEqual(self.done()["outcome"], "success")
        (stored,) = self.manifest()["outputFiles"]
        self.assertEqual((stored["name"], stored["bytes"], stored["sha256"]), ("out.bin", SIZE, known))
        self.assertEqual(len(self.cloud.completed), 1)
        for number, (size, found) in sorted(self.cloud.sums.items()):
            piece = whole[(number - 1) * STEP :][:STEP]
            self.assertEqual((size, found), (len(piece), hashlib.sha256(piece).digest()), f"part {number}")
        self.assertEqual(len(self.cloud.sums), -(-SIZE // STEP))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(f"{SIZE} bytes in and out, {peak >> 20} MiB of memory at most")
        self.assertLess(peak, MEMORY_MAX)
        self.cloud.objects.clear()


del AgentCase

if __name__ == "__main__":
    unittest.main()
