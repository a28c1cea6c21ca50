"""Frames on which an imported network is quantized and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import DataError
from seg_perception.core.labels import LabelFolder
from seg_perception.engines.resize import Resize
from seg_perception.evaluation.material import decode, open_material
from seg_perception.training.samples import Sample


@dataclass(frozen=True)
class Frame:
    """name: of the file without its suffix. image: (H, W, 3) uint8 BGR."""

    name: str
    image: NDArray[np.uint8]


def load_frames(path: Path, most: int) -> list[Frame]:
    """Frames of a folder of images (in it, or in images/ below it) or of a rosbag2, spread evenly over all there are.

    Raises DataError.
    """
    material = open_material(path / "images" if (path / "images").is_dir() else path)
    every = -(-len(material.names) // most)
    frames = []
    for index, (name, frame) in enumerate(zip(material.names, material, strict=False)):
        image = decode(frame.image) if index % every == 0 else None
        if image is not None:
            frames.append(Frame(Path(name).stem, image))
    if len(frames) < 2:
        raise DataError(f"{path}: {len(frames)} of its images can be decoded; at least two are needed")
    return frames


def simulated_frames(count: int, width: int, height: int) -> list[Frame]:
    """Frames of the simulator. Raises DataError where it is not installed."""
    try:
        from seg_perception.simulation.street import training_frame
    except ImportError as error:
        raise DataError(
            f"the simulator needs the Python package {error.name}; give --calibration, or pip install -e '.[sim]'"
        ) from error
    return [Frame(str(seed), training_frame(seed, width, height)[0]) for seed in range(count)]


def labelled(frames: Sequence[Frame], labels: LabelFolder, resize: Resize) -> list[Sample]:
    """The frames that have labels, at the network's size. Raises DataError."""
    samples = []
    for frame in frames:
        mask = labels.read(frame.name)
        if mask is None:
            continue
        if mask.shape != frame.image.shape[:2]:
            raise DataError(
                f"{frame.name}: size {frame.image.shape[1::-1]} differs from its labels' {mask.shape[::-1]}"
            )
        samples.append((resize.apply(frame.image), resize.labels(mask, UNLABELLED)))
    if not samples:
        raise DataError(
            f"none of {len(frames)} frames has labels of its name (the first would be {frames[0].name}.png)"
        )
    return samples
