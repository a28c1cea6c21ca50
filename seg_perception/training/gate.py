"""The quality gate: what a variant may lose against the float reference before it must not drive."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.classes import UNLABELLED, ClassTable, Kind
from seg_perception.core.metrics import confusion, iou, mean_iou
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import GOLDEN_AGREEMENT
from seg_perception.training.calibration import BINS, calibration_gaps
from seg_perception.training.config import ExportConfig
from seg_perception.training.data import Source

TIMED_ROUNDS = 30
RESAMPLINGS = 200
SURE = 0.95


@dataclass(frozen=True)
class Measured:
    """What an engine does on the held-out images, by source.

    confusions: (N, n, n) int64 [image, truth, predicted]. masks: (N, H, W) uint8. ece: expected calibration error of
    its confidence, 0..1.
    """

    confusions: Mapping[str, NDArray[np.int64]]
    masks: Mapping[str, NDArray[np.uint8]]
    ece: Mapping[str, float]

    @property
    def miou(self) -> dict[str, float]:
        """Mean IoU by source."""
        return {name: mean_iou(matrices.sum(0)) for name, matrices in self.confusions.items()}

    @property
    def mean_ece(self) -> float:
        """Over the sources, each counting the same."""
        return float(np.mean(list(self.ece.values())))

    def class_iou(self, table: ClassTable) -> dict[str, dict[str, float]]:
        """IoU by source and class; classes that do not occur are left out."""
        result = {}
        for name, matrices in self.confusions.items():
            pairs = zip(table.classes, iou(matrices.sum(0)), strict=True)
            result[name] = {entry.name: round(float(value), 4) for entry, value in pairs if np.isfinite(value)}
        return result


def measure(engine: Engine, sources: Sequence[Source], n_classes: int) -> Measured:
    """Run an engine on every sample."""
    confusions, masks, ece = {}, {}, {}
    for source in sources:
        found, matrices, gaps, labelled = [], [], np.zeros(BINS), 0
        for image, labels in tqdm(source.samples, desc=source.name, leave=False):
            result = engine.infer(image)
            found.append(result.mask)
            matrices.append(confusion(result.mask, labels, n_classes))
            gaps += calibration_gaps(result.confidence, result.mask, labels)
            labelled += int(np.count_nonzero(labels != UNLABELLED))
        masks[source.name], confusions[source.name] = np.stack(found), np.stack(matrices)
        ece[source.name] = float(np.abs(gaps).sum() / max(1, labelled))
    return Measured(confusions, masks, ece)


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

    def and_golden(self, share: float, runtime: str) -> Verdict:
        """With the share of the golden mask's pixels that are those of the runtime whose mask the bundle gets."""
        if share >= GOLDEN_AGREEMENT:
            return self
        failure = f"golden mask as on {runtime} {share:.4f} (limit {GOLDEN_AGREEMENT:g})"
        return replace(self, failures=(*self.failures, failure))


def judge(
    name: str,
    candidate: Measured,
    reference: Measured,
    sources: Sequence[Source],
    table: ClassTable,
    limits: ExportConfig,
    expected_ece: float | None = None,
) -> Verdict:
    """Compare with the reference on the same samples.

    agreement: share of equal mask pixels. obstacle_to_ground: share of the pixels that truly are obstacles, and which
    the reference does not call ground, that the candidate does. Both over all samples. class_drop: the largest loss of
    IoU of a class in a source, of those that are no accident (`class_drops`). expected_ece: calibration error of the
    candidate's own logits in float; None where its confidence is not calibrated.
    """
    reference_miou = reference.miou
    drops = {source: reference_miou[source] - score for source, score in candidate.miou.items()}
    by_class = class_drops(candidate, reference, table)
    worst = max(by_class.values(), default=0.0)
    agreement = float(np.mean(np.concatenate([(candidate.masks[s] == reference.masks[s]).ravel() for s in drops])))
    flips = _obstacle_to_ground(candidate, reference, sources, table)
    checks = [
        *((f"mIoU drop on {s}", d, limits.max_miou_drop, d <= limits.max_miou_drop) for s, d in drops.items()),
        *((f"IoU drop of {c}", d, limits.max_class_drop, d <= limits.max_class_drop) for c, d in by_class.items()),
        ("agreement", agreement, limits.min_agreement, agreement >= limits.min_agreement),
        ("obstacle to ground", flips, limits.max_obstacle_to_ground, flips <= limits.max_obstacle_to_ground),
    ]
    if expected_ece is not None:
        off = candidate.mean_ece - expected_ece
        checks.append(("calibration error", off, limits.max_calibration_error, off <= limits.max_calibration_error))
    failures = tuple(f"{what} {value:.4f} (limit {limit:g})" for what, value, limit, good in checks if not good)
    scores = {f"miou {source}": round(score, 4) for source, score in candidate.miou.items()}
    scores |= {"agreement": round(agreement, 4), "obstacle_to_ground": round(flips, 5)}
    scores |= {"class_drop": round(worst, 4), "ece": round(candidate.mean_ece, 4)}
    return Verdict(name, scores, failures)


def class_drops(candidate: Measured, reference: Measured, table: ClassTable) -> dict[str, float]:
    """Loss of IoU by "class on source", of the classes whose loss is no accident of the few images they are in.

    A class counts when it loses in 95 % of RESAMPLINGS of the images, drawn with replacement (paired bootstrap). One
    that occurs in fewer than three of many images is absent from more than 5 % of the draws, and so never decides.
    """
    rng = np.random.default_rng(0)
    found = {}
    for source, matrices in candidate.confusions.items():
        count = len(matrices)
        draws = rng.multinomial(count, np.full(count, 1 / count), RESAMPLINGS)
        drawn = (np.tensordot(draws, each, 1) for each in (reference.confusions[source], matrices))
        before, after = map(iou, drawn)
        drops = iou(reference.confusions[source].sum(0)) - iou(matrices.sum(0))
        sure = np.mean(before - after > 0, axis=0) >= SURE
        names = [f"{entry.name} on {source}" for entry in table.classes]
        found |= {names[index]: float(drops[index]) for index in np.flatnonzero(sure & (drops > 0))}
    return found


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
