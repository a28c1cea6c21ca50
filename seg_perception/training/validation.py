"""Scores of a network on whole images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seg_perception.core.metrics import confusion
from seg_perception.models.deploy import normalise
from seg_perception.training.samples import Sample


@torch.inference_mode()
def validate(network: nn.Module, samples: Sequence[Sample], n_classes: int) -> NDArray[np.int64]:
    """(n, n) confusion [truth, predicted] over all samples, in bfloat16, on the device of the network."""
    network.eval()
    device = next(network.parameters()).device
    total = np.zeros((n_classes, n_classes), np.int64)
    for image, labels in samples:
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(normalise(torch.from_numpy(image)[None].to(device)))
        total += confusion(logits[0].argmax(0).to(torch.uint8).cpu().numpy(), labels, n_classes)
    return total
