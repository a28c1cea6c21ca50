"""Pictures of the grid evaluation: what the camera saw, what the grids say, what is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.core.grid import GridSpec
from seg_perception.evaluation.grid_kitti import TRUE_WIDTH_M, Lane
from seg_perception.evaluation.grid_nuscenes import RANGE_M, Sample, Segment
from seg_perception.evaluation.grid_rellis import Ground
from seg_perception.evaluation.grid_simulation import Scene
from seg_perception.evaluation.grid_view import (
    FREE_RGB,
    NOT_SEEN_RGB,
    OCCUPIED_RGB,
    UNKNOWN_RGB,
    UNSURE_RGB,
    Color,
    GridView,
    occupancy_rgb,
    truth_rgb,
)

_DPI = 90
_JPEG = {"quality": 82}
_AHEAD_ONLY = GridView(ahead=25.0, behind=2.0, side=15.0, pixels_per_m=12.0)
_CAMERA_WIDTH = 420
_AROUND = (("front_left", "front_right"), ("front", "back"), ("back_left", "back_right"))
_CELLS: dict[str, Color] = {
    "free": FREE_RGB,
    "uncertain": UNSURE_RGB,
    "occupied": OCCUPIED_RGB,
    "unknown": UNKNOWN_RGB,
}

Grid = tuple[GridSpec, NDArray[np.int8]]


def draw_scenes(path: Path, scenes: Sequence[Scene], table: ClassTable) -> None:
    """Grids of the bundle's masks beside the baseline's and the truth, one row per scene. table: the bundle's."""
    figure = _figure(16.5, 3.55 * len(scenes) + 0.4)
    axes = figure.subplots(len(scenes), 4, squeeze=False, gridspec_kw={"width_ratios": [1.55, 1, 1, 1]})
    for row, scene in zip(axes, scenes, strict=True):
        view = scene.views["bundle_masks"]
        _show(row[0], table.overlay(scene.image, _enlarged(view.mask, scene.image))[..., ::-1])
        for axis, who in zip(row[1:3], ("ours", "baseline"), strict=True):
            cells = scene.grids[f"bundle_masks/{who}"]
            _show(axis, occupancy_rgb(_AHEAD_ONLY.sample(scene.spec, cells, view.world_from_base, -1)))
        planes = (
            _AHEAD_ONLY.sample(scene.spec, plane, view.world_from_base, False)
            for plane in (scene.truth.occupied, scene.truth.free, scene.seen)
        )
        _show(row[3], truth_rgb(*planes))
    titles = (
        "camera and the bundle's mask",
        "ours",
        "plain inverse perspective mapping",
        "truth, faint where not seen",
    )
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11)
    _legend(figure, _CELLS | {"occupied, not seen yet": NOT_SEEN_RGB})
    _save(figure, path)


def draw_lane(path: Path, lane: Lane) -> None:
    """The lane in the image, and on the grid with its widths."""
    figure = _figure(12.0, 5.4)
    above, below = figure.subplots(2, 1, gridspec_kw={"height_ratios": [1.5, 1]})
    image = lane.image.copy()
    image[lane.mask] = (0.5 * image[lane.mask] + 0.5 * np.array(FREE_RGB[::-1])).astype(np.uint8)
    _show(above, image[..., ::-1])
    rows, columns = _window(lane.spec, (5.0, 46.0), (-3.0, 9.0))
    x, y = lane.spec.centres()
    extent = (x[columns][0], x[columns][-1], y[rows][0], y[rows][-1])
    below.imshow(occupancy_rgb(lane.occupancy[rows, columns]), origin="lower", extent=extent, aspect="auto")
    for ahead, width in lane.width_m.items():
        left = y[(lane.occupancy[:, np.argmin(np.abs(x - ahead))] >= 0)].max()
        below.plot([ahead, ahead], [left - width, left], color="black", lw=1.2)
        text = f"{width:.2f} m\n(true {TRUE_WIDTH_M[ahead]:.2f})"
        below.text(ahead, left + 0.15, text, ha="center", va="bottom", fontsize=9)
    below.set_xlabel("m ahead of the camera")
    below.set_ylabel("m to the left")
    _save(figure, path)


