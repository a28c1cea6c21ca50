"""Checkpoints of transformers and torchvision, with random weights, become ONNX networks that say the same."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="import needs torch: pip install -r requirements/train.txt")
transformers = pytest.importorskip("transformers", reason="pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="import needs ONNX Runtime: pip install -r requirements/runtime.txt")

from safetensors.torch import save_file
from torchvision.models import get_model

from seg_perception.core.errors import ExportError, ModelImportError
from seg_perception.training.import_onnx import Network, Preprocessing, verify, wrap
from seg_perception.training.import_torch import IMAGENET, from_torchvision, from_transformers

WIDTH, HEIGHT, CLASSES = 96, 64, 5
LRASPP = "lraspp_mobilenet_v3_large"
IMAGES = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `save_pretrained` writes it; not to be written to."""
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_labels=CLASSES,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=32,
    )
    folder: Path = tmp_path_factory.mktemp("segformer")
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    preprocessor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {"height": 64, "width": 96}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


@pytest.fixture(scope="module")
def lraspp() -> Iterator[dict[str, Any]]:
    """Weights by name."""
    torch.manual_seed(0)
    yield get_model(LRASPP, weights=None, weights_backbone=None, num_classes=CLASSES).state_dict()


def test_segformer_says_the_same_in_onnx(segformer: Path) -> None:
    checkpoint = from_transformers(str(segformer))
    assert checkpoint.preprocessing == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "rgb")
    assert checkpoint.size == (96, 64)
    network = Network(checkpoint.to_onnx((WIDTH, HEIGHT)), None)
    graph = wrap(network, checkpoint.preprocessing, CLASSES)
    checkpoint.verify(network, checkpoint.preprocessing, IMAGES)
    verify(network, graph, checkpoint.preprocessing, CLASSES, IMAGES)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_torchvision_weights_are_those_of_the_file(lraspp: dict[str, Any], name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".pth"):
        torch.save({"model": {f"module.{key}": value for key, value in lraspp.items()}}, path)
    else:
        save_file(lraspp, path)
    network = get_model(LRASPP, weights=None, weights_backbone=None, num_classes=CLASSES).eval()
    network.load_state_dict(lraspp)
    pixels = torch.rand((1, 3, HEIGHT, WIDTH))
    with torch.inference_mode():
        assert torch.equal(from_torchvision(path, LRASPP, CLASSES).network(pixels), network(pixels)["out"])


def test_torchvision_says_the_same_in_onnx_and_other_weights_are_refused(
    lraspp: dict[str, Any], tmp_path: Path
) -> None:
    save_file(lraspp, tmp_path / "weights.safetensors")
    checkpoint = from_torchvision(tmp_path / "weights.safetensors", LRASPP, CLASSES)
    network = Network(checkpoint.to_onnx((WIDTH, HEIGHT)), None)
    checkpoint.verify(network, IMAGENET, IMAGES)
    verify(network, wrap(network, IMAGENET, CLASSES), IMAGENET, CLASSES, IMAGES)
    with torch.no_grad():
        for parameter in checkpoint.network.parameters():
            parameter.neg_()
    with pytest.raises(ExportError, match="the ONNX graph agrees with the network on"):
        checkpoint.verify(network, IMAGENET, IMAGES)


class _Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"classifier.bias": _Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(ModelImportError, match="bomb.pth: cannot be read without running code that is in it"):
        from_torchvision(tmp_path / "bomb.pth", LRASPP, CLASSES)
    assert not (tmp_path / "exploded").exists()


def test_transformers_checkpoint_of_pickles_is_refused(segformer: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((segformer / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelImportError, match="not a semantic segmentation checkpoint .*safetensors"):
        from_transformers(str(tmp_path))


def test_folder_without_a_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelImportError, match="no config.json in it"):
        from_transformers(str(tmp_path))


def test_wrong_weights_are_told(lraspp: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(ModelImportError, match="no such file"):
        from_torchvision(path, LRASPP, CLASSES)
    torch.save(lraspp, path)
    with pytest.raises(ModelImportError, match="gives 5 classes, the class table has 3"):
        from_torchvision(path, LRASPP, 3)
    with pytest.raises(ModelImportError, match="architecture is ''; allowed are .*lraspp_mobilenet_v3_large"):
        from_torchvision(path, "", CLASSES)
    torch.save({"epoch": 3}, path)
    with pytest.raises(ModelImportError, match="holds no state_dict"):
        from_torchvision(path, LRASPP, CLASSES)
    torch.save({"something.weight": torch.zeros(3)}, path)
    with pytest.raises(ModelImportError, match=f"these are not the weights of {LRASPP}"):
        from_torchvision(path, LRASPP, CLASSES)


@pytest.mark.parametrize(
    ("says", "mean", "std"),
    [
        ({}, 0.5, 0.25),
        ({"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [63.75] * 3}, 0.5, 0.25),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [0.5] * 3}, 0.5, 0.25),
        ({"do_normalize": False}, 0.0, 1.0),
        ({"do_normalize": False, "do_rescale": False}, 0.0, 1 / 255),
        ({"image_processor_type": "MobileViTImageProcessor"}, 0.0, 1.0),
        ({"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True}, 0.0, 1.0),
    ],
)
def test_pixels_are_those_of_the_checkpoints_own_preprocessor(
    segformer: Path, tmp_path: Path, says: dict[str, Any], mean: float, std: float
) -> None:
    for file in segformer.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    document = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 64, "width": 96}, **says}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(document))
    found = from_transformers(str(tmp_path)).preprocessing
    assert found is not None
    np.testing.assert_allclose([found.mean, found.std], [[mean] * 3, [std] * 3])
    own = transformers.AutoImageProcessor.from_pretrained(tmp_path, do_resize=False, do_center_crop=False)
    expected = own(images=list(IMAGES[..., ::-1].copy()), return_tensors="np")["pixel_values"]
    got = np.concatenate([found.apply(image) for image in IMAGES]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_checkpoint_without_its_head_is_refused(segformer: Path, tmp_path: Path) -> None:
    config = transformers.SegformerConfig.from_pretrained(segformer)
    transformers.SegformerModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelImportError, match="has no weights for .* decode_head"):
        from_transformers(str(tmp_path))
