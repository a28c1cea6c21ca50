"""The inverse sensor model: what one segmented view proves about the ground.

- *Free* needs visible ground: the pixel shows a ground class, and no obstacle follows within as much as the camera's
  pose may be wrong, so that an obstacle's foot is never taken for ground because of a bump in the road.
- *Occupied* is where an obstacle meets the ground: along one bearing, ground, and right behind it an obstacle. An
  obstacle that starts at the image border, behind another obstacle or behind something unknown shows no foot, and
  gives no contact.
- *Covered* is ground that an obstacle stands on or hides now, or may do so by the errors of the pose: whatever was
  known of it may have changed.
- Everything else (sky, low confidence, outside the image) proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.ground import PolarMap

Tangents = TypeVar("Tangents", float, NDArray[np.float32], NDArray[np.float64])

NOT_FREE, COVERED = 254, 255
"""Values of `Evidence.ground` where nothing is proved, and where an obstacle may stand on the ground or before it."""

OVERHANG = 0.15
"""m by which obstacles may overhang their foot (bumpers, bushes): ground that near before one is not called free."""

_SIDEWAYS = 0.06
"""m by which they may stand out sideways; the outline itself is seen there."""

_UNKNOWN, _OBSTACLE = 1, 2
_BLOCKING = np.zeros(256, np.uint8)
"""By kind, what may block the view; 0 is nothing. No sky is seen where ground should be."""
_BLOCKING[[Kind.IGNORE, Kind.SKY]], _BLOCKING[Kind.OBSTACLE] = _UNKNOWN, _OBSTACLE

_VIEWS = 8
"""So many views' margins are kept: without doubt they stay the same for as long as a camera is tilted alike."""

_BODY_ROWS = 8
_EDGE_ROWS = 2
_FOOT_ROWS = 2  # samples of ground before, and of obstacle after, a contact: a single stray pixel makes none


class ViewError(NamedTuple):
    """How far a view may be off: pitch in rad, height as a fraction of itself, outlines in the mask in pixels."""

    pitch: float
    height: float
    outline: float

    def tangent(self, tangents: Tangents) -> Tangents:
        """Error of the tangent t of a depression angle: of t = h / d by the height, (1 + t^2) per radian of pitch."""
        return (1.0 + tangents * tangents) * self.pitch + tangents * self.height


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one view proves, over the rows and columns of its polar map.

    ground: (R, C) uint8, traversal cost of proved free ground, else NOT_FREE or COVERED. weight: (R, C) uint8, 0..255,
    how much the pixel is to be believed. distances, bearings: (N,) float32, m and rad from the foot point in the level
    frame, where an obstacle meets the ground. obstacle_weights: (N,) uint8. labels: (R, C) uint8, class ids, 255 where
    there is none; obstacle_labels: (N,) uint8.
    """

    ground: NDArray[np.uint8]
    weight: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    distances: NDArray[np.float32]
    bearings: NDArray[np.float32]
    obstacle_weights: NDArray[np.uint8]
    obstacle_labels: NDArray[np.uint8]


def confidence_weights(minimum: float) -> NDArray[np.uint8]:
    """(256,) uint8 lookup: confidence 0..255 → weight, 0 below `minimum` (0..1), rising linearly to 255 at 1."""
    confidence = np.arange(256) / 255.0
    return np.rint(np.clip((confidence - minimum) / max(1.0 - minimum, 1e-6), 0.0, 1.0) * 255).astype(np.uint8)


def observe(
    mask: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    polar: PolarMap,
    table: ClassTable,
    weights: NDArray[np.uint8],
    error: ViewError,
    max_range: float,
    placed: NDArray[np.uint8] | None = None,
) -> Evidence:
    """Evidence of a mask and its confidence, both (H, W) uint8 at the size of the map's camera.

    weights: from `confidence_weights`. error: how far the view may be off. max_range: m; farther out nothing
    is proved, but what stands there still casts doubt on the ground before it, so the map should reach farther.
    placed: (H, W) uint8, not 0 where an obstacle's place is known otherwise: there no foot is looked for.
    """
    labels = polar.sample(mask, outside=255)
    weight = cv2.LUT(polar.sample(confidence, outside=0), weights)
    kinds = cv2.LUT(labels, table.kinds)
    obstacle = kinds == Kind.OBSTACLE
    ground = kinds == Kind.GROUND
    sure_ground = ground & ~_beside(obstacle) & (weight > 0)

    near = slice(0, int(np.searchsorted(polar.distances, max_range)))
    blocked = np.maximum(cv2.LUT(kinds, _BLOCKING), weight == 0)
    before = _before(blocked, _margins(polar, error))
    covered = obstacle | (sure_ground & (before == _OBSTACLE))
    free = sure_ground & (before == 0)
    result = np.full(labels.shape, NOT_FREE, np.uint8)
    np.copyto(result[near], COVERED, where=covered[near])
    np.copyto(result[near], cv2.LUT(labels, table.costs)[near], where=free[near])
    contacts = _contacts(ground & ~_beside(_upright(obstacle)), obstacle)[near]
    if placed is not None:
        contacts &= polar.sample(placed, outside=0)[near] == 0
    rows, columns = np.unravel_index(np.flatnonzero(contacts), contacts.shape)  # a tenth of nonzero's time
    # A network is least sure along the outline of things; whether the obstacle is there, its body tells.
    body = cv2.dilate(weight * obstacle, np.ones((_BODY_ROWS, 1), np.uint8), anchor=(0, 0))
    foot = polar.view.height / (0.5 * (polar.tangents[rows - 1] + polar.tangents[rows]))
    bearings = polar.bearings[columns]
    return Evidence(result, weight, labels, foot, bearings, body[rows, columns], labels[rows, columns])


def _beside(obstacle: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(R, C): the samples themselves and those beside them."""
    return cv2.dilate(obstacle.view(np.uint8), np.ones((1, 3), np.uint8)).view(np.bool_)


