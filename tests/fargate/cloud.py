"""Enough of S3 and SQS for one agent: objects with checksums and multipart uploads, and a queue.

For tests of the agent that need no emulator. Faults: the queue can refuse, and a download can break.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Cloud:
    """Both services on one loopback port."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes | memoryview] = {}
        self.messages: list[dict[str, object]] = []
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.signed_by: set[str] = set()
        self.queue_refuses = False
        # The next download ends after so many bytes.
        self.breaks_after: int | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._http.shutdown()
        self._http.server_close()

    def part(self, upload: str, number: int, body: bytes) -> None:
        """Keeps a part."""
        self.uploads[upload][number] = body

    def complete(self, name: str, upload: str) -> None:
        """Makes an object of parts."""
        parts = self.uploads.pop(upload)
        self.objects[name] = b"".join(parts[number] for number in sorted(parts))

    def check(self, body: bytes, headers: Mapping[str, str], name: str) -> None:
        """Notes a body that is not what its checksum says, or has none."""
        given = headers.get("x-amz-checksum-sha256")
        if given != base64.b64encode(hashlib.sha256(body).digest()).decode():
            self.problems.append(f"{name}: the checksum is {given}")


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

        def _read(self) -> tuple[str, dict[str, list[str]], bytes]:
            parts = urlsplit(self.path)
            credential = (self.headers.get("Authorization") or "").partition("Credential=")[2]
            cloud.signed_by.add(credential.partition("/")[0])
            cloud.requests.append(f"{self.command} {parts.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return unquote(parts.path).lstrip("/"), parse_qs(parts.query, keep_blank_values=True), body

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            name, _, _ = self._read()
            whole = cloud.objects.get(name)
            if whole is None:
                self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>")
                return
            etag = f'"{hashlib.md5(whole).hexdigest()}"'
            if self.headers.get("If-Match") not in (None, etag):
                self._answer(412, b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>")
                return
            start = 0
            if wanted := self.headers.get("Range"):
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            body = whole[start:]
            breaks, cloud.breaks_after = cloud.breaks_after, None
            self.send_response(206 if start else 200)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if breaks is None else body[:breaks])
            if breaks is not None:
                self.close_connection = True

        def do_PUT(self) -> None:
            name, query, body = self._read()
            cloud.check(body, self.headers, self.path)  # type: ignore[arg-type]
            if "uploadId" in query:
                cloud.part(query["uploadId"][0], int(query["partNumber"][0]), body)
            else:
                cloud.objects[name] = body
            self._answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

        def do_POST(self) -> None:
            name, query, body = self._read()
            if self.headers.get("X-Amz-Target") == "AmazonSQS.SendMessage":
                self._message(body)
            elif "uploads" in query:
                upload = uuid.uuid4().hex
                cloud.uploads[upload] = {}
                text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                self._answer(200, text.encode(), Content_Type="application/xml")
            else:
                cloud.complete(name, query["uploadId"][0])
                text = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
                self._answer(200, text.encode(), Content_Type="application/xml")

        def do_DELETE(self) -> None:
            _, query, _ = self._read()
            cloud.uploads.pop(query.get("uploadId", [""])[0], None)
            self._answer(204)

        def _message(self, body: bytes) -> None:
            if cloud.queue_refuses:
                error = {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no"}
                self._answer(400, json.dumps(error).encode(), Content_Type="application/x-amz-json-1.0")
                return
            text = json.loads(body)["MessageBody"]
            cloud.messages.append(json.loads(text))
            answer = {"MessageId": uuid.uuid4().hex, "MD5OfMessageBody": hashlib.md5(text.encode()).hexdigest()}
            self._answer(200, json.dumps(answer).encode(), Content_Type="application/x-amz-json-1.0")

    return Handler
