"""What every engine is: an image in, a mask and its confidence out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seg_perception.engines.resize import Resize


@dataclass(frozen=True)
class Segmentation:
    """mask: (H, W) uint8 class ids. confidence: (H, W) uint8, 0..255, of the most likely class; 0 where unlabelled."""

    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


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

    def infer(self, image_bgr: NDArray[np.uint8]) -> Segmentation:
        """(H, W, 3) uint8 BGR of any size → segmentation at `input_size`. Raises ImageError, EngineError."""
