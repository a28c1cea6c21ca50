"""Differences between two evaluations of the same frames, and how sure they are.

The confidence intervals are of the percentile bootstrap over frames. Neighbouring frames of a drive are alike, so they
are drawn in blocks of neighbours (circular block bootstrap, Politis & Romano 1992), n^(1/3) frames long (the rate of
Hall, Horowitz & Jing 1995): drawn one by one, every small difference would seem significant. Both runs get the same
draws, which takes out how hard a frame is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.metrics import GRID_SHARES
from seg_perception.evaluation.compare_frames import Pairs

LEVEL = 0.95
RESAMPLES = 1000
FEWEST = 10
"""Frames with a figure below which an interval means nothing."""

_SEED = 0
_AT_ONCE = 4_000_000  # weights in memory

Weights = NDArray[np.float32]
"""(R, N): how often each of N frames was drawn."""
Statistic = Callable[[Weights], NDArray[np.float64]]
"""(R, N) → (R,), NaN where nothing that was drawn has the figure."""


@dataclass(frozen=True)
class Difference:
    """A figure by its name in metrics.json, in both runs. low, high: 95 % interval of b − a; None on too few frames."""

    figure: str
    a: float
    b: float
    low: float | None
    high: float | None
    higher_is_better: bool

    @property
    def better(self) -> str | None:
        """A or B, where the difference is significant: where its interval leaves zero out."""
        if self.low is None or self.high is None or self.low <= 0.0 <= self.high:
            return None
        return "B" if (self.low > 0.0) == self.higher_is_better else "A"


@dataclass(frozen=True)
class _Figure:
    name: str
    a: Statistic
    b: Statistic
    frames: int
    higher_is_better: bool


def differences(pairs: Pairs, classes: Mapping[str, int]) -> list[Difference]:
    """All figures that both runs have. classes: name → id, the row of the confusion; none if they differ."""
    figures = [
        *_mask_figures(pairs, classes),
        *_grid_figures(pairs),
        *_flicker_figures(pairs),
        *_latency_figures(pairs),
    ]
    once = np.ones((1, pairs.count), np.float32)
    points = [(float(figure.a(once)[0]), float(figure.b(once)[0])) for figure in figures]
    samples: list[list[NDArray[np.float64]]] = [[] for _ in figures]
    for weights in _block_draws(pairs.count):
        for figure, sample in zip(figures, samples, strict=True):
            sample.append(figure.b(weights) - figure.a(weights))
    return [
        Difference(figure.name, a, b, *_interval(figure, np.concatenate(sample)), figure.higher_is_better)
        for figure, (a, b), sample in zip(figures, points, samples, strict=True)
        if np.isfinite(a) and np.isfinite(b)
    ]


def _block_draws(count: int) -> Iterator[Weights]:
    """RESAMPLES draws of `count` frames, always the same ones, as weights in portions."""
    rng = np.random.default_rng(_SEED)
    length = max(1, round(count ** (1 / 3)))
    blocks = -(-count // length)
    rows = max(1, _AT_ONCE // count)
    for first in range(0, RESAMPLES, rows):
        starts = rng.integers(count, size=(min(rows, RESAMPLES - first), blocks, 1))
        drawn = (starts + np.arange(length)).reshape(len(starts), -1)[:, :count] % count
        flat = drawn + count * np.arange(len(drawn))[:, None]
        yield np.bincount(flat.ravel(), minlength=len(drawn) * count).reshape(-1, count).astype(np.float32)


def _interval(figure: _Figure, sample: NDArray[np.float64]) -> tuple[float | None, float | None]:
    found = sample[np.isfinite(sample)]
    if figure.frames < FEWEST or 2 * len(found) < len(sample):
        return None, None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(found, (tail, 1 - tail))
    return float(low), float(high)


def _mask_figures(pairs: Pairs, classes: Mapping[str, int]) -> Iterator[_Figure]:
    a, b = pairs.a.confusion, pairs.b.confusion
    if a is None or b is None or a.shape != b.shape:
        return
    labelled = np.isfinite(a[:, 0, 0]) & np.isfinite(b[:, 0, 0])
    counts = [_hits_unions_truth(np.where(labelled[:, None, None], matrices, 0.0)) for matrices in (a, b)]
    frames = int(labelled.sum())
    yield _Figure("mask.miou", *(_mean_iou(*parts) for parts in counts), frames, True)
    yield _Figure("mask.pixel_accuracy", *(_ratio(hit.sum(1), truth.sum(1)) for hit, _, truth in counts), frames, True)
    for name, i in classes.items():
        yield _Figure(f"mask.iou.{name}", *(_ratio(hit[:, i], union[:, i]) for hit, union, _ in counts), frames, True)


def _hits_unions_truth(matrices: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    """(N, k, k) confusion → pixels right, pixels in truth or prediction, pixels of the truth, (N, k) each."""
    hit = np.diagonal(matrices, axis1=1, axis2=2).astype(np.float64)
    rows, columns = matrices.sum(2, np.float64), matrices.sum(1, np.float64)
    return hit, rows + columns - hit, rows


_LOWER_IS_BETTER = ("false_free", "false_occupied")


def _grid_figures(pairs: Pairs) -> Iterator[_Figure]:
    for band in sorted(pairs.a.grid.keys() & pairs.b.grid.keys(), key=_by_distance):
        a, b = pairs.a.grid[band], pairs.b.grid[band]
        scored = np.isfinite(a["occupied"]) & np.isfinite(b["occupied"])
        for name, keys in GRID_SHARES.items():
            shares = (_ratio(*(np.where(scored, run[key], 0.0) for key in keys)) for run in (a, b))
            yield _Figure(f"grid.{band}.{name}", *shares, int(scored.sum()), name not in _LOWER_IS_BETTER)


def _by_distance(band: str) -> tuple[float, ...]:
    """0-15, which sums up the nearer ones, comes first."""
    low, high = map(float, band.split("-"))
    return low, -high


def _flicker_figures(pairs: Pairs) -> Iterator[_Figure]:
    for name, a in pairs.a.flicker.items():
        b = pairs.b.flicker[name]
        known = np.isfinite(a) & np.isfinite(b)
        means = (_ratio(np.where(known, values, 0.0), known.astype(np.float64)) for values in (a, b))
        yield _Figure(f"flicker.{name}", *means, int(known.sum()), False)


def _latency_figures(pairs: Pairs) -> Iterator[_Figure]:
    stages = [stage for stage in pairs.a.latency if stage in pairs.b.latency]
    for stage in sorted(stages, key=lambda stage: stage != "total"):
        a, b = pairs.a.latency[stage], pairs.b.latency[stage]
        known = np.isfinite(a) & np.isfinite(b)
        for percent in (50, 95, 99) if stage == "total" else (50,):
            percentiles = (_percentile(values, known, percent) for values in (a, b))
            yield _Figure(f"latency_ms.{stage}.p{percent}", *percentiles, int(known.sum()), False)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Statistic:
    """Of the sums of (N,) or (N, k) over the drawn frames."""
    return lambda weights: _divide(weights @ part, weights @ whole)


def _mean_iou(hit: NDArray[np.float64], union: NDArray[np.float64], truth: NDArray[np.float64]) -> Statistic:
    """Of (N, k) pixels: as core.metrics.mean_iou, over the classes that occur in the labels of the drawn frames."""

    def statistic(weights: Weights) -> NDArray[np.float64]:
        occurs = weights @ truth > 0
        ratios = _divide(weights @ hit, weights @ union)
        return _divide(np.where(occurs, ratios, 0.0).sum(1), occurs.sum(1).astype(np.float64))

    return statistic


def _divide(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _percentile(values: NDArray[np.float64], known: NDArray[np.bool_], percent: float) -> Statistic:
    """As numpy.percentile of the drawn frames' values, without repeating them."""
    chosen = np.flatnonzero(known)
    order = chosen[np.argsort(values[chosen], kind="stable")]
    ranked = values[order]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        drawn = np.cumsum(weights[:, order], axis=1, dtype=np.float64)
        if not ranked.size:
            return np.full(len(weights), np.nan)
        total = drawn[:, -1]
        rank = np.maximum(total - 1, 0.0) * percent / 100
        low, high = (
            ranked[np.minimum((drawn <= place[:, None]).sum(1), len(ranked) - 1)]
            for place in (np.floor(rank), np.ceil(rank))
        )
        return np.where(total > 0, low + (high - low) * (rank - np.floor(rank)), np.nan)

    return statistic
