"""Where samples come from: data sets on disk, bags, the simulator, and their mixture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.labels import LabelFolder
from seg_perception.engines.resize import Resize
from seg_perception.training.augment import augment
from seg_perception.training.config import (
    AugmentConfig,
    BagConfig,
    FolderConfig,
    SimulationConfig,
    SourcesConfig,
    TrainingConfig,
)
from seg_perception.training.layouts import LAYOUTS, images_of
from seg_perception.training.samples import WHOLE, FileSamples, Pictures, Sample, spread
from seg_perception.training.simulated import render_missing

SIMULATION = "simulation"
"""First part of the names of simulated sources."""

_LOOKED_AT = 500
"""Samples, evenly spread, that tell the frequencies of the classes."""

_FINGERPRINTED = 64


@dataclass(frozen=True)
class Source:
    """Samples of one origin, and the share of the batches that they make."""

    name: str
    samples: Sequence[Sample]
    share: float

    def fingerprint(self) -> str:
        """Changes when the samples do: scores on others are not comparable."""
        digest = hashlib.sha256(str(len(self.samples)).encode())
        for image, labels in spread(self.samples, _FINGERPRINTED):
            digest.update(image.tobytes())
            digest.update(labels.tobytes())
        return digest.hexdigest()[:16]


def load_sources(config: TrainingConfig, sources: SourcesConfig, table: ClassTable) -> list[Source]:
    """The samples, resized to the network's input as images are when driving; see `schedule.memory_gb`.

    Raises DataError.
    """
    entries = [
        *(_folder(config.resolve(folder.path), folder, table) for folder in sources.folders),
        *(_bag(config.resolve(bag.path), bag, config, table) for bag in sources.bags),
        *(_simulation(config.resolve(s.cache), s, table) for s in sources.simulation),
    ]
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise DataError(f"sources {', '.join(names)}: two have one name; rename a folder")
    width, height = config.input_size
    room = int(config.schedule.memory_gb * 2**30) // (4 * width * height)
    loaded = []
    for entry in entries:
        pictures = Pictures(entry.images, entry.labels, Resize(width, height), entry.region)
        loaded.append(Source(entry.name, FileSamples(pictures, room, entry.name), entry.share))
        room = max(0, room - len(entry.images))
    return loaded


def load_held_out(config: TrainingConfig, table: ClassTable) -> list[Source]:
    """The sources of `validation`. Raises DataError, also for one without any labelled pixel: it has no score."""
    sources = load_sources(config, config.validation, table)
    for source in sources:
        require_labelled(source, f"validation source {source.name}")
    return sources


def require_labelled(source: Source, what: str) -> None:
    """Raises DataError that begins with `what` for a source without any labelled pixel."""
    if not any((labels != UNLABELLED).any() for _, labels in source.samples):
        raise DataError(f"{what}: none of its pixels is labelled; give it labels, or leave it out")


@dataclass(frozen=True)
class _Entry:
    """A source that is not read yet."""

    name: str
    images: Sequence[Path]
    labels: LabelFolder
    share: float
    region: tuple[float, float, float, float] = WHOLE


def _folder(path: Path, config: FolderConfig, table: ClassTable) -> _Entry:
    layout = LAYOUTS[config.layout]
    images = images_of(path, layout, config.split)
    labels = LabelFolder(path / layout.labels.format(split=config.split), layout.form, table, _remap(config))
    name = "/".join(part for part in (path.parent.name, path.name, config.split) if part)
    return _Entry(name, images, labels, config.share, _region(config))


def _bag(path: Path, bag: BagConfig, config: TrainingConfig, table: ClassTable) -> _Entry:
    from seg_perception.training.bag_frames import extract_missing  # reading bags needs what training does not

    folder = extract_missing(path, bag.image_topic, bag.label_topic, config.resolve(bag.cache))
    given = config.resolve(bag.labels) if bag.labels else folder / "labels"
    labels = LabelFolder(given, bag.form if bag.labels else "ids", table, _remap(bag))
    labelled = set(labels.stems())
    images = [image for image in images_of(folder, LAYOUTS["ids"], "") if image.stem in labelled]
    if not images:
        raise DataError(f"{given}: no label of an image on {bag.image_topic}; name them <stamp in ns>.png")
    return _Entry(f"{path.name}{bag.image_topic}", images, labels, bag.share, _region(bag))


def _simulation(cache: Path, config: SimulationConfig, table: ClassTable) -> _Entry:
    folder, names = render_missing(config, cache)
    labels = LabelFolder(folder / "labels", "camvid", table, config.remap)
    images = [folder / "images" / f"{name}.png" for name in names]
    return _Entry(f"{SIMULATION}/{config.first_seed}", images, labels, config.share)


def _remap(config: FolderConfig | BagConfig) -> Mapping[int | str, int]:
    return {**config.remap, **dict.fromkeys(config.void, UNLABELLED)}


def _region(config: FolderConfig | BagConfig) -> tuple[float, float, float, float]:
    left, top, right, bottom = config.region
    return left, top, right, bottom


def class_frequencies(sources: Sequence[Source], n_classes: int) -> NDArray[np.float64]:
    """(n_classes,) share of every class in what the mixture draws; sums to 1.

    Raises DataError for a source without any labelled pixel.
    """
    total = np.zeros(n_classes)
    for source in sources:
        some = spread(source.samples, _LOOKED_AT)
        counts = sum(np.bincount(labels.ravel(), minlength=256)[:n_classes] for _, labels in some)
        if not np.sum(counts):
            require_labelled(source, f"training source {source.name}")
            continue
        total += source.share * counts / np.sum(counts)
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
    """Indices of samples, from a step on without end: the part of every batch that one of the processes computes."""

    def __init__(self, step: int, batch: int, process: int = 0, processes: int = 1) -> None:
        self._step = step
        self._batch = batch
        self._part = range(process * batch // processes, (process + 1) * batch // processes)

    def __iter__(self) -> Iterator[int]:
        for step in count(self._step):
            yield from (step * self._batch + index for index in self._part)
