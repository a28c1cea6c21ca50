"""ONNX segmentation networks from anywhere → a graph by the bundle's contract: bytes in, mask and confidence out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper, utils, version_converter
from torch.nn import functional

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import ModelImportError, one_line
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.models.deploy import INVERSE_TEMPERATURE
from seg_perception.training.export import OPSET, require_agreement

PREFIX = "network."
"""Before every name inside the network, so that none can be one of the contract's."""
_FLOATS = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
_SOFTMAX_ERROR = 0.01  # of float16
_LEAST_PROBABILITY = 1e-6
_CPU = ["CPUExecutionProvider"]


@dataclass(frozen=True)
class Preprocessing:
    """What the network gets: (pixel / 255 - mean) / std, one of each for every channel in its order, rgb or bgr."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    order: str = "rgb"

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 BGR → (1, H, W, 3) float32."""
        scale, offset = self.linear
        ordered = image[..., ::-1] if self.order == "rgb" else image
        return np.asarray((ordered * scale + offset)[np.newaxis], np.float32)

    @property
    def linear(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scale and offset of a byte, each (3,)."""
        mean, std = np.array(self.mean), np.array(self.std)
        return (1.0 / (255.0 * std)).astype(np.float32), (-mean / std).astype(np.float32)


class Network:
    """A network of one float image and one output, logits or labels, at a fixed size.

    logits: float (1, C, h, w), or (1, h, w, C) of a network whose input is channels last; or, of a network that ends in
    softmax, probabilities. labels: integers (1, h, w) or (1, 1, h, w). Any h, w.
    """

    def __init__(self, model: onnx.ModelProto, size: tuple[int, int] | None, output: str = "", name: str = "") -> None:
        """size: (width, height), for networks whose input leaves it open. Raises ModelImportError with `name` in it."""
        self._name = name
        model = self._with_opset(model)
        source, output = self._ports(model, output)
        model = compose.add_prefix(_cut(model, source, output), PREFIX)
        self._input, self.output = model.graph.input[0], model.graph.output[0]
        self._channels_first, (self.width, self.height) = self._layout(size)
        self.model = _with_size(model, self._shape)
        self._session = self._start()
        found = self.run(np.zeros((1, self.height, self.width, 3), np.float32))
        self.gives_labels = bool(np.issubdtype(found.dtype, np.integer))
        self._check_output(found)
        self.output_shape = found.shape
        probes = found, self._of_noise()
        self.gives_probabilities = not self.gives_labels and all(map(self._is_softmax, probes))
        if not self.gives_labels and not self.gives_probabilities:
            self._refuse_sigmoids(probes)

    @property
    def n_classes(self) -> int | None:
        """Of the logits; None for labels, which do not tell."""
        return None if self.gives_labels else int(self.output_shape[1 if self._channels_first else 3])

    @property
    def output_size(self) -> tuple[int, int]:
        """(h, w) of the output."""
        plane = self.output_shape[-2:] if self._channels_first or self.gives_labels else self.output_shape[1:3]
        return int(plane[0]), int(plane[1])

    @property
    def input_name(self) -> str:
        """Of the float image."""
        return str(self._input.name)

    @property
    def dtype(self) -> int:
        """ONNX's number of the input's type."""
        return int(self._input.type.tensor_type.elem_type)

    @property
    def channels_first(self) -> bool:
        """Whether the input is (1, 3, H, W), else (1, H, W, 3)."""
        return self._channels_first

    def _of_noise(self) -> NDArray[Any]:
        noise = np.random.default_rng(0).uniform(-2.0, 2.0, (1, self.height, self.width, 3))
        return self.run(noise.astype(np.float32))

    def _is_softmax(self, found: NDArray[Any]) -> bool:
        total = found.sum(1 if self._channels_first else 3, dtype=np.float64)
        return bool(found.min() >= 0.0 and np.allclose(total, 1.0, atol=_SOFTMAX_ERROR))

    def _refuse_sigmoids(self, probes: Iterable[NDArray[Any]]) -> None:
        if all(found.min() >= 0.0 and found.max() <= 1.0 for found in probes):
            raise self.error(
                "seems to end in sigmoids (0..1, of no sum), whose classes do not exclude each other, so that there is "
                "no confidence in one; export it without them"
            )

    def run(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        """The network as it came, in plain ONNX Runtime: normalised (1, H, W, 3) → its output."""
        pixels = pixels.transpose(0, 3, 1, 2) if self._channels_first else pixels
        feed = np.ascontiguousarray(pixels, _FLOATS[self.dtype])
        try:
            (found,) = self._session.run([self.output.name], {self.input_name: feed})
        except Exception as error:  # ONNX Runtime's exceptions share no base class.
            raise self.error(
                f"does not run on {self.width}x{self.height} ({one_line(error)}); give a --size that it takes"
            ) from error
        return np.asarray(found)

    def decide(self, pixels: NDArray[np.float32], n_classes: int) -> NDArray[np.uint8]:
        """(H, W) uint8 of what `run` gives: the reference of the wrapped graph."""
        found = torch.from_numpy(self.run(pixels))
        if self.gives_labels:
            planes = found.reshape(1, 1, *found.shape[-2:]).double()
            planes = functional.interpolate(planes, (self.height, self.width), mode="nearest-exact")[0, 0]
            known = (planes >= 0) & (planes < n_classes)
            return np.asarray(torch.where(known, planes, float(UNLABELLED)).numpy(), np.uint8)
        logits = found.float() if self._channels_first else found.float().permute(0, 3, 1, 2)
        logits = functional.interpolate(logits, (self.height, self.width), mode="bilinear", align_corners=False)
        return np.asarray(logits[0].argmax(0).numpy(), np.uint8)

    @property
    def _shape(self) -> tuple[int, ...]:
        plane = (self.height, self.width)
        return (1, 3, *plane) if self._channels_first else (1, *plane, 3)

    def error(self, text: str) -> ModelImportError:
        """An error that names the network."""
        return ModelImportError(f"{self._name}: {text}")

    def _with_opset(self, model: onnx.ModelProto) -> onnx.ModelProto:
        version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        if version >= OPSET:
            return model
        try:
            return version_converter.convert_version(model, OPSET)
        except Exception as error:  # the converter raises RuntimeError, ConvertError and others
            raise self.error(
                f"opset {version} is too old and cannot be converted to {OPSET} ({one_line(error)}); "
                f"export it again with opset {OPSET}"
            ) from error

    def _ports(self, model: onnx.ModelProto, output: str) -> tuple[str, str]:
        initializers = {tensor.name for tensor in model.graph.initializer}
        inputs = [port for port in model.graph.input if port.name not in initializers]
        if len(inputs) != 1:
            names = ", ".join(port.name for port in inputs) or "none"
            raise self.error(f"has {len(inputs)} inputs ({names}); a segmentation network has one, the image")
        outputs = [port.name for port in model.graph.output]
        if output and output not in outputs:
            raise self.error(f"has no output {output!r}; its outputs are {', '.join(outputs)}")
        if not output and len(outputs) != 1:
            raise self.error(f"has several outputs ({', '.join(outputs)}); choose one with --output")
        return inputs[0].name, output or outputs[0]

    def _layout(self, size: tuple[int, int] | None) -> tuple[bool, tuple[int, int]]:
        kind = self._input.type.tensor_type
        if kind.elem_type not in _FLOATS:
            shown = TensorProto.DataType.Name(kind.elem_type).lower()
            raise self.error(f"its input is {shown}; expected float or float16 pixels")
        dims = [dim.dim_value for dim in kind.shape.dim]  # 0 where it is left open
        channels_first = len(dims) == 4 and dims[1] in (3, 0) and not (dims[1] == 0 and dims[3] == 3)
        if len(dims) != 4 or dims[0] not in (0, 1) or not (channels_first or dims[3] == 3):
            raise self.error(f"its input is {_shape_text(kind)}; expected one image, (1, 3, H, W) or (1, H, W, 3)")
        height, width = dims[2:] if channels_first else dims[1:3]
        if size is None and not (height and width):
            raise self.error(f"its input is {_shape_text(kind)}, which leaves the size open; give --size WIDTHxHEIGHT")
        size = size or (width, height)
        if (width or size[0], height or size[1]) != size:
            raise self.error(f"its input is {width}x{height}, fixed; --size is {size[0]}x{size[1]}")
        return channels_first, size

    def _start(self) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            return ort.InferenceSession(self.model.SerializeToString(), options, providers=_CPU)
        except Exception as error:  # ONNX Runtime's exceptions share no base class.
            raise self.error(f"ONNX Runtime {ort.__version__} cannot load it ({one_line(error)})") from error

    def _check_output(self, found: NDArray[Any]) -> None:
        labels = self.gives_labels and (found.ndim == 3 or (found.ndim == 4 and found.shape[1] == 1))
        logits = np.issubdtype(found.dtype, np.floating) and found.ndim == 4
        if not (labels or logits) or found.shape[0] != 1:
            raise self.error(
                f"output {self.output.name.removeprefix(PREFIX)} is {found.dtype} {found.shape}; expected logits "
                "(1, classes, h, w), or integer labels (1, h, w); choose another with --output"
            )


def read_onnx(path: Path) -> onnx.ModelProto:
    """An ONNX file with its external data. Raises ModelImportError."""
    try:
        return onnx.load(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ModelImportError(f"{path}: no such file; give an .onnx file") from error
    except onnx.checker.ValidationError as error:
        raise ModelImportError(
            f"{path}: the file of its external data is missing; put it beside the model ({one_line(error)})"
        ) from error
    except (DecodeError, OSError, ValueError) as error:
        raise ModelImportError(f"{path}: not an ONNX model ({one_line(error)})") from error


def wrap(network: Network, preprocessing: Preprocessing, n_classes: int) -> bytes:
    """The contract's graph around the network: image uint8 (1, H, W, 3) BGR → mask, confidence uint8 (1, H, W).

    Logits are enlarged to the image before the decision; confidence is 255 x the probability of the most likely class.
    Labels have confidence 255; what is no class of the table is 255, with confidence 0. Raises ModelImportError.
    """
    if network.n_classes not in (n_classes, None):
        shape = "x".join(map(str, network.output_shape))
        raise network.error(
            f"gives {network.n_classes} classes (output {shape}), the class table has {n_classes}; give its own table, "
            "and an output with the axes of the input: (1, classes, h, w), or (1, h, w, classes)"
        )
    graph = _Graph()
    _normalise(graph, network, preprocessing)
    graph.nodes += network.model.graph.node
    if network.gives_labels:
        _take_labels(graph, network, n_classes)
    else:
        _decide(graph, network, n_classes)
    plane = [1, network.height, network.width]
    model = network.model
    wrapped = helper.make_graph(
        graph.nodes,
        "segmentation",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*plane, 3])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, plane) for name in ("mask", "confidence")],
        [*graph.constants, *model.graph.initializer],
    )
    result = helper.make_model(
        wrapped, opset_imports=model.opset_import, ir_version=max(8, model.ir_version), functions=model.functions
    )
    for index, node in enumerate(result.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
        node.doc_string = ""
    content: bytes = onnx.shape_inference.infer_shapes(result, data_prop=True).SerializeToString()
    return content


def verify(
    network: Network,
    wrapped: bytes,
    preprocessing: Preprocessing,
    n_classes: int,
    images: Sequence[NDArray[np.uint8]],
) -> None:
    """The wrapped graph decides as the network as it came.

    images: (H, W, 3) uint8 BGR of the input's size. Raises ModelImportError.
    """
    engine = OnnxRuntimeEngine(wrapped, InputSpec(network.width, network.height), Runtime("cpu"))
    shares = []
    for image in images:
        expected = network.decide(preprocessing.apply(image), n_classes)
        shares.append(float(np.mean(engine.infer(image).mask == expected)))
    advice = f"export it again with opset {OPSET}"
    require_agreement(shares, lambda where: network.error(f"the wrapped graph agrees with it {where}; {advice}"))


class _Graph:
    """Nodes and constants of a graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def _normalise(graph: _Graph, network: Network, preprocessing: Preprocessing) -> None:
    scale, offset = preprocessing.linear
    name = "image"
    if preprocessing.order == "rgb":
        name = graph.add("Gather", [name, graph.constant("order", [2, 1, 0], np.int64)], "ordered", axis=3)
    name = graph.add("Cast", [name], "pixels", to=TensorProto.FLOAT)
    name = graph.add("Mul", [name, graph.constant("scale", scale)], "scaled")
    name = graph.add("Add", [name, graph.constant("offset", offset)], "normalised")
    if network.channels_first:  # last of all, as in models/deploy.py
        name = graph.add("Transpose", [name], "planes", perm=[0, 3, 1, 2])
    graph.add("Cast", [name], network.input_name, to=network.dtype)


def _decide(graph: _Graph, network: Network, n_classes: int) -> None:
    size = [1, n_classes, network.height, network.width]
    logits = graph.add("Cast", [network.output.name], "raw_logits", to=TensorProto.FLOAT)
    if not network.channels_first:
        logits = graph.add("Transpose", [logits], "logit_planes", perm=[0, 3, 1, 2])
    if network.output_size != (network.height, network.width):
        enlarged = [logits, "", "", graph.constant("logits_size", size, np.int64)]
        logits = graph.add("Resize", enlarged, "logits", mode="linear")
    if network.gives_probabilities:
        bounded = graph.add("Max", [logits, graph.constant("least", _LEAST_PROBABILITY)], "probabilities")
        logits = graph.add("Log", [bounded], "log_probabilities")
    pixels = graph.constant("flat", [1, n_classes, network.height * network.width], np.int64)
    logits = graph.add("Reshape", [logits, pixels], "flat_logits")  # decided as in models/deploy.py
    classes = graph.constant("classes", [1], np.int64)
    top = graph.add("ReduceMax", [logits, classes], "top", keepdims=1)
    ids = graph.constant("ids", np.arange(n_classes).reshape(1, n_classes, 1))
    is_top = graph.add("Equal", [logits, top], "is_top")
    winners = graph.add("Where", [is_top, ids, graph.constant("unlabelled", float(UNLABELLED))], "winners")
    labels = graph.add("ReduceMin", [winners, classes], "labels", keepdims=0)
    plane = graph.constant("plane", [1, network.height, network.width], np.int64)
    graph.add("Reshape", [graph.add("Cast", [labels], "flat_mask", to=TensorProto.UINT8), plane], "mask")
    below = graph.add("Sub", [logits, top], "below_top")
    tempered = graph.add("Mul", [below, graph.constant(INVERSE_TEMPERATURE, 1.0)], "tempered")
    total = graph.add("ReduceSum", [graph.add("Exp", [tempered], "odds"), classes], "total", keepdims=0)
    share = graph.add("Div", [graph.constant("full", 255.0), total], "share")
    rounded = graph.add("Add", [share, graph.constant("half", 0.5)], "rounded")
    rounded = graph.add("Min", [rounded, "full"], "bounded")
    graph.add("Reshape", [graph.add("Cast", [rounded], "flat_confidence", to=TensorProto.UINT8), plane], "confidence")


def _take_labels(graph: _Graph, network: Network, n_classes: int) -> None:
    height, width = network.height, network.width
    given = graph.add("Cast", [network.output.name], "given", to=TensorProto.FLOAT)
    given = graph.add("Reshape", [given, graph.constant("own_plane", [1, 1, *network.output_size], np.int64)], "own")
    size = graph.constant("mask_size", [1, 1, height, width], np.int64)
    nearest = {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    full = graph.add("Resize", [given, "", "", size], "full", **nearest)
    plane = graph.add("Reshape", [full, graph.constant("plane", [1, height, width], np.int64)], "plane_labels")
    low = graph.add("GreaterOrEqual", [plane, graph.constant("first", 0.0)], "from_first")
    high = graph.add("Less", [plane, graph.constant("beyond", float(n_classes))], "up_to_last")
    known = graph.add("And", [low, high], "known")
    labels = graph.add("Where", [known, plane, graph.constant("unlabelled", float(UNLABELLED))], "labels")
    graph.add("Cast", [labels], "mask", to=TensorProto.UINT8)
    sure = graph.add("Where", [known, graph.constant("sure", 255.0), graph.constant("unsure", 0.0)], "sureness")
    graph.add("Cast", [sure], "confidence", to=TensorProto.UINT8)


def _cut(model: onnx.ModelProto, source: str, output: str) -> onnx.ModelProto:
    """The part of the graph between two tensors, so that auxiliary heads cost nothing."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in initializers]
    del model.graph.input[:]  # old exporters list the weights there, too
    model.graph.input.extend(ports)
    return utils.Extractor(model).extract_model([source], [output])


def _with_size(model: onnx.ModelProto, shape: Sequence[int]) -> onnx.ModelProto:
    """Every dimension of the input fixed, and what follows from it inferred anew."""
    for dim, value in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = value
    del model.graph.value_info[:]
    for dim in model.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _shape_text(kind: Any) -> str:
    return "(" + ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in kind.shape.dim) + ")"
