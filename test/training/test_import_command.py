"""`seg-perception import`: a network from elsewhere becomes a bundle that drives, through the gate."""

from __future__ import annotations

import argparse
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="import needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="import needs ONNX Runtime: pip install -r requirements/runtime.txt")

import onnx
import torch
from box_scenes import HEIGHT, WIDTH
from onnx import TensorProto, helper, numpy_helper

from seg_perception.cli import main
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import BundleError, DataError, ModelImportError
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.evaluation.benchmark_baseline import write_logits_model
from seg_perception.training import import_command
from seg_perception.training.import_onnx import Preprocessing
from seg_perception.training.import_torch import Checkpoint

SKY, ROAD, BOX = range(3)


def write_network(path: Path, *, labels: bool = False, half: bool = False) -> Path:
    """Tells the boxes' scenes by their colours, in RGB of -1..1, at half the size."""
    colours = np.array([[60, 90, 200], [60, 60, 60], [230, 190, 30]]) / 127.5 - 1.0  # of sky, road and box
    weights = (2 * colours).astype(np.float32).reshape(3, 3, 1, 1)  # nearest colour: the largest 2 x.c - c.c
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2])]
    kind, name = TensorProto.FLOAT, "y"
    if labels:
        nodes.append(helper.make_node("ArgMax", ["y"], ["ids"], axis=1, keepdims=0))
        kind, name = TensorProto.INT64, "ids"
    dtype = np.float16 if half else np.float32
    given = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "scenes",
        [helper.make_tensor_value_info("x", given, (1, 3, "h", "w"))],
        [helper.make_tensor_value_info(name, kind if labels else given, None)],
        [
            numpy_helper.from_array(weights.astype(dtype), "w"),
            numpy_helper.from_array(-(colours**2).sum(1).astype(dtype), "b"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def import_network(model: Path, scenes: Path, out: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    import_command.add_arguments(parser)
    normalisation = ["--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5", "--size", f"{WIDTH}x{HEIGHT}"]
    classes = ["--classes", str(scenes / "classes.yaml"), "--threads", "1"]
    return import_command.run(
        parser.parse_args([str(model), "--out", str(out), *classes, *normalisation, *map(str, options)])
    )


def scene(scenes: Path) -> tuple[Any, Any]:
    image = cv2.imread(str(scenes / "val" / "images" / "001.png"))
    labels = cv2.imread(str(scenes / "val" / "labels" / "001.png"), cv2.IMREAD_UNCHANGED)
    return image, np.where(labels == 3, 255, labels)


def test_labelled_frames_prove_every_variant(scenes: Path, tmp_path: Path) -> None:
    model = write_network(tmp_path / "scenes.onnx")
    remap = tmp_path / "remap.yaml"
    remap.write_text("3: 255\n")
    options = ["--licence", "CC0-1.0", "--version", "2.0.0", "--calibration", scenes / "val"]
    options += ["--labels", scenes / "val" / "labels", "--label-remap", remap]
    assert import_network(model, scenes, tmp_path / "imported", *options) == 0
    bundle = Bundle.load(tmp_path / "imported")
    assert set(bundle.variants) == {"fp32", "int8"}
    manifest = bundle.manifest
    assert (manifest.licence, manifest.version) == ("CC0-1.0", "2.0.0")
    assert manifest.scores["miou val"] > 0.9
    assert manifest.provenance["imported_from"] == "scenes.onnx"
    assert manifest.provenance["judged_on"] == "2 frames of val, against their labels"
    assert manifest.provenance["confidence"]["fp32"]["temperature"] > 0
    image, truth = scene(scenes)
    for variant in bundle.variants:
        result = load_engine(bundle, precision=variant).infer(image)
        assert np.mean(result.mask[truth != 255] == truth[truth != 255]) > 0.95
    assert "scenes.onnx" in (bundle.root / "CARD.md").read_text(encoding="utf-8")


def test_the_baseline_of_the_benchmark_is_the_network_itself(scenes: Path, tmp_path: Path) -> None:
    model = write_network(tmp_path / "scenes.onnx")
    assert import_network(model, scenes, tmp_path / "imported", "--calibration", scenes / "val") == 0
    write_logits_model(Bundle.load(tmp_path / "imported"), tmp_path / "logits.onnx")
    (source,) = onnx.load(tmp_path / "logits.onnx").graph.input
    assert source.type.tensor_type.elem_type == TensorProto.FLOAT
    assert [dim.dim_value for dim in source.type.tensor_type.shape.dim] == [1, 3, HEIGHT, WIDTH]


def test_labels_of_a_network_are_taken_as_they_are(scenes: Path, tmp_path: Path) -> None:
    model = write_network(tmp_path / "scenes.onnx", labels=True)
    assert import_network(model, scenes, tmp_path / "imported", "--calibration", scenes / "val" / "images") == 0
    bundle = Bundle.load(tmp_path / "imported")
    assert not bundle.manifest.scores
    assert bundle.manifest.provenance["judged_on"] == "2 frames of images, against the masks of the float network"
    assert bundle.manifest.provenance["confidence"].startswith("none: the network gives labels")
    image, truth = scene(scenes)
    result = load_engine(bundle).infer(image)
    assert np.unique(result.confidence).tolist() == [255]
    assert np.mean(result.mask[truth != 255] == truth[truth != 255]) > 0.95


def test_what_cannot_be_quantized_is_imported_in_float(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_network(tmp_path / "scenes.onnx", half=True)
    assert import_network(model, scenes, tmp_path / "imported", "--calibration", scenes / "val") == 0
    assert set(Bundle.load(tmp_path / "imported").variants) == {"fp32"}
    assert "int8 is refused: " in capsys.readouterr().out


def test_without_frames_the_simulator_judges_and_there_is_no_int8(scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("trimesh", reason="the simulator is not installed")
    assert import_network(write_network(tmp_path / "scenes.onnx"), scenes, tmp_path / "imported") == 0
    bundle = Bundle.load(tmp_path / "imported")
    assert set(bundle.variants) == {"fp32"}
    assert (
        bundle.manifest.provenance["judged_on"] == "4 frames of the simulator, against the masks of the float network"
    )


def test_the_gate_looks_at_the_frames_with_labels(scenes: Path, tmp_path: Path) -> None:
    labels, remap = tmp_path / "labels", tmp_path / "remap.yaml"
    labels.mkdir()
    (labels / "002.png").write_bytes((scenes / "val" / "labels" / "002.png").read_bytes())
    remap.write_text("3: unlabelled\n")
    options = ["--calibration", scenes / "val", "--labels", labels, "--label-remap", remap]
    model = write_network(tmp_path / "scenes.onnx")
    assert import_network(model, scenes, tmp_path / "imported", *options) == 0
    bundle = Bundle.load(tmp_path / "imported")
    assert bundle.manifest.provenance["judged_on"] == "1 frames of val, against their labels"
    (labels / "002.png").rename(labels / "other.png")
    with pytest.raises(DataError, match="val: 4 images, of which none has labels of its name, e.g. 000.png"):
        import_network(model, scenes, tmp_path / "another", *options)


def test_labels_that_say_nothing_are_no_truth(scenes: Path, tmp_path: Path) -> None:
    remap = tmp_path / "remap.yaml"
    remap.write_text("".join(f"{label}: 255\n" for label in range(4)))
    options = ["--calibration", scenes / "val", "--labels", scenes / "val" / "labels", "--label-remap", remap]
    with pytest.raises(DataError, match="--labels .*: none of its pixels is labelled"):
        import_network(write_network(tmp_path / "scenes.onnx"), scenes, tmp_path / "imported", *options)


@pytest.mark.parametrize(
    ("first", "second", "refused"), [("sky", "road", False), ("road", "sky", True), ("a", "b", False)]
)
def test_a_checkpoint_that_names_its_outputs_otherwise_is_refused(first: str, second: str, refused: bool) -> None:
    entries = [
        {"id": i, "name": n, "color": [1, 2, i], "cost": 0, "kind": "ground"} for i, n in enumerate(("sky", "road"))
    ]
    args, table = argparse.Namespace(model="theirs"), ClassTable.from_dicts(entries)
    checkpoint = Checkpoint(torch.nn.Identity(), names={0: first, 1: second})
    with pytest.raises(ModelImportError, match="theirs: says that its output 1 is sky") if refused else nullcontext():
        import_command.require_same_names(args.model, table, checkpoint)


def test_another_class_table_is_refused_and_nothing_written(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_network(tmp_path / "scenes.onnx")
    camvid = Path(__file__).resolve().parents[2] / "config" / "classes" / "camvid.yaml"
    words = f"{model} --out {tmp_path / 'out'} --classes {camvid} --mean 0 0 0 --std 1 1 1 --size 96x64".split()
    assert main(["import", *words]) == 2
    assert re.search(
        r"scenes\.onnx: gives 3 classes \(output 1x3x.*\), the class table has 11", capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--mean", "123.7", "116.3", "103.5"], ModelImportError, "divide what is meant for 0..255 by 255"),
        (["--std", "0", "1", "1"], ModelImportError, "--std"),
        (["--std", "255", "255", "255"], ModelImportError, "divide what is meant for 0..255 by 255"),
        (["--labels", "somewhere"], ModelImportError, "give both"),
        (["--calibration", "nowhere"], DataError, "nowhere"),
        (["--output", "logits"], ModelImportError, "no output 'logits'; its outputs are y"),
    ],
    ids=str,
)
def test_wrong_options_are_told(
    options: list[str], error: type[Exception], message: str, scenes: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        import_network(write_network(tmp_path / "scenes.onnx"), scenes, tmp_path / "imported", *options)
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("my network", [], "bundle name is 'my network'"),
        ("/proc/nowhere/network", [], "cannot be written"),
        ("network", ["--threads", "0"], "--threads is 0; give at least 1"),
        ("network", ["--version", ""], "version is ''; give a text"),
        ("network", ["--licence", " "], "licence is ' '; give a text"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_gate(
    place: str, options: list[str], message: str, scenes: Path, tmp_path: Path
) -> None:
    with pytest.raises((BundleError, ModelImportError), match=message):  # and not that there is no such network
        import_network(tmp_path / "absent.onnx", scenes, tmp_path / place, *options)


def test_pixels_that_nobody_describes_are_asked_for(scenes: Path, tmp_path: Path) -> None:
    model = write_network(tmp_path / "scenes.onnx")
    words = ["import", str(model), "--out", str(tmp_path / "out"), "--classes", str(scenes / "classes.yaml")]
    assert main(words) == 2
    assert main([*words, "--mean", "0", "0", "0"]) == 2


def test_the_order_of_the_channels_can_be_said_over_what_the_checkpoint_says() -> None:
    parser = argparse.ArgumentParser()
    import_command.add_arguments(parser)
    known = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    for options, order in (([], "rgb"), (["--order", "bgr"], "bgr"), (["--order", "rgb"], "rgb")):
        args = parser.parse_args(["network", "--out", "out", "--classes", "classes.yaml", *options])
        assert import_command.preprocessing(args, known) == replace(known, order=order)
