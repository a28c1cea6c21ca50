"""Quantization to int8: unsigned activations, signed weights per output channel (QDQ); or weights alone (dynamic)."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import TensorData, TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from seg_perception.core.errors import ExportError

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
"""How the range of an activation follows from the calibration images: the mean over the images of their extremes, the
range that keeps most information (Kullback-Leibler), or the one that holds 99.999 % of all values."""

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
MIN_DYNAMIC_SHARE = 0.1
DEPLOYED_PREFIX = "network."
"""What a network's parameters are called in the graph begins with this: `Deployed` holds it under that name."""

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest input of a layer, by the layer's name in the network."""


class Quantizer:
    """A float graph and the ranges of its activations, found once; then any part of it in int8.

    layers: names of the layers with weights, in the order in which they run. To a layer belong the operators behind
    it up to the next one. The pixels' normalisation before the first layer and the decision behind the last one are
    never quantized.
    """

    def __init__(
        self,
        model: bytes,
        images: Sequence[NDArray[np.uint8]],
        method: str = "minmax",
        learned: Ranges | None = None,
    ) -> None:
        """images: (H, W, 3) uint8 of the input's size; a few dozen. learned: ranges that replace those found."""
        logging.getLogger("root").setLevel(logging.WARNING)
        with tempfile.TemporaryDirectory() as folder:
            source, prepared = Path(folder) / "source.onnx", Path(folder) / "prepared.onnx"
            source.write_bytes(model)
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            self._model = load_model_with_shape_infer(prepared)
            self._ranges = _find_ranges(prepared, images, METHODS[method])
        self._nodes = _layers(self._model)
        self.layers = tuple(self._nodes)
        self._learn(learned or {})

    def quantize(self, keep_float: Collection[str] = ()) -> bytes:
        """The graph in int8, but for the layers in `keep_float`."""
        return self._with([layer for layer in self.layers if layer not in keep_float])

    def only(self, layer: str) -> bytes:
        """The float graph with one layer in int8."""
        return self._with([layer])

    def _learn(self, learned: Ranges) -> None:
        inputs = {
            _layer_name(node): node.input[0] for node in self._model.graph.node if _has_weights(node, self._model)
        }
        for layer, (low, high) in learned.items():
            if inputs.get(layer) in self._ranges:
                extremes = np.array([low], np.float32), np.array([high], np.float32)
                self._ranges[inputs[layer]] = TensorData(lowest=extremes[0], highest=extremes[1])

    def _with(self, layers: Iterable[str]) -> bytes:
        chosen = {node for layer in layers for node in self._nodes[layer]}
        quantizer = QDQQuantizer(
            copy.deepcopy(self._model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[node.name for node in self._model.graph.node if node.name not in chosen],
            op_types_to_quantize=list({*QLinearOpsRegistry, *QDQRegistry}),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # it appends; ONNX Runtime copes with that, other readers do not
        content: bytes = quantizer.model.model.SerializeToString()
        return content


def quantize_weights(model: bytes) -> bytes | None:
    """Dynamic quantization: matrix products with int8 weights, and activations whose range is found as they come.

    None where it would do next to nothing, as less than MIN_DYNAMIC_SHARE of the weights are those of matrix products.
    Convolutions are left to static quantization.
    """
    if dynamic_share(model) < MIN_DYNAMIC_SHARE:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in ("source", "prepared", "dynamic"))
        source.write_bytes(model)
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        graph_model = onnx.load(prepared)
        del graph_model.graph.value_info[:]  # it notes shapes of weights, which quantize_dynamic transposes (Gemm)
        onnx.save(graph_model, prepared)
        quantize_dynamic(
            str(prepared), str(target), op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
        )
        return target.read_bytes()


def dynamic_share(model: bytes) -> float:
    """Share of the graph's weights, 0..1, that dynamic quantization can reach: those of matrix products."""
    graph_model = onnx.load_from_string(model)
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph_model.graph.initializer}
    products = {node.input[1] for node in graph_model.graph.node if node.op_type in ("MatMul", "Gemm")}
    return sum(sizes.get(name, 0) for name in products) / max(1, sum(sizes.values()))


def _layers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Names of the nodes by layer; the last layer is its own node alone."""
    layers: dict[str, list[str]] = {}
    for node in model.graph.node:
        if _has_weights(node, model):
            layers[_layer_name(node)] = []
        if layers:
            layers[next(reversed(layers))].append(node.name)
    if not layers:
        raise ExportError("the graph has no convolution or matrix product; nothing is left to quantize")
    last = next(reversed(layers))
    layers[last] = layers[last][:1]
    return layers


def _has_weights(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    return node.op_type in WITH_WEIGHTS and any(t.name == node.input[1] for t in model.graph.initializer)


def _layer_name(node: onnx.NodeProto) -> str:
    """As in the network where the exporter kept that name, else as the node is called."""
    weight = node.input[1]
    if weight.startswith(DEPLOYED_PREFIX) and weight.endswith(".weight"):
        return weight[len(DEPLOYED_PREFIX) : -len(".weight")]
    return str(node.name)


def _find_ranges(model: Path, images: Sequence[NDArray[np.uint8]], method: CalibrationMethod) -> TensorsData:
    options = {"moving_average": True} if method == CalibrationMethod.MinMax else {"symmetric": False}
    calibrator = create_calibrator(
        model,
        augmented_model_path=str(model.with_name("augmented.onnx")),
        calibrate_method=method,
        extra_options=options,
    )
    # Extremes are averaged over all images at once; histograms come from whole activations, which fill the memory.
    batches = [images] if method == CalibrationMethod.MinMax else [[image] for image in images]
    for batch in batches:
        calibrator.collect_data(_Reader(batch))
    return calibrator.compute_data()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[np.newaxis]}
