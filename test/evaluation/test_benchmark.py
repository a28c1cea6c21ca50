"""The benchmark's parts that can be wrong without being slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from seg_perception.core.errors import DataError
from seg_perception.engines.bundle import Bundle
from seg_perception.evaluation.benchmark_baseline import write_logits_model
from seg_perception.evaluation.benchmark_grid import time_grid
from seg_perception.evaluation.benchmark_table import table
from seg_perception.evaluation.latency import percentiles_ms


def percentiles(value: float) -> dict[str, float]:
    return {"p50": value, "p95": 2 * value, "p99": 3 * value}


def side(name: str, sent_hz: float, latency: float, **peaks: float) -> dict[str, Any]:
    return {
        "scenario": name,
        "sent_hz": sent_hz,
        "masks_hz": 25.0,
        "image_to_mask_ms": percentiles(latency),
        "image_to_grid_ms": None,
        "stages_ms": {stage: percentiles(1.0) for stage in ("wait", "convert", "infer", "publish")},
        "peak_rss_mib": peaks,
    }


def result(baseline: object) -> dict[str, Any]:
    return {
        "machine": {"processor": "abacus", "cores": 2, "versions": {"python": "3.11"}},
        "input": "1280x720 bgr8",
        "engine": {"description": "road_lite on openvino", "infer_ms": percentiles(10.0)},
        "grid": {
            "mask": "640x360",
            "update_ms": {"300x300 cells": percentiles(1.5)},
            "first_update_with_lookup_ms": percentiles(20.0),
            "occupancy_ms": percentiles(0.5),
        },
        "ours": [side("10 Hz", 10.0, 15.0, segmenter=200.0), side("flood", 180.0, 17.0, segmenter=210.0)],
        "baseline": baseline,
    }


def test_the_table_puts_both_nodes_beside_each_other() -> None:
    lines = table(result([side("10 Hz", 10.0, 50.0, baseline=250.0), side("flood", 180.0, 400.0, baseline=260.0)]))
    assert "| 10 Hz in: image to mask, ms | 15.0 / 30.0 / 45.0 | 50.0 / 100.0 / 150.0 |" in lines
    assert "| 180 Hz in (as many as arrive): image to mask, ms | 17.0 / 34.0 / 51.0 | 400.0 / 800.0 / 1200.0 |" in lines
    assert "| segmenter on top of it (wait + convert + publish), ms | 3.0 / 6.0 / 9.0 |" in lines
    assert "| grid update, 640x360 mask, 300x300 cells, one core, ms | 1.5 / 3.0 / 4.5 |" in lines
    assert "| peak memory of segmenter, MiB | 210 |" in lines and "| 260 |" in lines


def test_the_table_says_why_there_is_no_baseline() -> None:
    assert "not measured: onnx is missing" in table(result("onnx is missing"))


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles_ms([]) is None
    assert percentiles_ms([1_000_000, 3_000_000]) == {"p50": 2.0, "p95": 2.9, "p99": 2.98}


def test_the_baseline_is_the_same_network(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    bundle = Bundle.load("road_lite")
    image, expected = bundle.read_golden(bundle.variants["fp32"])
    write_logits_model(bundle, tmp_path / "logits.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "logits.onnx"), providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    resized = cv2.resize(image, expected.shape[::-1]).astype(np.float32)
    tensor = ((resized - 110.0) / 60.0).transpose(2, 0, 1)[np.newaxis]
    (logits,) = session.run(None, {source.name: np.ascontiguousarray(tensor)})
    assert logits.shape == (1, len(bundle.table.classes), *expected.shape)
    assert np.mean(logits[0].argmax(axis=0) == expected) > 0.97


def test_a_graph_without_float_variant_has_no_baseline(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    bundle = Bundle.load("road_lite")
    variants = {name: variant for name, variant in bundle.variants.items() if name != "fp32"}
    stripped = Bundle(bundle.root, type(bundle.manifest)(**{**vars(bundle.manifest), "variants": variants}))
    with pytest.raises(DataError, match="no variant fp32"):
        write_logits_model(stripped, tmp_path / "logits.onnx")


def test_the_grid_is_timed_with_evidence_in_it() -> None:
    timed = time_grid(Bundle.load("road_lite").table, 3)
    updates = timed["update_ms"]
    assert isinstance(updates, dict) and len(updates) == 5
    for figures in (*updates.values(), timed["occupancy_ms"], timed["first_update_with_lookup_ms"]):
        assert isinstance(figures, dict) and 0.0 < figures["p50"] <= figures["p99"]
