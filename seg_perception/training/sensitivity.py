"""Which layers lose most when they are quantized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.training.logits import GraphLogits
from seg_perception.training.quantize import Quantizer


@dataclass(frozen=True)
class Sensitivity:
    """noise: power of the logits' error over the power of the logits with this layer alone in int8; 0: no harm."""

    layer: str
    noise: float


def rank_layers(model: bytes, quantizer: Quantizer, images: Sequence[NDArray[np.uint8]]) -> list[Sensitivity]:
    """All layers, the most sensitive first. model: the float graph; images: (H, W, 3) uint8, a few are enough."""
    exact = _logits(model, images)
    ranked = [
        Sensitivity(layer, _noise(_logits(quantizer.only(layer), images), exact))
        for layer in tqdm(quantizer.layers, desc="sensitivity", leave=False)
    ]
    return sorted(ranked, key=lambda entry: entry.noise, reverse=True)


def table_of(ranked: Sequence[Sensitivity]) -> str:
    """One line each: signal to noise in decibels, and the layer."""
    return "\n".join(f"{-10 * np.log10(max(r.noise, 1e-12)):6.1f} dB  {r.layer}" for r in ranked)


def _logits(model: bytes, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    run = GraphLogits(model)
    return np.stack([run(image) for image in images])


def _noise(found: NDArray[np.float32], exact: NDArray[np.float32]) -> float:
    return float(np.square(found - exact).sum() / max(np.square(exact).sum(), 1e-30))
