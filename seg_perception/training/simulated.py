"""Simulated frames as training samples: rendered once into a folder, then read like any other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.errors import DataError
from seg_perception.simulation.version import simulation_version
from seg_perception.training.config import SimulationConfig
from seg_perception.training.whole_file import write_whole


def render_missing(config: SimulationConfig, cache: Path) -> tuple[Path, list[str]]:
    """The folder (with images/ and labels/) of this version of the simulator in the cache, and the frames' names.

    One frame per seed; those that are not there yet are rendered.
    """
    folder = cache / simulation_version()
    seeds = range(config.first_seed, config.first_seed + config.frames)
    names = [f"{config.size[0]}x{config.size[1]}_seed{seed:06d}" for seed in seeds]
    todo = [(s, n) for s, n in zip(seeds, names, strict=True) if not (folder / "labels" / f"{n}.png").exists()]
    if todo:
        from seg_perception.simulation.street import training_frame  # ray tracing is needed to render, not to read

        for seed, name in tqdm(todo, desc="render"):
            image, labels = training_frame(seed, *config.size)
            _write(folder / "images" / f"{name}.png", image)
            _write(folder / "labels" / f"{name}.png", labels)
    return folder, names


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    good, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not good:
        raise DataError(f"{path}: OpenCV cannot encode the frame")
    write_whole(path, data.tobytes())
