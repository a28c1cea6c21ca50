"""What an evaluation leaves in its folder, made up but consistent: a drive with a bad stretch in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg_perception.core import metrics
from seg_perception.core.classes import ClassTable

TABLE = ClassTable.load(Path(__file__).parents[2] / "config" / "classes" / "camvid.yaml")
NAMES = [c.name for c in TABLE.classes]
N = len(NAMES)
RATE_HZ = 10
START_NS = 1_700_000_000_000_000_000
GRID_COUNTS = (
    "occupied",
    "occupied_as_free",
    "occupied_as_occupied",
    "free",
    "free_as_free",
    "free_as_occupied",
    "hidden",
    "hidden_as_unknown",
)


def frames_of(count: int, seed: int = 0, error: float = 0.1, cameras: tuple[str, ...] = ("",)) -> list[dict[str, Any]]:
    """Frames of a run whose pixels are wrong with about the probability `error`, and twice that in a bad stretch."""
    rng = np.random.default_rng(seed)
    sizes = np.array([8, 20, 1, 30, 8, 15, 1, 3, 10, 2, 2]) / 100
    return [_frame(index, count, rng, sizes, error, cameras[index % len(cameras)]) for index in range(count)]


def _frame(
    index: int, count: int, rng: np.random.Generator, sizes: np.ndarray, error: float, camera: str
) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "index": index,
        "bag": "/recordings/drive",
        "camera": camera,
        "stamp_ns": START_NS + index * 10**9 // RATE_HZ,
        "skipped": None,
        "detail": None,
        "masked": True,
        "gridded": True,
        "flicker": {"mask": None, "grid": None},
    }
    stages = dict(zip(("decode", "infer", "grid", "write"), rng.gamma(20, (0.1, 0.5, 0.2, 0.05)).tolist(), strict=True))
    stages["infer"] += 60.0 if index == 0 else 0.0
    frame["latency_ms"] = {**stages, "total": sum(stages.values())}
    if index % 50 == 7:
        return frame | {"skipped": "no pose; no label", "detail": "no transform at the stamp", "gridded": False}
    wrong = error * (2.0 if 0.4 < index / count < 0.5 else 1.0) * rng.uniform(0.7, 1.3)
    confusion = np.zeros((N, N), np.int64)
    for truth, size in enumerate(sizes):
        spread = rng.dirichlet(np.full(N, 0.3)) * wrong
        spread[truth] += 1.0 - wrong
        confusion[truth] = rng.multinomial(int(size * 1e5), spread / spread.sum())
    counts = [400, rng.binomial(400, wrong / 10), 330, 5000, 4700, rng.binomial(5000, wrong / 5), 6000, 5990]
    frame["confusion"] = confusion.tolist()
    frame["mask"] = {"miou": metrics.mean_iou(confusion), "pixel_accuracy": metrics.pixel_accuracy(confusion)}
    frame["grid_counts"] = {"0-15": dict(zip(GRID_COUNTS, map(int, counts), strict=True))}
    frame["grid"] = grid_figures(frame["grid_counts"]["0-15"])
    frame["flicker"] = {"mask": wrong / 20, "grid": wrong / 30}
    return frame


def grid_figures(counts: dict[str, int]) -> dict[str, float]:
    return {
        "false_free": counts["occupied_as_free"] / counts["occupied"],
        "occupied_recall": counts["occupied_as_occupied"] / counts["occupied"],
        "false_occupied": counts["free_as_occupied"] / counts["free"],
        "free_recall": counts["free_as_free"] / counts["free"],
        "hidden_unknown": counts["hidden_as_unknown"] / counts["hidden"],
        "cells": counts["occupied"] + counts["free"] + counts["hidden"],
    }


def metrics_of(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """metrics.json of frames."""
    scored = [frame for frame in frames if "confusion" in frame]
    confusion = np.sum([frame["confusion"] for frame in scored], axis=0)
    iou = metrics.iou(confusion)
    counts = {key: sum(frame["grid_counts"]["0-15"][key] for frame in scored) for key in GRID_COUNTS}
    near = grid_figures(counts)
    stages = {stage: [frame["latency_ms"][stage] for frame in frames] for stage in frames[0]["latency_ms"]}
    return {
        "mask": {
            "miou": float(np.nanmean(iou)),
            "iou": dict(zip(NAMES, iou.tolist(), strict=True)),
            "dice": dict(zip(NAMES, (2 * iou / (1 + iou)).tolist(), strict=True)),
            "pixel_accuracy": metrics.pixel_accuracy(confusion),
            "confusion": confusion.tolist(),
            "classes": NAMES,
        },
        "grid": {"0-5": near, "5-10": near, "10-15": near, "15-25": near | {"hidden_unknown": None}, "0-15": near},
        "grid_truth": "truth_grid",
        "flicker": {part: float(np.mean([frame["flicker"][part] for frame in scored])) for part in ("mask", "grid")},
        "latency_ms": {
            stage: dict(zip(("p50", "p95", "p99"), np.percentile(values, (50, 95, 99)).tolist(), strict=True))
            for stage, values in stages.items()
        },
        "frames": {
            "read": len(frames),
            "masks": len(frames),
            "grids": len(scored),
            "labelled": len(scored),
            "skipped": {"no pose": len(frames) - len(scored), "no label": len(frames) - len(scored)},
        },
        "classes": [{"id": c.id, "name": c.name, "color": list(c.color)} for c in TABLE.classes],
        "model": {"bundle": "road_lite 1.0", "precision": "int8", "sha256": "0123456789abcdef" * 4},
        "device": "cpu",
        "machine": {"processor": "a processor", "cores": 2, "versions": {"python": "3.12"}},
        "inputs": ["/recordings/drive"],
    }


def write_run(out: Path, frames: list[dict[str, Any]]) -> Path:
    """metrics.json, frames.jsonl, pictures.json and pictures/ of frames; returns `out`."""
    (out / "pictures").mkdir(parents=True)
    (out / "metrics.json").write_text(json.dumps(metrics_of(frames)))
    (out / "frames.jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    pictures = []
    for kind in ("lowest_miou", "most_false_free", "snapshot"):
        for frame in frames[10:12]:
            for view in ("camera", "overlay", "labels", "difference", "grid"):
                file = f"pictures/{kind}_{frame['index']:06}_{view}.png"
                entry = {"file": file, "view": view, "kind": kind, "index": frame["index"]}
                pictures.append(entry | {"stamp_ns": frame["stamp_ns"], "value": frame["mask"]["miou"]})
                cv2.imwrite(str(out / file), picture(frame["index"]))
    (out / "pictures.json").write_text(json.dumps(pictures))
    return out


def picture(seed: int) -> np.ndarray:
    """(270, 480, 3) uint8: soft noise, about as hard to compress as a photograph."""
    noise = np.random.default_rng(seed).integers(0, 256, (270, 480, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX)
