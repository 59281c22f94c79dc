"""The log drivers write what AWS' write."""

from __future__ import annotations

import io
import socket
import tempfile
import unittest
from pathlib import Path

from logs import PIECE_BYTES, FireLens, pump


class Kept:
    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, int, bool]] = []

    def piece(self, source: str, text: bytes, *, partial: int, last: bool) -> None:
        self.pieces.append((text, partial, last))

    def close(self) -> None:
        """Nothing to do."""


class Pieces(unittest.TestCase):
    def test_long_lines_come_in_numbered_pieces(self) -> None:
        kept = Kept()
        pump(io.BytesIO(b"short\n" + b"x" * (PIECE_BYTES + 10) + b"\nend"), "stdout", kept)
        self.assertEqual(
            [(len(text), partial, last) for text, partial, last in kept.pieces],
            [(5, 0, True), (PIECE_BYTES, 1, False), (10, 2, True), (3, 0, True)],
        )

    def test_a_line_of_exactly_one_piece_ends(self) -> None:
        kept = Kept()
        pump(io.BytesIO(b"x" * PIECE_BYTES + b"\n" + b"y" * PIECE_BYTES), "stdout", kept)
        self.assertTrue(kept.pieces[-1][2])
        self.assertEqual(b"".join(text for text, _, _ in kept.pieces), b"x" * PIECE_BYTES + b"y" * PIECE_BYTES)


class Forwarded(unittest.TestCase):
    def test_a_line_is_one_message_of_the_forward_protocol(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "fluent.sock"
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(path))
            listener.listen()
            driver = FireLens(path, "main-firelens-t", "c-1")
            driver.piece("stderr", b"hello", partial=0, last=True)
            connection, _ = listener.accept()
            driver.close()
            with connection, listener:
                message = b"".join(iter(lambda: connection.recv(4096), b""))
        self.assertEqual(message[:17], b"\x94\xafmain-firelens-t")
        self.assertEqual(message[17:19], b"\xd7\x00")
        self.assertIn(b"\xa6source\xa6stderr", message)
        self.assertIn(b"\xa3log\xa5hello", message)
        self.assertTrue(message.endswith(b"\x80"))


if __name__ == "__main__":
    unittest.main()
