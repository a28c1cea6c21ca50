"""The engine on ONNX Runtime and its execution providers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from seg_perception.core.errors import BundleError, DeviceLostError, EngineError, one_line
from seg_perception.engines.base import GraphEngine
from seg_perception.engines.manifest import InputSpec, Runtime

_PROVIDERS = {
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
_PACKAGES = {
    "openvino": "onnxruntime-openvino",
    "cpu": "onnxruntime",
    "tensorrt": "onnxruntime-gpu and tensorrt",
    "cuda": "onnxruntime-gpu",
}
_UNUSABLE_MODEL = (ort_errors.InvalidProtobuf, ort_errors.InvalidGraph, ort_errors.InvalidArgument, ort_errors.NoModel)


def installed_providers() -> tuple[str, ...]:
    """Providers of the installed ONNX Runtime, by the manifest's names."""
    available = ort.get_available_providers()
    return tuple(name for name, provider in _PROVIDERS.items() if provider in available)


def require_installed(*providers: str) -> None:
    """Raises EngineError unless the installed ONNX Runtime offers one of them; the last one is the advice."""
    installed = installed_providers()
    if not set(providers) & set(installed):
        raise EngineError(
            f"onnxruntime {ort.__version__} here offers {', '.join(installed)}, not {' or '.join(providers)}; "
            f"install {_PACKAGES[providers[-1]]} in place of the installed onnxruntime package"
        )


class OnnxRuntimeEngine(GraphEngine):
    """A graph by the bundle's contract, on one execution provider."""

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
        """Raises EngineError if the runtime is not what really runs, BundleError if the graph breaks the contract."""
        require_installed(runtime.provider)
        self._session = _create_session(model, runtime, device_index, threads)
        _check_interface(self._session, spec)
        self._on_cpu = runtime.provider in ("openvino", "cpu")
        share = f"{threads} thread{'s' if threads > 1 else ''}" if self._on_cpu else f"GPU {device_index}"
        super().__init__(spec, f"{label}, {runtime}, {share}")

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        try:
            mask, confidence = self._session.run(("mask", "confidence"), {"image": pixels[np.newaxis]})
        except Exception as error:  # ONNX Runtime's exceptions share no base class.
            # The image has the right shape and type, so what fails on a GPU is the GPU.
            kind = EngineError if self._on_cpu else DeviceLostError
            raise kind(f"{self.description}: inference failed ({one_line(error)})") from error
        return mask[0], confidence[0]


def _create_session(model: bytes, runtime: Runtime, device_index: int, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # What fails is raised below.
    # Threads that spin between operators take the cores from other nodes: twice as slow on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if runtime.provider == "openvino":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(
            model, options, providers=_provider_options(runtime, device_index, threads), enable_fallback=0
        )
    except _UNUSABLE_MODEL as error:
        raise BundleError(f"not a model that ONNX Runtime can read ({one_line(error)}); export it again") from error
    except Exception as error:  # ONNX Runtime's exceptions share no base class.
        raise EngineError(
            f"{runtime}: onnxruntime {ort.__version__} cannot run the model there ({one_line(error)})"
        ) from error
    running = session.get_providers()[0]
    if running != _PROVIDERS[runtime.provider]:
        raise EngineError(
            f"{runtime}: did not start, {running} would run instead; check the driver and libraries that "
            f"{_PACKAGES[runtime.provider]} needs"
        )
    return session


def _provider_options(runtime: Runtime, device_index: int, threads: int) -> list[tuple[str, dict[str, Any]]]:
    cuda = (_PROVIDERS["cuda"], {"device_id": device_index})
    if runtime.provider == "openvino":
        # No pinning: engines of several cameras would all be bound to the same first cores.
        config: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        if runtime.precision_hint:
            config["INFERENCE_PRECISION_HINT"] = runtime.precision_hint
        return [(_PROVIDERS["openvino"], {"device_type": "CPU", "load_config": json.dumps({"CPU": config})})]
    if runtime.provider == "tensorrt":
        fp16 = runtime.precision_hint == "f16"
        return [(_PROVIDERS["tensorrt"], {"device_id": device_index, "trt_fp16_enable": fp16}), cuda]
    if runtime.provider == "cuda":
        return [cuda]
    return [(_PROVIDERS["cpu"], {})]


def _check_interface(session: ort.InferenceSession, spec: InputSpec) -> None:
    plane = (1, spec.height, spec.width)
    expected = {"input image": (*plane, 3), "output mask": plane, "output confidence": plane}
    found = {f"input {port.name}": port for port in session.get_inputs()}
    found |= {f"output {port.name}": port for port in session.get_outputs()}
    if found.keys() != expected.keys():
        raise BundleError(f"the model has {', '.join(found)}; the contract is {', '.join(expected)}; export it again")
    for name, shape in expected.items():
        port = found[name]
        if port.type != "tensor(uint8)" or tuple(port.shape) != shape:
            raise BundleError(
                f"{name} of the model is {port.type} {tuple(port.shape)}, by the manifest it is tensor(uint8) {shape}; "
                "export it again"
            )


load = OnnxRuntimeEngine
"""What every engine's module offers under this name."""
