"""Stages of a pipeline that overlap in time: each in a thread of its own, everything in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()
_POLL_S = 0.1


def in_thread(items: Iterable[T], depth: int = 4) -> Iterator[T]:
    """The items, produced in a thread of its own, at most `depth` ahead of who takes them.

    What producing them raises is raised here, after the items before it. When the taker stops, so does the thread.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    break
            put((_END, None))
        except BaseException as error:  # noqa: BLE001 (raised again where the items are taken)
            put((_END, error))
        finally:
            close = getattr(items, "close", None)
            if close:
                close()

    thread = threading.Thread(target=produce, name="stage", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
