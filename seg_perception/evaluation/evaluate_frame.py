"""One camera image on its way through an evaluation, and the line of frames.jsonl that it becomes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.grid import GridSpec
from seg_perception.core.ground import Viewpoint
from seg_perception.core.metrics import GridScore, mean_iou, pixel_accuracy
from seg_perception.core.poses import CameraPose
from seg_perception.engines.base import Segmentation
from seg_perception.evaluation.result_files import rounded

STAGES = ("decode", "infer", "grid", "write")
SCORED_BAND = "0-15"

NO_CAMERA_INFO, BAD_CAMERA_INFO = "no camera_info", "unusable camera_info"
BAD_EGO_MASK, NO_POSE, NO_TRUTH = "unusable ego_mask", "no pose", "no truth of the ground"
NO_LABEL, BAD_LABEL = "no label", "unusable label"
UNDECODABLE, ZERO_STAMP, STALE = "undecodable image", "zero stamp", "stale stamp"
REASONS = (
    NO_CAMERA_INFO,
    BAD_CAMERA_INFO,
    BAD_EGO_MASK,
    NO_POSE,
    NO_TRUTH,
    NO_LABEL,
    BAD_LABEL,
    UNDECODABLE,
    ZERO_STAMP,
    STALE,
)
"""What a frame may lack, by the names in metrics.json."""


@dataclass(eq=False)
class Frame:
    """What is known of an image so far; the stages fill it in, one after the other.

    index: in its bag. camera: name, empty for the only one. received_ns: when it was recorded. source: the image's
    message, or its file; given up once decoded. stems: what its label file may be called, the surest first. name: of
    the image's file in its folder; empty for those of recordings.
    """

    index: int
    bag: str
    camera: str
    stamp_ns: int
    received_ns: int
    frame_id: str
    source: Any
    stems: tuple[str, ...]
    name: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    """Why there is less of it than was asked for: kind of reason → in detail."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    image: NDArray[np.uint8] | None = None
    """(H, W, 3) uint8 BGR; given up once segmented."""
    size: tuple[int, int] = (0, 0)
    """(width, height) of the image, pixels."""
    picture: NDArray[np.uint8] | None = None
    """(H, W, 3) uint8 BGR at the size of the mask."""
    segmentation: Segmentation | None = None
    view: Camera | None = None
    """The camera at the size of the mask."""
    pose: CameraPose | None = None
    viewpoint: Viewpoint | None = None
    """Where the camera stands over the ground of its grid."""
    grid: tuple[GridSpec, NDArray[np.int8]] | None = None
    labels: NDArray[np.uint8] | None = None
    """(H, W) uint8 ids, 255 where unlabelled."""
    confusion: NDArray[np.int64] | None = None
    grid_scores: dict[str, GridScore] | None = None
    """By band of distance."""
    truth: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]] | None = None
    """Occupied, free, visible: (h, w) bool of the grid's cells."""
    unsettled: bool = False
    """Whether its grid_scores are still to come."""
    masked: bool = False
    gridded: bool = False
    flicker: dict[str, float | None] = field(default_factory=lambda: {"mask": None, "grid": None})

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage works on it."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = (time.perf_counter() - started) * 1e3
            self.latency_ms[stage] = self.latency_ms.get(stage, 0.0) + elapsed

    def release(self) -> None:
        """Give up everything that its line does not need."""
        self.picture = self.segmentation = self.grid = self.labels = self.truth = None

    def miou(self) -> float | None:
        """Over the classes that occur in its labels; None without labels."""
        return None if self.confusion is None else rounded(mean_iou(self.confusion))

    def false_free(self) -> float | None:
        """Share of the true obstacles that its grid calls free; None without such truth."""
        figures = self._grid_figures()
        return figures["false_free"] if figures else None

    def record(self) -> dict[str, Any]:
        """Its line of frames.jsonl."""
        latency = {stage: round(self.latency_ms[stage], 3) for stage in STAGES if stage in self.latency_ms}
        if "infer" in latency or not self.masked:  # of a mask from before an interruption, it may not be known
            latency["total"] = round(sum(latency.values()), 3)
        line: dict[str, Any] = {
            "index": self.index,
            "bag": self.bag,
            "name": self.name,
            "camera": self.camera,
            "stamp_ns": self.stamp_ns,
            "skipped": "; ".join(self.problems) or None,
            "detail": "; ".join(filter(None, self.problems.values())) or None,
            "latency_ms": latency,
            "masked": self.masked,
            "gridded": self.gridded,
            "flicker": self.flicker,
        }
        if self.confusion is not None:
            line["mask"] = {"miou": self.miou(), "pixel_accuracy": rounded(pixel_accuracy(self.confusion))}
            line["confusion"] = self.confusion.tolist()
        if self.grid_scores is not None:
            line["grid"] = self._grid_figures()
            line["grid_counts"] = {band: score.counts for band, score in self.grid_scores.items()}
        return line

    def _grid_figures(self) -> dict[str, float | int | None] | None:
        if self.grid_scores is None:
            return None
        return {name: rounded(value) for name, value in self.grid_scores[SCORED_BAND].result().items()}
