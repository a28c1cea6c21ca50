"""Percentiles of latencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles(values: Sequence[float], digits: int = 3) -> dict[str, float] | None:
    """p50, p95 and p99, or None without samples."""
    if not len(values):
        return None
    found = np.percentile(values, (50, 95, 99))
    return {name: round(float(value), digits) for name, value in zip(("p50", "p95", "p99"), found, strict=True)}


def percentiles_ms(latencies_ns: Sequence[int]) -> dict[str, float] | None:
    """p50, p95 and p99 in ms, or None without samples."""
    return percentiles(np.asarray(latencies_ns, np.float64) / 1e6, 2)
