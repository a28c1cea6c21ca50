"""Quantization-aware training: convolutions that round as the exported int8 graph does.

Rounded are the input of every convolution, to unsigned 8 bit over its range, and its weights, to signed 8 bit per
output channel around zero: what `Quantizer` writes. Batch normalisation is folded into the weights only on export;
that scales a channel as a whole, weights and step alike, so the rounded values are the same before and after. Gradients
pass the rounding as if it were not there (straight-through estimator, Jacob et al. 2018).

torchao's PT2E route was tried: it trains and exports, but a captured program has one image size and no train and eval
mode, while training sees crops and validation whole images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import Conv2dSame
from torch import Tensor, nn
from tqdm import tqdm

from seg_perception.models.deploy import normalise
from seg_perception.training.quantize import Ranges

RANGE = "input_range"
MOMENTUM = 0.01
"""How far the range of an input moves towards that of every batch."""


class _Rounding:
    """Mixed into a convolution: its forward, with input and weights rounded."""

    input_range: Tensor

    def forward(self: Any, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H', W'); in training mode the range follows the input."""
        if self.training and input.numel():  # of instances, there may be none
            self._follow(input.detach())
        weight = self.weight
        self._parameters["weight"] = _round_weight(weight)
        try:
            result: Tensor = super().forward(_round_input(input.float(), self.input_range))  # type: ignore[misc]
        finally:
            self._parameters["weight"] = weight
        return result

    @torch.no_grad()
    def _follow(self, batch: Tensor) -> None:
        extremes = torch.stack(torch.aminmax(batch)).float()
        unset = bool(self.input_range[0] == self.input_range[1])
        self.input_range.lerp_(extremes, 1.0 if unset else MOMENTUM)


class RoundingConv2d(_Rounding, nn.Conv2d):
    """nn.Conv2d as it will be in int8."""


class RoundingConv2dSame(_Rounding, Conv2dSame):
    """timm's convolution with TensorFlow's padding, as it will be in int8."""


ROUNDING = {nn.Conv2d: RoundingConv2d, Conv2dSame: RoundingConv2dSame}


def round_convolutions(network: nn.Module) -> None:
    """Turn the convolutions into rounding ones, in place; names and values of the parameters stay.

    Other subclasses of nn.Conv2d change their weights in a way of their own; they are rounded on export only.
    """
    for module in network.modules():
        if type(module) in ROUNDING:
            module.__class__ = ROUNDING[type(module)]
            module.register_buffer(RANGE, torch.zeros(2))


@torch.no_grad()
def observe(network: nn.Module, images: Sequence[NDArray[np.uint8]]) -> None:
    """First ranges, from images (H, W, 3) uint8; nothing else of the network changes."""
    network.eval()
    rounding = [module for module in network.modules() if isinstance(module, _Rounding)]
    for module in rounding:
        module.training = True
    for image in tqdm(images, desc="ranges", leave=False, disable=None):
        network(normalise(torch.from_numpy(image)[None]))
    network.eval()


def split_ranges(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Ranges]:
    """A state_dict → that of the plain network, and the learned ranges by layer (those that were ever set)."""
    plain = {name: tensor for name, tensor in weights.items() if not name.endswith(f".{RANGE}")}
    ranges = {
        name.removesuffix(f".{RANGE}"): (float(tensor[0]), float(tensor[1]))
        for name, tensor in weights.items()
        if name not in plain and bool(tensor[0] < tensor[1])
    }
    return plain, ranges


def _round_input(values: Tensor, extremes: Tensor) -> Tensor:
    """Asymmetric, 0 … 255; zero itself is always one of the steps."""
    low, high = extremes[0].clamp(max=0.0), extremes[1].clamp(min=0.0)
    scale = ((high - low) / 255.0).clamp(min=1e-9)
    zero_point = (-low / scale).round().clamp(0, 255).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero_point, 0, 255)


def _round_weight(weight: Tensor) -> Tensor:
    """Symmetric per output channel, -127 … 127."""
    scale = (weight.detach().abs().amax((1, 2, 3)).float() / 127.0).clamp(min=1e-12)
    zero_points = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale, zero_points, 0, -127, 127)
