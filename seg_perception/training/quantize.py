"""Static quantization to int8: unsigned activations, signed weights per output channel (QDQ)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from seg_perception.core.errors import ExportError

KEEP_FLOAT_STEPS: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (1, 1), (1, 4))
"""Numbers of first and last convolutions left in float, in the order in which they are tried."""


def quantize(model: bytes, images: Sequence[NDArray[np.uint8]], keep_float: tuple[int, int] = (0, 0)) -> bytes:
    """An int8 graph with the interface of `model`.

    images: (H, W, 3) uint8 of the input's size, to find the ranges of activations; a few dozen of training images.
    keep_float: numbers of convolutions left in float at the start and the end, where quantization costs most accuracy.
    The pixels' normalisation and the decision are never quantized.
    """
    logging.getLogger("root").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in ("source", "prepared", "int8"))
        source.write_bytes(model)
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=_outside(onnx.load(prepared), keep_float),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True},
        )
        return target.read_bytes()


def _outside(model: onnx.ModelProto, keep_float: tuple[int, int]) -> list[str]:
    """Names of the nodes before the first convolution that is quantized, and from behind the last one."""
    first, last = keep_float
    nodes = list(model.graph.node)
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    if len(convolutions) <= first + last:
        raise ExportError(f"the graph has {len(convolutions)} convolutions; nothing is left to quantize")
    begin, end = convolutions[first], convolutions[len(convolutions) - 1 - last]
    return [node.name for index, node in enumerate(nodes) if not begin <= index <= end]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[np.newaxis]}
