"""`seg-perception export`: a trained network → ONNX → int8 → quality gate → model bundle."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import ExportError
from seg_perception.engines.bundle import NewVariant, write_bundle
from seg_perception.engines.manifest import Accepted, InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine, installed_providers
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.deploy import Deployed
from seg_perception.training import checkpoint
from seg_perception.training.calibration import Calibration, calibrate
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import SIMULATION, Source, load_sources
from seg_perception.training.export import export_onnx, halve_weights, verify
from seg_perception.training.gate import Measured, Verdict, judge, latencies_ms, measure, table_of
from seg_perception.training.quantize import KEEP_FLOAT_STEPS, quantize

RUNTIMES = (
    Runtime("openvino", "bf16"),
    Runtime("openvino", "f32"),
    Runtime("cpu"),
    Runtime("tensorrt", "f16"),
    Runtime("cuda"),
)
"""Where a variant is tried; those that are not installed here are left out."""

FLOAT, INT8 = "fp32", "int8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--training", type=Path, required=True, help="folder that `seg-perception train --out` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, e.g. config/models/road_lite")
    parser.add_argument("--version", default="1.0.0", help="version of the bundle (default: %(default)s)")
    parser.add_argument("--config", type=Path, help="another configuration than the training's, e.g. as the data moved")


def run(args: argparse.Namespace) -> int:
    """Export; 0 when a bundle was written. Raises ExportError when not even the float variant passes the gate."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    state = checkpoint.load(args.training / checkpoint.BEST)
    config = TrainingConfig.load(args.config) if args.config else TrainingConfig.from_dict(state["config"])
    torch.set_num_threads(config.schedule.threads)
    table = ClassTable.from_dicts(state["classes"])
    train = load_sources(config, config.train, len(table.classes))
    held_out = load_sources(config, config.validation, len(table.classes))

    print("calibrate and export")
    network = _network(config, table, state["average"])
    calibration = calibrate(network, held_out)
    deployed = Deployed(network, calibration.temperature)
    width, height = config.input_size
    job = _Job(config, table, InputSpec(width, height), held_out, _golden(held_out))
    model = export_onnx(deployed, job.spec)
    verify(deployed, model, job.spec, [image for image, _ in held_out[0].samples[:4]])

    print("measure the float reference")
    reference = measure(job.engine(model, Runtime("cpu")), held_out, len(table.classes))
    variants = [_try(job, FLOAT, halve_weights(model), reference)]
    variants += _quantized(job, model, _calibration_images(train, config.export.calibration_images), reference)
    accepted = [variant for variant in variants if variant.accepted]
    if not accepted:
        raise ExportError("no variant passed the gate; see the table above, and the limits under export: in the config")
    bundle = write_bundle(
        args.out,
        version=args.version,
        licence=config.export.licence,
        provenance=_provenance(config, state, calibration, reference, variants, table),
        scores={f"miou {source}": round(score, 4) for source, score in reference.miou.items()},
        table=table,
        input_spec=job.spec,
        golden_image=job.golden,
        variants=[NewVariant(v.name, v.model, v.golden_mask, v.accepted) for v in accepted],
    )
    print(f"wrote {bundle.root}: {', '.join(bundle.variants)}")
    return 0


@dataclass(frozen=True)
class _Job:
    """What stays the same for all variants of an export."""

    config: TrainingConfig
    table: ClassTable
    spec: InputSpec
    held_out: Sequence[Source]
    golden: NDArray[Any]

    def engine(self, model: bytes, runtime: Runtime) -> OnnxRuntimeEngine:
        """The graph on a runtime, as the nodes run it."""
        return OnnxRuntimeEngine(model, self.spec, runtime, threads=self.config.schedule.threads)


