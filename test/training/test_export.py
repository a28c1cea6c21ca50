"""From training to bundle: the graph does what the network does, and what loses quality is refused."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="export needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="export needs ONNX Runtime: pip install -r requirements/runtime.txt")

import onnx
from box_scenes import HEIGHT, WIDTH

from seg_perception.core.errors import BundleError, ExportError, TrainingError
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.engines.torch_program import load_program, save_program
from seg_perception.models.build import build
from seg_perception.models.deploy import Deployed
from seg_perception.training import export_command, export_variants
from seg_perception.training.config import ExportConfig, TrainingConfig
from seg_perception.training.export import export_onnx, halve_weights, verify
from seg_perception.training.logits import set_temperature

SPEC = InputSpec(WIDTH, HEIGHT)


def _export(training: Path, out: Path, config: Path | None = None, *more: str) -> int:
    parser = argparse.ArgumentParser()
    export_command.add_arguments(parser)
    extra = [*(["--config", str(config)] if config else []), *more]
    return export_command.run(parser.parse_args(["--training", str(training), "--out", str(out), *extra]))


@pytest.fixture(scope="module", name="exported")
def _exported(exported: Path) -> Bundle:
    return Bundle.load(exported)


def test_training_becomes_a_bundle_that_drives(exported: Bundle, scenes: Path) -> None:
    assert set(exported.variants) == {"fp32", "int8"}
    assert exported.manifest.licence == "CC0-1.0"
    assert exported.manifest.provenance["class_iou"]["int8"]
    assert set(exported.manifest.provenance["logit_offsets"]) <= {c.name for c in exported.table.classes}
    for precision in exported.variants:
        engine = load_engine(exported, precision=precision)
        image, labels = _scene(scenes)
        mask = engine.infer(image).mask
        assert np.mean(mask[labels != 255] == labels[labels != 255]) > 0.8


def test_confidence_is_calibrated_per_variant(exported: Bundle) -> None:
    stated = exported.manifest.provenance["confidence"]
    assert set(stated) == {"fp32", "int8"}
    for name, variant in exported.variants.items():
        before = stated[name]["expected_calibration_error_uncalibrated"]
        assert stated[name]["expected_calibration_error"] < before + 0.002  # it is the likelihood that is maximised
        measured = [accepted.scores["ece"] for accepted in variant.accepted]
        assert measured == pytest.approx([stated[name]["expected_calibration_error"]] * len(measured), abs=0.01)


def test_card_tells_scores_gate_and_licence(exported: Bundle) -> None:
    card = (exported.root / "CARD.md").read_text()
    assert all(word in card for word in ("CC0-1.0", "| box | obstacle |", "| int8 on cpu |", "passed"))
    pictures = sorted(exported.root.glob("card_*.jpg"))
    assert len(pictures) == 2
    for picture in pictures:
        assert picture.name in card
        assert picture.stat().st_size <= 100_000
        assert cv2.imread(str(picture)).shape == (HEIGHT, 2 * WIDTH, 3)


@pytest.fixture()
def strict(document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose limits nothing can keep, which is why they are refused elsewhere."""
    monkeypatch.setattr(ExportConfig, "__post_init__", lambda self: None)
    path = tmp_path / "strict.yaml"
    document["export"] |= {"min_agreement": 1.5, "max_float_layers": 1}
    path.write_text(yaml.safe_dump(document))
    return path


def test_gate_without_mercy_writes_no_bundle_and_blames_layers(
    training: Path, strict: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError, match="no variant passed the gate"):
        _export(training, tmp_path / "boxes", strict)
    text = capsys.readouterr().out
    assert "REFUSED: agreement" in text
    assert "quantize again, with 1 layers in float" in text
    assert re.search(r"dB  network\.\w+.*", text)
    assert not (tmp_path / "boxes").exists()


