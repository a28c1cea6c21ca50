"""Grid scores by distance from the camera."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.metrics import GRID_SHARES, GridScore

BANDS = {"0-5": (0.0, 5.0), "5-10": (5.0, 10.0), "10-15": (10.0, 15.0), "15-25": (15.0, 25.0), "0-15": (0.0, 15.0)}
"""Name → from, to (m from the point below the camera, along the ground)."""

BandFigures = dict[str, dict[str, float | None]]


class BandScores:
    """One running `GridScore` per band."""

    def __init__(self) -> None:
        self.scores = {name: GridScore() for name in BANDS}

    def update(
        self,
        occupancy: NDArray[np.int8],
        occupied: NDArray[np.bool_],
        free: NDArray[np.bool_],
        visible: NDArray[np.bool_],
        seen: NDArray[np.bool_],
        distance: NDArray[np.float64],
    ) -> None:
        """Add a frame; arrays of one shape. seen: visible now or before. distance: from the camera, m."""
        for name, (near, far) in BANDS.items():
            within = (distance >= near) & (distance < far)
            self.scores[name].update(occupancy, occupied, free, visible, ~seen, within)

    def figures(self) -> BandFigures:
        """Band → figure → share, or None where nothing was to be scored."""
        return {name: _shares(score.result()) for name, score in self.scores.items()}


def nested(figures: Mapping[str, BandFigures]) -> dict[str, Any]:
    """{"a/b": x} → {"a": {"b": x}}."""
    result: dict[str, Any] = {}
    for name, value in figures.items():
        *parents, leaf = name.split("/")
        level = result
        for parent in parents:
            level = level.setdefault(parent, {})
        level[leaf] = value
    return result


def _shares(result: dict[str, float | int]) -> dict[str, float | None]:
    return {name: None if math.isnan(result[name]) else round(float(result[name]), 5) for name in GRID_SHARES}
