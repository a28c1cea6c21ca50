"""The quality gate: what a variant may lose against the float reference before it must not drive."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.metrics import confusion, iou, mean_iou
from seg_perception.engines.base import Engine
from seg_perception.training.config import ExportConfig
from seg_perception.training.data import Source

TIMED_ROUNDS = 30


@dataclass(frozen=True)
class Measured:
    """What an engine does on the held-out images, as its masks tell.

    confusions: (n, n) int64 [truth, predicted] by source. masks: per source (N, H, W) uint8.
    """

    confusions: Mapping[str, NDArray[np.int64]]
    masks: Mapping[str, NDArray[np.uint8]]

    @property
    def miou(self) -> dict[str, float]:
        """Mean IoU by source."""
        return {name: mean_iou(matrix) for name, matrix in self.confusions.items()}

    def class_iou(self, table: ClassTable) -> dict[str, dict[str, float]]:
        """IoU by source and class; classes that do not occur are left out."""
        result = {}
        for name, matrix in self.confusions.items():
            pairs = zip(table.classes, iou(matrix), strict=True)
            result[name] = {entry.name: round(float(value), 4) for entry, value in pairs if np.isfinite(value)}
        return result


def measure(engine: Engine, sources: Sequence[Source], n_classes: int) -> Measured:
    """Run an engine on every sample."""
    confusions, masks = {}, {}
    for source in sources:
        samples = tqdm(source.samples, desc=source.name, leave=False)
        found = np.stack([engine.infer(image).mask for image, _ in samples])
        masks[source.name] = found
        confusions[source.name] = np.sum(
            [confusion(mask, labels, n_classes) for mask, (_, labels) in zip(found, source.samples, strict=True)],
            axis=0,
        )
    return Measured(confusions, masks)


@dataclass(frozen=True)
class Verdict:
    """One candidate against the reference: its scores, and in words what it fails (empty: passed)."""

    name: str
    scores: Mapping[str, float]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may drive."""
        return not self.failures


def judge(
    name: str,
    candidate: Measured,
    reference: Measured,
    sources: Sequence[Source],
    table: ClassTable,
    limits: ExportConfig,
) -> Verdict:
    """Compare with the reference on the same samples.

    agreement: share of equal mask pixels. obstacle_to_ground: share of the pixels that truly are obstacles, and which
    the reference does not call ground, that the candidate does. Both over all samples.
    """
    reference_miou = reference.miou
    drops = {source: reference_miou[source] - score for source, score in candidate.miou.items()}
    agreement = float(np.mean(np.concatenate([(candidate.masks[s] == reference.masks[s]).ravel() for s in drops])))
    flips = _obstacle_to_ground(candidate, reference, sources, table)
    checks = [
        *((f"mIoU drop on {s}", d, limits.max_miou_drop, d <= limits.max_miou_drop) for s, d in drops.items()),
        ("agreement", agreement, limits.min_agreement, agreement >= limits.min_agreement),
        ("obstacle to ground", flips, limits.max_obstacle_to_ground, flips <= limits.max_obstacle_to_ground),
    ]
    failures = tuple(f"{what} {value:.4f} (limit {limit:g})" for what, value, limit, good in checks if not good)
    scores = {f"miou {source}": round(score, 4) for source, score in candidate.miou.items()}
    scores |= {"agreement": round(agreement, 4), "obstacle_to_ground": round(flips, 5)}
    return Verdict(name, scores, failures)


def _obstacle_to_ground(
    candidate: Measured, reference: Measured, sources: Sequence[Source], table: ClassTable
) -> float:
    flipped = total = 0
    for source in sources:
        truth = np.stack([table.kinds[labels] for _, labels in source.samples])
        was_ground = table.kinds[reference.masks[source.name]] == Kind.GROUND
        is_ground = table.kinds[candidate.masks[source.name]] == Kind.GROUND
        at_stake = (truth == Kind.OBSTACLE) & ~was_ground
        flipped += int(np.count_nonzero(at_stake & is_ground))
        total += int(np.count_nonzero(at_stake))
    return flipped / max(1, total)


def table_of(verdicts: Iterable[Verdict]) -> str:
    """The verdicts as text, one line each."""
    lines = []
    for verdict in verdicts:
        scores = "  ".join(f"{key} {value:.4f}" for key, value in verdict.scores.items())
        outcome = "passed" if verdict.passed else "REFUSED: " + ", ".join(verdict.failures)
        lines.append(f"{verdict.name:24} {scores}  {outcome}")
    return "\n".join(lines)


def latencies_ms(engines: Mapping[str, Engine], image: NDArray[np.uint8]) -> dict[str, float]:
    """Median time of one inference by name; the engines take turns, so that other load falls on all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(TIMED_ROUNDS):
        for name, engine in engines.items():
            engine.infer(image)
            began = time.perf_counter()
            engine.infer(image)
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: round(float(np.median(values)), 2) for name, values in times.items()}
