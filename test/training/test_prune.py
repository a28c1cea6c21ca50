"""Pruning: channels are gone for good, and what is left loads, trains and exports."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")
pytest.importorskip("torch_pruning", reason="pruning needs torch-pruning: pip install -r requirements/train.txt")

from box_scenes import HEIGHT, MODEL, WIDTH
from torch import nn

from seg_perception.cli import main
from seg_perception.core.errors import TrainingError
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.deploy import Deployed
from seg_perception.models.weights import load_weights
from seg_perception.training import checkpoint
from seg_perception.training.prune import cost, prune
from seg_perception.training.trained import Trained

SIZE = (WIDTH, HEIGHT)


def _unet() -> PixelClassifier:
    torch.manual_seed(0)
    return build(MODEL["architecture"], MODEL["encoder"], MODEL["options"], 3).eval()


def _depthwise() -> PixelClassifier:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 32, 3, groups=32), nn.ReLU(), nn.Conv2d(32, 3, 1)]
    return PixelClassifier(nn.Sequential(*layers), 32).eval()


class _Idle(nn.Module):
    """Computes something that nobody uses, like the stages of an encoder below the deepest that is decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 3, 1)
        self.idle = nn.Conv2d(32, 64, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.first(image)
        self.idle(features)
        logits: torch.Tensor = self.head(features)
        return logits


def _idle() -> PixelClassifier:
    torch.manual_seed(0)
    return PixelClassifier(_Idle(), 32).eval()


def test_operations_for_nothing_are_not_counted() -> None:
    per_pixel = 3 * 9 * 32 + 32 * 3
    assert cost(_idle(), SIZE).operations == 2 * per_pixel * WIDTH * HEIGHT


def _shallow() -> PixelClassifier:
    """Its decoder takes nothing of the last stages of the encoder, which never run."""
    torch.manual_seed(0)
    return build("unet", "resnet18", {"encoder_depth": 3, "decoder_channels": [32, 16, 16]}, 3).eval()


def _layer_norms() -> PixelClassifier:
    torch.manual_seed(0)
    return build("unet", "tu-convnext_atto", {"encoder_depth": 4, "decoder_channels": [32, 16]}, 3).eval()


@pytest.mark.parametrize("make", [_unet, _depthwise, _idle, _shallow, _layer_norms])
def test_pruned_network_is_smaller_and_loads_again(make) -> None:
    network, fresh = make(), make()
    before = cost(network, SIZE)
    prune(network, 0.4, 3)
    after = cost(network, SIZE)
    assert after.operations <= 0.6 * before.operations
    assert after.parameters < 0.8 * before.parameters
    load_weights(fresh, network.state_dict(), "checkpoint")
    image = torch.rand(1, 3, HEIGHT, WIDTH)
    assert torch.equal(fresh.eval()(image), network.eval()(image))
    assert fresh(image).shape == (1, 3, HEIGHT, WIDTH)
    layers = [module for module in fresh.modules() if isinstance(module, nn.Conv2d)]
    assert all(
        layer.weight.shape == (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        for layer in layers
    )


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"best\.pt: holds the weights of another model"):
        load_weights(_unet(), _depthwise().state_dict(), "best.pt")
    wider = _depthwise()
    wider.network[0] = nn.Conv2d(3, 64, 3)
    with pytest.raises(TrainingError, match="another model"):
        load_weights(_depthwise(), wider.state_dict(), "best.pt")


@pytest.mark.parametrize(("ratio", "words"), [(0.0, "--ratio is 0.0"), (1.5, "--ratio is 1.5"), (0.99, "lower ratio")])
def test_ratio_that_cannot_be_is_refused(ratio: float, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        prune(_depthwise(), ratio, 3)


def test_network_that_cannot_be_pruned_is_refused() -> None:
    options = {"channels": [8, 8, 16, 16], "pyramid_channels": 8, "proposals": 8, "detections": 4}
    network = build("mask_rcnn", "tu-resnet10t", options, 3)
    with pytest.raises(TrainingError, match="mask_rcnn cannot be pruned"):
        prune(network, 0.3, 3)


class _Views(nn.Module):
    """Its channels are in the shape of a view, which pruning cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(16, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.first(image)
        logits: torch.Tensor = self.head(features.view(1, 16, 2, *image.shape[2:]).sum(2))
        return logits


def test_a_network_that_pruning_cannot_follow_is_refused() -> None:
    with pytest.raises(TrainingError, match="cannot follow this network"):
        prune(PixelClassifier(_Views(), 32).eval(), 0.3, 3)


def test_command_prunes_trains_and_can_be_resumed(
    training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prune", "--training", str(training), "--out", str(tmp_path / "out"), "--ratio", "0.3"]
    arguments += ["--learning-rate", "5e-4"]
    assert main([*arguments, "--steps", "4", "--teacher", str(training)]) == 0
    assert "operations, G" in capsys.readouterr().out
    assert main([*arguments, "--steps", "8", "--resume"]) == 2
    assert "was trained with a --teacher" in capsys.readouterr().err
    assert main([*arguments, "--steps", "8", "--teacher", str(training), "--resume"]) == 0
    before, after = Trained.load(training), Trained.load(tmp_path / "out")
    assert after.config.schedule.learning_rate == 5e-4
    assert checkpoint.load(tmp_path / "out" / checkpoint.LAST)["step"] == 8
    assert cost(after.network, SIZE).operations <= 0.7 * cost(before.network, SIZE).operations
    mask, _ = Deployed(after.network)(torch.zeros((1, HEIGHT, WIDTH, 3), dtype=torch.uint8))
    assert mask.shape == (1, HEIGHT, WIDTH)


def test_a_training_is_not_pruned_into_itself(training: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--training", str(training), "--out", str(training)]) == 2
    assert "is the training itself" in capsys.readouterr().err
