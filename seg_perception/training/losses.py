"""Losses that are blind to unlabelled pixels, and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, LovaszLoss
from torch import Tensor, nn

from seg_perception.core.classes import UNLABELLED

REGION_STRIDE = 2
"""Dice and Lovász are about whole regions, so every second pixel tells the same at a quarter of the cost."""


def class_weights(frequencies: NDArray[np.float64], balance: float) -> Tensor:
    """(n,) float32: (median / frequency) ** balance, within 0.2 … 5; classes that never occur weigh 1."""
    present = frequencies > 0
    weights = np.ones_like(frequencies)
    weights[present] = (np.median(frequencies[present]) / frequencies[present]) ** balance
    return torch.from_numpy(weights.clip(0.2, 5.0)).float()


class SegmentationLoss(nn.Module):
    """Scalar loss of logits (N, C, H, W) and labels (N, H, W) int64 with 255 where unlabelled.

    shares: weight of cross_entropy (with the class weights), dice, focal and lovasz in the sum.
    """

    def __init__(self, weights: Tensor, shares: Mapping[str, float], label_smoothing: float) -> None:
        super().__init__()
        losses = {
            "cross_entropy": nn.CrossEntropyLoss(weights, ignore_index=UNLABELLED, label_smoothing=label_smoothing),
            "dice": DiceLoss("multiclass", ignore_index=UNLABELLED),
            "focal": FocalLoss("multiclass", ignore_index=UNLABELLED),
            "lovasz": LovaszLoss("multiclass", ignore_index=UNLABELLED),
        }
        self._shares = {name: share for name, share in shares.items() if share}
        self._losses = nn.ModuleDict({name: losses[name] for name in self._shares})

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """In float32, whatever the logits are in; 0 (with a gradient of 0) where nothing is labelled."""
        logits = logits.float()
        total = 0.0 * logits.sum()
        step = REGION_STRIDE
        coarse = logits[..., ::step, ::step], labels[..., ::step, ::step].contiguous()
        for name, share in self._shares.items():
            inputs = coarse if name in ("dice", "lovasz") else (logits, labels)
            if (inputs[1] != UNLABELLED).any():
                total = total + share * self._losses[name](*inputs)
        return total
