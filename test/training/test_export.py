"""From training to bundle: the graph does what the network does, and what loses quality is refused."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="export needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="export needs ONNX Runtime: pip install -r requirements/runtime.txt")

from box_scenes import CLASSES, HEIGHT, WIDTH, configuration

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import ExportError, TrainingError
from seg_perception.core.metrics import confusion
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.models.build import build
from seg_perception.models.deploy import Deployed
from seg_perception.training import export_command
from seg_perception.training.calibration import calibrate
from seg_perception.training.config import ExportConfig, TrainingConfig
from seg_perception.training.data import Source, load_sources
from seg_perception.training.export import export_onnx, halve_weights, verify
from seg_perception.training.gate import Measured, judge
from seg_perception.training.trainer import Trainer

TABLE = ClassTable.from_dicts(CLASSES)
SPEC = InputSpec(WIDTH, HEIGHT)


def _export(training: Path, out: Path, config: Path | None = None) -> int:
    parser = argparse.ArgumentParser()
    export_command.add_arguments(parser)
    extra = ["--config", str(config)] if config else []
    return export_command.run(parser.parse_args(["--training", str(training), "--out", str(out), *extra]))


@pytest.fixture(scope="module")
def training(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a short training; not to be written to."""
    document = configuration(scenes)
    document["schedule"].update(steps=60, validate_every=60)
    config = TrainingConfig.from_dict(document)
    folder = tmp_path_factory.mktemp("training")
    sources = (load_sources(config, part, TABLE) for part in (config.train, config.validation))
    Trainer(config, TABLE, *sources, folder).fit()
    return folder


def test_training_becomes_a_bundle_that_drives(training: Path, scenes: Path, tmp_path: Path) -> None:
    assert _export(training, tmp_path / "boxes") == 0
    bundle = Bundle.load(tmp_path / "boxes")
    assert set(bundle.variants) == {"fp32", "int8"}
    assert bundle.manifest.licence == "CC0-1.0"
    assert bundle.manifest.provenance["class_iou"]["int8"]
    for precision in bundle.variants:
        engine = load_engine(bundle, precision=precision)
        image, labels = _scene(scenes)
        mask = engine.infer(image).mask
        assert np.mean(mask[labels != 255] == labels[labels != 255]) > 0.8


def test_gate_without_mercy_writes_no_bundle(
    training: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "strict.yaml"
    document["export"]["min_agreement"] = 1.5
    config.write_text(yaml.safe_dump(document))
    with pytest.raises(ExportError, match="no variant passed the gate"):
        _export(training, tmp_path / "boxes", config)
    assert "REFUSED: agreement" in capsys.readouterr().out
    assert not (tmp_path / "boxes").exists()


def test_folder_without_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"best\.pt: no checkpoint there"):
        _export(tmp_path, tmp_path / "boxes")


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    """Random weights: as good as trained ones to compare graphs."""
    torch.manual_seed(0)
    options = {"channels": [16, 16, 16, 16], "decoder_channels": [16, 16, 16, 16, 8]}
    return Deployed(build("unet", "tu-resnet18", options, 3).eval(), temperature=1.5)


@pytest.fixture(scope="module")
def graph(deployed: Deployed) -> bytes:
    return export_onnx(deployed, SPEC)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(3)]


def test_graph_equals_the_network(deployed: Deployed, graph: bytes, images: list[np.ndarray]) -> None:
    assert verify(deployed, graph, SPEC, images) >= 0.999


def test_graph_of_other_weights_is_refused(deployed: Deployed, graph: bytes, images: list[np.ndarray]) -> None:
    torch.manual_seed(1)
    options = {"channels": [16, 16, 16, 16], "decoder_channels": [16, 16, 16, 16, 8]}
    other = Deployed(build("unet", "tu-resnet18", options, 3).eval(), temperature=1.5)
    with pytest.raises(ExportError, match="the ONNX graph agrees with the network on"):
        verify(other, graph, SPEC, images)


def test_halved_weights_are_smaller_and_equal(graph: bytes, images: list[np.ndarray]) -> None:
    small = halve_weights(graph)
    assert len(small) < 0.65 * len(graph)
    engines = [OnnxRuntimeEngine(model, SPEC, Runtime("cpu")) for model in (graph, small)]
    for image in images:
        whole, half = (engine.infer(image) for engine in engines)
        assert np.mean(whole.mask == half.mask) > 0.99


def test_graph_tells_nothing_of_the_machine(graph: bytes) -> None:
    assert str(Path(__file__).resolve().parents[2]).encode() not in graph


def _confident(image: np.ndarray) -> np.ndarray:
    """Right on 80 % of the pixels, and wildly sure of all."""
    wrong = np.random.default_rng(0).random(image.shape[:2]) < 0.2
    return np.where([~wrong, wrong], np.float32(4), np.float32(0))


def test_temperature_makes_confidence_honest() -> None:
    sample = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8)
    result = calibrate(_confident, [Source("all of class 0", [sample], 1.0)])
    assert result.temperature > 2
    assert result.ece_before > 0.15
    assert result.ece_after < 0.05


def _measured(mask: np.ndarray, labels: np.ndarray) -> Measured:
    return Measured({"s": confusion(mask, labels, 3)[None]}, {"s": mask[None]}, {"s": 0.0})


def test_gate_counts_obstacles_that_became_ground() -> None:
    labels = np.full((10, 10), 1, np.uint8)
    labels[:5] = 2
    source = Source("s", [(np.zeros((10, 10, 3), np.uint8), labels)], 1.0)
    limits = ExportConfig(max_miou_drop=1.0, max_class_drop=1.0, min_agreement=0.0, max_obstacle_to_ground=0.01)
    exact = _measured(labels.copy(), labels)
    blind = labels.copy()
    blind[0, :5] = 1
    verdict = judge("blind", _measured(blind, labels), exact, [source], TABLE, limits)
    assert verdict.scores["obstacle_to_ground"] == pytest.approx(0.1)
    assert not verdict.passed
    assert judge("same", exact, exact, [source], TABLE, limits).passed
    tolerant = dataclasses.replace(limits, max_obstacle_to_ground=0.2, max_miou_drop=0.01)
    refused = judge("blind", _measured(blind, labels), exact, [source], TABLE, tolerant)
    assert [failure.split(" ")[0] for failure in refused.failures] == ["mIoU"]


def _scene(scenes: Path) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.imread(str(scenes / "val" / "images" / "000.png"))
    labels = cv2.imread(str(scenes / "val" / "labels" / "000.png"), cv2.IMREAD_UNCHANGED)
    labels[labels == 3] = 255
    return image, labels
