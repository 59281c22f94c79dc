"""What AWS does at the signed URL of the api function: it checks the signature of a request, and tells the function who
signed. Emulators pass requests on unchecked, and without the caller.

The signature is computed a second time by botocore, so a request that is signed wrongly is refused here as it is there.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/lambda/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)
# Between what a streaming function says of its answer and the answer.
_PRELUDE_END = b"\0" * 8


class Gateway:
    """The URL of a function, on a port of this machine."""

    def __init__(self, client: Any, function: str, credentials: Credentials, arn: str) -> None:
        self._client, self._function, self._credentials, self._arn = client, function, credentials, arn
        self.refused: list[str] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                gateway.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Checks and passes on."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        wrong = self._wrong(request, body)
        if wrong:
            self.refused.append(wrong)
            status, headers, content = 403, {"Content-Type": "application/json"}, json.dumps({"Message": wrong}).encode()
        else:
            status, headers, content = self._call(request, body)
        request.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _wrong(self, request: BaseHTTPRequestHandler, body: bytes) -> str | None:
        found = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        if found is None:
            return "Missing Authentication Token"
        key, region, names, signature = found.groups()
        if key != self._credentials.access_key:
            return "The security token included in the request is invalid."
        signed = {name: request.headers.get(name, "") for name in names.split(";")}
        again = AWSRequest(request.command, f"{self.url}{request.path}", data=body, headers=signed)
        again.context["timestamp"] = signed["x-amz-date"]
        signer = SigV4Auth(self._credentials, "lambda", region)
        text = signer.string_to_sign(again, signer.canonical_request(again))
        if not hmac.compare_digest(signer.signature(text, again), signature):
            return "The request signature we calculated does not match the signature you provided."
        return None

    def _call(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(request.path)
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": url.path,
            "rawQueryString": url.query,
            # What is compressed is not a text, and some emulators carry nothing else.
            "headers": {n.lower(): v for n, v in request.headers.items() if n.lower() != "accept-encoding"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "url",
                "domainName": urlsplit(self.url).netloc,
                "domainPrefix": "url",
                "http": {
                    "method": request.command, "path": url.path, "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1", "userAgent": request.headers.get("User-Agent", ""),
                },
                "requestId": "id",
                "routeKey": "$default",
                "stage": "$default",
                "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
                "timeEpoch": int(time.time() * 1000),
                "authorizer": {"iam": {"accessKey": "AKIA", "accountId": "000000000000", "userArn": self._arn, "userId": "u"}},
            },
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }  # fmt: skip
        answer = self._client.invoke(FunctionName=self._function, Payload=json.dumps(event).encode())
        payload: bytes = answer["Payload"].read()
        if "FunctionError" in answer:
            return 502, {}, payload
        if payload.startswith(b'"'):
            # An emulator that takes what streams for a text.
            payload = json.loads(payload).encode()
        told, _, content = payload.partition(_PRELUDE_END)
        head = json.loads(told)
        return int(head["statusCode"]), _headers(head), content


def _headers(head: dict[str, Any]) -> dict[str, str]:
    several = {name: ", ".join(values) for name, values in (head.get("multiValueHeaders") or {}).items()}
    return {**several, **(head.get("headers") or {})}
