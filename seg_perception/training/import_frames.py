"""Frames on which an imported network is quantized and judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import DataError
from seg_perception.core.labels import LabelFolder
from seg_perception.engines.resize import Resize
from seg_perception.evaluation.material import decode, open_material
from seg_perception.training.samples import Sample, spread


@dataclass(frozen=True)
class Frame:
    """name: of the file of its labels, without suffix. image: (H, W, 3) uint8 BGR."""

    name: str
    image: NDArray[np.uint8]


def load_frames(path: Path, most: int, labels: Collection[str] | None) -> tuple[list[Frame], list[Frame]]:
    """Frames for the ranges of int8, and others for the gate, at most so many each, spread evenly over all there are.

    path: a folder of images (in it, or in images/ below it) or a rosbag2. labels: names of the frames that have labels,
    which are for the gate, or None where the gate does without. Raises DataError.
    """
    material = open_material(path / "images" if (path / "images").is_dir() else path)
    names = material.names if labels is None else material.stems()
    for_ranges, for_gate = _split(names, most, labels)
    if not for_ranges or not for_gate:
        example = next(filter(None, names), "<stamp in ns>")
        wanted = "at least two are needed" if labels is None else f"none has labels of its name, e.g. {example}.png"
        raise DataError(f"{path}: {len(names)} images, of which {wanted}")
    chosen = {*for_ranges, *for_gate}
    pictures = {i: decode(frame.image) for i, frame in enumerate(material) if i in chosen}
    found = [
        [Frame(names[i], p) for i in part if (p := pictures.get(i)) is not None] for part in (for_ranges, for_gate)
    ]
    if not all(found):
        raise DataError(f"{path}: too few of its images can be decoded; give a folder of JPEG or PNG files")
    return found[0], found[1]


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
    """The frames with their labels, at the network's size. Raises DataError."""
    samples = []
    for frame in frames:
        mask = labels.read(frame.name)
        if mask is None:
            raise DataError(f"{frame.name}: has no labels; every frame of the gate needs them")
        if mask.shape != frame.image.shape[:2]:
            raise DataError(
                f"{frame.name}: size {frame.image.shape[1::-1]} differs from its labels' {mask.shape[::-1]}"
            )
        samples.append((resize.apply(frame.image), resize.labels(mask, UNLABELLED)))
    return samples


def _split(names: Sequence[str], most: int, labels: Collection[str] | None) -> tuple[Sequence[int], Sequence[int]]:
    """Indices for the ranges and for the gate; where all have labels, or none needs them, they take turns."""
    unlabelled = [index for index, name in enumerate(names) if name not in (labels or ())]
    if labels is None or not unlabelled:
        both = list(spread(range(len(names)), 2 * most))
        return both[::2], both[1::2]
    with_labels = [index for index, name in enumerate(names) if name in labels]
    return list(spread(unlabelled, most)), list(spread(with_labels, most))
