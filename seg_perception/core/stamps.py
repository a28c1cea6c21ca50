"""Whether an input still belongs to the present, by its stamp."""

from __future__ import annotations

_NS = 1e9
_RESTART_S = 1.0
_AHEAD_S = 1.0


class StampGuard:
    """Finds stale stamps: too old, ahead of the clock, repeated or out of order.

    A jump back of more than a second is a new beginning.
    """

    restarted: bool
    """Whether the last stamp that was not stale was such a new beginning."""

    def __init__(self) -> None:
        self._newest_ns: int | None = None
        self.restarted = False

    def stale(self, stamp_ns: int, now_ns: int, max_age_s: float) -> str:
        """Why an input with this stamp must not be used, or an empty string. max_age_s: 0 for any age."""
        age_s = (now_ns - stamp_ns) / _NS
        if 0.0 < max_age_s < age_s:
            return (
                f"stamp is {age_s:.1f} s old, allowed are {max_age_s:g} (parameter max_age, 0 for any); "
                "synchronise the clocks, or set use_sim_time for a bag"
            )
        if max_age_s > 0.0 and age_s < -_AHEAD_S and now_ns > 0:  # 0: simulated time has not begun
            return f"stamp is {-age_s:.1f} s ahead of the clock; synchronise the clocks, or set use_sim_time for a bag"
        back_s = (self._newest_ns - stamp_ns) / _NS if self._newest_ns is not None else -1.0
        if 0.0 <= back_s <= _RESTART_S:
            return f"stamp is {back_s:.3f} s behind one that came before; check for two publishers on the topic"
        self.restarted = back_s > _RESTART_S
        self._newest_ns = stamp_ns
        return ""
