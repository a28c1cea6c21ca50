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
from seg_perception.training.data import Source
from seg_perception.training.samples import spread

IMAGES_PER_SOURCE = 64
PIXELS_PER_IMAGE = 6000
_STEPS = (0.5, 0.25, 0.125)

Pixels = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Logits (n, C) and labels (n,)."""


def fit_offsets(
    deployed: Deployed, training: Sequence[Source], held_out: Sequence[Source], table: ClassTable
) -> torch.Tensor | None:
    """(C,) float32 of the highest mean, over the training sources, of their mIoU, with which no more obstacles' pixels
    become ground than without; multiples of 1/8. None where they are of no use on the held-out sources.
    """
    offsets = _fit(_parts(deployed, training), table)
    parts = _parts(deployed, held_out)
    without, tolerated = _score(parts, np.zeros_like(offsets), table)
    score, dangerous = _score(parts, offsets, table)
    holds = offsets.any() and score > without and dangerous <= tolerated
    return torch.from_numpy(offsets) if holds else None


def _fit(parts: Sequence[Pixels], table: ClassTable) -> NDArray[np.float32]:
    """Found one class after the other."""
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
    return offsets


def _score(parts: Sequence[Pixels], offsets: NDArray[np.float32], table: ClassTable) -> tuple[float, int]:
    """Mean of the sources' mIoU, and how many pixels of obstacles become ground."""
    kinds = table.kinds[: len(offsets)]
    decided = (((logits + offsets).argmax(1).astype(np.uint8), labels) for logits, labels in parts)
    matrices = [confusion(mask, labels, len(offsets)) for mask, labels in decided]
    dangerous = sum(int(matrix[kinds == Kind.OBSTACLE][:, kinds == Kind.GROUND].sum()) for matrix in matrices)
    scores = [mean_iou(matrix) for matrix in matrices]
    return float(np.mean(scores)) if scores else 0.0, dangerous


def _parts(deployed: Deployed, sources: Sequence[Source]) -> list[Pixels]:
    """Of the sources that have labelled pixels."""
    parts = (_pixels(deployed, source) for source in sources)
    return [(logits, labels) for logits, labels in parts if len(labels)]


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
