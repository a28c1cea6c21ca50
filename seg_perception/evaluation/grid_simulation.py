"""Grids of simulated drives against the simulator's truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.camera import Camera
from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.grid import GridSpec
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.mapping import GridMapper
from seg_perception.core.pose import Transform
from seg_perception.engines.base import Engine
from seg_perception.evaluation.drive_material import DriveMaterial, DriveRequest, rendered_drive
from seg_perception.evaluation.drive_scores import SeenCells
from seg_perception.evaluation.drive_truth import DriveTruth
from seg_perception.evaluation.grid_bands import BandFigures, BandScores
from seg_perception.evaluation.ipm_baseline import InversePerspectiveMapper
from seg_perception.evaluation.material import decode
from seg_perception.simulation.truth import GridTruth

RATE_HZ = 10.0


@dataclass(frozen=True, eq=False)
class MaskView:
    """One mask, and where its camera was. mask, confidence: (H, W) uint8 at the camera's size."""

    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    camera: Camera
    world_from_optical: Transform
    world_from_base: Transform
    stamp_s: float


class MaskSource(Protocol):
    """Where the masks of a drive come from."""

    @property
    def table(self) -> ClassTable: ...

    def view(self, drive: DriveMaterial, index: int, image: NDArray[np.uint8]) -> MaskView:
        """The view of frame `index`; image: (H, W, 3) uint8 BGR."""


@dataclass(frozen=True)
class TrueMasks:
    """The simulator's own labels, with full confidence."""

    table: ClassTable

    def view(self, drive: DriveMaterial, index: int, image: NDArray[np.uint8]) -> MaskView:
        """The labels of frame `index`."""
        mask = np.asarray(drive.labels[index])
        confidence = np.where(mask == UNLABELLED, 0, 255).astype(np.uint8)
        return _view(drive, index, mask, confidence, drive.camera)


@dataclass(frozen=True)
class BundleMasks:
    """What a model bundle makes of the images."""

    table: ClassTable
    engine: Engine

    def view(self, drive: DriveMaterial, index: int, image: NDArray[np.uint8]) -> MaskView:
        """The segmentation of frame `index`."""
        seen = self.engine.infer(image)
        return _view(drive, index, seen.mask, seen.confidence, self.engine.resize.camera(drive.camera))


class Contestant(Protocol):
    """Makes grids of views, one drive long."""

    def grid(self, view: MaskView) -> tuple[GridSpec, NDArray[np.int8]]:
        """The grid after one more view: (height, width) int8, -1 unknown, 0..100."""


class Ours:
    """The package's mapper. misstated: from the true pose of the camera to the one the mapper is told."""

    def __init__(
        self, table: ClassTable, config: MapperConfig, misstated: Callable[[Transform], Transform] = lambda true: true
    ) -> None:
        self._mapper = GridMapper(table, config)
        self._misstated = misstated

    def grid(self, view: MaskView) -> tuple[GridSpec, NDArray[np.int8]]:
        """The grid after one more view."""
        stated = self._misstated(view.world_from_optical)
        self._mapper.update(view.mask, view.confidence, view.camera, stated, view.world_from_base, view.stamp_s)
        return self._mapper.occupancy(view.stamp_s)


class Baseline:
    """Plain inverse perspective mapping."""

    def __init__(self, table: ClassTable, config: MapperConfig, base_from_optical: Transform) -> None:
        self._table, self._config, self._base_from_optical = table, config, base_from_optical
        self._mapper: InversePerspectiveMapper | None = None

    def grid(self, view: MaskView) -> tuple[GridSpec, NDArray[np.int8]]:
        """The grid after one more view."""
        if self._mapper is None:
            self._mapper = InversePerspectiveMapper(self._table, self._config, view.camera, self._base_from_optical)
        self._mapper.update(view.mask, view.world_from_base)
        return self._mapper.occupancy()


@dataclass(frozen=True)
class Case:
    """Who maps which masks. masks: name of the source. start: the contestant for a new drive."""

    masks: str
    start: Callable[[DriveMaterial, ClassTable], Contestant]


@dataclass(frozen=True, eq=False)
class Scene:
    """All that is known at one frame of a drive, for pictures."""

    drive: DriveMaterial
    index: int
    image: NDArray[np.uint8]
    views: Mapping[str, MaskView]
    spec: GridSpec
    truth: GridTruth
    seen: NDArray[np.bool_]
    grids: Mapping[str, NDArray[np.int8]]


def comparison_cases(config: MapperConfig) -> dict[str, Case]:
    """Ours and the baseline, with true and with bundle masks; named "<masks>/<who>"."""
    cases = {}
    for masks in ("true_masks", "bundle_masks"):
        cases[f"{masks}/ours"] = Case(masks, lambda drive, table: Ours(table, config))
        cases[f"{masks}/baseline"] = Case(
            masks, lambda drive, table: Baseline(table, config, drive.mount.base_from_optical)
        )
    return cases


def score_cases(
    cases: Mapping[str, Case],
    sources: Mapping[str, MaskSource],
    seeds: Sequence[int],
    frames: int,
    on_scene: Callable[[Scene], object] = lambda scene: None,
) -> dict[str, BandFigures]:
    """Name of the case → its figures, over all frames of all drives. on_scene: called after every frame."""
    scores = {name: BandScores() for name in cases}
    for number, seed in enumerate(seeds, start=1):
        drive = DriveMaterial(rendered_drive(DriveRequest(seed, frames, RATE_HZ)))
        scenes = tqdm(
            _scenes(drive, cases, sources), total=frames, desc=f"drive {number} of {len(seeds)}", unit="frame"
        )
        for scene in scenes:
            camera_x, camera_y = scene.views["true_masks"].world_from_optical[:2, 3]
            x, y = scene.spec.centres()
            distance, truth = np.hypot(x[None, :] - camera_x, y[:, None] - camera_y), scene.truth
            for name, grid in scene.grids.items():
                scores[name].update(grid, truth.occupied, truth.free, truth.visible, scene.seen, distance)
            on_scene(scene)
    return {name: score.figures() for name, score in scores.items()}


def _scenes(drive: DriveMaterial, cases: Mapping[str, Case], sources: Mapping[str, MaskSource]) -> Iterator[Scene]:
    contestants = {name: case.start(drive, sources[case.masks].table) for name, case in cases.items()}
    truth, seen_cells = DriveTruth(drive), SeenCells()
    for index, frame in enumerate(drive):
        image = decode(frame.image)
        assert image is not None  # simulated images are bgr8
        views = {name: source.view(drive, index, image) for name, source in sources.items()}
        made = {name: contestant.grid(views[cases[name].masks]) for name, contestant in contestants.items()}
        (spec,) = {spec for spec, _ in made.values()}
        known = truth.truth(index, spec)
        seen = seen_cells.update(spec, known.visible)
        yield Scene(drive, index, image, views, spec, known, seen, {name: grid for name, (_, grid) in made.items()})


def _view(
    drive: DriveMaterial, index: int, mask: NDArray[np.uint8], confidence: NDArray[np.uint8], camera: Camera
) -> MaskView:
    world_from_base = drive.motion(index).world_from_base
    world_from_optical = world_from_base @ drive.mount.base_from_optical
    return MaskView(mask, confidence, camera, world_from_optical, world_from_base, index / RATE_HZ)
