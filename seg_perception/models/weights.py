"""Weights into a network, also those of one whose channels were pruned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seg_perception.core.errors import TrainingError


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Load in place. Layers with more channels than `weights` has for them are narrowed to that many.

    Raises TrainingError that names `origin` when the weights are those of another network.
    """
    own = network.state_dict()
    strange = sorted(set(own) ^ set(weights)) or [n for n, tensor in own.items() if not _holds(tensor, weights[n])]
    if strange:
        raise TrainingError(
            f"{origin}: holds the weights of another model than the configuration's, see {strange[0]}; "
            "give the configuration that it was trained with, or train anew if an earlier version trained it"
        )
    for path, module in network.named_modules():
        _narrow(module, f"{path}." if path else "", weights)
    network.load_state_dict(weights)


def _holds(tensor: Tensor, smaller: Tensor) -> bool:
    return tensor.ndim == smaller.ndim and all(a >= b for a, b in zip(tensor.shape, smaller.shape, strict=True))


def _narrow(module: nn.Module, prefix: str, weights: Mapping[str, Tensor]) -> None:
    """The shapes of a layer's own tensors, and what it remembers of them, from `weights`."""
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.shape != weights[prefix + name].shape:
            setattr(module, name, nn.Parameter(torch.empty_like(weights[prefix + name]), parameter.requires_grad))
    for name, buffer in module.named_buffers(recurse=False):
        if prefix + name in weights and buffer.shape != weights[prefix + name].shape:
            setattr(module, name, torch.empty_like(weights[prefix + name]))
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        first, second = module.weight.shape[:2]
        if 1 < module.groups == module.in_channels:
            module.groups = first if isinstance(module, nn.ConvTranspose2d) else first * second
        outer = second * module.groups
        swapped = isinstance(module, nn.ConvTranspose2d)
        module.in_channels, module.out_channels = (first, outer) if swapped else (outer, first)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = len(module.weight)
