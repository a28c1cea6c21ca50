"""A short queue for inputs whose pose, calibration or class table is still under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from seg_perception.core.errors import SegPerceptionError

T = TypeVar("T")


class NotYetError(SegPerceptionError):
    """Something that an input needs is not here yet, but may still arrive."""


class WaitingRoom(Generic[T]):
    """The latest few inputs, in order of arrival, each with the time at which waiting for it ends.

    use: handles an input; raises NotYetError to let it wait, another SegPerceptionError to give it up.
    fail: gets an input that was given up, and why.
    """

    def __init__(self, depth: int, use: Callable[[T], None], fail: Callable[[T, SegPerceptionError], None]) -> None:
        self._depth = depth
        self._use = use
        self._fail = fail
        self._waiting: deque[tuple[T, int]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, item: T, deadline_ns: int) -> T | None:
        """Add an input; returns the oldest one if it had to give way."""
        self._waiting.append((item, deadline_ns))
        return self._waiting.popleft()[0] if len(self._waiting) > self._depth else None

    def serve(self, now_ns: int) -> None:
        """Handle the inputs in their order, as far as they need not wait."""
        while self._waiting:
            item, deadline_ns = self._waiting[0]
            try:
                self._use(item)
            except NotYetError as error:
                if now_ns < deadline_ns:
                    return
                self._fail(item, error)
            except SegPerceptionError as error:
                self._fail(item, error)
            self._waiting.popleft()

    def clear(self) -> int:
        """Send everybody away; returns how many waited."""
        count = len(self._waiting)
        self._waiting.clear()
        return count
