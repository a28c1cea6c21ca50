"""Int8 graphs: the ranges they round by, the layers left alone, and which layers are to blame."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="quantization needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="quantization needs ONNX Runtime: pip install -r requirements/runtime.txt")

import onnx
from onnx import numpy_helper
from torch import nn

from seg_perception.engines.manifest import InputSpec
from seg_perception.models.build import PixelClassifier
from seg_perception.models.deploy import Deployed
from seg_perception.training.export import export_onnx
from seg_perception.training.logits import GraphLogits
from seg_perception.training.quantize import METHODS, Quantizer, dynamic_share, quantize_weights
from seg_perception.training.sensitivity import rank_layers

SPEC = InputSpec(64, 64)


def _graph(*layers: nn.Module) -> bytes:
    torch.manual_seed(0)
    return export_onnx(Deployed(PixelClassifier(nn.Sequential(*layers).eval(), 32)), SPEC)


def _convolutions() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1)]


@pytest.fixture(scope="module")
def graph() -> bytes:
    return _graph(*_convolutions())


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(4)]


def _noise(model: bytes, graph: bytes, images: list[np.ndarray]) -> float:
    """Power of the logits' error over their power, on an image that did not calibrate."""
    exact, found = GraphLogits(graph)(images[-1]), GraphLogits(model)(images[-1])
    return float(np.square(found - exact).sum() / np.square(exact).sum())


@pytest.mark.parametrize("method", METHODS)
def test_every_calibration_keeps_the_logits(method: str, graph: bytes, images: list[np.ndarray]) -> None:
    noise = _noise(Quantizer(graph, images[:3], method).quantize(), graph, images)
    assert 0 < noise < 0.01


def test_layers_are_called_as_in_the_network(graph: bytes, images: list[np.ndarray]) -> None:
    assert Quantizer(graph, images[:1]).layers == ("network.0", "network.2", "network.4")


def test_layers_kept_in_float_are(graph: bytes, images: list[np.ndarray]) -> None:
    quantizer = Quantizer(graph, images[:3])
    assert _float_weights(quantizer.quantize(["network.2"])) == {(8, 8, 3, 3)}
    assert _float_weights(quantizer.quantize()) == set()
    assert _float_weights(quantizer.only("network.2")) == {(8, 3, 3, 3), (3, 8, 1, 1)}


def _float_weights(model: bytes) -> set[tuple[int, ...]]:
    """Shapes of the kernels that are stored in float; the ids of the classes are none."""
    tensors = [t for t in onnx.load_from_string(model).graph.initializer if t.name != "classes"]
    return {tuple(t.dims) for t in tensors if len(t.dims) == 4 and t.data_type == onnx.TensorProto.FLOAT}


def test_int8_graphs_are_valid_onnx(graph: bytes, images: list[np.ndarray]) -> None:
    """Every node after those whose results it takes: OpenVINO and TensorRT's own readers insist."""
    onnx.checker.check_model(Quantizer(graph, images[:1]).quantize(), full_check=True)


def test_learned_ranges_are_used(graph: bytes, images: list[np.ndarray]) -> None:
    model = onnx.load_from_string(Quantizer(graph, images[:1], learned={"network.2": (0.0, 51.0)}).quantize())
    scales = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("_scale") and not t.dims]
    assert any(scale == pytest.approx(51 / 255) for scale in scales)


def test_layers_whose_input_has_outliers_are_blamed(images: list[np.ndarray]) -> None:
    layers = _convolutions()
    with torch.no_grad():
        layers[0].bias[0] = 5000.0  # fills the range of the next layer's input,
        layers[2].weight[:, 0] = 0.0  # which does not even look at it
    graph = _graph(*layers)
    ranked = rank_layers(graph, Quantizer(graph, images[:3]), images[:2])
    assert {entry.layer for entry in ranked[:2]} == {"network.0", "network.2"}
    assert ranked[1].noise > 10 * ranked[2].noise


def test_dynamic_quantization_leaves_convolutions_alone(graph: bytes) -> None:
    assert dynamic_share(graph) == 0
    assert quantize_weights(graph) is None


class _PerPixel(nn.Module):
    """Matrix products over the channels, as in a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return logits


class _PerImage(_PerPixel):
    """The same of the mean colour: products of one row with weights and bias are another operator, Gemm."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(image.mean((2, 3)))
        return logits[..., None, None].expand(-1, -1, *image.shape[2:])


@pytest.mark.parametrize("network", [_PerPixel, _PerImage])
def test_dynamic_quantization_shrinks_matrix_products(network: type[nn.Module], images: list[np.ndarray]) -> None:
    graph = _graph(network())
    assert dynamic_share(graph) > 0.9
    small = quantize_weights(graph)
    assert small is not None
    assert len(small) < 0.6 * len(graph)
    assert 0 < _noise(small, graph, images) < 0.01
