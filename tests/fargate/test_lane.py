"""What the stand-in asks of the emulator behind it."""

from __future__ import annotations

import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from lane import Lane, LaneError


class Emulator(BaseHTTPRequestHandler):
    """Answers as Secrets Manager and Parameter Store do."""

    asked: ClassVar[list[tuple[str, object]]] = []

    def do_POST(self) -> None:
        """One request."""
        target = self.headers["X-Amz-Target"]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((target, body))
        answers: dict[str, object] = {
            "secretsmanager.GetSecretValue": {"SecretString": "managed"},
            "AmazonSSM.GetParameter": {"Parameter": {"Value": "stored"}} if body.get("Name") == "/a/b" else {},
        }
        text = json.dumps(answers[target]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Secrets(unittest.TestCase):
    """Values for `secrets` of a container."""

    def setUp(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Emulator)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.lane = Lane(f"http://127.0.0.1:{server.server_port}", "eu-central-1")
        Emulator.asked.clear()

    def test_an_arn_says_which_store_is_asked(self) -> None:
        parameter = "arn:aws:ssm:eu-central-1:1:parameter/a/b"
        secret = "arn:aws:secretsmanager:eu-central-1:1:secret:a/b-x"
        self.assertEqual([self.lane.secret(parameter), self.lane.secret(secret)], ["stored", "managed"])
        expected = [
            ("AmazonSSM.GetParameter", {"Name": "/a/b", "WithDecryption": True}),
            ("secretsmanager.GetSecretValue", {"SecretId": secret}),
        ]
        self.assertEqual(Emulator.asked, expected)

    def test_an_answer_without_a_parameter_is_an_error(self) -> None:
        with self.assertRaises(LaneError):
            self.lane.secret("arn:aws:ssm:eu-central-1:1:parameter/other")


if __name__ == "__main__":
    unittest.main()
