"""A training becomes a program for the torch engine that says the same as the graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="export needs ONNX Runtime: pip install -r requirements/runtime.txt")

from seg_perception.cli import main
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.engines.torch_program import save_program
from seg_perception.models.deploy import Deployed
from seg_perception.training import export_command
from seg_perception.training.trained import Trained


@pytest.fixture(scope="module")
def bundle(training: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("bundles") / "boxes"
    assert main(["export", "--training", str(training), "--out", str(folder), "--torch"]) == 0
    return Bundle.load(folder)


def test_the_torch_engine_runs_what_was_trained(bundle: Bundle) -> None:
    assert bundle.variants["torch"].model.file == "model.torch.pt2"
    on_torch, on_onnx = (load_engine(bundle, precision=precision) for precision in ("torch", "fp32"))
    assert "torch-cpu f32" in on_torch.description
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    ours, theirs = on_torch.infer(image), on_onnx.infer(image)
    assert np.mean(ours.mask == theirs.mask) > 0.97
    assert np.abs(ours.confidence.astype(int) - theirs.confidence.astype(int)).mean() < 4


def test_a_program_that_the_engine_refuses_costs_no_bundle(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = save_program(Deployed(Trained.load(training).network), torch.zeros((1, 64, 96, 3), dtype=torch.uint8))
    monkeypatch.setattr(export_command, "save_program", lambda *_: foreign.replace(b"aten.amax", b"evil.amax"))
    assert main(["export", "--training", str(training), "--out", str(tmp_path / "b"), "--torch"]) == 0
    assert set(Bundle.load(tmp_path / "b").variants) == {"fp32", "int8"}
    assert "torch is refused: " in capsys.readouterr().out


def test_the_comparison_has_a_row_for_every_variant(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--compare", str(bundle.root), "--quick", "--threads", "1", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))["rows"]
    assert [row["variant"] for row in rows] == ["fp32", "int8", "torch"]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and row["miou"] > 0.8 for row in rows)
    assert len({row["gmac"] for row in rows}) == 1 and rows[0]["gmac"] > 0.01
    assert rows[1]["mib"] < rows[0]["mib"] < rows[2]["mib"]
    assert "| boxes | torch | torch eager f32 |" in capsys.readouterr().out


def test_a_bundle_without_torch_has_nothing_to_compare_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--compare", "road_lite", "--quick"]) == 2
    assert "no variant torch to compare with; export it again with --torch" in capsys.readouterr().err