@dataclass(frozen=True)
class _Tried:
    """A variant after the gate; `accepted` is empty where it failed on every runtime."""

    name: str
    model: bytes
    golden_mask: NDArray[Any]
    accepted: tuple[Accepted, ...]
    class_iou: Mapping[str, Mapping[str, float]]
    keep_float: tuple[int, int] = (0, 0)


def _network(config: TrainingConfig, table: ClassTable, weights: Mapping[str, torch.Tensor]) -> PixelClassifier:
    network = build(config.model.architecture, config.model.encoder, config.model.options, len(table.classes))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ExportError(f"the checkpoint is of another model than the configuration ({error})") from error
    return network.eval()


def _golden(sources: Sequence[Source]) -> NDArray[Any]:
    """A simulated image where there is one: bundles are handed on, and the images of data sets may not be."""
    simulated = [source for source in sources if source.name.startswith(SIMULATION)]
    image: NDArray[Any] = (simulated or list(sources))[0].samples[0][0]
    return image


def _calibration_images(sources: Sequence[Source], count: int) -> list[NDArray[Any]]:
    """Images spread evenly over every source."""
    each = max(1, count // len(sources))
    chosen = []
    for source in sources:
        chosen += [image for image, _ in source.samples[:: max(1, len(source.samples) // each)]][:each]
    return chosen


def _quantized(job: _Job, model: bytes, images: Sequence[NDArray[Any]], reference: Measured) -> list[_Tried]:
    """The int8 variant with the fewest convolutions left in float that passes the gate somewhere; else none."""
    for keep_float in KEEP_FLOAT_STEPS:
        print(f"quantize, {keep_float[0]} first and {keep_float[1]} last convolutions in float")
        tried = _try(job, INT8, quantize(model, images, keep_float), reference)
        if tried.accepted:
            return [dataclasses.replace(tried, keep_float=keep_float)]
    return []


def _try(job: _Job, name: str, model: bytes, reference: Measured) -> _Tried:
    """Measure a variant on every runtime here and print the gate's table."""
    engines = {r: job.engine(model, r) for r in RUNTIMES if r.provider in installed_providers()}
    measured = {r: measure(engine, job.held_out, len(job.table.classes)) for r, engine in engines.items()}
    limits = job.config.export
    verdicts = {r: _verdict(job, f"{name} on {r}", m, reference, limits) for r, m in measured.items()}
    print(table_of(verdicts.values()))
    passed = [r for r, verdict in verdicts.items() if verdict.passed]
    latencies = latencies_ms({str(r): engines[r] for r in passed}, job.golden)
    best = passed[0] if passed else next(iter(engines))
    return _Tried(
        name,
        model,
        engines[best].infer(job.golden).mask,
        tuple(Accepted(r, verdicts[r].scores, latencies[str(r)]) for r in passed),
        measured[best].class_iou(job.table),
    )


def _verdict(job: _Job, name: str, candidate: Measured, reference: Measured, limits: Any) -> Verdict:
    return judge(name, candidate, reference, job.held_out, job.table, limits)


def _provenance(
    config: TrainingConfig,
    state: Mapping[str, Any],
    calibration: Calibration,
    reference: Measured,
    variants: Sequence[_Tried],
    table: ClassTable,
) -> dict[str, Any]:
    """What people want to know about the weights; plain YAML types."""
    document = config.to_dict()
    del document["base"]
    return {
        "data": config.export.data,
        "trained_with": f"seg-perception train, torch {torch.__version__}",
        "steps": state["step"],
        "training_minutes": round(state["elapsed_s"] / 60, 1),
        "confidence": {
            "temperature": round(calibration.temperature, 3),
            "expected_calibration_error": round(calibration.ece_after, 4),
            "expected_calibration_error_uncalibrated": round(calibration.ece_before, 4),
        },
        "class_iou": {"reference": reference.class_iou(table), **{v.name: dict(v.class_iou) for v in variants}},
        "convolutions_kept_in_float": {v.name: list(v.keep_float) for v in variants if v.name != FLOAT},
        "config": document,
    }