def test_what_is_accepted_over_the_limits_says_so_and_training_data_may_be_elsewhere(
    training: Path, strict: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = yaml.safe_load(strict.read_text())
    changed["export"]["max_float_layers"] = 0
    changed["train"]["folders"][0]["path"] = "elsewhere"
    strict.write_text(yaml.safe_dump(changed))
    calibration = scenes / "val" / "images"
    assert _export(training, tmp_path / "boxes", strict, "--accept", "--calibration", str(calibration)) == 0
    bundle = Bundle.load(tmp_path / "boxes")
    assert "no offsets of the logits, as the training data is not there" in capsys.readouterr().out
    assert bundle.manifest.provenance["logit_offsets"] == {}
    overruled = bundle.manifest.provenance["accepted_over_the_limits"]
    assert overruled["int8"]["cpu"][0].startswith("agreement")
    assert "accepted by hand" in (bundle.root / "CARD.md").read_text()


def test_weights_that_half_precision_harms_are_stored_in_full(
    training: Path,
    exported: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def harmed(model: bytes) -> bytes:
        graph_model = onnx.load_from_string(model)
        largest = max(graph_model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        largest.raw_data = bytes(len(largest.raw_data))
        return bytes(graph_model.SerializeToString())

    monkeypatch.setattr(export_variants, "halve_weights", harmed)
    assert _export(training, tmp_path / "full") == 0
    assert "refused with weights stored in half precision; once more in full" in capsys.readouterr().out
    sizes = [(bundle / "model.fp32.onnx").stat().st_size for bundle in (exported.root, tmp_path / "full")]
    assert sizes[1] > 1.5 * sizes[0]


@pytest.mark.parametrize(("count", "taken"), [(127, [0, 1, 3, 5]), (64, [0, 1, 2, 3]), (3, [0, 1, 2])])
def test_frames_for_calibration_are_spread_over_all_there_are(
    document: dict[str, Any], tmp_path: Path, count: int, taken: list[int]
) -> None:
    for value in range(count):
        cv2.imwrite(str(tmp_path / f"{value:03d}.png"), np.full((HEIGHT, WIDTH, 3), value, np.uint8))
    frames = export_command.calibration_frames(tmp_path, 64, TrainingConfig.from_dict(document))
    values = [int(frame.max()) for frame in frames]
    assert len(values) == min(count, 64) and values[:4] == taken and values[-1] >= count - 2


def test_folder_without_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"best\.pt: no checkpoint there"):
        _export(tmp_path, tmp_path / "boxes")


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("my boxes", [], "bundle name is 'my boxes'"),
        ("folder", [], "folder: is something else than a bundle"),
        ("/proc/nowhere/boxes", [], "cannot be written"),
        ("/proc/nowhere/boxes", ["--format", "torchscript"], "cannot be written"),
        ("boxes", ["--threads", "0"], "--threads is 0; give at least 1"),
        ("boxes", ["--format", "torchscript", "--accept"], "--accept is for bundles"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_gate(
    tmp_path: Path, place: str, options: list[str], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").touch()
    with pytest.raises((BundleError, ExportError), match=message):  # and not that there is no training
        _export(tmp_path / "nowhere", tmp_path / place, None, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


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


@pytest.mark.parametrize(("architecture", "step"), [("unet", 1), ("deeplabv3plus", 2)])
def test_classes_are_decided_as_finely_as_the_network_sees(architecture: str, step: int) -> None:
    network = build(architecture, "tu-resnet18", {"channels": [16, 16, 16, 16]}, 3).eval()
    mask, _ = Deployed(network)(torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8))
    assert Deployed(network).step == step
    assert torch.equal(mask[:, ::2, ::2], mask[:, 1::2, 1::2]) == (step == 2)


def test_another_temperature_changes_the_confidence_alone(graph: bytes, images: list[np.ndarray]) -> None:
    models = graph, set_temperature(graph, 9.0)
    before, after = (OnnxRuntimeEngine(model, SPEC, Runtime("cpu")).infer(images[0]) for model in models)
    assert np.array_equal(before.mask, after.mask)
    assert after.confidence.mean() < before.confidence.mean()


def test_offsets_of_the_logits_are_in_the_graph(deployed: Deployed, images: list[np.ndarray]) -> None:
    graph = export_onnx(Deployed(deployed.network, offsets=torch.tensor([0.0, 50.0, 0.0])), SPEC)
    assert (OnnxRuntimeEngine(graph, SPEC, Runtime("cpu")).infer(images[0]).mask == 1).all()


def test_a_program_runs_on_the_device_that_it_is_moved_to(deployed: Deployed, images: list[np.ndarray]) -> None:
    offset = Deployed(deployed.network, offsets=torch.tensor([0.0, 1.0, 0.0]))
    image = torch.from_numpy(images[0])[None]
    mask, _ = load_program(save_program(offset, image)).to("meta")(image.to("meta"))
    assert mask.shape == (1, HEIGHT, WIDTH)


def test_graph_equals_the_network(deployed: Deployed, graph: bytes, images: list[np.ndarray]) -> None:
    verify(deployed, graph, SPEC, images)


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


def _scene(scenes: Path) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.imread(str(scenes / "val" / "images" / "000.png"))
    labels = cv2.imread(str(scenes / "val" / "labels" / "000.png"), cv2.IMREAD_UNCHANGED)
    labels[labels == 3] = 255
    return image, labels


def test_another_format_has_the_confidence_of_the_bundle(training: Path, exported: Bundle, tmp_path: Path) -> None:
    assert _export(training, tmp_path / "boxes", None, "--format", "torchscript") == 0
    (file,) = tmp_path.iterdir()
    image, _ = exported.read_golden(exported.variants["fp32"])
    expected = load_engine(exported, precision="fp32").infer(image).confidence
    with torch.inference_mode():
        confidence = torch.jit.load(str(file))(torch.from_numpy(np.asarray(image))[None])[1][0].numpy()
    assert np.abs(confidence.astype(int) - expected).mean() < 2
