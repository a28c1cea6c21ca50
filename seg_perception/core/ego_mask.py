"""The robot's own body in its camera's view: it proves nothing about the ground."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.alignment import aligned
from seg_perception.core.camera import Camera
from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import ImageError
from seg_perception.core.pictures import decoded


@dataclass(frozen=True, eq=False)
class EgoMask:
    """Which pixels show the robot itself. body: (H, W) bool, of any size with the aspect of the camera's image, or of
    the mask's size."""

    body: NDArray[np.bool_]

    @classmethod
    def load(cls, path: Path | str) -> EgoMask:
        """From an image file: the pixels that are not 0. Raises ImageError."""
        advice = "give a PNG whose non-zero pixels show the robot"
        try:
            data = Path(path).expanduser().read_bytes()
        except OSError as error:
            raise ImageError(f"ego_mask {path}: {error.strerror or error}; {advice}") from error
        pixels = decoded(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None:
            raise ImageError(f"ego_mask {path}: not an image that can be read; {advice}")
        return cls(pixels > 0)

    def hide(
        self, mask: NDArray[np.uint8], confidence: NDArray[np.uint8], camera: Camera
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Copies of mask and confidence, (H, W) uint8 each, unlabelled where they show the robot.

        camera: that of the mask. Raises ImageError where the body is not aligned to it.
        """
        body = aligned(self.body.view(np.uint8), camera, "ego_mask").view(np.bool_)
        return np.where(body, np.uint8(UNLABELLED), mask), np.where(body, np.uint8(0), confidence)