def _upright(obstacle: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(R, C): obstacle samples with more of it nearer by: beside them may be its upright edge.

    Along that, samples alternate between it and the ground far behind; were that ground taken at its word, each
    alternation would look like a foot. The foot of a wall alongside also lies nearer in the next column, but by less.
    """
    upright = np.zeros_like(obstacle)
    upright[_EDGE_ROWS:] = obstacle[_EDGE_ROWS:] & obstacle[:-_EDGE_ROWS]
    return upright


def _contacts(ground: NDArray[np.bool_], obstacle: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(R, C): first obstacle sample behind ground."""
    contact = np.zeros_like(obstacle)
    n = _FOOT_ROWS
    last = len(obstacle) - n + 1
    inner = contact[n:last]
    inner[:] = obstacle[n:last]
    for step in range(1, n + 1):
        inner &= ground[n - step : last - step]
    for step in range(1, n):
        inner &= obstacle[n + step : last + step]
    return contact


def overhung(tangents: Tangents, height: float) -> Tangents:
    """Tangents of the depression angles of the ground that lies OVERHANG farther: h / (h / t + OVERHANG)."""
    return tangents / (1.0 + tangents * (OVERHANG / height))


class _Margins(NamedTuple):
    """outwards: (R,) rows by which an obstacle may stand nearer than it looks, by row. sideways: from one row to
    another, columns by which it may be wider."""

    outwards: NDArray[np.intp]
    sideways: tuple[tuple[int, int, int], ...]


@lru_cache(_VIEWS)
def _margins(polar: PolarMap, error: ViewError) -> _Margins:
    row = float(polar.tangents[0] - polar.tangents[1])
    column = float(polar.bearings[1] - polar.bearings[0])
    # Errors shrink with the tangent, so that those of the nearer ground bound those at the end of the overhang.
    nearer = polar.tangents - overhung(polar.tangents, polar.view.height) + error.tangent(polar.tangents)
    outwards = np.rint(nearer / row + error.outline).astype(np.intp)
    sideways = np.minimum(_rounded(_SIDEWAYS / (polar.distances * column)), len(polar.bearings))
    starts = np.flatnonzero(np.diff(sideways, prepend=-1)).tolist()
    bands = zip(starts, [*starts[1:], len(sideways)], sideways[starts].tolist(), strict=True)
    return _Margins(outwards, tuple(bands))


def _rounded(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """To whole numbers, large ones coarsely: every other number is one more kernel to run."""
    coarse = np.maximum(1.0, 2.0 ** np.floor(np.log2(np.maximum(values, 1.0)) - 2.0))
    return (np.rint(values / coarse) * coarse).astype(np.intp)


def _before(blocked: NDArray[np.uint8], margins: _Margins) -> NDArray[np.uint8]:
    """(R, C) → (R, C): the highest value within the margin of the row. Beyond the map stand obstacles."""
    padded = cv2.copyMakeBorder(blocked, 0, 1, 0, 0, cv2.BORDER_CONSTANT, value=_OBSTACLE)
    result = _highest_outwards(padded, margins.outwards)
    for start, stop, columns in margins.sideways:
        if columns:
            result[start:stop] = cv2.dilate(result[start:stop], np.ones((1, 2 * columns + 1), np.uint8))
    return result


def _highest_outwards(values: NDArray[np.uint8], reach: NDArray[np.intp]) -> NDArray[np.uint8]:
    """(R + 1, C), (R,) → (R, C): the highest value from each row to `reach` rows farther, or to the last.

    By a sparse table: the highest of any n rows is that of their first and their last 2^k, with 2^k <= n < 2^(k + 1).
    """
    first = np.arange(len(reach))
    last = np.minimum(first + reach, len(reach))
    power = np.log2(last - first + 1).astype(np.intp)
    result = np.empty_like(values[:-1])
    for k in range(int(power.max()) + 1):
        rows = np.flatnonzero(power == k)
        result[rows] = np.maximum(values.take(rows, 0), values.take(last[rows] + 1 - 2**k, 0))
        values = np.maximum(values[: -(2**k)], values[2**k :])
    return result
