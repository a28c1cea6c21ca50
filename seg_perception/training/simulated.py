"""Simulated frames as training samples: rendered once into a folder, then read like any other."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.errors import DataError
from seg_perception.training.config import SimulationConfig


def render_missing(config: SimulationConfig, cache: Path) -> list[str]:
    """Complete the cache; returns the names of the frames, one per seed. Delete the folder to render anew."""
    names = [f"{config.size[0]}x{config.size[1]}_seed{seed:06d}" for seed in _seeds(config)]
    for folder in ("images", "labels"):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    todo = [(s, n) for s, n in zip(_seeds(config), names, strict=True) if not (cache / "labels" / f"{n}.png").exists()]
    if todo:
        from seg_perception.simulation.street import training_frame  # ray tracing is needed to render, not to read

        for seed, name in tqdm(todo, desc="render"):
            image, labels = training_frame(seed, *config.size)
            _write(cache / "images" / f"{name}.png", image)
            _write(cache / "labels" / f"{name}.png", labels)
    return names


def _seeds(config: SimulationConfig) -> range:
    return range(config.first_seed, config.first_seed + config.frames)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    """Whole or not at all."""
    good, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not good:
        raise DataError(f"{path}: OpenCV cannot encode the frame")
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(data.tobytes())
    os.replace(temporary, path)
