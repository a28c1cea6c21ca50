"""Grid scores by distance from the camera."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.grid import GridSpec
from seg_perception.core.metrics import GridScore
from seg_perception.evaluation.drive_scores import Truth

BANDS = {"0-5": (0.0, 5.0), "5-10": (5.0, 10.0), "10-15": (10.0, 15.0), "15-25": (15.0, 25.0), "0-15": (0.0, 15.0)}
"""Name → from, to (m from the point below the camera, along the ground)."""

FIGURES = ("false_free", "occupied_recall", "false_occupied", "free_recall", "hidden_unknown")
"""The shares of `GridScore` that are reported."""

BandFigures = dict[str, dict[str, float | None]]


class BandScores:
    """One running `GridScore` per band."""

    def __init__(self) -> None:
        self._scores = {name: GridScore() for name in BANDS}

    def update(
        self,
        spec: GridSpec,
        occupancy: NDArray[np.int8],
        truth: Truth,
        seen: NDArray[np.bool_],
        camera_position: tuple[float, float],
    ) -> None:
        """Add a frame. seen: (h, w) bool, cells visible now or before. camera_position: world x and y, m."""
        x, y = spec.centres()
        distance = np.hypot(x[None, :] - camera_position[0], y[:, None] - camera_position[1])
        for name, (near, far) in BANDS.items():
            within = (distance >= near) & (distance < far)
            self._scores[name].update(occupancy, truth.occupied, truth.free, truth.visible, ~seen, within)

    def figures(self) -> BandFigures:
        """Band → figure → share, or None where nothing was to be scored."""
        return {name: _shares(score.result()) for name, score in self._scores.items()}


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
    return {name: None if math.isnan(result[name]) else round(float(result[name]), 5) for name in FIGURES}
