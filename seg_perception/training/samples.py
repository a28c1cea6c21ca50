"""Samples on disk as a sequence: decoded ahead as far as there is memory for it, the others when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.errors import DataError
from seg_perception.core.labels import LabelFolder
from seg_perception.core.pictures import require_picture
from seg_perception.core.writable import write_whole
from seg_perception.engines.resize import Resize

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""image (H, W, 3) uint8 BGR, labels (H, W) uint8 with 255 where unlabelled."""

_T = TypeVar("_T")

WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Pictures:
    """Images with a folder of their labels, as the network will see them.

    region: what of an image is used: left, top, right, bottom as shares of its width and height.
    """

    images: Sequence[Path]
    labels: LabelFolder
    resize: Resize
    region: tuple[float, float, float, float] = WHOLE

    def read(self, index: int) -> Sample:
        """Decode a pair. Raises DataError with the file that is wrong."""
        path = self.images[index]
        image = require_picture(path)
        labels = self.labels.read(path.stem)
        if labels is None:
            raise DataError(f"{path}: has no labels; every image needs labels of the same name")
        if labels.shape != image.shape[:2]:
            raise DataError(f"{path}: size {image.shape[1::-1]} differs from its labels' {labels.shape[::-1]}")
        return self._fit(image), self._fit(labels)

    def _fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region in the size of the network's input: images as when driving, labels by the nearest pixel."""
        height, width = picture.shape[:2]
        left, top, right, bottom = self.region
        columns = slice(round(left * width), max(round(right * width), round(left * width) + 1))
        rows = slice(round(top * height), max(round(bottom * height), round(top * height) + 1))
        inside = np.ascontiguousarray(picture[rows, columns])
        if picture.ndim == 3:
            return self.resize.apply(inside)
        size = (self.resize.width, self.resize.height)
        return np.asarray(cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


class FileSamples(Sequence[Sample]):
    """The first `keep` of the pictures decoded at once, which finds what is wrong with them; the rest every time."""

    def __init__(self, pictures: Pictures, keep: int, name: str) -> None:
        self._pictures = pictures
        kept = range(min(keep, len(pictures.images)))
        self._kept = [pictures.read(index) for index in tqdm(kept, desc=f"read {name}", leave=False, disable=None)]

    def __len__(self) -> int:
        return len(self._pictures.images)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self._kept[index] if index < len(self._kept) else self._pictures.read(index)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def spread(items: Sequence[_T], at_most: int) -> Iterator[_T]:
    """At most so many of them, evenly spread."""
    chosen = min(len(items), at_most)
    return (items[index * len(items) // chosen] for index in range(chosen))


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """An image or its labels as PNG, whole or not at all. Raises DataError."""
    good, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not good:
        raise DataError(f"{path}: OpenCV cannot encode the frame")
    write_whole(path, data.tobytes(), DataError)
