"""Checkpoints of transformers and torchvision → float networks in ONNX. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
from transformers.utils import cached_file

from seg_perception.core.errors import ModelImportError, one_line
from seg_perception.training.export import disagreement, require_agreement, to_onnx
from seg_perception.training.import_onnx import Network, Preprocessing

IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What all of torchvision's segmentation networks were trained with, in the order RGB."""
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
_HEAD = "classifier"


@dataclass(frozen=True)
class Checkpoint:
    """A network (1, 3, H, W) → logits (1, C, h, w), and what it was trained on, where its files tell.

    names: output → class.
    """

    network: nn.Module
    preprocessing: Preprocessing | None = None
    size: tuple[int, int] | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    def to_onnx(self, size: tuple[int, int]) -> onnx.ModelProto:
        """size: (width, height). Raises ExportError."""
        width, height = size
        content = to_onnx(self.network, torch.zeros((1, 3, height, width)), "pixels", ["logits"])
        return onnx.load_from_string(content)

    def verify(self, network: Network, preprocessing: Preprocessing, images: Sequence[NDArray[np.uint8]]) -> None:
        """`network`, made by `to_onnx`, decides as torch does.

        images: (H, W, 3) uint8 BGR of the input's size. Raises ExportError.
        """
        shares = []
        for image in images:
            pixels = preprocessing.apply(image)
            with torch.inference_mode():
                expected = self.network(torch.from_numpy(pixels).permute(0, 3, 1, 2)).argmax(1).numpy()
            shares.append(float(np.mean(network.run(pixels).argmax(1) == expected)))
        require_agreement(shares, disagreement)


def from_transformers(source: str) -> Checkpoint:
    """A folder with config.json and safetensors, or a name of Hugging Face's hub. Raises ModelImportError."""
    local = Path(source).is_dir()
    if local and not (Path(source) / CONFIG).is_file():
        raise ModelImportError(f"{source}: no {CONFIG} in it; give the folder of a transformers checkpoint")
    try:
        network, told = AutoModelForSemanticSegmentation.from_pretrained(
            source, use_safetensors=True, trust_remote_code=False, local_files_only=local, output_loading_info=True
        )
    except Exception as error:  # transformers, its hub and safetensors raise what they like
        raise ModelImportError(f"{source}: not a semantic segmentation checkpoint ({one_line(error)})") from error
    lacking = sorted(str(name) for kind in ("missing_keys", "mismatched_keys") for name in told[kind])
    lacking = [name for name in lacking if not name.endswith("num_batches_tracked")]  # old files have no such counters
    if lacking:
        raise ModelImportError(
            f"{source}: has no weights for {len(lacking)} tensors of the network, e.g. {lacking[0]}, which would be "
            "random; give a checkpoint with its segmentation head"
        )
    preprocessing, size = _read_preprocessor(source, local)
    return Checkpoint(_Logits(network), preprocessing, size, getattr(network.config, "id2label", None) or {})


def from_torchvision(path: Path, architecture: str, n_classes: int) -> Checkpoint:
    """Weights, .safetensors or .pth, of a network that torchvision knows by name. Raises ModelImportError."""
    known = models.list_models(module=models.segmentation)
    if architecture not in known:
        raise ModelImportError(f"{path}: architecture is {architecture!r}; allowed are {', '.join(known)}")
    weights = _read_weights(path)
    auxiliary = any(name.startswith("aux_classifier.") for name in weights)
    options = {} if architecture.startswith("lraspp") else {"aux_loss": auxiliary}
    network = models.get_model(architecture, weights=None, weights_backbone=None, num_classes=n_classes, **options)
    _check_classes(path, network.state_dict(), weights, n_classes)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelImportError(f"{path}: these are not the weights of {architecture} ({one_line(error)})") from error
    return Checkpoint(_Logits(network), IMAGENET)


class _Logits(nn.Module):
    """The logits alone, of what libraries return beside them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        output: Any = self.network(pixels)
        logits: Tensor = output["out"] if "out" in output else output["logits"]
        return logits


def _read_preprocessor(source: str, local: bool) -> tuple[Preprocessing | None, tuple[int, int] | None]:
    """Mean and std, and (width, height); None for what the checkpoint does not say."""
    try:
        path = Path(cached_file(source, PREPROCESSOR, local_files_only=local))
    except OSError:  # there is no such file
        return None, None
    try:
        processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False, local_files_only=local)
        size = processor.size or {}
        width, height = (size.get(name) for name in ("width", "height"))
        return _normalisation(processor), (int(width), int(height)) if width and height else None
    except Exception as error:  # as above
        raise ModelImportError(f"{path}: cannot be read ({one_line(error)}); copy the checkpoint again") from error


def _normalisation(processor: Any) -> Preprocessing:
    """What a processor of transformers does by its own attributes, in which the defaults of its kind are filled in."""
    factor = float(processor.rescale_factor) if processor.do_rescale else 1.0
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
    # (factor * byte - mean) / std, in terms of bytes that are scaled by 1 / 255.
    scaled = ([float(value) / (255 * factor) for value in values] for values in (mean, std))
    (first, second, third), (first_std, second_std, third_std) = scaled
    order = "bgr" if getattr(processor, "do_flip_channel_order", False) else "rgb"
    return Preprocessing((first, second, third), (first_std, second_std, third_std), order)


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, without the names that training programs put around them."""
    try:
        if path.suffix == ".safetensors":
            document: Any = load_file(path)
        else:
            document = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelImportError(f"{path}: no such file") from error
    except SafetensorError as error:
        raise ModelImportError(f"{path}: not a safetensors file ({one_line(error)})") from error
    except Exception as error:  # torch.load raises anything from EOFError to UnpicklingError
        raise ModelImportError(
            f"{path}: cannot be read without running code that is in it ({one_line(error)}); "
            "save its state_dict as safetensors"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(document, Mapping) and isinstance(document.get(key), Mapping):
            document = document[key]
    if not isinstance(document, Mapping) or not all(isinstance(value, Tensor) for value in document.values()):
        raise ModelImportError(f"{path}: holds no state_dict; save network.state_dict()")
    return {str(name).removeprefix("module."): tensor for name, tensor in document.items()}


def _check_classes(path: Path, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], n_classes: int) -> None:
    head = [name for name in own if name.startswith(_HEAD) and name.endswith("bias") and len(own[name]) == n_classes]
    for name in head[-1:]:
        if name in weights and len(weights[name]) != n_classes:
            raise ModelImportError(
                f"{path}: gives {len(weights[name])} classes, the class table has {n_classes}; give its own table"
            )
