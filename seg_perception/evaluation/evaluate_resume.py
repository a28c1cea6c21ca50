"""Going on after an interruption: what was evaluated before need not go through the model again.

Everything after the model is found anew, from the first frame on: it depends on all frames before, and is cheap beside
the model. The masks of the interrupted run are in its output bag, however it ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import DataError
from seg_perception.core.messages import image_to_mask, stamp_to_ns
from seg_perception.core.writable import make_folder
from seg_perception.engines.base import Segmentation
from seg_perception.evaluation.bags import open_bag
from seg_perception.evaluation.evaluate_frame import Frame
from seg_perception.evaluation.evaluate_output import OUTPUT_BAG, topic
from seg_perception.evaluation.result_files import (
    BAGS_FOLDER,
    FRAMES_FILE,
    JUNIT_FILE,
    METRICS_FILE,
    PICTURES_FILE,
    PICTURES_FOLDER,
    REPORT_FILE,
    read_frames,
    read_object,
    write_json,
)

REQUEST_FILE = "request.json"

_EARLIER = "interrupted"
_RESULTS = (FRAMES_FILE, METRICS_FILE, PICTURES_FILE, PICTURES_FOLDER, OUTPUT_BAG, JUNIT_FILE, REPORT_FILE)
"""The first is there before the others, and goes after them: beside it, all are the evaluation's own."""

OWN = (*_RESULTS, BAGS_FOLDER, _EARLIER, REQUEST_FILE)
"""What evaluations leave in their folder."""


def claim(out: Path, request: dict[str, Any]) -> None:
    """Note in `out` that it is for the results of this request.

    Raises DataError, with nothing written, where `out` holds another evaluation, or anything else that results would
    replace.
    """
    known = out / REQUEST_FILE
    foreign = (*_RESULTS, BAGS_FOLDER, _EARLIER)
    if known.is_file():
        before = read_object(known, "remove its folder, or choose another --out")
        changed = sorted(key for key in {*before, *request} if before.get(key) != request.get(key))
        if changed and any((out / name).exists() for name in foreign):
            raise DataError(
                f"{out} holds an evaluation with other {', '.join(changed)}; remove it, or choose another --out"
            )
        foreign = () if (out / FRAMES_FILE).is_file() else _RESULTS
    for name in foreign:
        if (out / name).exists():
            raise DataError(
                f"{out / name} was not made by this evaluation, which would replace it; choose another --out"
            )
    make_folder(out, DataError)
    write_json(known, request)


def prepare(out: Path, request: dict[str, Any]) -> bool:
    """Make `out` ready for an evaluation; whether it has been finished there before.

    What an interrupted run of the same request has left goes to `out`/interrupted. Raises DataError as `claim` does.
    """
    claim(out, request)
    if (out / METRICS_FILE).is_file():
        return True
    _put_aside(out)
    return False


def clean_up(out: Path) -> None:
    """The evaluation is finished: forget the interrupted one."""
    shutil.rmtree(out / _EARLIER, ignore_errors=True)


class EarlierMasks:
    """What the interrupted run found, frame by frame, in the order of the frames."""

    def __init__(self, out: Path) -> None:
        folder = out / _EARLIER
        self._masks = _masks(folder / OUTPUT_BAG)
        frames = folder / FRAMES_FILE
        self._lines = iter(read_frames(frames)) if frames.is_file() else iter(())
        self._next = next(self._masks, None)

    def of(self, frame: Frame) -> tuple[Segmentation, dict[str, float]] | None:
        """Its segmentation and the latency of the model, where that is known; else None. Call it for every frame."""
        line = next(self._lines, None)
        if self._next is None or self._next[0] != (frame.camera, frame.stamp_ns):
            return None
        segmentation = self._next[1]
        self._next = next(self._masks, None)
        latency = line["latency_ms"] if line else {}  # the last lines may have waited for what the robot does next
        return segmentation, {stage: latency[stage] for stage in ("infer",) if stage in latency}


def _put_aside(out: Path) -> None:
    """Keep the one that got farther, if this is not the first interruption."""
    earlier = out / _EARLIER
    shutil.rmtree(out / PICTURES_FOLDER, ignore_errors=True)
    (out / PICTURES_FILE).unlink(missing_ok=True)
    if _size(out / OUTPUT_BAG) > _size(earlier / OUTPUT_BAG):
        shutil.rmtree(earlier, ignore_errors=True)
        earlier.mkdir()
        for name in (OUTPUT_BAG, FRAMES_FILE):
            (out / name).rename(earlier / name)
    shutil.rmtree(out / OUTPUT_BAG, ignore_errors=True)
    (out / FRAMES_FILE).unlink(missing_ok=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.mcap")) if folder.is_dir() else -1


def _masks(bag: Path) -> Iterator[tuple[tuple[str, int], Segmentation]]:
    """((camera, stamp), segmentation), as far as the bag goes."""
    if not bag.is_dir():
        return
    confidences: dict[str, NDArray[np.uint8]] = {}
    try:
        with open_bag(bag) as opened:
            planes = {
                name: (camera, name == topic(camera, "mask"))
                for name, camera in ((n, _camera(n)) for n in opened.topics)
                if name in (topic(camera, "mask"), topic(camera, "confidence"))
            }
            for name, _, message in opened.messages(planes):
                camera, is_mask = planes[name]
                plane = image_to_mask(message)
                if not is_mask:
                    confidences[camera] = plane  # written before its mask
                elif camera in confidences:
                    yield (camera, stamp_to_ns(message.header.stamp)), Segmentation(plane, confidences[camera])
    except DataError:
        return  # that is where it was interrupted


def _camera(name: str) -> str:
    return name.partition("/segmentation/")[0].strip("/")