def draw_sample(path: Path, sample: Sample, runs: Mapping[str, tuple[ClassTable, Segment, Grid]]) -> None:
    """Six cameras with their masks, and the grid with boxes and lidar; one row per kind of mask."""
    figure = _figure(13.0, 6.0 * len(runs) + 0.4)
    axes = figure.subplots(len(runs), 2, squeeze=False, gridspec_kw={"width_ratios": [1.2, 1]})
    for (cameras, plan), (name, (table, segment, (spec, cells))) in zip(axes, runs.items(), strict=True):
        _show(cameras, _montage(sample, table, segment))
        cameras.set_title(name, fontsize=11)
        _draw_plan(plan, spec, cells)
        standing = sample.lidar[(sample.lidar[:, 2] > 0.4) & (sample.lidar[:, 2] < 2.0)]
        plan.plot(-standing[:, 1], standing[:, 0], ".", color="#1d4ed8", ms=1.2, label="lidar, 0.4 to 2 m above ground")
        for box in sample.boxes:
            outline = np.column_stack([-box.outline[:, 1], box.outline[:, 0]])
            plan.add_patch(Polygon(outline, fill=False, edgecolor="black", lw=1.1))
        plan.legend(loc="lower left", fontsize=8)
        plan.set_xlim(-RANGE_M, RANGE_M)
        plan.set_ylim(-RANGE_M, RANGE_M)
    _legend(figure, _CELLS)
    _save(figure, path)


def draw_ground(path: Path, ground: Ground, grids: Mapping[str, Grid]) -> None:
    """By how much the ground points are misplaced, in the image and on the grids."""
    figure = _figure(17.0, 5.2)
    axes = figure.subplots(1, 1 + len(grids), gridspec_kw={"width_ratios": [2.2] + [1] * len(grids)})
    _show(axes[0], cv2.resize(ground.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)[..., ::-1])
    optical = ground.points - ground.world_from_optical[:3, 3]
    pixels, _ = ground.camera.project(optical @ ground.world_from_optical[:3, :3])
    style = {"c": np.minimum(ground.displacement, 2.0), "cmap": "turbo", "vmin": 0.0, "vmax": 2.0}
    shown = axes[0].scatter(pixels[:, 0] / 2, pixels[:, 1] / 2, s=2.0, **style)
    figure.colorbar(shown, ax=axes[0], orientation="horizontal", shrink=0.7, label="misplaced by, m (2 or more: red)")
    for axis, (name, (spec, cells)) in zip(axes[1:], grids.items(), strict=True):
        _draw_plan(axis, spec, cells)
        axis.scatter(-ground.placed[:, 1], ground.placed[:, 0], s=1.0, **style)
        axis.set_title(name, fontsize=10)
        axis.set_xlim(-9.0, 9.0)
        axis.set_ylim(0.0, 26.0)
    _legend(figure, _CELLS)
    _save(figure, path)


def _draw_plan(axis: Axes, spec: GridSpec, cells: NDArray[np.int8]) -> None:
    """A grid whose world is base_link: ahead is up, left is left; axes in m to the right and ahead."""
    rgb = occupancy_rgb(cells).transpose(1, 0, 2)[::-1, ::-1]
    right, ahead = -spec.origin_y, spec.origin_x
    extent = (right - spec.height * spec.resolution, right, ahead, ahead + spec.width * spec.resolution)
    axis.imshow(rgb, extent=extent, interpolation="nearest")
    axis.set_aspect("equal")
    axis.set_xlabel("m to the right")
    axis.set_ylabel("m ahead")


def _montage(sample: Sample, table: ClassTable, segment: Segment) -> NDArray[np.uint8]:
    tiles = {}
    for shot in sample.shots:
        mask, _, _ = segment(shot)
        size = _CAMERA_WIDTH, round(_CAMERA_WIDTH * shot.image.shape[0] / shot.image.shape[1])
        tile = cv2.resize(table.overlay(shot.image, _enlarged(mask, shot.image)), size, interpolation=cv2.INTER_AREA)
        cv2.putText(tile, shot.name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        tiles[shot.name] = tile[..., ::-1]
    return np.vstack([np.hstack([tiles[f"cam_{name}"] for name in row]) for row in _AROUND])


def _enlarged(mask: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _window(spec: GridSpec, x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice]:
    """(rows, columns) of a rectangle in the world, m."""
    columns, rows = (
        slice(*(round((value - origin) / spec.resolution) for value in limits))
        for limits, origin in ((x, spec.origin_x), (y, spec.origin_y))
    )
    return rows, columns


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout="constrained")
    return figure


def _show(axis: Axes, rgb: NDArray[np.uint8]) -> None:
    axis.imshow(rgb, interpolation="nearest")
    axis.set_axis_off()


def _legend(figure: Figure, colors: Mapping[str, Color]) -> None:
    handles = []
    for name, color in colors.items():
        red, green, blue = (channel / 255 for channel in color)
        handles.append(Patch(facecolor=(red, green, blue), edgecolor="grey", label=name))
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}  # "outside lower center" needs Matplotlib 3.7
    figure.legend(handles=handles, ncol=len(handles), frameon=False, **below)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", pil_kwargs=_JPEG)
