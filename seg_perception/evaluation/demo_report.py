"""From a recorded demo to its figures and pictures; all of them from what the nodes published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seg_perception.core.classes import ClassTable
from seg_perception.core.share import share_folder
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.resize import Resize
from seg_perception.evaluation import recording as topics
from seg_perception.evaluation.demo_pictures import drive_pictures, material_pictures
from seg_perception.evaluation.drive_material import DriveMaterial
from seg_perception.evaluation.drive_scores import grid_figures, mask_miou, not_in_model
from seg_perception.evaluation.drive_truth import DriveTruth
from seg_perception.evaluation.latency import percentiles_ms
from seg_perception.evaluation.material import Material
from seg_perception.evaluation.recording import Recording


def report(
    out: Path, frame_of: Mapping[int, int], material: Material, bundle: Bundle, device: str, rate_hz: float
) -> dict[str, Any]:
    """Write overview.png and drive.mp4 beside `out`/bag; returns the summary. frame_of: stamp (ns) → frame."""
    recording = Recording(out / "bag")
    if isinstance(material, DriveMaterial):
        truth = DriveTruth(material)
        scores = _drive_scores(recording, frame_of, material, truth, bundle)
        summary = {**_counts(recording, frame_of), **scores, **_model(recording, bundle), "device": device}
        drive_pictures(out, recording, frame_of, material, truth, bundle, summary)
    else:
        unscored = {
            "mask": {"miou": None, "why": "the material has no labels"},
            "grid": None,
            "why_no_grid": material.why_no_grid or "the truth is not known",
        }
        summary = {**_counts(recording, frame_of), **unscored, **_model(recording, bundle), "device": device}
        names = {stamp: material.names[index] for stamp, index in frame_of.items()}
        material_pictures(out, recording, bundle, summary, names, rate_hz)
    return summary


def _counts(recording: Recording, frame_of: Mapping[int, int]) -> dict[str, Any]:
    masks, grids = recording.received(topics.MASK), recording.received(topics.GRID)
    return {
        "frames_in": len(frame_of),
        "masks_out": len(masks.keys() & frame_of.keys()),
        "grids_out": len(grids.keys() & frame_of.keys()),
        "dropped": len(frame_of.keys() - masks.keys()),
        "latency_ms": {"image_to_mask": _latency(masks, frame_of), "image_to_grid": _latency(grids, frame_of)},
    }


def _latency(received: Mapping[int, int], frame_of: Mapping[int, int]) -> dict[str, float] | None:
    """From the stamp of an image to the arrival of its result at the recorder."""
    return percentiles_ms([received[stamp] - stamp for stamp in received.keys() & frame_of.keys()])


def _drive_scores(
    recording: Recording, frame_of: Mapping[int, int], drive: DriveMaterial, truth: DriveTruth, bundle: Bundle
) -> dict[str, Any]:
    spec = bundle.manifest.input
    resize = Resize(spec.width, spec.height, spec.resize)
    simulated = ClassTable.load(share_folder() / "config" / "classes" / "camvid.yaml")
    lacking = not_in_model(drive.labels, bundle.table, simulated)
    miou = None if lacking else mask_miou(recording, frame_of, drive.labels, resize, bundle.table, simulated)
    mask: dict[str, Any] = {"miou": None if miou is None else round(miou, 4)}
    if lacking:  # what is called something else there could not be counted as wrong
        mask["why"] = f"the model's classes lack {', '.join(lacking)} of the simulation"
    with tqdm(total=len(frame_of), desc="comparing with the truth", unit="frame") as progress:
        grid = grid_figures(recording, frame_of, truth, progress.update)
    return {"mask": mask, "grid": grid}


def _model(recording: Recording, bundle: Bundle) -> dict[str, Any]:
    """What ran, in the segmenter's own words: its status begins with name, version and variant of the bundle."""
    status = recording.last("/segmenter/status")
    engine = str(status.engine) if status else ""
    running = next((name for name in bundle.variants if f" {name}," in engine), None)
    return {
        "model": {
            "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
            "precision": running,
            "sha256": bundle.variants[running].model.sha256 if running else None,
            "engine": engine,
        }
    }
