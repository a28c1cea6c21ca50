"""The frames of an evaluation worth looking at, kept as pictures while it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.engines.resize import Resize
from seg_perception.evaluation.evaluate_frame import Frame
from seg_perception.evaluation.grid_view import GridView, occupancy_rgb, truth_rgb
from seg_perception.evaluation.result_files import PICTURES_FILE, PICTURES_FOLDER, write_json

LOWEST_MIOU, MOST_FALSE_FREE, SNAPSHOT = "lowest_miou", "most_false_free", "snapshot"
KEPT = 6


_ROBOT_BGR = (51, 41, 31)
_RIGHT_BGR, _WRONG_BGR, _UNLABELLED_BGR = (126, 160, 110), (60, 40, 200), (70, 70, 70)
_AROUND = (20.0, 4.0, 15.0)
"""Ahead, behind and to the sides of the robot, m; less where the grid is smaller."""
_ROBOT = ((1.3, 0.0), (-1.3, 0.9), (-1.3, -0.9))
_GRID_HEIGHT = 480


@dataclass(frozen=True, order=True)
class _Kept:
    """Ordered from worst to best: by how bad it is, then by time."""

    badness: float
    index: int
    stamp_ns: int
    value: float | None
    files: tuple[tuple[str, str], ...]
    """View and file of each picture."""


class WorstFrames:
    """Keeps pictures of the frames with the lowest mIoU, of those with most false-free cells, and some snapshots.

    folder: where pictures.json and pictures/ go; the files that the one names are relative to it.
    resize: how images became masks. snapshots: indices of the frames to show, however good they are.
    """

    def __init__(self, folder: Path, table: ClassTable, resize: Resize, snapshots: Collection[int]) -> None:
        self._folder = folder
        self._table = table
        self._resize = resize
        self._snapshots = set(snapshots)
        self._kept: dict[str, list[_Kept]] = {LOWEST_MIOU: [], MOST_FALSE_FREE: [], SNAPSHOT: []}
        (folder / PICTURES_FOLDER).mkdir(parents=True, exist_ok=True)

    def offer(self, frame: Frame) -> None:
        """Look at a scored frame; a frame without a picture is not kept."""
        if frame.picture is None:
            return
        miou, false_free = frame.miou(), frame.false_free()
        if miou is not None:
            self._keep(LOWEST_MIOU, frame, miou, miou)
        if false_free:
            self._keep(MOST_FALSE_FREE, frame, -false_free, false_free)
        if frame.index in self._snapshots:
            self._keep(SNAPSHOT, frame, float(frame.index), miou)

    def close(self) -> None:
        """Write pictures.json: worst first, snapshots in order."""
        entries = [
            {"file": file, "view": view, "kind": kind, "index": k.index, "stamp_ns": k.stamp_ns, "value": k.value}
            for kind, kept in self._kept.items()
            for k in kept
            for view, file in k.files
        ]
        write_json(self._folder / PICTURES_FILE, entries)

    def _keep(self, kind: str, frame: Frame, badness: float, value: float | None) -> None:
        kept = self._kept[kind]
        if len(kept) >= KEPT and badness >= kept[-1].badness:
            return
        files = tuple((view, self._write(kind, frame, view, picture)) for view, picture in self._views(frame))
        kept.append(_Kept(badness, frame.index, frame.stamp_ns, value, files))
        kept.sort()
        for gone in kept[KEPT:]:
            for _, file in gone.files:
                (self._folder / file).unlink(missing_ok=True)
        del kept[KEPT:]

    def _write(self, kind: str, frame: Frame, view: str, picture: NDArray[np.uint8]) -> str:
        name = f"{PICTURES_FOLDER}/{kind}_{frame.index:06d}_{view}.png"
        cv2.imwrite(str(self._folder / name), picture)
        return name

    def _views(self, frame: Frame) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name → (H, W, 3) uint8 BGR."""
        assert frame.picture is not None and frame.segmentation is not None
        mask, size = frame.segmentation.mask, _shown_size(frame)
        yield "camera", _resized(frame.picture, size)
        yield "overlay", _resized(self._table.overlay(frame.picture, mask), size)
        if frame.labels is not None:
            labels = self._resize.labels(frame.labels, UNLABELLED)
            yield "difference", _resized(_difference(mask, labels), size)
        if frame.grid and frame.pose:
            yield from _grid_views(frame)


def snapshot_indices(count: int) -> list[int]:
    """Of `count` frames, some evenly over time."""
    return sorted({min(count - 1, int((part + 0.5) * count / KEPT)) for part in range(KEPT)}) if count else []


def worst_of(entries: Collection[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries worth showing among those of several evaluations."""
    chosen = []
    for kind in (LOWEST_MIOU, MOST_FALSE_FREE, SNAPSHOT):
        frames: dict[int, list[dict[str, Any]]] = {}
        for entry in entries:
            if entry["kind"] == kind:
                frames.setdefault(entry["index"], []).append(entry)
        if kind == SNAPSHOT:
            ranked = [list(frames)[position] for position in snapshot_indices(len(frames))]
        else:
            sign = 1.0 if kind == LOWEST_MIOU else -1.0
            ranked = sorted(frames, key=lambda index: sign * frames[index][0]["value"])[:KEPT]
        chosen += [entry for index in ranked for entry in frames[index]]
    return chosen


def _shown_size(frame: Frame) -> tuple[int, int]:
    """With the aspect of the camera's image, about as wide as the mask."""
    assert frame.picture is not None
    width = frame.picture.shape[1]
    return width, max(1, round(width * frame.size[1] / frame.size[0]))


def _resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _difference(mask: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where the mask is right (green), wrong (red), and where there is no label, or no mask (grey)."""
    picture = np.empty((*mask.shape, 3), np.uint8)
    picture[:] = _WRONG_BGR
    picture[mask == labels] = _RIGHT_BGR
    picture[(labels == UNLABELLED) | (mask == UNLABELLED)] = _UNLABELLED_BGR
    return picture


def _grid_views(frame: Frame) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The grid around the robot, its nose up, and the truth, where there is any; (H, W, 3) uint8 BGR each."""
    assert frame.grid and frame.pose
    spec, cells = frame.grid
    reach = min(1.0, spec.width * spec.resolution / 60.0)
    view = GridView(*(part * reach for part in _AROUND), pixels_per_m=_GRID_HEIGHT / (_AROUND[0] + _AROUND[1]) / reach)
    base = frame.pose.world_from_base
    pictures = {"grid": occupancy_rgb(view.sample(spec, cells, base, -1))}
    if frame.truth:
        occupied, free, visible = (view.sample(spec, plane, base, False) for plane in frame.truth)
        pictures["truth"] = truth_rgb(occupied, free, visible)
    robot = np.rint([view.pixel(*(reach * np.array(point))) for point in _ROBOT]).astype(np.int32)
    for name, rgb in pictures.items():
        cv2.fillPoly(rgb, [robot], _ROBOT_BGR[::-1], cv2.LINE_AA)
        yield name, np.ascontiguousarray(rgb[..., ::-1])
