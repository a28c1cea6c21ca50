"""A worker thread that always works on the newest item: a new one replaces the one that waits, nothing queues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestWorker(Generic[T]):
    """Calls `work` in a thread of its own, one item at a time. `work` must not raise."""

    def __init__(self, work: Callable[[T], None], name: str) -> None:
        self._work = work
        self._waiting: list[T] = []
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Hand over an item; True if it replaced one that was still waiting."""
        with self._changed:
            replaced = bool(self._waiting)
            self._waiting = [item]
            self._changed.notify()
        return replaced

    def close(self) -> None:
        """Finish the item in work, drop the waiting one, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                item = self._waiting.pop()
            self._work(item)
            del item  # a waiting thread must not keep an image alive
