"""Calibration of the confidence: one temperature, fitted on held-out pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from seg_perception.core.classes import UNLABELLED
from seg_perception.training.data import Source

PIXELS_PER_SOURCE = 100_000
BINS = 15
TEMPERATURES = np.geomspace(0.25, 4.0, 81)

Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(H, W, 3) uint8 → (C, h, w) of every first, or second, or … pixel and row."""


@dataclass(frozen=True)
class Calibration:
    """temperature: divides the logits. ece: expected calibration error, before and after, 0..1, a mean over the
    sources."""

    temperature: float
    ece_before: float
    ece_after: float


def calibrate(logits_of: Logits, sources: Sequence[Source]) -> Calibration:
    """Temperature of the least negative log-likelihood (Guo et al. 2017), the mean over the sources; so are errors."""
    parts = [part for source in sources if len((part := _held_out(logits_of, source))[1])]

    def mean(score: Callable[[torch.Tensor, torch.Tensor], float], temperature: float) -> float:
        return float(np.mean([score(logits / temperature, labels) for logits, labels in parts]))

    losses = [mean(lambda logits, labels: float(functional.cross_entropy(logits, labels)), t) for t in TEMPERATURES]
    temperature = float(TEMPERATURES[int(np.argmin(losses))])
    return Calibration(temperature, mean(_ece, 1.0), mean(_ece, temperature))


def calibration_gaps(
    confidence: NDArray[np.uint8], mask: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """(BINS,) sum over the labelled pixels of confidence (0..1) minus correctness, by bins of equal width."""
    labelled = labels != UNLABELLED
    stated = confidence[labelled] / 255.0
    bins = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    return np.bincount(bins, stated - (mask[labelled] == labels[labelled]), minlength=BINS)


def _held_out(logits_of: Logits, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, C) and labels (n,) of pixels at random."""
    rng = np.random.default_rng(0)
    per_image = max(1, PIXELS_PER_SOURCE // len(source.samples))
    logits, labels = [], []
    for image, truth in source.samples:
        scores = logits_of(image)
        step = round(truth.shape[0] / scores.shape[1])
        decided = truth[::step, ::step].ravel()
        labelled = np.flatnonzero(decided != UNLABELLED)
        chosen = rng.choice(labelled, min(per_image, labelled.size), replace=False)
        logits.append(torch.from_numpy(scores.reshape(len(scores), -1)[:, chosen].T.copy()))
        labels.append(torch.from_numpy(decided[chosen]).long())
    return torch.cat(logits), torch.cat(labels)


def _ece(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their pixels."""
    confidence, predicted = functional.softmax(logits, 1).max(1)
    bins: NDArray[np.int64] = np.minimum((confidence * BINS).long().numpy(), BINS - 1)
    gap = confidence.numpy() - (predicted == labels).numpy()
    sums = np.bincount(bins, gap, minlength=BINS)
    return float(np.abs(sums).sum() / max(1, len(bins)))
