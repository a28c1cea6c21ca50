"""When a device is lost, the engine goes on with the other one and says why."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seg_perception.core.errors import DeviceLostError, EngineError, ImageError
from seg_perception.engines import factory
from seg_perception.engines.base import Engine, Segmentation
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.engines.fallback import FallbackEngine
from seg_perception.engines.manifest import Accepted, Runtime


class Lossy:
    """An engine whose device is lost after `frames` images."""

    degraded = ""

    def __init__(self, engine: Engine, frames: int) -> None:
        self._engine, self._frames = engine, frames
        self.input_size, self.resize = engine.input_size, engine.resize
        self.description = "model, cuda, GPU 0"

    def infer(self, image_bgr: NDArray[np.uint8]) -> Segmentation:
        if self._frames == 0:
            raise DeviceLostError("model, cuda, GPU 0: CUDA out of memory")
        self._frames -= 1
        return self._engine.infer(image_bgr)


def no_engine() -> Engine:
    raise EngineError("no engine at all")


def lost() -> Engine:
    raise DeviceLostError("CUDA out of memory")


def test_the_frame_on_which_the_device_is_lost_is_answered(bundle: Bundle, image, mask) -> None:
    cpu = load_engine(bundle)
    engine = FallbackEngine(lambda: Lossy(cpu, 1), lambda: cpu)
    engine.infer(image)
    assert (engine.degraded, engine.description) == ("", "model, cuda, GPU 0")
    for _ in range(2):
        np.testing.assert_array_equal(engine.infer(image).mask, mask)
        assert engine.description == cpu.description
        assert engine.degraded == f"model, cuda, GPU 0: CUDA out of memory; now running {cpu.description}"


def test_a_device_lost_while_loading_is_replaced(bundle: Bundle, image, mask) -> None:
    engine = FallbackEngine(lost, lambda: load_engine(bundle))
    np.testing.assert_array_equal(engine.infer(image).mask, mask)
    assert engine.degraded.startswith("CUDA out of memory; now running halves")
    assert engine.input_size == (32, 24)


def test_both_reasons_are_given_when_neither_runs(bundle: Bundle, image) -> None:
    with pytest.raises(EngineError, match="CUDA out of memory; and instead of it: no engine at all"):
        FallbackEngine(lost, no_engine)
    engine = FallbackEngine(lambda: Lossy(load_engine(bundle), 0), no_engine)
    with pytest.raises(EngineError, match="CUDA out of memory; and instead of it: no engine at all"):
        engine.infer(image)


def test_what_is_no_loss_of_the_device_is_not_hidden(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="no engine at all"):
        FallbackEngine(no_engine, lambda: load_engine(bundle))
    engine = FallbackEngine(lambda: load_engine(bundle), no_engine)
    with pytest.raises(ImageError):
        engine.infer(np.zeros((0, 0, 3), np.uint8))
    assert not engine.degraded


def test_a_gpu_that_fails_at_the_start_leaves_a_cpu_engine(make_bundle, image, mask, monkeypatch) -> None:
    class FailingGpu:
        """What an engine's module offers, on a machine whose GPU has no memory left."""

        @staticmethod
        def installed_providers() -> tuple[str, ...]:
            return ("cuda",)

        @staticmethod
        def load(*args: object, **options: object) -> Engine:
            raise DeviceLostError("CUDA out of memory")

    real = factory._library
    on_gpu = Accepted(Runtime("cuda"), {}, 1.0)
    monkeypatch.setattr(factory, "_library", lambda entry: FailingGpu if entry == on_gpu else real(entry))
    root = make_bundle(accepted={"fp32": (on_gpu, Accepted(Runtime("cpu"), {}, 9.0))})
    engine = load_engine(root, "cuda:0", threads=1)
    np.testing.assert_array_equal(engine.infer(image).mask, mask)
    assert "nothing runs on device 'cuda:0': CUDA out of memory; now running halves" in engine.degraded
