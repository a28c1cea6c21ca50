"""One number per class, added to its logits, so that rare classes are found neither too often nor too rarely.

Losses that weigh classes teach a network to see the rare ones where they are not: good for finding them at all, bad for
intersection over union. Moving the decision afterwards (as logit adjustment does, Menon et al. 2021) costs nothing. Not
at the price of safety, though: rare classes are pedestrians and cyclists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.metrics import confusion, mean_iou
from seg_perception.models.deploy import Deployed
from seg_perception.training.data import Source, spread

IMAGES_PER_SOURCE = 64
PIXELS_PER_IMAGE = 6000
_STEPS = (0.5, 0.25, 0.125)

Pixels = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Logits (n, C) and labels (n,)."""


def fit_offsets(deployed: Deployed, sources: Sequence[Source], table: ClassTable) -> torch.Tensor:
    """(C,) float32 of the highest mean, over the sources, of their mIoU, with which no more pixels of obstacles become
    ground than without; multiples of 1/8. Found class by class.
    """
    parts = [_pixels(deployed, source) for source in sources]
    offsets = np.zeros(len(table.classes), np.float32)
    best, tolerated = _score(parts, offsets, table)
    for step in (step for step in _STEPS for _ in range(2)):
        for index in range(len(offsets)):
            for change in (step, -step):
                moved = offsets.copy()
                moved[index] += change
                score, dangerous = _score(parts, moved, table)
                if score > best and dangerous <= tolerated:
                    offsets, best = moved, score
    return torch.from_numpy(offsets)


def _score(parts: Sequence[Pixels], offsets: NDArray[np.float32], table: ClassTable) -> tuple[float, int]:
    """The mean of the sources' mIoU, and how many pixels of obstacles are taken for ground."""
    kinds = table.kinds[: len(offsets)]
    decided = (((logits + offsets).argmax(1).astype(np.uint8), labels) for logits, labels in parts)
    matrices = [confusion(mask, labels, len(offsets)) for mask, labels in decided]
    dangerous = sum(matrices)[kinds == Kind.OBSTACLE][:, kinds == Kind.GROUND].sum()
    return float(np.mean([mean_iou(matrix) for matrix in matrices])), int(dangerous)


def _pixels(deployed: Deployed, source: Source) -> Pixels:
    """Of pixels at random, as many of every image."""
    rng = np.random.default_rng(0)
    logits, labels = [], []
    for image, truth in spread(source.samples, IMAGES_PER_SOURCE):
        with torch.inference_mode():
            scores = deployed.logits(torch.from_numpy(image)[None])[0].flatten(1).numpy()
        decided = truth[:: deployed.step, :: deployed.step].ravel()
        labelled = np.flatnonzero(decided < len(scores))
        chosen = rng.choice(labelled, min(PIXELS_PER_IMAGE, labelled.size), replace=False)
        logits.append(scores[:, chosen].T)
        labels.append(decided[chosen])
    return np.concatenate(logits), np.concatenate(labels)
