"""A name server for tests: answers for the names it is given, and says that there are no others."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from types import TracebackType

_A = 1
_NO_SUCH_NAME = 3


class Names:
    """On UDP port 53 of a loopback address of its own; needs root."""

    def __init__(self, addresses: Mapping[str, str], host: str = "127.0.0.53", port: int = 53) -> None:
        self._addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.port = self._socket.getsockname()[1]
        self.asked: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Names:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                query, sender = self._socket.recvfrom(4096)
                self._socket.sendto(self.answer(query), sender)
            except OSError:
                return

    def answer(self, query: bytes) -> bytes:
        """The answer to one query."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        name = ".".join(labels).lower()
        kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
        self.asked.append(name)
        question = query[12 : at + 5]
        address = self._addresses.get(name)
        code = 0 if address is not None else _NO_SUCH_NAME
        found = address is not None and kind == _A
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, int(found), 0, 0)
        if not found or address is None:
            return head + question
        record = b"\xc0\x0c" + struct.pack(">HHIH", _A, 1, 60, 4) + socket.inet_aton(address)
        return head + question + record
