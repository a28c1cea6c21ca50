"""The simulator's truth for the grids of a drive that was rendered before; kept on disk, as it takes long to find."""

from __future__ import annotations

import hashlib
import os
from dataclasses import astuple
from pathlib import Path

import numpy as np

from seg_perception.core import pose
from seg_perception.core.grid import GridSpec
from seg_perception.evaluation.drive_material import DriveMaterial
from seg_perception.simulation.street import Drive, SimFrame
from seg_perception.simulation.truth import GridTruth


class DriveTruth:
    """What was true around each frame."""

    def __init__(self, material: DriveMaterial) -> None:
        self._material = material
        self._cache = material.folder / "truth"
        self._cache.mkdir(exist_ok=True)
        self._base_from_optical = material.mount.base_from_optical
        self._drive: Drive | None = None

    def camera_position(self, index: int) -> tuple[float, float]:
        """World x and y of the camera in frame `index`, m."""
        x, y = self._world_from_optical(index)[:2, 3]
        return float(x), float(y)

    def truth(self, index: int, spec: GridSpec) -> GridTruth:
        """The ground of a grid's cells in frame `index`."""
        path = self._path(index, spec)
        if path.is_file():
            packed = np.load(path)
            count = spec.height * spec.width
            planes = np.unpackbits(packed, axis=1, count=count).astype(bool).reshape(3, spec.height, spec.width)
            return GridTruth(*planes)
        truth = self._find(index, spec)
        rows = np.stack([truth.occupied.ravel(), truth.free.ravel(), truth.visible.ravel()])
        unfinished = path.with_suffix(f".{os.getpid()}.npy")
        np.save(unfinished, np.packbits(rows, axis=1))
        unfinished.replace(path)
        return truth

    def _find(self, index: int, spec: GridSpec) -> GridTruth:
        if self._drive is None:
            request = self._material.request
            self._drive = Drive(request.seed, request.width, request.height, request.rate_hz, request.frames)
        return self._drive.truth(self._frame(index), spec)

    def _frame(self, index: int) -> SimFrame:
        material, motion = self._material, self._material.motion(index)
        return SimFrame(
            index=index,
            stamp_s=index / material.request.rate_hz,
            image=np.empty((0, 0, 3), np.uint8),
            labels=np.asarray(material.labels[index]),
            depth=material.depth_mm[index].astype(np.float32) / 1000.0,
            world_from_base=motion.world_from_base,
            world_from_optical=self._world_from_optical(index),
            speed=motion.speed,
            yaw_rate=motion.yaw_rate,
        )

    def _world_from_optical(self, index: int) -> pose.Transform:
        return self._material.motion(index).world_from_base @ self._base_from_optical

    def _path(self, index: int, spec: GridSpec) -> Path:
        key = hashlib.sha256(repr(astuple(spec)).encode("ascii")).hexdigest()[:16]
        return self._cache / f"{index:05d}_{key}.npy"
