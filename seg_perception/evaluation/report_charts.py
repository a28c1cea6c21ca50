"""Charts of a report: numbers in, the paths and ticks of an SVG of 1000 × 1000 units out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_POINTS = 300  # per curve: more than a page shows, few enough for an hour of frames
_GAP = 5.0  # a curve is broken where its points are this many times farther apart than usual
_SIZE = 1000.0


@dataclass(frozen=True)
class Tick:
    """A label at `percent` of an axis."""

    percent: float
    label: str


@dataclass(frozen=True)
class Curve:
    """SVG paths: `line` through the means, `band` from the lowest to the highest of the frames at each point."""

    name: str
    line: str
    band: str


@dataclass(frozen=True)
class Chart:
    """What the template draws; y ticks count from the bottom. marks: vertical lines."""

    title: str
    note: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Tick, ...] = ()
    x_name: str = ""


def curves(
    title: str,
    x: NDArray[np.float64],
    series: Mapping[str, NDArray[np.float64]],
    *,
    x_name: str,
    top: float | None = None,
    unit: str = "",
    marks: Sequence[tuple[float, str]] = (),
) -> Chart | None:
    """Values over `x` (both (N,), NaN where there is none), few enough points for any N; None without a value.

    top: end of the value axis; left out, it is found, and lone peaks above it are cut off and named in the note.
    """
    found = {name: np.isfinite(values) for name, values in series.items()}
    values = np.concatenate([series[name][there] for name, there in found.items()])
    if not values.size:
        return None
    limit = top or min(float(values.max()), 3.0 * float(np.percentile(values, 99.0))) or float(values.max()) or 1.0
    y_ticks = _ticks(0.0, limit)
    if limit > y_ticks[-1] * (1 + 1e-9):
        y_ticks.append(y_ticks[-1] + y_ticks[1])
    height = y_ticks[-1]
    left, width = float(x.min()), float(np.ptp(x)) or 1.0
    drawn = tuple(
        _curve(name, (x[there] - left) / width * _SIZE, series[name][there] / height) for name, there in found.items()
    )
    named = {"lowest": values.min(), "middle": np.median(values), "highest": values.max()}
    note = ", ".join(f"{name} {_show(value, unit)}" for name, value in named.items())
    return Chart(
        title,
        note,
        tuple(curve for curve in drawn if curve.line),
        tuple(Tick((tick - left) / width * 100, f"{tick:g}") for tick in _ticks(left, left + width, most=7)),
        tuple(Tick(tick / height * 100, f"{tick:g}") for tick in y_ticks),
        tuple(Tick((at - left) / width * 100, label) for at, label in marks),
        x_name,
    )


def histogram(title: str, values: NDArray[np.float64], *, x_name: str, unit: str) -> Chart | None:
    """Distribution of (N,) finite values ≥ 0 with their percentiles as marks; None without values.

    Values beyond one and a half times the 99th percentile are in the last bar.
    """
    if not values.size:
        return None
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    end = min(float(values.max()), 1.5 * float(p99)) * 1.02 or 1.0
    counts, edges = np.histogram(np.minimum(values, end), bins=60, range=(0.0, end))
    share = counts / values.size * 100
    y_ticks = _ticks(0.0, float(share.max()), most=4)
    height = max(float(share.max()), y_ticks[-1])
    left, tops = edges[:-1] / end * _SIZE, (1 - share / height) * _SIZE
    bar = _SIZE / len(counts)
    bars = "".join(
        f"M{x:.0f} {_SIZE:.0f}V{y:.0f}h{bar:.1f}V{_SIZE:.0f}z" for x, y in zip(left, tops, strict=True) if y < _SIZE
    )
    return Chart(
        title,
        f"{values.size} frames; the longest took {_show(values.max(), unit)}",
        (Curve("", "", bars),),
        tuple(Tick(tick / end * 100, f"{tick:g}") for tick in _ticks(0.0, end, most=7)),
        tuple(Tick(tick / height * 100, f"{tick:g} %") for tick in y_ticks),
        tuple(Tick(p / end * 100, name) for name, p in (("p50", p50), ("p95", p95), ("p99", p99))),
        x_name,
    )


def _curve(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    """x in SVG units and y as a share of the height, both (N,) finite and in order of x."""
    together = -(-len(x) // _POINTS)
    parts = [slice(start, start + together) for start in range(0, len(x), together or 1)]
    points = [(x[part].mean(), y[part].min(), y[part].mean(), y[part].max()) for part in parts]
    steps = np.diff([point[0] for point in points])
    widest = _GAP * float(np.median(steps)) if len(steps) else 0.0
    runs = np.split(np.arange(len(points)), np.flatnonzero(steps > widest) + 1) if points else []
    line, band = [], []
    for run in runs:
        at, low, mean, high = np.array([points[index] for index in run]).T
        line.append(_path(at, mean) + ("h0" if len(run) == 1 else ""))  # with round caps: a dot
        if together > 1:
            band.append(f"{_path(np.concatenate([at, at[::-1]]), np.concatenate([high, low[::-1]]))}z")
    return Curve(name, "".join(line), "".join(band))


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    down = (1.0 - np.clip(y, 0.0, 1.0)) * _SIZE
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, down, strict=True))


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from low to high, `most` at the most."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = int(np.ceil(low / step - 1e-9))
    return [float(f"{step * index:.12g}") for index in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _show(value: float, unit: str) -> str:
    return f"{value:.3g}{unit}"
