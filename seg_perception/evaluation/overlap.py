"""Stages of a pipeline that overlap in time: each in a thread of its own, everything in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_S = 0.1


class Stages:
    """The threads of a pipeline; leaving the context ends them, wherever they are, and waits for it.

    depth: how many items a stage may be ahead of the next one.
    """

    def __init__(self, depth: int = 4) -> None:
        self._depth = depth
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def run(self, items: Iterable[T]) -> Iterator[T]:
        """The items, produced in a thread. What producing them raises is raised here, after the items before it."""
        waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(self._depth)

        def put(entry: tuple[bool, Any]) -> None:
            while not self._stopped.is_set():
                try:
                    return waiting.put(entry, timeout=_POLL_S)
                except queue.Full:
                    continue

        def produce() -> None:
            try:
                for item in items:
                    put((True, item))
                    if self._stopped.is_set():
                        return
                put((False, None))
            except BaseException as error:  # noqa: BLE001 (raised again where the items are taken)
                put((False, error))

        thread = threading.Thread(target=produce, name="stage", daemon=True)
        self._threads.append(thread)
        thread.start()
        return self._taken(waiting)

    def _taken(self, waiting: queue.Queue[tuple[bool, Any]]) -> Iterator[Any]:
        while not self._stopped.is_set():
            try:
                is_item, content = waiting.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if is_item:
                yield content
            elif content is not None:
                raise content
            else:
                return
