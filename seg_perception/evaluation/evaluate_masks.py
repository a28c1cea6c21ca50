"""The stages of an evaluation that turn images into masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import ImageError
from seg_perception.core.messages import compressed_to_bgr, image_to_bgr
from seg_perception.core.pictures import decoded
from seg_perception.core.stamps import StampGuard
from seg_perception.engines.base import Engine
from seg_perception.evaluation.evaluate_frame import STALE, UNDECODABLE, ZERO_STAMP, Frame
from seg_perception.evaluation.evaluate_resume import EarlierMasks
from seg_perception.evaluation.evaluate_source import Event
from seg_perception.evaluation.material import EncodedImage
from seg_perception.evaluation.overlap import side_by_side


def decode_images(items: Iterable[Frame | Event]) -> Iterator[Frame | Event]:
    """Give frames their images, as the segmenter reads them. Repeated and disordered stamps are stale, as there."""
    guards: dict[str, StampGuard] = {}
    for item in items:
        if isinstance(item, Frame):
            guard = guards.setdefault(item.camera, StampGuard())
            without_stamp = ZERO_STAMP in item.problems or UNDECODABLE in item.problems
            stale = "" if without_stamp else guard.stale(item.stamp_ns, item.stamp_ns, 0.0)
            if stale:
                item.problems[STALE] = stale
            elif item.source is not None:
                _decode(item)
            item.source = None
        yield item


def segment_images(
    items: Iterable[Frame | Event], engines: Sequence[Engine], earlier: EarlierMasks
) -> Iterator[Frame | Event]:
    """Give frames their masks, and in place of the image a picture of the mask's size.

    The engines work on different frames at the same time; the items leave in the order in which they came.
    """
    idle: SimpleQueue[Engine] = SimpleQueue()
    for engine in engines:
        idle.put(engine)

    def segment(item: Frame | Event) -> None:
        engine = idle.get()
        try:
            _segment(item, engine)
        finally:
            idle.put(engine)

    return side_by_side(_recalled(items, earlier), _has_image, segment, len(engines))


def _recalled(items: Iterable[Frame | Event], earlier: EarlierMasks) -> Iterator[Frame | Event]:
    """Frames have the masks that are known from before an interruption."""
    for item in items:
        known = earlier.of(item) if isinstance(item, Frame) else None
        if known and isinstance(item, Frame) and item.image is not None:
            item.segmentation, latency_ms = known
            item.latency_ms |= latency_ms
        yield item


def _has_image(item: Frame | Event) -> bool:
    return isinstance(item, Frame) and item.image is not None


def _segment(frame: Frame | Event, engine: Engine) -> None:
    assert isinstance(frame, Frame) and frame.image is not None
    height, width = frame.image.shape[:2]
    if frame.segmentation is not None:
        frame.picture = engine.resize.apply(frame.image)
    else:
        with frame.timed("infer"):
            frame.picture = engine.resize.apply(frame.image)  # once: what fits already, an engine takes as it is
            frame.segmentation = engine.infer(frame.picture).within(engine.resize, width, height)
    frame.masked = True
    frame.image = None


def _decode(frame: Frame) -> None:
    try:
        with frame.timed("decode"):
            if isinstance(frame.source, Path):
                frame.image = _read_file(frame.source)
            else:
                message, compressed = frame.source
                frame.image = compressed_to_bgr(message) if compressed else image_to_bgr(message)
    except ImageError as error:
        frame.problems[UNDECODABLE] = str(error)
        return
    frame.size = (frame.image.shape[1], frame.image.shape[0])


def _read_file(path: Path) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error
    if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
        return compressed_to_bgr(EncodedImage(path.suffix[1:], data))
    image = decoded(data)
    if image is None:
        raise ImageError(f"{path}: not a readable image; remove it or convert it to PNG")
    return image
