"""What the nodes have published, read back from the bag that a recorder wrote."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.grid import GridSpec
from seg_perception.core.messages import stamp_to_ns
from seg_perception.evaluation.bags import open_bag
from seg_perception.evaluation.material import decode, image_of

IMAGE, COMPRESSED = "/image", "/image/compressed"
MASK, CONFIDENCE, OVERLAY = "/segmentation/mask", "/segmentation/confidence", "/segmentation/overlay"
GRID, ODOMETRY = "/occupancy_grid", "/odom"
TRUTH_LABELS, TRUTH_GRID = "/truth/labels", "/truth/occupancy_grid"
TOPICS = (
    IMAGE,
    COMPRESSED,
    "/camera_info",
    ODOMETRY,
    MASK,
    CONFIDENCE,
    OVERLAY,
    "/segmentation/camera_info",
    "/segmentation/classes",
    "/segmentation/label_info",
    GRID,
    "/obstacles",
    TRUTH_LABELS,
    TRUTH_GRID,
    "/segmenter/status",
    "/grid_mapper/status",
    "/diagnostics",
    "/tf",
    "/tf_static",
)
"""Everything worth keeping of a run."""


@dataclass(frozen=True)
class GridMessage:
    """stamp: ns. occupancy: (h, w) int8, -1 unknown, 0..100."""

    stamp: int
    spec: GridSpec
    occupancy: NDArray[np.int8]


class Recording:
    """A recorded run; images are keyed by their stamp (ns), which every output copies."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def received(self, topic: str) -> dict[int, int]:
        """Stamp → time of recording, both in ns."""
        return {stamp: received for stamp, received, _ in self._stamped(topic)}

    def masks(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(stamp, (H, W) uint8 class ids)."""
        for stamp, _, message in self._stamped(MASK):
            rows = np.asarray(message.data, np.uint8).reshape(message.height, message.step)
            yield stamp, rows[:, : message.width]

    def camera_images(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """What the camera published, see `images`."""
        yield from self.images(IMAGE)
        yield from self.images(COMPRESSED)

    def images(self, topic: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(stamp, (H, W, 3) uint8 BGR); images of encodings that `decode` does not know are left out."""
        for stamp, _, message in self._stamped(topic):
            pixels = decode(image_of(message, topic.endswith("/compressed")))
            if pixels is not None:
                yield stamp, pixels

    def grids(self) -> Iterator[GridMessage]:
        """The occupancy grids."""
        for stamp, _, message in self._stamped(GRID):
            info = message.info
            spec = GridSpec(info.resolution, info.width, info.height, info.origin.position.x, info.origin.position.y)
            cells = np.asarray(message.data, np.int8).reshape(info.height, info.width)
            yield GridMessage(stamp, spec, cells)

    def last(self, topic: str) -> Any:
        """The last message of a topic, or None."""
        with open_bag(self._path) as bag:
            newest = deque(bag.messages([topic]), maxlen=1)
        return newest[0][2] if newest else None

    def _stamped(self, topic: str) -> Iterator[tuple[int, int, Any]]:
        with open_bag(self._path) as bag:
            for _, received, message in bag.messages([topic]):
                yield stamp_to_ns(message.header.stamp), received, message
