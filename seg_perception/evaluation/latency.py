"""Percentiles of latencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles_ms(latencies_ns: Sequence[int]) -> dict[str, float] | None:
    """p50, p95 and p99 in ms, or None without samples."""
    if not latencies_ns:
        return None
    values = np.percentile(np.asarray(latencies_ns, np.float64) / 1e6, (50, 95, 99))
    return {name: round(float(value), 2) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}
