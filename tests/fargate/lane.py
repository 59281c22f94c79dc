"""The few requests this stand-in makes of the emulator behind it, by AWS' JSON protocols.

Emulators do not check signatures, but find the service by the credential's scope: the header has that and a
signature of zeros. A real account would refuse it, which is as it should be.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

_TIMEOUT_S = 30.0


class LaneError(Exception):
    """The emulator refused, or did not answer."""


@dataclass(frozen=True)
class Lane:
    """An emulator's endpoint."""

    endpoint: str
    region: str

    def json(self, service: str, target: str, version: str, body: Mapping[str, object]) -> dict[str, object]:
        """One request of a service with the JSON protocol."""
        headers = {"X-Amz-Target": target, "Content-Type": f"application/x-amz-json-{version}"}
        answer = self._send(service, "/", json.dumps(body).encode(), headers)
        found = json.loads(answer or b"{}")
        if not isinstance(found, dict):
            raise LaneError(f"{target}: answered {answer[:200]!r}")
        return found

    def invoke(self, function: str, event: Mapping[str, object]) -> None:
        """Gives an event to a Lambda function, as EventBridge does: without waiting for its end."""
        path = f"/2015-03-31/functions/{urllib.parse.quote(function, safe='')}/invocations"
        self._send("lambda", path, json.dumps(event).encode(), {"X-Amz-Invocation-Type": "Event"})

    def enqueue(self, queue_url: str, event: Mapping[str, object]) -> None:
        """Sends a message to a queue."""
        body = {"QueueUrl": queue_url, "MessageBody": json.dumps(event)}
        self.json("sqs", "AmazonSQS.SendMessage", "1.0", body)

    def queue_url(self, arn: str) -> str:
        """The queue with that ARN."""
        body = {"QueueName": arn.rsplit(":", 1)[-1]}
        return str(self.json("sqs", "AmazonSQS.GetQueueUrl", "1.0", body)["QueueUrl"])

    def secret(self, secret_id: str) -> str:
        """The value of a secret: of Parameter Store, if its ARN says so."""
        if secret_id.startswith("arn:") and secret_id.split(":")[2] == "ssm":
            name = secret_id.split(":parameter", 1)[1]
            wanted = {"Name": name, "WithDecryption": True}
            found = self.json("ssm", "AmazonSSM.GetParameter", "1.1", wanted).get("Parameter")
            if not isinstance(found, dict):
                raise LaneError(f"there is no parameter in the answer for {name}")
            return str(found["Value"])
        body = {"SecretId": secret_id}
        return str(self.json("secretsmanager", "secretsmanager.GetSecretValue", "1.1", body)["SecretString"])

    def _send(self, service: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"test/{stamp[:8]}/{self.region}/{service}/aws4_request"
        request = urllib.request.Request(
            self.endpoint.rstrip("/") + path,
            data=body,
            method="POST",
            headers={
                **headers,
                "X-Amz-Date": stamp,
                "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise LaneError(f"{service}{path}: {error.code} {error.read()[:500]!r}") from error
        except OSError as error:
            raise LaneError(f"{service}{path}: {error}") from error
