"""Smaller files of the same graphs."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="quantization needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="quantization needs ONNX Runtime: pip install -r requirements/runtime.txt")

import onnx
from onnx import TensorProto, helper
from torch import nn

from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine, installed_providers
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.deploy import Deployed
from seg_perception.training.compact import compact
from seg_perception.training.export import export_onnx
from seg_perception.training.logits import GraphLogits, set_temperature
from seg_perception.training.quantize import Quantizer

SPEC = InputSpec(64, 64)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(4)]


class Gated(nn.Module):
    """A convolution whose channels a matrix product weighs."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.weigh = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8)
        self.classify = nn.Conv2d(8, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.features(image)
        return self.classify(features * self.weigh(features.mean((2, 3))).sigmoid()[..., None, None])


@pytest.fixture(scope="module", params=["unet", "gated"])
def int8(request: pytest.FixtureRequest, images: list[np.ndarray]) -> bytes:
    """Of random weights."""
    torch.manual_seed(0)
    options = {"channels": [8, 8, 16, 16], "decoder_channels": [16, 16, 8, 8, 8]}
    unet = request.param == "unet"
    network = build("unet", "tu-resnet10t", options, 3) if unet else PixelClassifier(Gated(), 32)
    return Quantizer(export_onnx(Deployed(network.eval()), SPEC), images[:3]).quantize()


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_masks_and_confidence_are_the_same(provider: str, int8: bytes, images: list[np.ndarray]) -> None:
    if provider not in installed_providers():
        pytest.skip(f"{provider} is not installed here")
    before, after = (OnnxRuntimeEngine(model, SPEC, Runtime(provider)) for model in (int8, compact(int8)))
    for image in images:
        expected, found = before.infer(image), after.infer(image)
        np.testing.assert_array_equal(found.mask, expected.mask)
        np.testing.assert_array_equal(found.confidence, expected.confidence)


def test_little_is_left_around_the_weights(int8: bytes) -> None:
    def around(model: bytes) -> int:
        return len(model) - sum(len(t.raw_data) for t in onnx.load_from_string(model).graph.initializer)

    assert around(compact(int8)) < 0.5 * around(int8)


def test_the_temperature_can_still_be_set(int8: bytes, images: list[np.ndarray]) -> None:
    small = compact(int8)
    np.testing.assert_array_equal(GraphLogits(small)(images[0]), GraphLogits(int8)(images[0]))
    cold, warm = (OnnxRuntimeEngine(set_temperature(small, t), SPEC, Runtime("cpu")) for t in (0.5, 5.0))
    assert cold.infer(images[0]).confidence.mean() > warm.infer(images[0]).confidence.mean() + 10


@pytest.mark.parametrize("zero_point", [0, 5])
def test_weights_that_are_not_around_zero_keep_their_zero_point(zero_point: int) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4]) for name in "xy"]
    constants = [
        helper.make_tensor("weight", TensorProto.INT8, [1, 1, 1, 1], [7]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("zero", TensorProto.INT8, [], [zero_point]),
    ]
    graph = helper.make_graph(nodes, "convolution", ends[:1], ends[1:], constants)
    found = onnx.load_from_string(compact(helper.make_model(graph).SerializeToString())).graph
    assert len(found.node[0].input) == len(found.initializer) == (3 if zero_point else 2)


def test_graphs_with_control_flow_stay_as_they_are() -> None:
    ends = [helper.make_tensor_value_info(n, t, [2]) for n, t in (("x", TensorProto.FLOAT), ("y", TensorProto.FLOAT))]
    branches = {
        name: helper.make_graph([helper.make_node(operator, ["x"], ["z"])], name, [], [ends[1]])
        for name, operator in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }
    condition = helper.make_tensor("condition", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["condition"], ["y"], **branches)
    graph = helper.make_graph([node], "if", ends[:1], ends[1:], [condition])
    model = helper.make_model(graph).SerializeToString()
    assert compact(model) == model
