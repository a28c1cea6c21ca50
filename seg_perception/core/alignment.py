"""Pictures of what a mask shows that are not made from it: brought to its size, where they are aligned to it."""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.errors import ImageError

Pixel = TypeVar("Pixel", bound=np.generic)

_SQUARE = 0.02
"""How far fx / fy of an image may be off 1: calibrations are better, and padding to a network's size changes more."""


def aligned(picture: NDArray[Pixel], camera: Camera, name: str) -> NDArray[Pixel]:
    """(h, w) with the aspect of the camera's image, or at the size of its mask → (H, W) of the mask, by nearest pixels.

    camera: that of the mask. Where the image was stretched, its focal lengths tell by how much, for images have square
    pixels. name: of the picture, for the message. Raises ImageError where it has another aspect.
    """
    height, width = picture.shape
    if (width, height) == (camera.width, camera.height):
        return picture
    matrix = camera.resized(width, height).matrix
    if abs(matrix[0, 0] / matrix[1, 1] - 1.0) > _SQUARE:
        raise ImageError(
            f"{name} is {width}x{height}, which is another aspect than that of the image that the mask of "
            f"{camera.width}x{camera.height} shows; align it to the camera's image, and with a model that crops or "
            "letterboxes, set the segmenter's mask_size to input"
        )
    resized: NDArray[Any] = cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized
