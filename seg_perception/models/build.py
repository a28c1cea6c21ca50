"""Networks by name, from segmentation_models_pytorch with timm encoders; always with random weights."""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from seg_perception.core.errors import TrainingError

SIZE_MULTIPLE = 32
"""Every encoder accepts sides that are a multiple of this."""


class PixelClassifier(nn.Module):
    """Logits for images of any size around a network that works on padded images and coarse logits.

    network: (N, 3, H, W), sides a multiple of `multiple` → logits (N, C, H / stride, W / stride) for its own stride.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: Tensor, step: int = 1) -> Tensor:
        """(N, 3, H, W) normalised float → (N, C, ceil(H / step), ceil(W / step)): logits of every step-th pixel."""
        height, width = image.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        logits = self.network(functional.pad(image, (0, right, 0, bottom)))
        size = ((height + bottom) // step, (width + right) // step)
        if logits.shape[-2:] != size:
            logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits[..., : -(-height // step), : -(-width // step)]


def build(architecture: str, encoder: str, options: dict[str, Any], n_classes: int) -> PixelClassifier:
    """A network by its names in smp and timm. Raises TrainingError for names or options that they do not know."""
    try:
        network = smp.create_model(architecture, encoder, encoder_weights=None, classes=n_classes, **options)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"model {architecture} with encoder {encoder} and options {options}: {error}; "
            "see segmentation_models_pytorch for architectures, timm (as tu-<name>) for encoders"
        ) from error
    network.segmentation_head[1] = nn.Identity()  # its upsampling: done once, outside, to the step that is asked for
    multiple = options.get("encoder_output_stride", SIZE_MULTIPLE)
    return PixelClassifier(network, multiple).to(memory_format=torch.channels_last)
