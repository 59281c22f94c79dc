"""The stand-ins for Lambda's runtime API and for AWS, with a function written here."""

from __future__ import annotations

import http.server
import socket
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import functions
from measure import RunFailed

# A function: takes its invocation, asks AWS by TLS for what it is told to, and answers.
FUNCTION = """
import json, os, ssl, sys, urllib.request
base = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime"
event = json.load(urllib.request.urlopen(f"{base}/invocation/next"))
trusted = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
request = urllib.request.Request(
    os.environ["AWS_ENDPOINT_URL"], b"{}", {"X-Amz-Target": "DynamoDB_20120810.Query"})
found = json.load(urllib.request.urlopen(request, context=trusted))
assert found["Count"] == 0 and os.environ["OPERON_STATE_TABLE"], found
how, answer = sys.argv[1:]
urllib.request.urlopen(f"{base}/invocation/bench-1/{how}", answer.encode())
urllib.request.urlopen(f"{base}/invocation/next")
"""


class TestStart(unittest.TestCase):
    def start(self, how: str, answer: str) -> functions.Measurement:
        with tempfile.TemporaryDirectory() as directory:
            argv = [sys.executable, "-c", FUNCTION, how, answer]
            return functions.start_once(argv, "planner", Path(directory))

    def test_an_answer_ends_the_measurement(self) -> None:
        measured = self.start("response", "{}")
        self.assertGreater(measured.wall_s, 0)
        self.assertGreater(measured.peak_rss_bytes, 0)

    def test_the_stand_ins_hold_no_answer_back(self) -> None:
        held = []

        def handle(request: http.server.BaseHTTPRequestHandler) -> None:
            held.append(request.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0)
            functions.empty_aws(request)

        with functions.served(handle) as port, self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}")
        self.assertEqual(held, [False])

    def test_an_error_is_none(self) -> None:
        with self.assertRaisesRegex(RunFailed, "no such table"):
            self.start("error", '{"errorMessage": "no such table"}')

    def test_a_message_that_was_not_handled_is_none(self) -> None:
        with self.assertRaisesRegex(RunFailed, "not handled"):
            self.start("response", '{"batchItemFailures": [{"itemIdentifier": "1"}]}')

    def test_a_status_of_the_server_is_none(self) -> None:
        with self.assertRaisesRegex(RunFailed, "answered 500"):
            self.start("response", '{"statusCode": 500, "body": "x"}')

    def test_who_ends_without_an_answer_is_named_with_its_output(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            with self.assertRaisesRegex(RunFailed, "(?s)planner: it ended .*OPERON_X is missing"):
                argv = [sys.executable, "-c", "raise SystemExit('OPERON_X is missing')"]
                functions.start_once(argv, "planner", Path(directory))


if __name__ == "__main__":
    unittest.main()
