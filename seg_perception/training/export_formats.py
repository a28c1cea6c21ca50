"""The deployed network in other formats than a bundle, each compared with the network before it is kept."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seg_perception.core.errors import ExportError
from seg_perception.core.writable import require_writable, writing
from seg_perception.models.deploy import Deployed
from seg_perception.training.export import require_agreement

Images = Sequence[NDArray[np.uint8]]
Infer = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""(H, W, 3) uint8 → mask (H, W) uint8."""


def require_place(out: Path) -> Path:
    """Where the bundle would be, absolute. Raises ExportError unless files can be written beside it."""
    out = out.expanduser().absolute()
    with writing(out, ExportError):
        require_writable(out.parent)
    return out


def write_format(name: str, deployed: Deployed, graph: bytes, images: Images, out: Path) -> list[Path]:
    """Write `<out><suffix>` beside where the bundle would be; returns the files.

    graph: the network as ONNX. images: (H, W, 3) uint8 of the input's size, on which masks are compared.
    Raises ExportError when the format's library is not here, its masks differ or the disk refuses: no file is left.
    """
    suffixes, write = FORMATS[name]
    partial = [out.with_name(f".{out.name}.partial{suffix}") for suffix in suffixes]
    final = [out.with_name(out.name + suffix) for suffix in suffixes]
    with writing(out, ExportError):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            infer = write(deployed, graph, images, partial[0])
            _compare(name, deployed, infer, images)
            for path, target in zip(partial, final, strict=True):
                path.replace(target)
        finally:
            for path in partial:
                path.unlink(missing_ok=True)
    return final


def _compare(name: str, deployed: Deployed, infer: Infer, images: Images) -> None:
    shares = []
    for image in images:
        with torch.inference_mode():
            mask, _ = deployed(torch.from_numpy(image)[None])
        shares.append(float(np.mean(infer(image) == mask[0].numpy())))
    advice = "an operator is converted wrongly: try another version of the library"
    require_agreement(shares, lambda where: ExportError(f"{name}: masks agree with the network's {where}; {advice}"))


def _pt2(deployed: Deployed, graph: bytes, images: Images, path: Path) -> Infer:
    """torch.export's program: for torch.compile, AOTInductor and ExecuTorch."""
    program = torch.export.export(deployed.eval(), (torch.from_numpy(images[0])[None],))
    torch.export.save(program, path)
    return _torch_infer(torch.export.load(path).module())


def _torchscript(deployed: Deployed, graph: bytes, images: Images, path: Path) -> Infer:
    """A traced module: for libtorch in C++."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.export is the newer way; the other format is that
        traced = torch.jit.trace(deployed.eval(), (torch.from_numpy(images[0])[None],))
        torch.jit.save(traced, str(path))
        return _torch_infer(torch.jit.load(str(path)))


def _torch_infer(module: Any) -> Infer:
    def infer(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.inference_mode():
            mask: torch.Tensor = module(torch.from_numpy(image)[None])[0]
        return np.asarray(mask[0].numpy(), np.uint8)

    return infer


def _openvino(deployed: Deployed, graph: bytes, images: Images, path: Path) -> Infer:
    """OpenVINO's intermediate representation, weights in half precision; computed here in float32 to compare."""
    openvino = _require("openvino", "openvino")
    source = path.with_suffix(".onnx")
    source.write_bytes(graph)
    try:
        model = openvino.convert_model(source)
    finally:
        source.unlink()
    openvino.save_model(model, path, compress_to_fp16=True)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: np.asarray(compiled({"image": image[np.newaxis]})["mask"][0], np.uint8)


def _tensorrt(deployed: Deployed, graph: bytes, images: Images, path: Path) -> Infer:
    """A TensorRT engine for the GPU in this machine and its TensorRT version, in half precision where it is faster."""
    tensorrt = _require("tensorrt", "tensorrt")
    if not torch.cuda.is_available():
        raise ExportError("tensorrt: an engine is built on the GPU that runs it, and torch finds none here")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(graph):
        raise ExportError(f"tensorrt: cannot read the graph ({parser.get_error(0).desc()}); update TensorRT")
    config = builder.create_builder_config()
    if builder.platform_has_fast_fp16 and hasattr(tensorrt.BuilderFlag, "FP16"):
        config.set_flag(tensorrt.BuilderFlag.FP16)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError("tensorrt: building the engine failed; see its messages above")
    path.write_bytes(plan)
    engine = tensorrt.Runtime(logger).deserialize_cuda_engine(path.read_bytes())
    return lambda image: _run_tensorrt(engine, image)


def _run_tensorrt(engine: Any, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    context = engine.create_execution_context()
    pixels = torch.from_numpy(image)[None].contiguous().cuda()
    planes = {name: torch.empty((1, *image.shape[:2]), dtype=torch.uint8, device="cuda") for name in _OUTPUTS}
    for name, tensor in {"image": pixels, **planes}.items():
        context.set_tensor_address(name, tensor.data_ptr())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    return np.asarray(planes["mask"][0].cpu().numpy(), np.uint8)


_OUTPUTS = ("mask", "confidence")


def require_library(name: str) -> None:
    """Raises ExportError where a format's library is not installed."""
    if name in ("openvino", "tensorrt"):
        _require(name, name)


def _require(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExportError(f"{module}: not installed here ({error}); pip install {package}") from error


FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Deployed, bytes, Images, Path], Infer]]] = {
    "pt2": ((".pt2",), _pt2),
    "torchscript": ((".torchscript.pt",), _torchscript),
    "openvino": ((".xml", ".bin"), _openvino),
    "tensorrt": ((".engine",), _tensorrt),
}
"""Name → suffixes of its files, and what writes the first of them (the others lie beside it)."""
