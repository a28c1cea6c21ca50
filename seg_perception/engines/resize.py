"""How a camera image becomes the network's input: the pixels, the camera and the way back, from one geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera

STRETCH = "stretch"
LETTERBOX = "letterbox"
CROP = "crop"
RESIZE_RULES = (STRETCH, LETTERBOX, CROP)


class Region(NamedTuple):
    """A rectangle of whole pixels; x, y: its upper left one."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def centred(cls, width: float, height: float, full: tuple[int, int]) -> Region:
        """The middle of `full` (width, height), of at least one pixel."""
        inner_width, inner_height = max(1, round(width)), max(1, round(height))
        return cls((full[0] - inner_width) // 2, (full[1] - inner_height) // 2, inner_width, inner_height)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


class Fit(NamedTuple):
    """Which part of the image is scaled to which part of the network's input."""

    seen: Region
    place: Region


@dataclass(frozen=True)
class Resize:
    """Fits images of any size into width x height pixels.

    stretch fills it with the whole image, whatever its aspect; letterbox keeps the aspect and centres the image on
    black; crop keeps the aspect and fills it with the middle of the image.
    """

    width: int
    height: int
    rule: str = STRETCH

    def fit(self, width: int, height: int) -> Fit:
        """What becomes of an image of width x height."""
        image, network = Region(0, 0, width, height), Region(0, 0, self.width, self.height)
        across, down = self.width / width, self.height / height
        if self.rule == LETTERBOX:
            scale = min(across, down)
            return Fit(image, Region.centred(width * scale, height * scale, (self.width, self.height)))
        if self.rule == CROP:
            scale = max(across, down)
            return Fit(Region.centred(self.width / scale, self.height / scale, (width, height)), network)
        return Fit(image, network)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 → (height, width, 3) uint8, contiguous; the image itself if it already fits."""
        seen, place = self.fit(image.shape[1], image.shape[0])
        scaled = _scale(image[seen.slices], place.width, place.height)
        if (place.width, place.height) == (self.width, self.height):
            return scaled
        canvas = np.zeros((self.height, self.width, image.shape[2]), np.uint8)
        canvas[place.slices] = scaled
        return canvas

    def labels(self, labels: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """(H, W) uint8 of an image → (height, width) of what `apply` makes of it: nearest pixel, `outside` beside."""
        seen, place = self.fit(labels.shape[1], labels.shape[0])
        canvas = np.full((self.height, self.width), outside, np.uint8)
        canvas[place.slices] = _nearest(labels[seen.slices], place.width, place.height)
        return canvas

    def camera(self, camera: Camera) -> Camera:
        """The camera that would have taken the network's input, and so the mask."""
        seen, place = self.fit(camera.width, camera.height)
        cut = _moved(camera, -seen.x, -seen.y, seen.width, seen.height)
        return _moved(cut.resized(place.width, place.height), place.x, place.y, self.width, self.height)

    def blank_outside(self, plane: NDArray[np.uint8], value: int, width: int, height: int) -> NDArray[np.uint8]:
        """`plane` (height, width) with `value` wherever no pixel of an image of width x height lies."""
        place = self.fit(width, height).place
        if (place.width, place.height) == (self.width, self.height):
            return plane
        blank = np.full_like(plane, value)
        blank[place.slices] = plane[place.slices]
        return blank

    def restore(self, plane: NDArray[np.uint8], value: int, width: int, height: int) -> NDArray[np.uint8]:
        """(height, width) uint8 of the network → (height, width) of the image it was made from; nearest pixel.

        `value` wherever the network has not seen the image.
        """
        seen, place = self.fit(width, height)
        inner = _nearest(plane[place.slices], seen.width, seen.height)
        if (seen.width, seen.height) == (width, height):
            return inner
        restored = np.full((height, width), value, np.uint8)
        restored[seen.slices] = inner
        return restored


def _moved(camera: Camera, x: int, y: int, width: int, height: int) -> Camera:
    """The camera whose image of width x height shows at (x, y) what its first pixel showed."""
    matrix = camera.matrix.copy()
    matrix[:2, 2] += x, y
    return Camera(width, height, matrix, camera.model, camera.distortion)


def _nearest(plane: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _scale(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    # Bilinear alone skips pixels beyond a factor of two; halving first keeps them, at a tenth of INTER_AREA's time.
    source_height, source_width = image.shape[:2]
    while source_width > 2 * width or source_height > 2 * height:
        source_width = source_width // 2 if source_width > 2 * width else source_width
        source_height = source_height // 2 if source_height > 2 * height else source_height
        image = np.asarray(cv2.resize(image, (source_width, source_height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if (source_width, source_height) == (width, height):
        return np.ascontiguousarray(image)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
