"""`seg-perception benchmark --compare`: what a model gains by its engine, by int8 and by pruning, and what it loses.

Every bundle is timed as torch runs it (eagerly, float32: its variant `torch`) and as this package does. The scores are
those that the gate measured on the runtime that is timed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.errors import DataError
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.engines.manifest import Variant
from seg_perception.evaluation.graph_cost import multiplications
from seg_perception.evaluation.latency import percentiles_ms

EAGER, INT8 = "torch", "int8"
_WARM_UP = 5
_SCORE = "miou "


@dataclass(frozen=True)
class Row:
    """A variant of a bundle as it runs here. miou: 0..1, mean over the held-out sources; None where not measured."""

    bundle: str
    variant: str
    runs: str
    p50_ms: float
    p99_ms: float
    mib: float
    miou: float | None
    gmac: float


@dataclass(frozen=True)
class Goal:
    """A figure that was to be reached: `what` is `value`, wanted is at least (sign ≥) or at most (≤) `limit`."""

    what: str
    value: float
    sign: str
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.value >= self.limit if self.sign == "≥" else self.value <= self.limit


def measure(bundles: Sequence[Bundle], threads: int, rounds: int) -> list[Row]:
    """A row per variant and bundle, on the golden image of each; engines take turns, so that other load falls on all.

    Raises DataError where the first bundle has no variant `torch`.
    """
    if EAGER not in bundles[0].variants:
        raise DataError(f"{bundles[0].root}: no variant {EAGER} to compare with; export it again with --torch")
    runs = [(bundle, v, load_engine(bundle, "cpu", v.name, threads)) for bundle in bundles for v in _on_cpu(bundle)]
    images = [bundle.read_golden(variant)[0] for bundle, variant, _ in runs]
    times = _take_turns([engine for _, _, engine in runs], images, rounds)
    gmac = {bundle.root: _gmac(bundle) for bundle in bundles}
    return [
        _row(bundle, variant, engine, times[index], gmac[bundle.root])
        for index, (bundle, variant, engine) in enumerate(runs)
    ]


def goals(rows: Sequence[Row]) -> list[Goal]:
    """What is asked of int8 against torch, and of every further bundle, as a pruned one, against the first."""
    first = [row for row in rows if row.bundle == rows[0].bundle]
    eager = _variant(first, EAGER)
    found = []
    if _variant(first, INT8):
        found += _quantization(eager, _variant(first, INT8))
    for name in dict.fromkeys(row.bundle for row in rows if row.bundle != eager.bundle):
        found += _pruning(first, [row for row in rows if row.bundle == name])
    return found


def report(rows: Sequence[Row], machine: Mapping[str, Any], threads: int, rounds: int) -> str:
    """The rows and goals as Markdown."""
    eager = next(row for row in rows if row.variant == EAGER)
    lines = [
        f"{machine['processor']}, {threads} thread{'s' if threads > 1 else ''}, one frame at a time, {rounds} frames. "
        f"Speed-up, size and mIoU against {eager.bundle} in torch (eager, float32).",
        "",
        "| model | variant | runs on | ms p50 | ms p99 | speed-up | MiB | size | mIoU | points lost | GMAC |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_line(row, eager) for row in rows),
    ]
    reached = goals(rows)
    if reached:
        lines += ["", "| goal | wanted | measured | |", "|---|---|---|---|", *map(_goal_line, reached)]
    return "\n".join(lines)


def document(rows: Sequence[Row], machine: Mapping[str, Any], threads: int, rounds: int) -> dict[str, Any]:
    """The same for programs."""
    return {
        "machine": dict(machine),
        "threads": threads,
        "rounds": rounds,
        "rows": [asdict(row) for row in rows],
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(rows)],
    }


def _on_cpu(bundle: Bundle) -> list[Variant]:
    providers = ("openvino", "cpu", "torch-cpu")
    variants = bundle.variants.values()
    return [v for v in variants if any(entry.runtime.provider in providers for entry in v.accepted)]


def _take_turns(engines: Sequence[Engine], images: Sequence[NDArray[np.uint8]], rounds: int) -> list[dict[str, float]]:
    times: list[list[int]] = [[] for _ in engines]
    for turn in range(_WARM_UP + rounds):
        for engine, image, taken in zip(engines, images, times, strict=True):
            engine.infer(image)  # what the engine before has left in the caches is its own matter
            began = time.perf_counter_ns()
            engine.infer(image)
            if turn >= _WARM_UP:
                taken.append(time.perf_counter_ns() - began)
    return [percentiles_ms(taken) or {} for taken in times]


def _row(bundle: Bundle, variant: Variant, engine: Engine, times: Mapping[str, float], gmac: float) -> Row:
    entry = next(entry for entry in variant.accepted if f", {entry.runtime}, " in engine.description)
    scores = [score for name, score in entry.scores.items() if name.startswith(_SCORE)]
    size = (bundle.root / variant.model.file).stat().st_size / 2**20
    miou = float(np.mean(scores)) if scores else None
    runs = "torch eager f32" if variant.name == EAGER else str(entry.runtime)
    return Row(bundle.manifest.name, variant.name, runs, times["p50"], times["p99"], size, miou, gmac)


def _gmac(bundle: Bundle) -> float:
    floats = [v for v in bundle.variants.values() if v.model.file.endswith(".onnx")]
    if not floats:
        raise DataError(f"{bundle.root}: no .onnx variant, from which multiplications are counted; export it again")
    return multiplications(bundle.read_model(floats[0])) / 1e9


def _variant(rows: Sequence[Row], name: str) -> Any:
    return next((row for row in rows if row.variant == name), None)


def _quantization(eager: Row, int8: Row) -> list[Goal]:
    found = [
        Goal(f"int8 of {eager.bundle}: speed against torch", eager.p50_ms / int8.p50_ms, "≥", 4.0, "x"),
        Goal(f"int8 of {eager.bundle}: file against torch", int8.mib / eager.mib, "≤", 0.27, "x"),
    ]
    if eager.miou is not None and int8.miou is not None:
        lost = 100 * (eager.miou - int8.miou)
        found.append(Goal(f"int8 of {eager.bundle}: mIoU lost", lost, "≤", 0.5, "points"))
    return found


def _pruning(first: Sequence[Row], pruned: Sequence[Row]) -> list[Goal]:
    """Compared in the fastest variant that both have."""
    common = [(a, b) for a in first for b in pruned if a.variant == b.variant]
    name = pruned[0].bundle
    found = [Goal(f"{name}: multiplications saved", 100 * (1 - pruned[0].gmac / first[0].gmac), "≥", 35.0, "%")]
    if common:
        dense, slim = min(common, key=lambda pair: pair[0].p50_ms)
        found.append(Goal(f"{name}: speed against dense, {dense.variant}", dense.p50_ms / slim.p50_ms, "≥", 1.0, "x"))
        if dense.miou is not None and slim.miou is not None:
            found.append(Goal(f"{name}: mIoU lost", 100 * (dense.miou - slim.miou), "≤", 1.0, "points"))
    return found


def _line(row: Row, eager: Row) -> str:
    miou = "–" if row.miou is None else f"{100 * row.miou:.2f}"
    lost = "–" if row.miou is None or eager.miou is None else f"{100 * (eager.miou - row.miou):.2f}"
    cells = [row.bundle, row.variant, row.runs, f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}"]
    cells += [f"{eager.p50_ms / row.p50_ms:.2f}x", f"{row.mib:.2f}", f"{row.mib / eager.mib:.2f}x", miou, lost]
    return "| " + " | ".join([*cells, f"{row.gmac:.2f}"]) + " |"


def _goal_line(goal: Goal) -> str:
    wanted, measured = f"{goal.sign} {goal.limit:g} {goal.unit}", f"{goal.value:.2f} {goal.unit}"
    return f"| {goal.what} | {wanted} | {measured} | {'met' if goal.met else 'missed'} |"
