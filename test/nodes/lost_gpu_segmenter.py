"""The segmenter on a GPU that fails after its first mask: a process of its own for `test_segmenter_fallback.py`."""

from __future__ import annotations

import sys

from seg_perception.core.errors import DeviceLostError
from seg_perception.engines import factory
from seg_perception.engines.base import Segmentation
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.fallback import FallbackEngine
from seg_perception.nodes import segmenter


class FailingGpu:
    """An engine that answers once."""

    degraded = ""
    description = "model, cuda, GPU 0"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._engine = factory.load_engine(bundle, "cpu", "auto", threads)
        self.input_size, self.resize = self._engine.input_size, self._engine.resize
        self._answered = False

    def infer(self, image) -> Segmentation:
        if self._answered:
            raise DeviceLostError(f"{self.description}: inference failed (CUDA out of memory)")
        self._answered = True
        return self._engine.infer(image)


def load_engine(bundle: Bundle, device: str, precision: str, threads: int) -> FallbackEngine:
    assert device == "cuda:0"
    return FallbackEngine(lambda: FailingGpu(bundle, threads), lambda: factory.load_engine(bundle, threads=threads))


segmenter.load_engine = load_engine
sys.exit(segmenter.main())
