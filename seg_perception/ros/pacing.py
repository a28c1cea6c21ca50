"""Time as the stamps of a stream tell it: how long it has been silent, and whose turn it is to be published."""

from __future__ import annotations

from math import inf

# Of a period: stamps that jitter must not make every second result wait for the next, nor a late one cost the next one.
_EARLY = 0.25
_LATE = 0.5


class StreamClock:
    """Continues the stamps of a stream while nothing arrives, at the pace of the node's own clock.

    The two clocks need not agree: a bag played without simulated time has stamps of the day of its recording. While the
    node's clock is at 0, nobody has told the time yet.
    """

    def __init__(self) -> None:
        self._stamp_ns: int | None = None
        self._arrival_ns = 0

    def arrived(self, stamp_ns: int, now_ns: int) -> None:
        """Something with this stamp arrived now."""
        self._stamp_ns = stamp_ns
        self._arrival_ns = now_ns

    @property
    def started(self) -> bool:
        return self._stamp_ns is not None

    def silence_s(self, now_ns: int) -> float:
        """Time since the last arrival, s; 0 again if the node's clock has jumped back since."""
        return self._elapsed_ns(now_ns) / 1e9

    def stamp_ns(self, now_ns: int) -> int:
        """The stamp that something arriving now would have. Only once started."""
        assert self._stamp_ns is not None
        return self._stamp_ns + self._elapsed_ns(now_ns)

    def _elapsed_ns(self, now_ns: int) -> int:
        self._arrival_ns = min(self._arrival_ns or now_ns, now_ns)
        return now_ns - self._arrival_ns


class RateLimit:
    """Chooses, by their stamps, at most `rate_hz` results per second, as evenly as they come."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next result is due, whatever its stamp."""
        self._turn_s = -inf

    def is_due(self, stamp_s: float, rate_hz: float) -> bool:
        """Whether the result with this stamp has its turn: a period after the last turn. The rate may change."""
        period = 1.0 / rate_hz
        due_s = self._turn_s + period
        late_s = stamp_s - due_s
        if late_s < -_EARLY * period:
            return False
        self._turn_s = due_s if late_s <= _LATE * period else stamp_s
        return True
