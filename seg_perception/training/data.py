"""Where samples come from: folders of images and labels, the simulator, and their mixture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import DataError
from seg_perception.engines.resize import Resize
from seg_perception.training.augment import augment
from seg_perception.training.config import AugmentConfig, FolderConfig, SimulationConfig, SourcesConfig, TrainingConfig
from seg_perception.training.simulated import render_missing

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SIMULATION = "simulation"
"""First part of the names of simulated sources."""

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""image (H, W, 3) uint8 BGR, labels (H, W) uint8 with 255 where unlabelled."""


@dataclass(frozen=True)
class Source:
    """Samples of one origin, decoded, and the share of the batches that they make."""

    name: str
    samples: Sequence[Sample]
    share: float


def load_sources(config: TrainingConfig, sources: SourcesConfig, n_classes: int) -> list[Source]:
    """Decode all samples into memory, resized to the network's input as images are when driving. Raises DataError."""
    width, height = config.input_size
    resize = Resize(width, height)
    loaded = [_load_folder(config.resolve(folder.path), folder, n_classes) for folder in sources.folders]
    loaded += [_load_simulation(config.resolve(s.cache), s, n_classes) for s in sources.simulation]
    names = [source.name for source in loaded]
    if len(set(names)) < len(names):
        raise DataError(f"sources {', '.join(names)}: two have one name; rename a folder")
    return [replace(s, samples=[_resize(sample, resize) for sample in s.samples]) for s in loaded]


def _load_folder(path: Path, config: FolderConfig, n_classes: int) -> Source:
    images = sorted(p for p in (path / "images").glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f"{path}/images: no image (*{', *'.join(IMAGE_SUFFIXES)}); expected images/ and labels/")
    pairs = [(image, path / "labels" / f"{image.stem}.png") for image in images]
    samples = [_load_pair(image, labels, config.void, n_classes) for image, labels in pairs]
    return Source(f"{path.parent.name}/{path.name}", samples, config.share)


def _load_simulation(cache: Path, config: SimulationConfig, n_classes: int) -> Source:
    names = render_missing(config, cache)
    pairs = [(cache / "images" / f"{name}.png", cache / "labels" / f"{name}.png") for name in names]
    samples = [_load_pair(image, labels, [], n_classes) for image, labels in pairs]
    return Source(f"{SIMULATION}/{config.first_seed}", samples, config.share)


def _resize(sample: Sample, resize: Resize) -> Sample:
    image, labels = sample
    size = (resize.width, resize.height)
    return resize.apply(image), np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _load_pair(image_path: Path, label_path: Path, void: Sequence[int], n_classes: int) -> Sample:
    image = cv2.imread(str(image_path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{image_path}: cannot be decoded; remove it or replace it")
    labels = cv2.imread(str(label_path), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise DataError(f"{label_path}: missing or cannot be decoded; every image needs labels of the same name")
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError(f"{label_path}: is {labels.dtype} {labels.shape}; labels are one channel of uint8 class ids")
    if labels.shape != image.shape[:2]:
        raise DataError(f"{label_path}: size {labels.shape[::-1]} differs from the image's {image.shape[1::-1]}")
    labels[np.isin(labels, void)] = UNLABELLED
    wrong = np.unique(labels[(labels >= n_classes) & (labels != UNLABELLED)])
    if wrong.size:
        raise DataError(
            f"{label_path}: label {', '.join(map(str, wrong))} is not a class (0..{n_classes - 1}); "
            "fix the labels, or list it under void"
        )
    return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def class_frequencies(sources: Sequence[Source], n_classes: int) -> NDArray[np.float64]:
    """(n_classes,) share of every class in what the mixture draws; sums to 1."""
    total = np.zeros(n_classes)
    for source in sources:
        counts = sum(np.bincount(labels.ravel(), minlength=256)[:n_classes] for _, labels in source.samples)
        total += source.share * counts / max(1, np.sum(counts))
    return total / max(total.sum(), 1e-12)


class Mixture(Dataset[Sample]):
    """Endless augmented crops. Sample `i` depends on the seed and `i` alone, so a resumed training sees the same."""

    def __init__(self, sources: Sequence[Source], config: AugmentConfig, seed: int) -> None:
        self._sources = sources
        self._config = config
        self._seed = seed
        shares = np.array([source.share for source in sources])
        self._edges = np.cumsum(shares / shares.sum())

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self._seed, index))
        choice = min(int(np.searchsorted(self._edges, rng.random(), side="right")), len(self._sources) - 1)
        samples = self._sources[choice].samples
        image, labels = samples[int(rng.integers(len(samples)))]
        return augment(image, labels, self._config, rng)


class IndicesFrom(Sampler[int]):
    """The indices `first`, `first + 1`, … without end."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        index = self._first
        while True:
            yield index
            index += 1
