"""What an evaluation compares with: labels of images, and the true state of the ground."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Mapping
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.errors import SegPerceptionError
from seg_perception.core.grid import GridSpec
from seg_perception.core.messages import image_to_mask, stamp_to_ns
from seg_perception.core.metrics import confusion
from seg_perception.engines.resize import Resize
from seg_perception.evaluation.evaluate_flicker import GridFlicker, MaskFlicker
from seg_perception.evaluation.evaluate_frame import BAD_LABEL, NO_LABEL, Frame
from seg_perception.evaluation.evaluate_poses import Poses
from seg_perception.evaluation.evaluate_source import LABELS, Event
from seg_perception.evaluation.grid_bands import BandScores
from seg_perception.evaluation.sight import SeenInWindow, Sight

_KEPT = 128  # more than frames of a camera wait


class Labels(Protocol):
    """Where labels of images come from."""

    def note(self, event: Event) -> None: ...

    def pending(self, frame: Frame) -> bool:
        """Whether the label of a frame may still come."""

    def of(self, frame: Frame) -> NDArray[np.uint8] | None:
        """(H, W) uint8 ids, 255 where unlabelled; None where there is none. Raises SegPerceptionError."""


class FileReader(Protocol):
    """As core.labels.LabelFolder."""

    def read(self, stem: str) -> NDArray[np.uint8] | None: ...


class LabelFiles:
    """Labels from folders, one for each camera that has any, under the names that `Frame.stems` gives."""

    def __init__(self, folders: Mapping[str, FileReader]) -> None:
        self._folders = folders

    def note(self, event: Event) -> None:
        pass

    def pending(self, frame: Frame) -> bool:
        return False

    def of(self, frame: Frame) -> NDArray[np.uint8] | None:
        folder = self._folders.get(frame.camera)
        if folder is None:
            return None
        found = map(folder.read, frame.stems)
        return next((labels for labels in found if labels is not None), None)


class LabelTopic:
    """Labels from a topic of mono8 images of ids, with the stamps of their images. remap: id → class of the table.

    Ids that neither knows are unlabelled.
    """

    def __init__(self, table: ClassTable, remap: Mapping[int, int]) -> None:
        self._classes = np.full(256, UNLABELLED, np.uint8)
        for label, target in {**{entry.id: entry.id for entry in table.classes}, **remap}.items():
            self._classes[label] = target
        self._messages: dict[tuple[str, int], object] = {}

    def note(self, event: Event) -> None:
        if event.kind == LABELS:
            self._messages[event.camera, stamp_to_ns(event.message.header.stamp)] = event.message
            while len(self._messages) > _KEPT:
                del self._messages[next(iter(self._messages))]

    def pending(self, frame: Frame) -> bool:
        return (frame.camera, frame.stamp_ns) not in self._messages

    def of(self, frame: Frame) -> NDArray[np.uint8] | None:
        message = self._messages.pop((frame.camera, frame.stamp_ns), None)
        return None if message is None else self._classes[image_to_mask(message)]


class Ground(Protocol):
    """What is true of the ground. name: as in metrics.json."""

    name: str

    def note(self, event: Event, poses: Poses) -> None: ...

    def pending(self, frame: Frame, poses: Poses) -> bool:
        """Whether the truth of a frame, or where it lies, may still come."""

    def score(self, frame: Frame, sight: Sight, poses: Poses) -> None:
        """Give a frame with a grid its grid_scores, now or later; `frame.unsettled` until then."""

    def start_anew(self) -> None:
        """What comes has nothing to do with what has been: time has jumped back, or the robot elsewhere."""

    def finish(self) -> None:
        """Nothing more comes."""


class Truth:
    """All that is compared with, and the flicker, which needs no truth."""

    def __init__(
        self, table: ClassTable, resize: Resize, max_range: float, labels: Labels | None, ground: Ground
    ) -> None:
        self._n_classes = max(entry.id for entry in table.classes) + 1
        self._resize = resize
        self._max_range = max_range
        self._labels = labels
        self._ground = ground
        self._mask_flicker: dict[str, MaskFlicker] = {}
        self._grid_flicker = GridFlicker()

    def note(self, event: Event, poses: Poses) -> None:
        """Take in labels and truth from the recording."""
        if self._labels:
            self._labels.note(event)
        self._ground.note(event, poses)

    def complete(self, frame: Frame, poses: Poses) -> bool:
        """Whether nothing that belongs to a frame may still come."""
        return not ((self._labels and self._labels.pending(frame)) or self._ground.pending(frame, poses))

    def score(self, frame: Frame, poses: Poses) -> None:
        """Compare a frame that has its mask."""
        assert frame.segmentation
        flicker = self._mask_flicker.setdefault(frame.camera, MaskFlicker())
        frame.flicker["mask"] = flicker.update(frame.segmentation.mask)
        if self._labels:
            self._score_mask(frame, self._labels)
        if frame.grid:
            frame.flicker["grid"] = self._grid_flicker.update(*frame.grid)
            assert frame.view and frame.viewpoint
            self._ground.score(frame, Sight(frame.view, frame.viewpoint, self._max_range), poses)

    def start_anew(self) -> None:
        """What comes has nothing to do with what has been: time has jumped back, or the robot elsewhere."""
        self._grid_flicker = GridFlicker()
        self._ground.start_anew()

    def finish(self) -> None:
        """Nothing more comes."""
        self._ground.finish()

    def _score_mask(self, frame: Frame, labels: Labels) -> None:
        assert frame.segmentation
        try:
            frame.labels = labels.of(frame)
        except SegPerceptionError as error:
            frame.problems[BAD_LABEL] = str(error)
            return
        if frame.labels is None:
            frame.problems[NO_LABEL] = ""
            return
        height, width = frame.labels.shape
        if abs(height * frame.size[0] - width * frame.size[1]) > 1.5 * max(frame.size):
            frame.problems[BAD_LABEL] = f"{width}x{height} pixels, the image {frame.size[0]}x{frame.size[1]}"
            frame.labels = None
            return
        mask = self._resize.restore(frame.segmentation.mask, UNLABELLED, *frame.size)
        if frame.size != (width, height):  # labels of another size than the image: compared at theirs
            mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
        frame.confusion = confusion(mask, frame.labels, self._n_classes)


class MeasuredGround:
    """Scores frames against truth that is known at their time: occupied and free cells."""

    def __init__(self) -> None:
        self._seen = SeenInWindow()

    def start_anew(self) -> None:
        """What was visible was so in another world."""
        self._seen = SeenInWindow()

    def finish(self) -> None:
        """Nothing is left to do."""

    def compare(self, frame: Frame, sight: Sight, occupied: NDArray[np.bool_], free: NDArray[np.bool_]) -> None:
        """occupied, free: (h, w) bool of the frame's grid."""
        assert frame.grid
        spec, cells = frame.grid
        visible = sight.visible(spec, occupied)
        seen = self._seen.update(spec, visible)
        x, y = spec.centres()
        distance = sight.distance(x[None, :], y[:, None])
        bands = BandScores()
        bands.update(cells, occupied, free, visible, seen, distance)
        frame.grid_scores = bands.scores
        frame.truth = occupied, free, visible


