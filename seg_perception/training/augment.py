"""Random changes of a training image: geometry in one warp, then light, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED
from seg_perception.training.config import AugmentConfig


def augment(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A random crop, (h, w, 3) uint8 BGR and (h, w) uint8 of `config.crop`; outside of the image: mirrored, 255."""
    width, height = config.crop
    matrix = _warp(labels, config, rng)
    crop = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    truth = cv2.warpAffine(labels, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=UNLABELLED)
    return _noise(_blur(_light(crop, config, rng), config, rng), config, rng), truth


def _warp(labels: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, 3) image → crop: scale (with jitter of the aspect ratio), flip, rotation about the crop's centre."""
    scale = np.exp(rng.uniform(*np.log(config.scale)))
    squeeze = np.exp(rng.uniform(-1, 1) * config.aspect / 2)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    angle = np.deg2rad(rng.uniform(-1, 1) * config.rotation_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.diag([scale / squeeze * flip, scale * squeeze])
    crop = np.array(config.crop, float)
    half = crop / 2 / np.array([scale / squeeze, scale * squeeze])
    centre = _centre(labels, half, config, rng)
    # Crop and centre are in places of pixels' edges, the warp in those of their centres.
    return np.column_stack([linear, (crop - 1) / 2 - linear @ (centre - 0.5)])


def _centre(
    labels: NDArray[np.uint8], half: NDArray[np.float64], config: AugmentConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(x, y) in the image to look at: near a random class of it, or anywhere; the crop stays inside if it fits."""
    size = np.array(labels.shape[::-1], float)
    centre = rng.uniform(0, 1, 2) * size
    if rng.random() < config.rare_class:
        present = np.unique(labels)
        present = present[present != UNLABELLED]
        if present.size:
            pixels = np.flatnonzero(labels == rng.choice(present))
            y, x = divmod(int(rng.choice(pixels)), labels.shape[1])
            centre = np.array([x, y], float) + rng.uniform(-0.5, 0.5, 2) * half
    return np.where(2 * half < size, np.clip(centre, half, size - half), size / 2)


def _light(image: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma, contrast, brightness and white balance as one lookup per channel, then saturation."""
    if config.colour == 0:
        return image
    ramp = np.arange(256) / 255.0
    gamma, contrast, *balance = np.exp(rng.uniform(-1, 1, 5) * config.colour * np.array([1.5, 1, 0.4, 0.4, 0.4]))
    brightness = rng.uniform(-1, 1) * config.colour / 2
    curve = (ramp**gamma - 0.5) * contrast + 0.5 + brightness
    lut = np.clip(255 * curve[:, None] * np.array(balance), 0, 255).astype(np.uint8)[:, None, :]
    lit = cv2.LUT(image, lut)
    saturation = 1 + rng.uniform(-2, 1) * config.colour
    grey = cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(lit, saturation, grey, 1 - saturation, 0), np.uint8)


def _blur(image: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    if rng.random() >= config.blur:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5)), np.uint8)


def _noise(image: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    sigma = config.noise * rng.random() ** 2
    if sigma < 0.5:
        return image
    noise = np.empty(image.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(noise, 0, sigma)
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
