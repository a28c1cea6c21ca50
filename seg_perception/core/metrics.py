"""Scores of masks against labels and of occupancy grids against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import DataError
from seg_perception.core.grid import FREE_BELOW, OCCUPIED_FROM


def confusion(mask: NDArray[np.uint8], labels: NDArray[np.uint8], n_classes: int) -> NDArray[np.int64]:
    """(H, W) ids and (H, W) true ids → (n_classes, n_classes) int64 pixel counts [truth, predicted].

    Pixels whose *label* is 255 or beyond the table are left out. Pixels whose *mask* is (an unlabelled prediction) are
    wrong but belong to no column: they too are left out, so mask unlabelled pixels only on purpose.
    """
    if mask.shape != labels.shape:
        raise DataError(f"mask is {mask.shape}, labels are {labels.shape}; resize one to the other first")
    counted = (labels < n_classes) & (mask < n_classes)
    index = labels[counted].astype(np.int64) * n_classes + mask[counted]
    return np.bincount(index, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(…, n, n) confusion → (…, n) intersection over union; NaN for a class in neither truth nor prediction."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    union = matrix.sum(-2) + matrix.sum(-1) - hit
    return np.divide(hit, union, out=np.full(hit.shape, np.nan), where=union > 0)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Mean IoU over the classes that occur in the labels; NaN when none does.

    A class that is only predicted counts against those that it covers: as an IoU of 0, one stray pixel would cost 1/n.
    """
    return _mean_of_true(iou(matrix), matrix)


def dice(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, n) confusion → (n,) Dice coefficient (F1); NaN for a class in neither truth nor prediction."""
    hit = np.diag(matrix).astype(np.float64)
    both = matrix.sum(0) + matrix.sum(1)
    return np.divide(2 * hit, both, out=np.full(len(hit), np.nan), where=both > 0)


def mean_dice(matrix: NDArray[np.int64]) -> float:
    """Mean Dice coefficient over the classes that occur in the labels, as `mean_iou`."""
    return _mean_of_true(dice(matrix), matrix)


def _mean_of_true(values: NDArray[np.float64], matrix: NDArray[np.int64]) -> float:
    occurs = matrix.any(1)
    return float(values[occurs].mean()) if occurs.any() else float("nan")


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of the counted pixels that are right; NaN without pixels."""
    return float(np.diag(matrix).sum() / matrix.sum()) if matrix.sum() else float("nan")


_COUNTS = (
    "occupied",
    "occupied_as_free",
    "occupied_as_occupied",
    "free",
    "free_as_free",
    "free_as_occupied",
    "hidden",
    "hidden_as_unknown",
)
GRID_SHARES = {
    "false_free": ("occupied_as_free", "occupied"),
    "occupied_recall": ("occupied_as_occupied", "occupied"),
    "false_occupied": ("free_as_occupied", "free"),
    "free_recall": ("free_as_free", "free"),
    "hidden_unknown": ("hidden_as_unknown", "hidden"),
}
"""Share that `GridScore` reports → which of its counts, of which."""


@dataclass
class GridScore:
    """Running score of occupancy grids against the truth; feed it one frame at a time.

    false_free: share of the truly occupied, visible cells that the grid calls free (dangerous).
    occupied_recall: share of the truly occupied, visible cells that it calls occupied.
    false_occupied: share of the truly free, visible cells that it calls occupied.
    free_recall: share of the truly free, visible cells that it calls free.
    hidden_unknown: share of the cells never visible so far that are -1.
    """

    _counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))

    def update(
        self,
        occupancy: NDArray[np.int8],
        occupied: NDArray[np.bool_],
        free: NDArray[np.bool_],
        visible: NDArray[np.bool_],
        never_visible: NDArray[np.bool_],
        within: NDArray[np.bool_],
    ) -> None:
        """Add a frame. All arrays are (height, width) of one grid.

        occupied, free: the truth (cells in neither are not scored). visible: seen in this frame. never_visible: not
        seen in this frame or any before. within: the region to score.
        """
        called_free = (occupancy >= 0) & (occupancy < FREE_BELOW)
        called_occupied = occupancy >= OCCUPIED_FROM
        obstacles = occupied & visible & within
        open_ground = free & visible & within
        hidden = never_visible & within
        for name, cells in (
            ("occupied", obstacles),
            ("occupied_as_free", obstacles & called_free),
            ("occupied_as_occupied", obstacles & called_occupied),
            ("free", open_ground),
            ("free_as_free", open_ground & called_free),
            ("free_as_occupied", open_ground & called_occupied),
            ("hidden", hidden),
            ("hidden_as_unknown", hidden & (occupancy < 0)),
        ):
            self._counts[name] += int(np.count_nonzero(cells))

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of cells; what `add` takes."""
        return dict(self._counts)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of another score."""
        for name, count in counts.items():
            self._counts[name] += count

    def result(self) -> dict[str, float | int]:
        """The shares (NaN where nothing was to be scored) and `cells`, the number of scored cells."""
        counts = self._counts
        shares = {
            name: counts[part] / counts[whole] if counts[whole] else float("nan")
            for name, (part, whole) in GRID_SHARES.items()
        }
        return {**shares, "cells": counts["occupied"] + counts["free"] + counts["hidden"]}
