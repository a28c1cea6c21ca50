"""An engine that goes on when its device fails."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import DeviceLostError, EngineError
from seg_perception.engines.base import Engine, Segmentation
from seg_perception.engines.resize import Resize

_log = logging.getLogger(__name__)


class FallbackEngine:
    """The first engine, until its device is lost or out of memory, then and for good the second one.

    The second one is loaded only when it is needed: that takes a moment, in which no mask is made.
    """

    def __init__(self, first: Callable[[], Engine], second: Callable[[], Engine]) -> None:
        """Raises EngineError: none of them can be loaded, or the first for another reason than its device."""
        self._second = second
        self._degraded = ""
        try:
            self._engine = first()
        except DeviceLostError as error:
            self._replace(error)

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the network's input and of the masks, pixels."""
        return self._engine.input_size

    @property
    def resize(self) -> Resize:
        """How images become the input; takes cameras to the mask's size, and masks back to the image's."""
        return self._engine.resize

    @property
    def description(self) -> str:
        """What really runs now."""
        return self._engine.description

    @property
    def degraded(self) -> str:
        """Why the second engine runs; empty while the first one does."""
        return self._degraded

    def infer(self, image_bgr: NDArray[np.uint8]) -> Segmentation:
        """(H, W, 3) uint8 BGR of any size → segmentation at `input_size`. Raises ImageError, EngineError."""
        try:
            return self._engine.infer(image_bgr)
        except DeviceLostError as error:
            if self._degraded:
                raise
            self._replace(error)
        return self._engine.infer(image_bgr)

    def _replace(self, lost: DeviceLostError) -> None:
        try:
            self._engine = self._second()
        except EngineError as error:
            raise EngineError(f"{lost}; and instead of it: {error}") from error
        self._degraded = f"{lost}; now running {self._engine.description}"
        _log.warning(self._degraded)
