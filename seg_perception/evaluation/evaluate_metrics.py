"""metrics.json from the lines of frames.jsonl: everything in it is a function of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from seg_perception.core.classes import ClassTable
from seg_perception.core.metrics import dice, iou, mean_iou, pixel_accuracy
from seg_perception.evaluation.evaluate_frame import STAGES
from seg_perception.evaluation.grid_bands import BandScores
from seg_perception.evaluation.latency import percentiles
from seg_perception.evaluation.result_files import rounded


class Totals:
    """Running totals over frames."""

    def __init__(self, table: ClassTable) -> None:
        self._table = table
        size = max(entry.id for entry in table.classes) + 1
        self._confusion = np.zeros((size, size), np.int64)
        self._labelled = 0
        self._bands = BandScores()
        self._scored_grids = 0
        self._latency: dict[str, list[float]] = {stage: [] for stage in (*STAGES, "total")}
        self._flicker: dict[str, list[float]] = {"mask": [], "grid": []}
        self._counts: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()

    def add(self, line: dict[str, Any]) -> None:
        """Add one line of frames.jsonl."""
        self._counts["read"] += 1
        self._counts["masks"] += line["masked"]
        self._counts["grids"] += line["gridded"]
        self._skipped.update((line["skipped"] or "").split("; ") if line["skipped"] else ())
        for stage, value in line["latency_ms"].items():
            if line["masked"]:
                self._latency[stage].append(value)
        for name, value in line["flicker"].items():
            if value is not None:
                self._flicker[name].append(value)
        if "confusion" in line:
            self._labelled += 1
            self._confusion += np.asarray(line["confusion"], np.int64)
        if "grid_counts" in line:
            self._scored_grids += 1
            for band, counts in line["grid_counts"].items():
                self._bands.scores[band].add(counts)

    def metrics(self, grid_truth: str | None) -> dict[str, Any]:
        """The sections of metrics.json that are about frames; a section without truth is None."""
        grid = {
            band: {name: rounded(value) for name, value in score.result().items()}
            for band, score in self._bands.scores.items()
        }
        scored = self._scored_grids > 0 and grid["0-15"]["cells"] > 0
        return {
            "mask": self._mask() if self._labelled else None,
            "grid": grid if scored else None,
            "grid_truth": grid_truth if scored else None,
            "flicker": {name: rounded(float(np.mean(v))) if v else None for name, v in self._flicker.items()},
            "latency_ms": {stage: percentiles(values) for stage, values in self._latency.items()},
            "frames": {
                "read": self._counts["read"],
                "masks": self._counts["masks"],
                "grids": self._counts["grids"],
                "labelled": self._labelled,
                "skipped": dict(sorted(self._skipped.items())),
            },
        }

    def _mask(self) -> dict[str, Any]:
        matrix, entries = self._confusion, self._table.classes
        ious, dices = iou(matrix), dice(matrix)
        return {
            "miou": rounded(mean_iou(matrix)),
            "iou": {c.name: rounded(float(ious[c.id])) for c in entries},
            "dice": {c.name: rounded(float(dices[c.id])) for c in entries},
            "pixel_accuracy": rounded(pixel_accuracy(matrix)),
            "confusion": matrix[np.ix_([c.id for c in entries], [c.id for c in entries])].tolist(),
            "classes": [c.name for c in entries],
        }


def totals_of(lines: Iterable[dict[str, Any]], table: ClassTable) -> Totals:
    """Over all lines."""
    totals = Totals(table)
    for line in lines:
        totals.add(line)
    return totals
