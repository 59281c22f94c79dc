"""The agent's image, and how it gets into a registry: one of its own, which checks what it is sent."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import threading
import unittest
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import image

AGENT = b"\x7fELF" + bytes(14) + struct.pack("<H", 62) + b"the agent"
PASSWORD = "Basic QVdTOnBhc3N3b3Jk"


class Registry(BaseHTTPRequestHandler):
    """A registry with one repository, in memory."""

    blobs: dict[str, bytes]
    manifests: dict[str, bytes]
    uploads: dict[str, bytes]
    elsewhere: str

    def do_HEAD(self) -> None:
        self.answer_known(self.path.rpartition("/")[2])

    def do_POST(self) -> None:
        self.uploads["u1"] = b""
        self.answer(202, Location=f"{self.elsewhere}/v2/agent/blobs/uploads/u1?state=a")

    def do_PATCH(self) -> None:
        self.uploads["u1"] += self.body()
        self.answer(202, Location="/v2/agent/blobs/uploads/u1?state=b")

    def do_PUT(self) -> None:
        body, url = self.body(), urllib.parse.urlsplit(self.path)
        if "/manifests/" in url.path:
            named = [json.loads(body)["config"], *json.loads(body)["layers"]]
            whole = all(len(self.blobs.get(one["digest"], b"")) == one["size"] for one in named)
            self.manifests[url.path.rpartition("/")[2]] = body
            return self.answer(201 if whole else 400)
        digest = urllib.parse.parse_qs(url.query)["digest"][0]
        content = self.uploads.pop("u1")
        if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
            return self.answer(400)
        self.blobs[digest] = content
        return self.answer(201)

    def answer_known(self, name: str) -> None:
        found = self.manifests.get(name, self.blobs.get(name))
        if found is None:
            return self.answer(404)
        if self.elsewhere:
            return self.answer(307, Location=f"{self.elsewhere}{self.path}")
        return self.answer(200, **{"Docker-Content-Digest": f"sha256:{hashlib.sha256(found).hexdigest()}"})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, code: int, **headers: str) -> None:
        self.send_response(code if self.headers.get("Authorization") == PASSWORD else 401)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class TestImage(unittest.TestCase):
    """From a binary to a name in a registry."""

    def setUp(self) -> None:
        self.handler = type(
            "Handler", (Registry,), {"blobs": {}, "manifests": {}, "uploads": {}, "elsewhere": ""}
        )
        server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.registry = image.Registry(f"http://127.0.0.1:{server.server_port}", "agent", PASSWORD)

    def test_what_is_pushed_can_be_started(self) -> None:
        self.assertTrue(self.registry.push(image.image_of(AGENT), "latest"))
        manifest = json.loads(self.handler.manifests["latest"])
        layer = self.handler.blobs[manifest["layers"][0]["digest"]]
        with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
            (entry,) = archive.getmembers()
            self.assertEqual((entry.name, entry.mode), ("operon-agent", 0o755))
            extracted = archive.extractfile(entry)
            assert extracted is not None
            self.assertEqual(extracted.read(), AGENT)
        config = json.loads(self.handler.blobs[manifest["config"]["digest"]])
        self.assertEqual(config["config"]["Entrypoint"], ["/operon-agent"])
        self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}"])

    def test_the_dockerfile_says_the_same(self) -> None:
        text = (image.Path(__file__).resolve().parents[2] / "agent/Dockerfile").read_text(encoding="utf-8")
        for line in ['COPY operon-agent /operon-agent', "USER 0:0", 'ENTRYPOINT ["/operon-agent"]', 'CMD ["watch"]']:
            self.assertIn(line, text.splitlines())

    def test_the_same_binary_is_not_sent_again(self) -> None:
        self.assertTrue(self.registry.push(image.image_of(AGENT), "latest"))
        self.assertFalse(self.registry.push(image.image_of(AGENT), "latest"))
        self.assertTrue(self.registry.push(image.image_of(AGENT + b"2"), "latest"))

    def test_a_wrong_password_is_an_error(self) -> None:
        stranger = image.Registry(self.registry.url, "agent", "Basic eA==")
        with self.assertRaisesRegex(image.ImageFailed, "401"):
            stranger.push(image.image_of(AGENT), "latest")
        self.assertEqual(self.handler.manifests, {})

    def test_the_password_goes_to_no_other_address(self) -> None:
        self.handler.elsewhere = "http://127.0.0.1:1"
        with self.assertRaisesRegex(image.ImageFailed, "not its own address"):
            self.registry.push(image.image_of(AGENT), "latest")

    def test_a_blob_that_is_kept_elsewhere_is_there(self) -> None:
        self.assertTrue(self.registry.push(image.image_of(AGENT), "latest"))
        self.handler.elsewhere = "http://127.0.0.1:1"
        self.handler.manifests.clear()
        self.assertTrue(self.registry.push(image.image_of(AGENT), "latest"))

    def test_what_fargate_cannot_start_is_refused(self) -> None:
        arm = AGENT[:18] + struct.pack("<H", 183) + AGENT[20:]
        for agent in (b"#!/bin/sh", arm):
            with self.assertRaises(image.ImageFailed):
                image.image_of(agent)


if __name__ == "__main__":
    unittest.main()
