"""Scores of a recorded run over a simulated drive, against the simulator's truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.grid import GridSpec
from seg_perception.core.metrics import GridScore, confusion, mean_iou
from seg_perception.engines.resize import Resize
from seg_perception.evaluation.recording import Recording

GRID_RANGE_M = 15.0
"""Grids are scored within this distance of the camera, on the ground."""


class Truth(Protocol):
    """What the simulator knows of the ground around one frame; (h, w) bool each."""

    @property
    def occupied(self) -> NDArray[np.bool_]: ...

    @property
    def free(self) -> NDArray[np.bool_]: ...

    @property
    def visible(self) -> NDArray[np.bool_]: ...


class TrueDrive(Protocol):
    """What is true in each frame of a drive."""

    def truth(self, index: int, spec: GridSpec) -> Truth:
        """The ground of a grid's cells in frame `index`."""

    def camera_position(self, index: int) -> tuple[float, float]:
        """World x and y of the camera, m."""


class SeenCells:
    """Which cells of the world were visible so far, over grids whose origins are whole cells apart."""

    def __init__(self) -> None:
        self._seen = np.zeros((0, 0), np.bool_)
        self._bottom = self._left = 0

    def update(self, spec: GridSpec, visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Add what one frame sees, (h, w) bool; returns (h, w) bool: seen now or before."""
        left, bottom = round(spec.origin_x / spec.resolution), round(spec.origin_y / spec.resolution)
        self._cover(bottom, left, *visible.shape)
        rows = slice(bottom - self._bottom, bottom - self._bottom + visible.shape[0])
        columns = slice(left - self._left, left - self._left + visible.shape[1])
        self._seen[rows, columns] |= visible
        return self._seen[rows, columns].copy()

    def _cover(self, bottom: int, left: int, height: int, width: int) -> None:
        """Grow the known part of the world to contain a window, in cells."""
        if not self._seen.size:
            self._bottom, self._left = bottom, left
        top, right = self._bottom + self._seen.shape[0], self._left + self._seen.shape[1]
        below, above = max(self._bottom - bottom, 0), max(bottom + height - top, 0)
        before, after = max(self._left - left, 0), max(left + width - right, 0)
        self._seen = np.pad(self._seen, ((below, above), (before, after)))
        self._bottom -= below
        self._left -= before


def not_in_model(labels: NDArray[np.uint8], table: ClassTable, truth: ClassTable) -> list[str]:
    """Names of the classes in `labels`, (N, H, W) uint8 ids of `truth`, that a model's table lacks."""
    known = {entry.name for entry in table.classes}
    there = np.bincount(labels.ravel(), minlength=256) > 0
    return [entry.name for entry in truth.classes if there[entry.id] and entry.name not in known]


def mask_miou(
    recording: Recording,
    frame_of: Mapping[int, int],
    labels: NDArray[np.uint8],
    resize: Resize,
    table: ClassTable,
    truth: ClassTable,
) -> float | None:
    """mIoU of the published masks over all frames, where the model has seen the image; None if there are none.

    frame_of: stamp → frame. labels: (N, H, W) uint8 ids of `truth`; classes are matched by name. resize, table: the
    model's.
    """
    to_table = np.full(256, UNLABELLED, np.uint8)
    ids = {entry.name: entry.id for entry in table.classes}
    for entry in truth.classes:
        to_table[entry.id] = ids.get(entry.name, UNLABELLED)
    n_classes = max(ids.values()) + 1
    counts = np.zeros((n_classes, n_classes), np.int64)
    for stamp, mask in recording.masks():
        if stamp in frame_of:
            expected = to_table[labels[frame_of[stamp]]]
            height, width = expected.shape
            counts += confusion(resize.restore(mask, UNLABELLED, width, height), expected, n_classes)
    return mean_iou(counts) if counts.any() else None


def grid_figures(
    recording: Recording, frame_of: Mapping[int, int], drive: TrueDrive, on_frame: Callable[[], object] = lambda: None
) -> dict[str, Any] | None:
    """The figures of `GridScore` over all published grids; None if there are none. on_frame: called after each frame.

    A cell counts as seen from the first frame that saw it, whether or not that frame led to a grid.
    """
    score, seen_cells = GridScore(), SeenCells()
    frames = sorted(frame_of.values())
    for grid in recording.grids():
        index = frame_of.get(grid.stamp)
        if index is None or index not in frames:
            continue
        while frames and frames[0] <= index:
            truth = drive.truth(frames.pop(0), grid.spec)
            seen = seen_cells.update(grid.spec, truth.visible)
            on_frame()
        within = _within(grid.spec, drive.camera_position(index))
        score.update(grid.occupancy, truth.occupied, truth.free, truth.visible, ~seen, within)
    figures = score.result()
    return {name: round(value, 4) for name, value in figures.items()} if figures["cells"] else None


def _within(spec: GridSpec, position: tuple[float, float]) -> NDArray[np.bool_]:
    x, y = spec.centres()
    near: NDArray[np.bool_] = np.hypot(x[None, :] - position[0], y[:, None] - position[1]) <= GRID_RANGE_M
    return near
