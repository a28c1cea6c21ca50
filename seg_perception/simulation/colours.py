"""Random colours, BGR 0..1."""

from __future__ import annotations

import colorsys

import numpy as np

Rng = np.random.Generator
Colour = tuple[float, float, float]


def colour(rng: Rng, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A BGR colour drawn from ranges of hue (turns), saturation and value."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))[::-1]


def grey(rng: Rng, low: float = 0.15, high: float = 0.8) -> Colour:
    """A nearly neutral colour."""
    return colour(rng, (0, 1), (0, 0.08), (low, high))


def masonry(rng: Rng) -> Colour:
    """Of stone, brick or plaster: may be as grey as a road."""
    return grey(rng, 0.2, 0.95) if rng.random() < 0.45 else colour(rng, (0.0, 0.14), (0.1, 0.6), (0.25, 0.95))
