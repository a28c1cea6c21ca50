"""The engine on torch: programs of torch.export on a GPU, as one CUDA graph, or on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seg_perception.core.errors import BundleError, DeviceLostError, EngineError, one_line
from seg_perception.engines.base import GraphEngine
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.torch_program import load_program

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
_WARM_UP = 3

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def installed_providers() -> tuple[str, ...]:
    """Devices that torch can use here, by the manifest's names."""
    return ("torch-cpu", "torch-cuda") if torch.cuda.is_available() else ("torch-cpu",)


def require_installed(*providers: str) -> None:
    """Raises EngineError unless torch can use one of them here."""
    if not set(providers) & set(installed_providers()):
        raise EngineError(f"torch {torch.__version__} finds no GPU; install its driver, or use device cpu")


class TorchEngine(GraphEngine):
    """A program by the bundle's contract. Matrix products and convolutions are computed in the runtime's precision."""

    def __init__(
        self,
        model: bytes,
        spec: InputSpec,
        runtime: Runtime,
        *,
        device_index: int = 0,
        threads: int = 2,
        label: str = "model",
    ) -> None:
        """Raises EngineError without the device, DeviceLostError if it fails, BundleError for a wrong program."""
        on_cpu = runtime.provider == "torch-cpu"
        share = f"{threads} thread{'s' if threads > 1 else ''}" if on_cpu else f"GPU {device_index}"
        super().__init__(spec, f"{label}, {runtime}, {share}")
        if not on_cpu and device_index >= torch.cuda.device_count():
            raise EngineError(f"{self.description}: torch {torch.__version__} finds {torch.cuda.device_count()} GPUs")
        torch.set_num_threads(threads)
        network = _Network(load_program(model), _DTYPES[runtime.precision_hint or "f32"])
        _check_interface(network, spec)
        try:
            self._infer = _OnCpu(network) if on_cpu else _OnGpu(network, spec, torch.device("cuda", device_index))
        except RuntimeError as error:  # of what may fail, all but the GPU has just been tried
            raise self._lost(error) from error
        self._on_cpu = on_cpu

    def _run(self, pixels: NDArray[np.uint8]) -> Planes:
        try:
            return self._infer(pixels)
        except RuntimeError as error:
            if self._on_cpu:
                raise EngineError(f"{self.description}: inference failed ({one_line(error)})") from error
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> DeviceLostError:
        return DeviceLostError(f"{self.description}: the GPU failed ({one_line(error)})")


class _Network:
    """A program in a precision."""

    def __init__(self, program: nn.Module, dtype: torch.dtype) -> None:
        self._program = program.to(memory_format=torch.channels_last)
        self._dtype = dtype

    def to(self, device: torch.device) -> _Network:
        self._program.to(device)
        return self

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image uint8 (1, H, W, 3) → mask, confidence uint8 (1, H, W)."""
        reduced = self._dtype != torch.float32
        # Without its cache, which must not outlive the capture of a CUDA graph.
        autocast = torch.autocast(image.device.type, self._dtype, enabled=reduced, cache_enabled=False)
        with torch.inference_mode(), autocast:
            mask, confidence = self._program(image)
        return mask, confidence


class _OnCpu:
    def __init__(self, network: _Network) -> None:
        self._network = network

    def __call__(self, pixels: NDArray[np.uint8]) -> Planes:
        mask, confidence = self._network(torch.from_numpy(pixels)[None])
        return mask[0].numpy(), confidence[0].numpy()


class _OnGpu:
    """Upload of bytes, network and decision, and download of two planes, on a stream of its own.

    The operators are captured once as a CUDA graph: launching them one by one takes longer than a small network runs.
    """

    def __init__(self, network: _Network, spec: InputSpec, device: torch.device) -> None:
        shape = (1, spec.height, spec.width)
        self._stream = torch.cuda.Stream(device)
        self._pixels = torch.empty((*shape, 3), dtype=torch.uint8, pin_memory=True)
        self._planes = torch.empty((2, *shape), dtype=torch.uint8, pin_memory=True)
        self._image = torch.zeros((*shape, 3), dtype=torch.uint8, device=device)
        network.to(device)
        torch.cuda.synchronize(device)  # the weights are there before another stream uses them
        with torch.cuda.device(device), torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP):
                network(self._image)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._outputs = network(self._image)
        self._stream.synchronize()

    def __call__(self, pixels: NDArray[np.uint8]) -> Planes:
        self._pixels.numpy()[0] = pixels
        with torch.cuda.stream(self._stream):
            self._image.copy_(self._pixels, non_blocking=True)
            self._graph.replay()
            for plane, output in zip(self._planes, self._outputs, strict=True):
                plane.copy_(output, non_blocking=True)
        self._stream.synchronize()
        mask, confidence = self._planes.numpy().copy()
        return mask[0], confidence[0]


def _check_interface(network: _Network, spec: InputSpec) -> None:
    plane = (1, spec.height, spec.width)
    try:
        outputs = network(torch.zeros((*plane, 3), dtype=torch.uint8))
    except Exception as error:  # the program's own guards raise AssertionError, operators RuntimeError
        raise BundleError(
            f"the program does not take uint8 {(*plane, 3)} ({one_line(error)}); export it again"
        ) from error
    found = [(str(output.dtype).removeprefix("torch."), tuple(output.shape)) for output in outputs]
    if found != [("uint8", plane)] * 2:
        raise BundleError(
            f"the program gives {found}, by the manifest mask and confidence, uint8 {plane}; export it again"
        )


load = TorchEngine
"""What every engine's module offers under this name."""
