"""A short queue for inputs whose pose, calibration or class table is still under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from seg_perception.core.errors import SegPerceptionError

T = TypeVar("T")


class NotYetError(SegPerceptionError):
    """Something that an input needs is not here yet, but may still arrive."""


class WaitingRoom(Generic[T]):
    """Inputs in order of arrival, each with the time at which waiting for it ends.

    depth: for how many there is room, at least 2.
    use: handles an input; raises NotYetError to let it wait, another SegPerceptionError to give it up.
    fail: gets an input that was given up, and why.
    """

    def __init__(self, depth: int, use: Callable[[T], None], fail: Callable[[T, SegPerceptionError], None]) -> None:
        self._depth = depth
        self._use = use
        self._fail = fail
        self._waiting: list[tuple[T, int]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, item: T, deadline_ns: int) -> T | None:
        """Add an input; returns one that had to give way, if there is no room for all.

        That is never the oldest, or none would ever reach its deadline, but one whose neighbours are close in time.
        """
        # Nobody waits longer than who came later: the clock may have been set back.
        earlier = [(waiting, min(until_ns, deadline_ns)) for waiting, until_ns in self._waiting]
        self._waiting = [*earlier, (item, deadline_ns)]
        if len(self._waiting) <= self._depth:
            return None
        times = [until_ns for _, until_ns in self._waiting]
        closest = min(range(1, self._depth), key=lambda i: times[i + 1] - times[i - 1])
        return self._waiting.pop(closest)[0]

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
            self._waiting.pop(0)

    def clear(self) -> int:
        """Send everybody away; returns how many waited."""
        count = len(self._waiting)
        self._waiting.clear()
        return count
