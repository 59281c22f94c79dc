"""Counting what is asked of AWS: a proxy before each service, with an address of its own for each who asks.

    counter = Counter()
    url = counter.before("http://127.0.0.1:4566", "planner")    # to be the endpoint of the planner
    counter.counts()                                           # {("planner", "sqs.SendMessageBatch"): 3, …}
"""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter as Tally
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Of a signed request: key, date, region, service.
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
_TIMEOUT_S = 120
_OF_THE_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "content-length")

Counts = Tally[tuple[str, str]]
"""Requests by who asked, and service and operation: the operation's name for JSON services, else the method."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Counter:
    """Passes requests on and counts each transmission, as AWS bills them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counts = Tally()
        self._servers: list[_Server] = []

    def before(self, upstream: str, who: str) -> str:
        """The address by which one of the callers reaches what is at `upstream`."""
        place = urlsplit(upstream).netloc
        counter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def passed(self) -> None:
                counter._count(who, self)
                _pass_on(self, place)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = passed

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        server = _Server(("127.0.0.1", 0), Handler)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def counts(self) -> Counts:
        """What was asked so far."""
        with self._lock:
            return Tally(self._counts)

    def close(self) -> None:
        """Ends all proxies."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _count(self, who: str, request: BaseHTTPRequestHandler) -> None:
        scope = _SCOPE.search(request.headers.get("Authorization", ""))
        target = request.headers.get("X-Amz-Target", "")
        name = f"{scope[1] if scope else 'unsigned'}.{target.rpartition('.')[2] or request.command}"
        with self._lock:
            self._counts[who, name] += 1


def _pass_on(request: BaseHTTPRequestHandler, place: str) -> None:
    """Asks the same there. The host stays that of the caller, whose signature has it."""
    body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
    connection = http.client.HTTPConnection(place, timeout=_TIMEOUT_S)
    try:
        connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in _OF_THE_CONNECTION:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
    except OSError as error:
        request.send_error(502, str(error))
        return
    finally:
        connection.close()
    request.send_response(answer.status)
    for name, value in answer.getheaders():
        if name.lower() not in _OF_THE_CONNECTION:
            request.send_header(name, value)
    length = answer.getheader("Content-Length", "0") if request.command == "HEAD" else str(len(content))
    request.send_header("Content-Length", length)
    request.end_headers()
    request.wfile.write(content)
