"""Simulated drives, rendered once and kept on disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.camera import Camera
from seg_perception.core.errors import DataError
from seg_perception.core.writable import writing
from seg_perception.evaluation.material import Frame, Motion, Mount, RawImage
from seg_perception.simulation.version import simulation_version

DRIVE_FILE = "drive.json"

BEYOND_MM = 65535
"""Stored depth of everything from 65 m on, and of the sky; grids end long before."""


@dataclass(frozen=True)
class DriveRequest:
    """Which drive: everything that decides its pixels."""

    seed: int
    frames: int
    rate_hz: float
    width: int = 640
    height: int = 360

    def folder(self) -> Path:
        """Where it is kept; another version of the simulation has another folder."""
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seg_perception" / "drives"
        name = f"seed{self.seed}_{self.width}x{self.height}_{self.frames}at{self.rate_hz:g}Hz_{simulation_version()}"
        return root / name


class DriveMaterial:
    """A rendered drive, memory-mapped.

    labels: (N, H, W) uint8 CamVid ids. depth_mm: (N, H, W) uint16, along the optical axis, mm.
    """

    compressed = False
    why_no_grid = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            document: dict[str, Any] = json.loads((folder / DRIVE_FILE).read_text(encoding="utf-8"))
            self.request = DriveRequest(**document["request"])
            self.mount = Mount(**document["mount"])
            self.camera = _camera(document["camera"])
            self._images: NDArray[np.uint8] = np.load(folder / "images.npy", mmap_mode="r")
            self.labels: NDArray[np.uint8] = np.load(folder / "labels.npy", mmap_mode="r")
            self.depth_mm: NDArray[np.uint16] = np.load(folder / "depth_mm.npy", mmap_mode="r")
            self._motion: NDArray[np.float64] = np.load(folder / "motion.npy")
            self.names = [f"frame {index}" for index in range(len(self._images))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder}: not a rendered drive ({error}); delete it to render it again") from error

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            yield Frame(RawImage.from_bgr(image), camera=self.camera, motion=self.motion(index))

    def stems(self) -> list[str]:
        return self.names

    def motion(self, index: int) -> Motion:
        """Pose and speed of the vehicle in a frame."""
        row = self._motion[index]
        return Motion(row[:16].reshape(4, 4), float(row[16]), float(row[17]))


def rendered_drive(request: DriveRequest) -> Path:
    """Folder of a drive, rendered now (with a progress bar) unless it is there already."""
    folder = request.folder()
    if not (folder / DRIVE_FILE).is_file():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        try:
            with writing(folder, DataError, "make room, or name another place for it by XDG_CACHE_HOME"):
                _render(request, unfinished)
                if not (folder / DRIVE_FILE).is_file():  # else another process was sooner, and may be reading it
                    shutil.rmtree(folder, ignore_errors=True)
                    unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _render(request: DriveRequest, folder: Path) -> None:
    from seg_perception.simulation.street import Drive

    folder.mkdir(parents=True)
    drive = Drive(request.seed, request.width, request.height, request.rate_hz, request.frames)
    shape = (request.frames, request.height, request.width)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (*shape, 3))
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, shape)
    depth_mm = np.lib.format.open_memmap(folder / "depth_mm.npy", "w+", np.uint16, shape)
    motion = np.zeros((request.frames, 18))
    for frame in tqdm(drive, total=request.frames, desc="rendering the street", unit="frame"):
        images[frame.index], labels[frame.index] = frame.image, frame.labels
        depth_mm[frame.index] = np.minimum(np.rint(frame.depth * 1000.0), BEYOND_MM)
        motion[frame.index] = [*np.ravel(frame.world_from_base), frame.speed, frame.yaw_rate]
    for pixels in (images, labels, depth_mm):
        pixels.flush()
    np.save(folder / "motion.npy", motion)
    mount = Mount(*(float(value) for value in drive.mount))
    document = {"request": asdict(request), "mount": asdict(mount), "camera": _camera_document(drive.camera)}
    (folder / DRIVE_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")


def _camera_document(camera: Camera) -> dict[str, Any]:
    return {
        "width": camera.width,
        "height": camera.height,
        "matrix": camera.matrix.tolist(),
        "model": camera.model,
        "distortion": camera.distortion.tolist(),
    }


def _camera(document: dict[str, Any]) -> Camera:
    matrix, distortion = np.array(document["matrix"]), np.array(document["distortion"])
    return Camera(document["width"], document["height"], matrix, document["model"], distortion)
