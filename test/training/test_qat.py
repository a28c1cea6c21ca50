"""Quantization-aware training: rounds while training as the int8 graph does afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="quantization needs ONNX Runtime: pip install -r requirements/runtime.txt")

from timm.layers import Conv2dSame
from torch import nn

from seg_perception.cli import main
from seg_perception.engines.manifest import InputSpec
from seg_perception.models.build import PixelClassifier
from seg_perception.models.deploy import Deployed, normalise
from seg_perception.training.export import export_onnx
from seg_perception.training.logits import GraphLogits
from seg_perception.training.qat import observe, round_convolutions, split_ranges
from seg_perception.training.quantize import Quantizer
from seg_perception.training.trained import Trained

SPEC = InputSpec(64, 64)


def _network() -> PixelClassifier:
    """With batch normalisation that is not the identity, and a convolution of timm's."""
    torch.manual_seed(0)
    layers = [Conv2dSame(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1)]
    with torch.no_grad():
        layers[1].weight.uniform_(-2, 2)
        layers[1].running_var.uniform_(0.2, 3)
        layers[1].running_mean.uniform_(-1, 1)
    return PixelClassifier(nn.Sequential(*layers).eval(), 32).eval()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(4)]


def _logits(network: PixelClassifier, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(normalise(torch.from_numpy(image)[None]))[0].numpy()


def test_rounding_in_training_is_that_of_the_exported_graph(images: list[np.ndarray]) -> None:
    plain, rounding = _network(), _network()
    round_convolutions(rounding)
    observe(rounding, images)
    weights, ranges = split_ranges(rounding.state_dict())
    assert set(ranges) == {"network.0", "network.3"}
    plain.load_state_dict(weights)
    graph = export_onnx(Deployed(plain), SPEC)
    exported = GraphLogits(Quantizer(graph, images, learned=ranges).quantize())(images[0])
    exact, rounded = _logits(plain, images[0]), _logits(rounding, images[0])
    step = np.ptp(exact) / 255  # of the logits, which the graph rounds as well
    assert np.quantile(np.abs(exported - rounded), 0.99) < 0.6 * step
    assert np.quantile(np.abs(exported - exact), 0.99) > 0.8 * step


def test_gradients_pass_the_rounding(images: list[np.ndarray]) -> None:
    network = _network()
    round_convolutions(network)
    observe(network, images)
    network.train()(normalise(torch.from_numpy(images[0])[None])).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_ranges_follow_the_input_in_training_only(images: list[np.ndarray]) -> None:
    network = _network()
    round_convolutions(network)
    observe(network, images)
    before = split_ranges(network.state_dict())[1]["network.0"]
    louder = 3 * normalise(torch.from_numpy(images[0])[None])
    network.eval()(louder)
    assert split_ranges(network.state_dict())[1]["network.0"] == before
    network.train()(louder)
    low, high = split_ranges(network.state_dict())[1]["network.0"]
    assert low < before[0] and high > before[1]


def test_command_fine_tunes_what_export_reads(
    training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["qat", "--training", str(training), "--out", str(tmp_path / "out"), "--steps", "4"]
    assert main(arguments) == 0
    before, after = Trained.load(training), Trained.load(tmp_path / "out")
    assert not before.ranges
    assert len(after.ranges) == sum(isinstance(module, nn.Conv2d) for module in after.network.modules())
    assert main(arguments) == 2  # holds a training already
    capsys.readouterr()
    config = tmp_path / "boxes.yaml"
    config.write_text(yaml.safe_dump(before.config.to_dict()))
    assert main(["train", "--config", str(config), "--out", str(tmp_path / "out"), "--resume"]) == 2
    assert "resume with the command that began it" in capsys.readouterr().err
