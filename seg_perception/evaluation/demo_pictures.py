"""The demo's picture and video, from what the nodes published."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.engines.bundle import Bundle
from seg_perception.evaluation.demo_overview import Moment, Sector, Words, draw_gallery, draw_overview
from seg_perception.evaluation.drive_material import DriveMaterial
from seg_perception.evaluation.drive_scores import GRID_RANGE_M, SeenCells
from seg_perception.evaluation.drive_truth import DriveTruth
from seg_perception.evaluation.grid_view import GridView, occupancy_rgb, truth_rgb
from seg_perception.evaluation.recording import OVERLAY, GridMessage, Recording
from seg_perception.evaluation.video import write_video

_MOMENTS = 4
_MOST_PICTURES = 8
_PICTURE_HEIGHT = 300
_VIEW = GridView()
_INK_BGR = (51, 41, 31)


def drive_pictures(
    out: Path,
    recording: Recording,
    frame_of: Mapping[int, int],
    drive: DriveMaterial,
    truth: DriveTruth,
    bundle: Bundle,
    summary: Mapping[str, Any],
) -> None:
    """overview.png (overlay, grid and truth at several moments) and drive.mp4 (overlay and grid)."""
    grids = {grid.stamp: grid for grid in recording.grids() if grid.stamp in frame_of}
    stamps = sorted(grids)
    chosen = [stamps[round(part * (len(stamps) - 1))] for part in np.linspace(0.16, 0.96, _MOMENTS)] if stamps else []
    overlays = {stamp: image for stamp, image in recording.images(OVERLAY) if stamp in chosen}
    truths = _truth_views({frame_of[stamp]: grids[stamp] for stamp in stamps}, drive, truth)
    moments = []
    for stamp in (stamp for stamp in chosen if stamp in overlays):
        index = frame_of[stamp]
        views = [("occupancy grid, published", _grid_rgb(grids[stamp], drive, index)), ("truth", truths[index])]
        overlay = cv2.resize(
            overlays[stamp], (drive.request.width, drive.request.height), interpolation=cv2.INTER_CUBIC
        )
        moments.append(Moment(_moment_title(drive, index), overlay, views))
    if moments:
        words = Words(f"Simulated drive, street {drive.request.seed}", summary["model"]["engine"], _figures(summary))
        draw_overview(out / "overview.png", words, moments, bundle.table, _VIEW, _sector(drive))
    write_video(out / "drive.mp4", _side_by_side(recording, grids, frame_of, drive), drive.request.rate_hz)


def material_pictures(
    out: Path,
    recording: Recording,
    bundle: Bundle,
    summary: Mapping[str, Any],
    names: Mapping[int, str],
    rate_hz: float,
) -> None:
    """overview.png and drive.mp4 of images and overlays. names: stamp of every frame → what to write on its picture."""
    stamps = sorted(recording.received(OVERLAY).keys() & names.keys())
    step = max(1, -(-len(stamps) // _MOST_PICTURES))
    chosen = set(stamps[::step])
    images = {stamp: image for stamp, image in recording.camera_images() if stamp in chosen}
    moments = [
        Moment(names[stamp], _beside(images.get(stamp, overlay), overlay))
        for stamp, overlay in recording.images(OVERLAY)
        if stamp in chosen
    ]
    if moments:
        words = Words("Camera images and published masks", summary["model"]["engine"], _figures(summary))
        draw_gallery(out / "overview.png", words, moments, bundle.table)
    write_video(out / "drive.mp4", _same_size(recording, names), rate_hz)


def _truth_views(
    grids: Mapping[int, GridMessage], drive: DriveMaterial, truth: DriveTruth
) -> dict[int, NDArray[np.uint8]]:
    """Frame → view of the truth, with what was visible up to that frame. grids: by frame."""
    views, seen_cells = {}, SeenCells()
    for index in range(max(grids, default=-1) + 1):
        grid = grids[min(frame for frame in grids if frame >= index)]
        now = truth.truth(index, grid.spec)
        seen = seen_cells.update(grid.spec, now.visible)
        if index in grids:
            pose = drive.motion(index).world_from_base
            occupied, free, seen = (_VIEW.sample(grid.spec, p, pose, False) for p in (now.occupied, now.free, seen))
            views[index] = truth_rgb(occupied, free, seen)
    return views


def _grid_rgb(grid: GridMessage, drive: DriveMaterial, index: int) -> NDArray[np.uint8]:
    pose = drive.motion(index).world_from_base
    return occupancy_rgb(_VIEW.sample(grid.spec, grid.occupancy, pose, outside=-1))


def _moment_title(drive: DriveMaterial, index: int) -> str:
    seconds, speed = index / drive.request.rate_hz, drive.motion(index).speed
    return f"t = {seconds:.1f} s, {3.6 * speed:.0f} km/h"


def _figures(summary: Mapping[str, Any]) -> str:
    parts = [f"{summary['masks_out']} masks of {summary['frames_in']} frames"]
    latency = summary["latency_ms"]["image_to_grid"] or summary["latency_ms"]["image_to_mask"]
    if latency:
        what = "grid" if summary["latency_ms"]["image_to_grid"] else "mask"
        parts.append(f"image to {what} {latency['p50']:.0f} ms (p50)")
    if summary["mask"]["miou"] is not None:
        parts.append(f"mask mIoU {summary['mask']['miou']:.2f}")
    grid = summary["grid"]
    if grid:
        found, missed, hidden = (grid[name] for name in ("occupied_recall", "false_free", "hidden_unknown"))
        parts.append(f"grid within {GRID_RANGE_M:.0f} m: obstacles found {found:.0%}, called free {missed:.1%}")
        parts.append(f"hidden cells unknown {hidden:.1%}")
    return "   ·   ".join(parts)


def _sector(drive: DriveMaterial) -> Sector:
    middle = (drive.camera.height - 1) / 2
    left, right = drive.camera.rays([(0, middle), (drive.camera.width - 1, middle)])
    angles = -float(np.arctan(left[0])), float(np.arctan(right[0]))
    return Sector(drive.mount.x, drive.mount.y, drive.mount.yaw, *angles, GRID_RANGE_M)


def _side_by_side(
    recording: Recording, grids: Mapping[int, GridMessage], frame_of: Mapping[int, int], drive: DriveMaterial
) -> Iterator[NDArray[np.uint8]]:
    """Overlay beside the newest grid up to it."""
    height = drive.request.height
    newest = None
    for stamp, overlay in recording.images(OVERLAY):
        newest = grids.get(stamp, newest)
        if stamp not in frame_of or newest is None:
            continue
        rgb = _grid_rgb(newest, drive, frame_of[stamp])
        grid = cv2.resize(rgb[..., ::-1], _scaled(rgb, height), interpolation=cv2.INTER_NEAREST)
        scale = height / rgb.shape[0]
        corners = [_VIEW.pixel(*point) for point in ((1.3, 0.0), (-1.3, 0.9), (-1.3, -0.9))]
        cv2.fillPoly(grid, [np.rint(np.array(corners) * scale).astype(np.int32)], _INK_BGR, cv2.LINE_AA)
        camera = cv2.resize(overlay, (drive.request.width, height), interpolation=cv2.INTER_CUBIC)
        yield np.hstack([camera, grid])


def _beside(image: NDArray[np.uint8], overlay: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Both at the aspect of the camera's image; the overlay has that of the network."""
    size = _scaled(image, _PICTURE_HEIGHT)
    return np.hstack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (image, overlay)])


def _scaled(image: NDArray[np.uint8], height: int) -> tuple[int, int]:
    return max(1, round(image.shape[1] * height / image.shape[0])), height


def _same_size(recording: Recording, stamps: Container[int]) -> Iterator[NDArray[np.uint8]]:
    size: tuple[int, int] | None = None
    for overlay in (image for stamp, image in recording.images(OVERLAY) if stamp in stamps):
        size = size or (overlay.shape[1], overlay.shape[0])
        yield overlay if overlay.shape[1::-1] == size else cv2.resize(overlay, size)
