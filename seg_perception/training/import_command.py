"""`seg-perception import`: a network trained elsewhere → quality gate → model bundle."""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import ModelImportError
from seg_perception.core.label_forms import FORMS
from seg_perception.core.labels import LabelFolder, load_remap
from seg_perception.engines.bundle import require_target, require_texts
from seg_perception.engines.manifest import CHANNEL_ORDERS, InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.engines.resize import RESIZE_RULES, STRETCH, Resize
from seg_perception.training.config import ExportConfig
from seg_perception.training.data import Source, require_labelled
from seg_perception.training.export_card import CardFacts
from seg_perception.training.export_variants import Trial, Tried, provenance_of
from seg_perception.training.gate import measure
from seg_perception.training.gated_bundle import write_gated
from seg_perception.training.import_frames import Frame, labelled, load_frames, simulated_frames
from seg_perception.training.import_onnx import Network, Preprocessing, read_onnx, verify, wrap

if TYPE_CHECKING:
    from seg_perception.training.import_torch import Checkpoint

FRAMES = 64
"""At most so many frames are for the ranges of int8, and so many others for the gate."""
SIMULATED_FRAMES = 4
VERIFIED_IMAGES = 4
OWN_MASKS = "own masks"
"""The source of frames without labels, on which the network's own float masks stand for the truth."""
_WEIGHTS = (".safetensors", ".pth", ".pt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add(
        "model",
        help="an .onnx file; a folder (or name on Hugging Face's hub) of a transformers checkpoint; "
        "or weights of torchvision, .safetensors or .pth",
    )
    add("--out", type=Path, required=True, help="folder of the bundle")
    add("--classes", type=Path, required=True, help="class table, in the order of the network's classes")
    add("--mean", type=float, nargs=3, metavar="X", help="of the channels, for pixels scaled to 0..1")
    add("--std", type=float, nargs=3, metavar="X", help="of the channels, for pixels scaled to 0..1")
    add("--order", choices=CHANNEL_ORDERS, help="of the network's channels (default: what the checkpoint says, or rgb)")
    add("--size", type=_size, metavar="WIDTHxHEIGHT", help="of the network's input, where it does not fix it")
    add("--resize", choices=RESIZE_RULES, default=STRETCH, help="how images are fitted to it (default: %(default)s)")
    add("--output", default="", help="which of several outputs of an .onnx file has the logits or labels")
    add("--architecture", default="", help="torchvision's name of it, for weights (e.g. lraspp_mobilenet_v3_large)")
    add(
        "--calibration",
        type=Path,
        metavar="PATH",
        help="folder of images, or bag: for int8, and for the gate; one of them becomes part of the bundle",
    )
    add("--labels", type=Path, metavar="FOLDER", help="labels of these images: then the gate knows the truth")
    add("--label-form", choices=tuple(FORMS), default="ids", help="of the labels (default: %(default)s)")
    add("--label-remap", type=Path, metavar="YAML", help="label of the folder → class of the network, or 255")
    add("--accept", action="store_true", help="keep a variant that is over the gate's limits; the manifest says so")
    add("--version", default="1.0.0", help="version of the bundle (default: %(default)s)")
    add("--licence", default="unknown", help="of the weights (default: %(default)s)")
    add("--data", default="not stated", help="what the weights were trained on, for the card (default: %(default)s)")
    add("--threads", type=int, default=2, help="of the CPU, for the gate's measurements (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Import; 0 when a bundle was written. Raises ModelImportError, ExportError, DataError, and those of its files."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if args.threads < 1:
        raise ModelImportError(f"--threads is {args.threads}; give at least 1")
    args.out = require_target(args.out)  # better known before the gate
    require_texts(version=args.version, licence=args.licence)
    torch.set_num_threads(args.threads)
    table = ClassTable.load(args.classes).for_network(args.classes)
    network, preprocessing, checkpoint = _open(args, len(table.classes))
    graph = wrap(network, preprocessing, len(table.classes))
    spec = InputSpec(network.width, network.height, args.resize)
    resize = Resize(spec.width, spec.height, spec.resize)
    labels = _labels(args, table)
    for_ranges, for_gate = _frames(args, spec, labels)
    images = [resize.apply(frame.image) for frame in for_gate]
    verify(network, graph, preprocessing, len(table.classes), images[:VERIFIED_IMAGES])
    if checkpoint:
        require_same_names(args.model, table, checkpoint)
        checkpoint.verify(network, preprocessing, images[:VERIFIED_IMAGES])

    print("measure the float reference")
    engine = OnnxRuntimeEngine(graph, spec, Runtime("cpu"), threads=args.threads)
    if labels:
        held_out = Source(args.calibration.name, labelled(for_gate, labels, resize), 1.0)
        require_labelled(held_out, f"--labels {args.labels}")
    else:
        held_out = Source(OWN_MASKS, [(image, engine.infer(image).mask) for image in images], 1.0)
    reference = measure(engine, [held_out], len(table.classes))
    calibrated = labels is not None and not network.gives_labels
    golden = held_out.samples[0][0]
    trial = Trial(ExportConfig(), args.threads, table, spec, [held_out], golden, graph, reference, calibrated)
    variants = trial.all([resize.apply(frame.image) for frame in for_ranges], {}, args.accept)
    provenance = _provenance(args, network, preprocessing, held_out, variants)
    facts = CardFacts(
        name=args.out.name,
        version=args.version,
        summary=f"Imported from {provenance['imported_from']}. Judged on {provenance['judged_on']}.",
        data=args.data,
        licence=args.licence,
        limits=trial.limits,
        table=table,
        class_iou={"reference": reference.class_iou(table), **{v.name: v.class_iou for v in variants}},
        variants=variants,
    )
    scores = {f"miou {name}": round(score, 4) for name, score in reference.miou.items()} if args.labels else {}
    write_gated(args.out, facts, spec, held_out, golden, provenance=provenance, scores=scores, threads=args.threads)
    return 0


def require_same_names(model: str, table: ClassTable, checkpoint: Checkpoint) -> None:
    """Raises ModelImportError where the checkpoint itself gives the name of a class to another output."""
    for entry in table.classes:
        own = [index for index, name in checkpoint.names.items() if name == entry.name]
        if own and entry.id not in own:
            raise ModelImportError(
                f"{model}: says that its output {own[0]} is {entry.name}, the class table has that as {entry.id}; "
                "list the classes in the order of the network's outputs"
            )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 640x480, width first")
    return int(match[1]), int(match[2])


def _open(args: argparse.Namespace, n_classes: int) -> tuple[Network, Preprocessing, Checkpoint | None]:
    """The network as ONNX, what it wants, and, unless it came as ONNX, the checkpoint that it was made from."""
    if args.model.lower().endswith(".onnx"):
        network = Network(read_onnx(Path(args.model)), args.size, args.output, args.model)
        return network, preprocessing(args, None), None
    from seg_perception.training.import_torch import from_torchvision, from_transformers  # slow to import

    if args.model.endswith(_WEIGHTS):
        checkpoint = from_torchvision(Path(args.model), args.architecture, n_classes)
    else:
        checkpoint = from_transformers(args.model)
    wanted = preprocessing(args, checkpoint.preprocessing)
    size = args.size or checkpoint.size
    if size is None:
        raise ModelImportError(f"{args.model}: does not say the size of its input; give --size WIDTHxHEIGHT")
    return Network(checkpoint.to_onnx(size), None, "", args.model), wanted, checkpoint


def preprocessing(args: argparse.Namespace, known: Preprocessing | None) -> Preprocessing:
    """What the options say, over what the checkpoint says. Raises ModelImportError."""
    if (args.mean is None) != (args.std is None):
        raise ModelImportError("give both --mean and --std, or none of them")
    if args.mean is None:
        if known is None:
            raise ModelImportError(f"{args.model}: does not say what pixels it wants; give --mean and --std")
        return replace(known, order=args.order or known.order)
    if max(map(abs, args.mean)) > 2 or min(args.std) <= 0 or max(args.std) > 2:
        raise ModelImportError(
            f"--mean is {args.mean}, --std {args.std}; they are for pixels scaled to 0..1: divide what is meant for "
            "0..255 by 255 (no normalisation of 0..255: mean 0, std 0.00392157)"
        )
    return Preprocessing(tuple(args.mean), tuple(args.std), args.order or "rgb")


def _labels(args: argparse.Namespace, table: ClassTable) -> LabelFolder | None:
    if args.labels is None:
        return None
    if args.calibration is None:
        raise ModelImportError("--labels are those of the images of --calibration; give both")
    remap = load_remap(args.label_remap, table) if args.label_remap else None
    return LabelFolder(args.labels, args.label_form, table, remap)


def _frames(args: argparse.Namespace, spec: InputSpec, labels: LabelFolder | None) -> tuple[list[Frame], list[Frame]]:
    """Frames for the ranges of int8, none where nobody gave any, and frames for the gate."""
    if args.calibration:
        return load_frames(args.calibration, FRAMES, labels.stems() if labels else None)
    print("no --calibration: no int8 variant, and the gate looks at simulated frames")
    return [], simulated_frames(SIMULATED_FRAMES, spec.width, spec.height)


def _provenance(
    args: argparse.Namespace,
    network: Network,
    preprocessing: Preprocessing,
    held_out: Source,
    variants: Sequence[Tried],
) -> dict[str, Any]:
    """What people want to know about the network; plain YAML types."""
    path = Path(args.model)
    truth = "their labels" if args.labels else "the masks of the float network"
    origin = args.calibration.name if args.calibration else "the simulator"
    document: dict[str, Any] = {
        "imported_from": path.name,
        "data": args.data,
        "judged_on": f"{len(held_out.samples)} frames of {origin}, against {truth}",
        "preprocessing": {
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "channels": preprocessing.order,
        },
        **provenance_of(variants),
    }
    if path.is_file():
        document["imported_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if network.gives_labels:
        document["confidence"] = "none: the network gives labels; 255 wherever it gives one of the table"
    elif not args.labels:
        document["confidence"] = "as the network states it; calibrated only on labelled frames"
    return document
