"""Flicker: verdicts that change and change back from one frame to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.grid import GridSpec
from seg_perception.core.metrics import FREE_BELOW, OCCUPIED_FROM
from seg_perception.evaluation.sight import overlap

_UNKNOWN, _FREE, _OCCUPIED, _UNSURE = range(4)


class MaskFlicker:
    """Of one camera's masks: the share of the pixels whose class in the frame before differs from the same class
    before and after it. A moving edge passes a pixel once; what comes back flickers.
    """

    def __init__(self) -> None:
        self._masks: list[NDArray[np.uint8]] = []

    def update(self, mask: NDArray[np.uint8]) -> float | None:
        """(H, W) uint8; None until there are three of one size."""
        if self._masks and self._masks[-1].shape != mask.shape:
            self._masks.clear()
        self._masks = [*self._masks[-2:], mask]
        return _share(*self._masks) if len(self._masks) == 3 else None


class GridFlicker:
    """Of grids: the same share of their cells, by the verdict on them (free, occupied, unsure, unknown), among those
    known in one of the three at least.
    """

    def __init__(self) -> None:
        self._verdicts: list[tuple[tuple[int, int], NDArray[np.uint8]]] = []

    def update(self, spec: GridSpec, cells: NDArray[np.int8]) -> float | None:
        """(h, w) int8; None until there are three of one size with a common part that is known."""
        corner = round(spec.origin_y / spec.resolution), round(spec.origin_x / spec.resolution)
        if self._verdicts and self._verdicts[-1][1].shape != cells.shape:
            self._verdicts.clear()
        self._verdicts = [*self._verdicts[-2:], (corner, _verdict(cells))]
        if len(self._verdicts) < 3:
            return None
        earlier = [_moved(start, corner, verdict) for start, verdict in self._verdicts[:2]]
        stack = np.stack([*earlier, self._verdicts[2][1]])
        known = (stack != _UNKNOWN).any(axis=0)
        return _share(*stack[:, known]) if known.any() else None


def _verdict(cells: NDArray[np.int8]) -> NDArray[np.uint8]:
    return np.select(
        [cells < 0, cells < FREE_BELOW, cells >= OCCUPIED_FROM],
        [np.uint8(_UNKNOWN), np.uint8(_FREE), np.uint8(_OCCUPIED)],
        np.uint8(_UNSURE),
    )


def _moved(before: tuple[int, int], now: tuple[int, int], verdict: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A window's verdicts, as far as they lie in the window of now."""
    ours, theirs = overlap(before, now, verdict.shape)
    result = np.full_like(verdict, _UNKNOWN)
    result[ours] = verdict[theirs]
    return result


def _share(before: NDArray[np.uint8], now: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    return round(float(np.mean((before == after) & (now != before))), 6)
