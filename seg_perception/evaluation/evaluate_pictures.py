"""The frames of an evaluation worth looking at, kept as pictures while it runs."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.evaluation.evaluate_frame import Frame
from seg_perception.evaluation.grid_view import GridView, occupancy_rgb, truth_rgb
from seg_perception.evaluation.whole_file import write_whole

PICTURES_FILE, PICTURES_FOLDER = "pictures.json", "pictures"
LOWEST_MIOU, MOST_FALSE_FREE, SNAPSHOT = "lowest_miou", "most_false_free", "snapshot"
KEPT = 6

_ROBOT_BGR = (51, 41, 31)
_RIGHT_BGR, _WRONG_BGR, _UNLABELLED_BGR = (126, 160, 110), (60, 40, 200), (70, 70, 70)
_AROUND = {"ahead": 20.0, "behind": 4.0, "side": 15.0}
_GRID_HEIGHT = 480


@dataclass(frozen=True, order=True)
class _Kept:
    """Ordered from worst to best: by how bad it is, then by time."""

    badness: float
    index: int
    stamp_ns: int
    value: float | None
    files: tuple[tuple[str, str], ...]
    """View → file."""


class WorstFrames:
    """Keeps pictures of the frames with the lowest mIoU, of those with most false-free cells, and some snapshots.

    folder: where pictures.json and pictures/ go. snapshots: indices of the frames to show, however good they are.
    """

    def __init__(self, folder: Path, table: ClassTable, snapshots: Collection[int]) -> None:
        self._folder = folder
        self._table = table
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
        write_whole(self._folder / PICTURES_FILE, json.dumps(entries, indent=1) + "\n")

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

    def _views(self, frame: Frame) -> list[tuple[str, NDArray[np.uint8]]]:
        """Name → (H, W, 3) uint8 BGR."""
        assert frame.picture is not None and frame.segmentation is not None
        mask, size = frame.segmentation.mask, _shown_size(frame)
        overlay = self._table.overlay(frame.picture, mask)
        views = [("camera", _resized(frame.picture, size)), ("overlay", _resized(overlay, size))]
        if frame.labels is not None:
            labels = np.asarray(cv2.resize(frame.labels, mask.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
            views += [
                ("labels", _resized(self._table.overlay(frame.picture, labels), size)),
                ("difference", _resized(_difference(mask, labels), size)),
            ]
        if frame.grid and frame.pose:
            views.append(("grid", _grid_picture(frame)))
        return views


def snapshot_indices(count: int) -> list[int]:
    """Of `count` frames, some evenly over time."""
    return sorted({min(count - 1, int((part + 0.5) * count / KEPT)) for part in range(KEPT)}) if count else []


def merged(entries: Collection[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst frames of several evaluations' entries; entries of one frame have the same `bag`."""
    result: list[dict[str, Any]] = []
    for kind, sign in ((LOWEST_MIOU, 1.0), (MOST_FALSE_FREE, -1.0), (SNAPSHOT, 0.0)):
        groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for entry in entries:
            if entry["kind"] == kind:
                groups.setdefault((entry["bag"], entry["index"]), []).append(entry)
        ranked = sorted(groups.values(), key=lambda group: sign * (group[0]["value"] or 0.0))
        step = max(1, len(ranked) // KEPT) if kind == SNAPSHOT else 1
        result += [entry for group in ranked[::step][:KEPT] for entry in group]
    return result


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
    """Where the mask is right (green), wrong (red), and where there is no label (grey)."""
    picture = np.empty((*mask.shape, 3), np.uint8)
    picture[:] = _WRONG_BGR
    picture[mask == labels] = _RIGHT_BGR
    picture[labels == UNLABELLED] = _UNLABELLED_BGR
    return picture


def _grid_picture(frame: Frame) -> NDArray[np.uint8]:
    """The grid around the robot, its nose up; beside it the truth, where there is any."""
    assert frame.grid and frame.pose
    spec, cells = frame.grid
    reach = min(1.0, spec.width * spec.resolution / 60.0)
    height = (_AROUND["ahead"] + _AROUND["behind"]) * reach
    view = GridView(*(part * reach for part in _AROUND.values()), pixels_per_m=_GRID_HEIGHT / height)
    base = frame.pose.world_from_base
    pictures = [occupancy_rgb(view.sample(spec, cells, base, -1))]
    if frame.truth:
        pictures.append(truth_rgb(*(view.sample(spec, plane, base, False) for plane in frame.truth)))
    robot = [view.pixel(*(reach * np.array(point))) for point in ((1.3, 0.0), (-1.3, 0.9), (-1.3, -0.9))]
    shown = []
    for rgb in pictures:
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        cv2.fillPoly(bgr, [np.rint(robot).astype(np.int32)], _ROBOT_BGR, cv2.LINE_AA)
        shown += [bgr, np.full((len(bgr), 12, 3), 255, np.uint8)]
    return np.hstack(shown[:-1])
