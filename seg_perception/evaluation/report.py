"""report.html: one page that shows what an evaluation found, for the browser, the phone and the printer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seg_perception.core.errors import DataError
from seg_perception.core.writable import write_whole
from seg_perception.evaluation.page import number, render
from seg_perception.evaluation.report_charts import Chart, curves, histogram
from seg_perception.evaluation.report_frames import FrameSeries
from seg_perception.evaluation.report_pictures import picture_groups
from seg_perception.evaluation.result_files import FRAMES_FILE, METRICS_FILE, REPORT_FILE, read_frames, read_object
from seg_perception.evaluation.verdict import Outcome, read_outcomes

_MOST_CURVES = 8  # cameras that a chart can tell apart
_MOST_BAGS = 12  # that fit as marks
_GRID_TITLES = {
    "false_free": "false free",
    "occupied_recall": "obstacles found",
    "false_occupied": "false obstacles",
    "free_recall": "free ground found",
    "hidden_unknown": "hidden left unknown",
    "cells": "cells",
}
_NEAR = "0-15"
_TRUTHS = {
    "truth_grid": "the recorded true grid",
    "lidar": "the lidar: ground or obstacle by height above the local plane",
    "hindsight": "hindsight: what the robot drove over later was free",
}


def write_report(out: Path) -> None:
    """Write `out`/report.html from metrics.json, frames.jsonl, pictures.json and, where there is one, junit.xml.

    The page needs no other file, no network and no script, and stays small for any number of frames. Raises DataError:
    a file that is missing or malformed.
    """
    path = out / METRICS_FILE
    metrics = read_object(path)
    series = FrameSeries.collect(read_frames(out / FRAMES_FILE))
    try:
        page = render("report.html", **_context(out, metrics, series))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: has not what a report needs ({error!r}); evaluate again") from error
    write_whole(out / REPORT_FILE, page, DataError)


def _context(out: Path, metrics: Mapping[str, Any], series: FrameSeries) -> dict[str, Any]:
    inputs = [_words(given) for given in metrics.get("inputs") or ()]
    facts = {name: metrics.get(name) for name in ("model", "device", "robot", "poses", "machine")}
    latency = metrics.get("latency_ms") or {}
    total = series.figures["latency"]
    return {
        "name": Path(inputs[0]).name if len(inputs) == 1 else f"{len(inputs)} inputs",
        "subtitle": _subtitle(metrics, series),
        "verdict": _verdict(read_outcomes(out)),
        "problems": list(_problems(metrics)),
        "tiles": list(_tiles(metrics)),
        "charts": list(filter(None, _charts(series))),
        "colours": [(c["name"], [int(value) for value in c["color"]]) for c in metrics.get("classes") or ()],
        "pictures": picture_groups(out, series.first_stamp_ns, series.names),
        "grid": _grid(metrics),
        "classes": _classes(metrics.get("mask")),
        "latency": {
            "stages": [(stage, percentiles) for stage, percentiles in latency.items() if percentiles],
            "histogram": histogram("Latency of a frame", total[np.isfinite(total)], x_name="ms", unit=" ms"),
        },
        "skipped": series.skipped,
        "facts": [*_facts(facts), ("inputs", ", ".join(inputs) or "–")],
    }


def _subtitle(metrics: Mapping[str, Any], series: FrameSeries) -> str:
    frames = f"{metrics['frames']['read']} frames"
    length = f" in {series.seconds[-1]:.1f} s" if series.seconds is not None else ""
    bags = f" of {len(series.bag_starts)} recordings" if len(series.bag_starts) > 1 else ""
    return f"{frames}{length}{bags}; {_words(metrics.get('device') or '')}"


def _verdict(outcomes: Sequence[Outcome] | None) -> dict[str, Any]:
    if outcomes is None:
        return {"state": "none", "title": "No thresholds given", "outcomes": None}
    missed = sum(outcome.failure is not None for outcome in outcomes)
    title = f"Failed: {missed} of {len(outcomes)} thresholds missed" if missed else f"Passed: all {len(outcomes)} kept"
    return {"state": "fail" if missed else "pass", "title": title, "outcomes": outcomes}


def _problems(metrics: Mapping[str, Any]) -> Iterator[str]:
    for failed in metrics.get("failed") or ():
        yield f"{failed['bag']} could not be evaluated: {failed['reason']}"
    for damage in metrics.get("damage") or ():
        yield f"damaged: {damage}"


def _tiles(metrics: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    if mask := metrics.get("mask"):
        yield _tile("mIoU", number(mask["miou"]), f"pixel accuracy {number(mask['pixel_accuracy'])}")
    if near := (metrics.get("grid") or {}).get(_NEAR):
        for key, cells in (("false_free", "obstacle"), ("occupied_recall", "obstacle"), ("free_recall", "free")):
            if near[key] is not None:
                yield _tile(_GRID_TITLES[key].capitalize(), number(near[key]), f"of {cells} cells, {_NEAR} m")
    flicker = metrics.get("flicker") or {}
    if flicker.get("mask") is not None:
        of_grid = flicker.get("grid")
        yield _tile(
            "Mask flicker", number(flicker["mask"]), "" if of_grid is None else f"of the grid {number(of_grid)}"
        )
    if total := (metrics.get("latency_ms") or {}).get("total"):
        yield _tile("Latency, p99", f"{number(total['p99'], 1)} ms", f"half within {number(total['p50'], 1)} ms")
    frames = metrics["frames"]
    labelled = f", {frames['labelled']} with labels" if frames["labelled"] else ""
    yield _tile("Frames", str(frames["read"]), f"{frames['masks']} masks, {frames['grids']} grids{labelled}")


def _tile(title: str, value: str, note: str) -> dict[str, str]:
    return {"title": title, "value": value, "note": note}


def _charts(series: FrameSeries) -> Iterator[Chart | None]:
    count = len(series.camera)
    if not count:
        return
    x = np.arange(count, dtype=np.float64) if series.seconds is None else series.seconds
    x_name = "frame" if series.seconds is None else "seconds since the first frame"
    several = 1 < len(series.bag_starts) <= _MOST_BAGS
    marks = [(x[number], Path(bag).name) for number, bag in series.bag_starts] if several else []
    figures = series.figures

    def chart(title: str, lines: Mapping[str, Any], top: float | None = None, unit: str = "") -> Chart | None:
        return curves(title, x, lines, x_name=x_name, top=top, unit=unit, marks=marks)

    yield chart("mIoU", _by_camera(series, "miou"), top=1.0)
    yield chart(f"False free, {_NEAR} m", _by_camera(series, "false_free"))
    yield chart("Flicker", {name: figures[f"{name} flicker"] for name in ("mask", "grid")})
    yield chart("Latency, ms", {"": figures["latency"]}, unit=" ms")


def _by_camera(series: FrameSeries, figure: str) -> dict[str, Any]:
    cameras = sorted(set(series.camera.tolist()))
    values = series.figures[figure]
    if len(cameras) > _MOST_CURVES:
        return {"all cameras": values}
    return {camera: np.where(series.camera == camera, values, np.nan) for camera in cameras}


def _grid(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    bands = metrics.get("grid")
    if not bands:
        return None
    rows = [{"band": band, "figures": [figures.get(key) for key in _GRID_TITLES]} for band, figures in bands.items()]
    truth = metrics.get("grid_truth")
    return {"titles": list(_GRID_TITLES.values()), "rows": rows, "truth": _TRUTHS.get(str(truth), truth)}


def _classes(mask: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not mask:
        return None
    matrix = np.array(mask["confusion"], np.float64)
    pixels = matrix.sum(axis=1)
    rows = [
        {
            "name": name,
            "iou": mask["iou"].get(name),
            "dice": mask["dice"].get(name),
            "share": counted / max(pixels.sum(), 1.0),
            "confusion": (100 * row / counted).tolist() if counted else [None] * len(row),
        }
        for name, row, counted in zip(mask["classes"], matrix, pixels, strict=True)
    ]
    return {"rows": rows}


def _facts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a mapping has gets lines of its own."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}, {part}", _words(inner)) for part, inner in value.items() if inner is not None)
        elif value is not None:
            yield name, _words(value)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items() if inner is not None)
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)
