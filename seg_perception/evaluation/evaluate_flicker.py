"""Flicker: verdicts that change and change back from one frame to the next."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.grid import FREE_BELOW, OCCUPIED_FROM, GridSpec

_UNKNOWN, _FREE, _OCCUPIED, _UNSURE = range(4)


def _verdicts() -> NDArray[np.uint8]:
    """(256,) uint8: verdict of every value of a cell, read as uint8: -1 is 255."""
    values = np.arange(256, dtype=np.uint8).view(np.int8)
    chosen = [values < 0, values < FREE_BELOW, values >= OCCUPIED_FROM]
    return np.select(chosen, [_UNKNOWN, _FREE, _OCCUPIED], _UNSURE).astype(np.uint8)


_VERDICTS = _verdicts()


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
    """Of grids: the same share of their cells, by the verdict on them (free, occupied, unsure, unknown), among those in
    the window of all three that are known in one of them at least.
    """

    def __init__(self) -> None:
        self._verdicts: list[tuple[tuple[int, int], NDArray[np.uint8]]] = []

    def update(self, spec: GridSpec, cells: NDArray[np.int8]) -> float | None:
        """(h, w) int8; None until there are three of one size with a common part that is known."""
        corner = round(spec.origin_y / spec.resolution), round(spec.origin_x / spec.resolution)
        if self._verdicts and self._verdicts[-1][1].shape != cells.shape:
            self._verdicts.clear()
        verdict = np.asarray(cv2.LUT(np.ascontiguousarray(cells).view(np.uint8), _VERDICTS), np.uint8)
        self._verdicts = [*self._verdicts[-2:], (corner, verdict)]
        if len(self._verdicts) < 3:
            return None
        before, now, after = self._common()
        known = np.count_nonzero(before | now | after)  # _UNKNOWN is 0
        flickers = np.count_nonzero((before == after) & (now != before))
        return round(float(flickers / known), 6) if known else None

    def _common(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """The three, as far as they lie in the window of all."""
        corners = np.array([corner for corner, _ in self._verdicts])
        low = corners.max(0)
        high = np.maximum(low, corners.min(0) + self._verdicts[0][1].shape)
        before, now, after = (
            cells[tuple(map(slice, low - corner, high - corner))]
            for corner, (_, cells) in zip(corners, self._verdicts, strict=True)
        )
        return before, now, after


def _share(before: NDArray[np.uint8], now: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    return round(np.count_nonzero((before == after) & (now != before)) / now.size, 6)
