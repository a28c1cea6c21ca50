"""Stages of a pipeline that overlap in time: each in a thread of its own, everything in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_S = 0.1
_QUEUED = 4
"""So many items may a stage be ahead of the next one."""
_AHEAD = 2
"""So many items per worker are under way, so that none waits for the order."""


def side_by_side(
    items: Iterable[T], needs_work: Callable[[T], bool], work: Callable[[T], object], workers: int
) -> Iterator[T]:
    """The items in their order, each after `work` on it where it needs that, done in `workers` threads.

    What the work on an item raises is raised in its place; what producing the items raises, after those before.
    """
    under_way: deque[tuple[T, Future[object] | None]] = deque()
    pool = ThreadPoolExecutor(workers)
    source, more = iter(items), True
    failure: Exception | None = None
    try:
        while more or under_way:
            busy = sum(future is not None for _, future in under_way)
            if under_way and (not more or busy > _AHEAD * workers or _is_done(under_way[0][1])):
                item, future = under_way.popleft()
                if future:
                    future.result()
                yield item
                continue
            try:
                item = next(source)
            except StopIteration:
                more = False
            except Exception as error:  # noqa: BLE001 (whatever the source raises)
                failure, more = error, False
            else:
                under_way.append((item, pool.submit(work, item) if needs_work(item) else None))
    finally:
        pool.shutdown(cancel_futures=True)
    if failure:
        raise failure


def _is_done(future: Future[object] | None) -> bool:
    return future is None or future.done()


class Stages:
    """The threads of a pipeline; leaving the context ends them, wherever they are, and waits for it."""

    def __init__(self) -> None:
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
        waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(_QUEUED)

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
