"""Fargate's launch quota: a bucket of 100 launches that refills by 20 a second."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Bucket:
    """A token bucket over a clock that tests may set."""

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._tokens = burst
        self._at = clock()
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Takes that many tokens, or none of them."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
            self._at = now
            if self._tokens < count:
                return False
            self._tokens -= count
            return True