class Hindsight:
    """What the robot drove over within some seconds was free."""

    name = "hindsight"
    _HORIZON_NS = 8_000_000_000
    _GAP_NS = 1_000_000_000
    """Between poses farther apart it may have driven round something."""
    _HALF_WIDTH_M = 0.2
    """Of the strip along base_link's path: narrower than any robot."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Frame, Sight, tuple[GridSpec, NDArray[np.int8]]]] = deque()
        self._path: deque[tuple[int, float, float]] = deque()

    def note(self, event: Event, poses: Poses) -> None:
        pass

    def pending(self, frame: Frame, poses: Poses) -> bool:
        return False

    def score(self, frame: Frame, sight: Sight, poses: Poses) -> None:
        assert frame.pose and frame.grid
        x, y = frame.pose.world_from_base[:2, 3]
        insort(self._path, (frame.stamp_ns, float(x), float(y)))  # several cameras' images are not in order
        frame.unsettled = True
        insort(self._waiting, (frame, sight, frame.grid), key=lambda waiting: waiting[0].stamp_ns)
        while frame.stamp_ns - self._waiting[0][0].stamp_ns > self._HORIZON_NS:
            self._settle()

    def start_anew(self) -> None:
        self.finish()

    def finish(self) -> None:
        while self._waiting:
            self._settle()
        self._path.clear()

    def _settle(self) -> None:
        frame, sight, (spec, cells) = self._waiting.popleft()
        while self._path[0][0] < frame.stamp_ns:
            self._path.popleft()
        driven_until = frame.stamp_ns + self._HORIZON_NS
        path = np.array([sample for sample in self._path if sample[0] <= driven_until])
        points = np.rint(((path[:, 1:] - (spec.origin_x, spec.origin_y)) / spec.resolution - 0.5) * 16).astype(np.int32)
        pieces = np.split(points, np.flatnonzero(np.diff(path[:, 0]) > self._GAP_NS) + 1)
        strip = np.zeros((spec.height, spec.width), np.uint8)
        width = max(1, round(2 * self._HALF_WIDTH_M / spec.resolution) - 1)  # OpenCV draws about one more
        cv2.polylines(strip, pieces, False, 1, width, cv2.LINE_8, 4)
        driven = np.flatnonzero(strip.view(np.bool_))  # among bytes it would take twenty times as long
        rows, columns = np.unravel_index(driven, strip.shape)
        centres_x, centres_y = spec.centres()
        x, y = centres_x[columns], centres_y[rows]
        visible = sight.contains(x, y)
        nothing, everything = np.zeros(len(rows), np.bool_), np.ones(len(rows), np.bool_)
        bands = BandScores()
        bands.update(cells[rows, columns], nothing, everything, visible, everything, sight.distance(x, y))
        frame.grid_scores = bands.scores
        frame.unsettled = False
