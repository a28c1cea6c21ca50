"""`seg-perception export`: a trained network → ONNX → int8 → quality gate → model bundle; or → another format."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import BundleError, DataError, ExportError
from seg_perception.engines.bundle import require_target, require_texts
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.engines.resize import Resize
from seg_perception.engines.torch_program import save_program
from seg_perception.evaluation.material import decode, open_material
from seg_perception.models.build import InstanceClassifier
from seg_perception.models.deploy import Deployed
from seg_perception.training import checkpoint
from seg_perception.training.calibration import Calibration, calibrate
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import SIMULATION, Source, load_held_out, load_sources
from seg_perception.training.export import export_onnx, verify
from seg_perception.training.export_card import CardFacts
from seg_perception.training.export_formats import FORMATS, require_library, require_place, write_format
from seg_perception.training.export_variants import TORCH, Trial, Tried, provenance_of
from seg_perception.training.gate import Measured, measure
from seg_perception.training.gated_bundle import accepted_of, write_gated
from seg_perception.training.logits import GraphLogits, set_temperature
from seg_perception.training.offsets import fit_offsets
from seg_perception.training.samples import spread
from seg_perception.training.trained import Trained

BUNDLE = "bundle"
VERIFIED_IMAGES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--training", type=Path, required=True, help="a training, or a bundle that came from one")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, e.g. config/models/road_lite")
    parser.add_argument("--version", default="1.0.0", help="version of the bundle (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=2, help="of the CPU, for the gate's measurements (default: %(default)s)"
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="instead of the training's, e.g. as the data moved; a bundle needs one",
    )
    parser.add_argument(
        "--calibration", type=Path, help="folder of images, or bag, for the ranges of int8 (default: training images)"
    )
    parser.add_argument(
        "--accept", action="store_true", help="keep a variant that is over the gate's limits; the manifest says so"
    )
    parser.add_argument(
        "--torch", action="store_true", help="add a variant for the torch engine (GPUs, and benchmark --compare)"
    )
    parser.add_argument(
        "--format", choices=(BUNDLE, *FORMATS), default=BUNDLE, help="what to write (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Export; 0 when a bundle was written. Raises ExportError when not even the float variant passes the gate."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    args.out = _require_usable(args)
    trained = Trained.load(args.training, args.config)
    config, table = trained.config, trained.table
    torch.set_num_threads(args.threads)
    held_out = load_held_out(config, table)
    spec = InputSpec(*config.input_size)

    print("export the graph")
    training = _training(config, table)
    offsets = None
    if not isinstance(trained.network, InstanceClassifier):  # one class would win wherever no instance is
        offsets = fit_offsets(Deployed(trained.network.eval()), training, held_out, table)
    deployed = Deployed(trained.network, offsets=offsets)
    graph = export_onnx(deployed, spec)
    images = [image for image, _ in islice(held_out[0].samples, VERIFIED_IMAGES)]
    verify(deployed, graph, spec, images)
    if args.format != BUNDLE:
        temperature = calibrate(GraphLogits(graph, args.threads), held_out).temperature
        deployed = Deployed(trained.network, temperature, offsets)
        written = write_format(args.format, deployed, set_temperature(graph, temperature), images, args.out)
        print(f"wrote {', '.join(map(str, written))}; masks agree with the network's")
        return 0

    calibration = _calibration_images(trained, training, args.calibration)
    del training  # gigabytes
    print("measure the float reference")
    reference = measure(
        OnnxRuntimeEngine(graph, spec, Runtime("cpu"), threads=args.threads), held_out, len(table.classes)
    )
    golden = _golden(held_out)
    trial = Trial(config.export, args.threads, table, spec, held_out, golden.samples[0][0], graph, reference)
    variants = trial.all(calibration, trained.ranges, args.accept)
    accepted_of(variants)
    if args.torch:
        fitted = variants[0].confidence
        deployed = Deployed(trained.network, fitted.temperature if fitted else 1.0, offsets)
        variants += _torch_variant(trial, deployed, fitted, args.accept)
    provenance = _provenance(trained, offsets, reference, variants)
    scores = {f"miou {source}": round(score, 4) for source, score in reference.miou.items()}
    facts = CardFacts(
        name=args.out.name,
        version=args.version,
        summary=_summary(config, provenance, scores),
        data=config.export.data,
        licence=config.export.licence,
        limits=config.export,
        table=table,
        class_iou=provenance["class_iou"],
        variants=variants,
    )
    weights = checkpoint.slim(trained.state, config)
    write_gated(
        args.out,
        facts,
        spec,
        golden,
        trial.golden,
        provenance=provenance,
        scores=scores,
        threads=args.threads,
        weights=weights,
    )
    return 0


def _torch_variant(trial: Trial, deployed: Deployed, fitted: Calibration | None, accept: bool) -> list[Tried]:
    """For the torch engine; none where that refuses it."""
    program = save_program(deployed, torch.from_numpy(trial.golden)[None])
    try:
        return [trial.torch(program, fitted, accept)]
    except BundleError as error:
        print(f"{TORCH} is refused: {error}")
        return []


def _require_usable(args: argparse.Namespace) -> Path:
    """The place for the result, absolute. Raises ExportError, BundleError: what is wrong is better known before the
    gate.
    """
    if args.threads < 1:
        raise ExportError(f"--threads is {args.threads}; give at least 1")
    require_texts(version=args.version)
    for name in ("accept", "torch", "calibration") if args.format != BUNDLE else ():
        if getattr(args, name):
            raise ExportError(f"--{name} is for bundles; leave it out with --format {args.format}")
    if args.calibration:
        open_material(args.calibration)
    require_library(args.format)
    return require_target(args.out) if args.format == BUNDLE else require_place(args.out)


def _golden(sources: Sequence[Source]) -> Source:
    """A simulated source where there is one: bundles are handed on, and the images of data sets may not be."""
    simulated = [source for source in sources if source.name.startswith(SIMULATION)]
    return (simulated or list(sources))[0]


def _training(config: TrainingConfig, table: ClassTable) -> list[Source]:
    try:
        return load_sources(config, config.train, table)
    except DataError as error:  # a graph can be made without
        print(f"no offsets of the logits, as the training data is not there: {error}")
        return []


def _calibration_images(trained: Trained, training: Sequence[Source], material: Path | None) -> list[NDArray[np.uint8]]:
    config = trained.config
    count = config.export.calibration_images
    if material is not None:
        return calibration_frames(material, count, config)
    return _spread(training or load_sources(config, config.train, trained.table), count)


def _spread(sources: Sequence[Source], count: int) -> list[NDArray[np.uint8]]:
    """Images spread evenly over every source."""
    each = max(1, count // len(sources))
    return [image for source in sources for image, _ in spread(source.samples, each)]


def calibration_frames(path: Path, count: int, config: TrainingConfig) -> list[NDArray[np.uint8]]:
    """Frames spread evenly over a folder or a bag, at the input's size. Raises DataError, ExportError."""
    material = open_material(path)
    chosen = set(spread(range(len(material.names)), count))
    resize = Resize(*config.input_size)
    decoded = [decode(frame.image) for index, frame in enumerate(material) if index in chosen]
    readable = [resize.apply(image) for image in decoded if image is not None]
    if not readable:
        raise ExportError(f"{path}: none of its images can be decoded; give a folder of JPEG or PNG files")
    return readable


