"""What every engine is: an image in, a mask and its confidence out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import ImageError
from seg_perception.engines.manifest import InputSpec
from seg_perception.engines.resize import Resize


@dataclass(frozen=True)
class Segmentation:
    """mask: (H, W) uint8 class ids. confidence: (H, W) uint8, 0..255, of the most likely class; 0 where unlabelled."""

    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8]

    def within(self, resize: Resize, width: int, height: int) -> Segmentation:
        """The same, unlabelled wherever `resize` puts no pixel of an image of width x height."""
        return Segmentation(
            resize.blank_outside(self.mask, UNLABELLED, width, height),
            resize.blank_outside(self.confidence, 0, width, height),
        )


class Engine(Protocol):
    """A loaded model on a device."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the network's input and of the masks, pixels."""

    @property
    def resize(self) -> Resize:
        """How images become the input; takes cameras to the mask's size, and masks back to the image's."""

    @property
    def description(self) -> str:
        """What really runs: precision, provider, device, threads; for status and log."""

    @property
    def degraded(self) -> str:
        """Why the model runs on another device than it was asked for; empty while it does not."""

    def infer(self, image_bgr: NDArray[np.uint8]) -> Segmentation:
        """(H, W, 3) uint8 BGR of any size → segmentation at `input_size`. Raises ImageError, EngineError."""


class GraphEngine(ABC):
    """What all engines do around a graph by the bundle's contract."""

    degraded = ""

    def __init__(self, spec: InputSpec, description: str) -> None:
        self._swap_channels = spec.channel_order == "rgb"
        self._resize = Resize(spec.width, spec.height, spec.resize)
        self._description = description

    @abstractmethod
    def _run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The graph: (H, W, 3) uint8 of the input's size, contiguous → mask and confidence, (H, W) uint8."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the network's input and of the masks, pixels."""
        return self._resize.width, self._resize.height

    @property
    def resize(self) -> Resize:
        """How images become the input; takes cameras to the mask's size, and masks back to the image's."""
        return self._resize

    @property
    def description(self) -> str:
        """What really runs: model, provider and its precision hint, threads or GPU."""
        return self._description

    def infer(self, image_bgr: NDArray[np.uint8]) -> Segmentation:
        """(H, W, 3) uint8 BGR of any size → segmentation at `input_size`. Raises ImageError, EngineError.

        Outside a letterboxed image the mask is 255 and the confidence 0.
        """
        if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or not image_bgr.size:
            raise ImageError(
                f"image is {image_bgr.dtype} {image_bgr.shape}; give a non-empty uint8 (H, W, 3) BGR image"
            )
        pixels = self._resize.apply(image_bgr)
        if self._swap_channels:
            pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
        height, width = image_bgr.shape[:2]
        return Segmentation(*self._run(pixels)).within(self._resize, width, height)
