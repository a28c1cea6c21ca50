"""Cross-entropy with class weights plus Dice, both blind to unlabelled pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor, nn

from seg_perception.core.classes import UNLABELLED

DICE_STRIDE = 2
"""Dice sums over the image, so every second pixel tells the same at a quarter of the cost."""


def class_weights(frequencies: NDArray[np.float64], balance: float) -> Tensor:
    """(n,) float32: (median / frequency) ** balance, within 0.2 … 5; classes that never occur weigh 1."""
    present = frequencies > 0
    weights = np.ones_like(frequencies)
    weights[present] = (np.median(frequencies[present]) / frequencies[present]) ** balance
    return torch.from_numpy(weights.clip(0.2, 5.0)).float()


class SegmentationLoss(nn.Module):
    """Scalar loss of logits (N, C, H, W) and labels (N, H, W) int64 with 255 where unlabelled."""

    def __init__(self, weights: Tensor, dice: float, label_smoothing: float) -> None:
        super().__init__()
        self._entropy = nn.CrossEntropyLoss(weights, ignore_index=UNLABELLED, label_smoothing=label_smoothing)
        self._dice = DiceLoss("multiclass", ignore_index=UNLABELLED)
        self._dice_weight = dice

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()
        loss: Tensor = self._entropy(logits, labels)
        if self._dice_weight:
            step = DICE_STRIDE
            loss = loss + self._dice_weight * self._dice(logits[..., ::step, ::step], labels[..., ::step, ::step])
        return loss