def _provenance(
    trained: Trained, offsets: torch.Tensor | None, reference: Measured, variants: Sequence[Tried]
) -> dict[str, Any]:
    """What people want to know about the weights; plain YAML types."""
    document = trained.config.to_dict()
    del document["base"]
    classes = trained.table.classes
    moved = {} if offsets is None else {c.name: float(o) for c, o in zip(classes, offsets, strict=True)}
    by_variant: dict[str, Mapping[str, Any]] = {v.name: dict(v.class_iou) for v in variants}
    return {
        "data": trained.config.export.data,
        "trained_with": f"seg-perception train, torch {torch.__version__}",
        "steps": trained.state["step"],
        "training_minutes": round(trained.state["elapsed_s"] / 60, 1),
        "logit_offsets": moved,
        **provenance_of(variants),
        "class_iou": {"reference": reference.class_iou(trained.table), **by_variant},
        "config": document,
    }


def _summary(config: TrainingConfig, provenance: Mapping[str, Any], scores: Mapping[str, float]) -> str:
    width, height = config.input_size
    shown = ", ".join(f"{100 * value:.1f} on {name.removeprefix('miou ')}" for name, value in scores.items())
    return (
        f"Semantic segmentation of {width}x{height} images: {config.model.architecture} with encoder "
        f"{config.model.encoder}. mIoU of the float model, in per cent: {shown}. "
        f"Trained {provenance['steps']} steps, {provenance['training_minutes']} minutes."
    )
