"""Nodes measured from outside: a camera process sends, a recorder process notes when results arrive."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seg_perception.evaluation.latency import percentiles_ms
from seg_perception.evaluation.processes import NodeGroup
from seg_perception.evaluation.recording import GRID, MASK, Recording

_STATUS = "/segmenter/status"
_SETTLE_S = 1.5
_WARM_UP = 5


@dataclass(frozen=True)
class Scenario:
    """Frames per second that the camera tries to send, for how long, and the picture."""

    name: str
    rate_hz: float
    seconds: float
    picture: Path


def run_scenario(scenario: Scenario, nodes: Mapping[str, Mapping[str, Any]], out: Path) -> dict[str, Any]:
    """Run nodes (name → parameters) under a load; the first frames are not counted. Raises ProcessError."""
    out.mkdir(parents=True, exist_ok=True)
    bag = out / "bag"
    shutil.rmtree(bag, ignore_errors=True)
    lifecycle = [name for name in nodes if name != "baseline"]
    parameters: dict[str, Mapping[str, Any]] = {
        "benchmark_camera": {
            "image": str(scenario.picture.resolve()),
            "rate": scenario.rate_hz,
            "duration": scenario.seconds,
            "wait_for": " ".join(lifecycle),
            "subscribers": 1,
        },
        **nodes,
        "recorder": {"bag": str(bag.resolve()), "topics": f"{MASK} {GRID} {_STATUS}"},
    }
    file = out / "parameters.yaml"
    document = {f"/**/{name}": {"ros__parameters": dict(values)} for name, values in parameters.items()}
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    with NodeGroup(out / "logs") as group:
        processes = {name: group.start(name, ["--params-file", str(file)]) for name in parameters}
        camera = processes["benchmark_camera"]
        sent = [int(line) for line in group.follow(camera)]
        group.pause(_SETTLE_S, may_end=camera)
        rss = {name: round(processes[name].peak_rss_mib(), 1) for name in nodes}
    return {"scenario": scenario.name, **_figures(Recording(bag), sent), "peak_rss_mib": rss}


def _figures(recording: Recording, sent: list[int]) -> dict[str, Any]:
    counted = sent[_WARM_UP:]
    masks, grids = recording.received(MASK), recording.received(GRID)
    duration_s = (sent[-1] - sent[0]) / 1e9 if len(sent) > 1 else 0.0
    status = recording.last(_STATUS)
    return {
        "sent_hz": round((len(sent) - 1) / duration_s, 1) if duration_s else None,
        "masks_hz": _rate(sorted(masks[stamp] for stamp in counted if stamp in masks)),
        "image_to_mask_ms": percentiles_ms([masks[stamp] - stamp for stamp in counted if stamp in masks]),
        "image_to_grid_ms": percentiles_ms([grids[stamp] - stamp for stamp in counted if stamp in grids]),
        "stages_ms": _stages(status) if status else None,
    }


def _rate(arrivals: list[int]) -> float | None:
    if len(arrivals) < 2:
        return None
    return round((len(arrivals) - 1) * 1e9 / (arrivals[-1] - arrivals[0]), 1)


def _stages(status: Any) -> dict[str, dict[str, float]]:
    """The segmenter's own account of its last frames."""
    return {
        stage.stage: {name: round(float(getattr(stage, name)), 2) for name in ("p50", "p95", "p99")}
        for stage in status.latency
    }
