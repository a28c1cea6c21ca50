"""How long the grid takes: updates by number of cells, of cameras, and with a camera that moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.mapping import GridMapper
from seg_perception.evaluation.latency import percentiles_ms
from seg_perception.evaluation.one_thread import opencv_in_its_callers_thread

_CAMERA = Camera(640, 360, np.array([[420.0, 0, 319.5], [0, 420.0, 179.5], [0, 0, 1]]))
_SIZE = 60.0
_SPEED = 8.0
_RATE_HZ = 10.0


@dataclass(frozen=True)
class _Case:
    name: str
    cells: int = 300
    cameras: int = 1
    rocks: bool = False
    """Whether the vehicle rolls and pitches, so that no lookup holds for two masks."""


_CASES = (
    _Case("300x300 cells"),
    _Case("300x300 cells, vehicle rocks", rocks=True),
    _Case("300x300 cells, six cameras", cameras=6),
    _Case("100x100 cells", cells=100),
    _Case("1000x1000 cells", cells=1000),
)


def time_grid(table: ClassTable, repetitions: int) -> dict[str, object]:
    """Updates with 640 x 360 masks from a moving vehicle, 60 x 60 m, and making the message's values; one thread, ms.

    With several cameras, an update takes in one mask of each.
    """
    with opencv_in_its_callers_thread():
        updates = {case.name: percentiles_ms(_time(case, table, repetitions)[1:]) for case in _CASES}
        first = percentiles_ms([_time(_CASES[0], table, 1)[0] for _ in range(max(5, repetitions // 10))])
        mapper = _mapper(_CASES[0], table)
        occupancy = percentiles_ms([_timed(lambda: mapper.occupancy(0.0)) for _ in range(repetitions)])
    return {"mask": "640x360", "update_ms": updates, "first_update_with_lookup_ms": first, "occupancy_ms": occupancy}


def _time(case: _Case, table: ClassTable, repetitions: int) -> list[int]:
    mapper = _mapper(case, table)
    mask = _street(table)
    confidence = np.full_like(mask, 230)
    mounts = [
        pose.base_from_optical((1.5, 0.0, 1.45), 0.0, 0.07, 2 * np.pi * i / case.cameras) for i in range(case.cameras)
    ]

    def update(step: int) -> Callable[[], None]:
        stamp = step / _RATE_HZ
        roll, pitch = (0.01 * np.sin(3.0 * stamp), 0.01 * np.sin(5.0 * stamp)) if case.rocks else (0.0, 0.0)
        base = pose.from_rpy((_SPEED * stamp, 0.0, 0.0), roll, pitch, 0.02 * stamp)
        views = [(str(index), base @ mount) for index, mount in enumerate(mounts)]

        def work() -> None:
            for source, optical in views:
                mapper.update(mask, confidence, _CAMERA, optical, base, stamp, source)

        return work

    return [_timed(update(step)) for step in range(repetitions)]


def _mapper(case: _Case, table: ClassTable) -> GridMapper:
    return GridMapper(table, MapperConfig(resolution=_SIZE / case.cells, size_x=_SIZE, size_y=_SIZE))


def _street(table: ClassTable) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A mask with ground below, obstacles at its sides and in its middle, and the rest above."""
    ground = next(entry.id for entry in table.classes if entry.kind == Kind.GROUND)
    obstacle = next(entry.id for entry in table.classes if entry.kind == Kind.OBSTACLE)
    mask = np.full((_CAMERA.height, _CAMERA.width), obstacle, np.uint8)
    cv2.fillPoly(mask, [np.array([[0, 359], [240, 170], [400, 170], [639, 359]], np.int32)], ground)
    cv2.rectangle(mask, (300, 150), (380, 220), obstacle, -1)
    return mask


def _timed(work: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - start
