"""A training becomes a program for the torch engine that says the same as the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="export needs ONNX Runtime: pip install -r requirements/runtime.txt")

from seg_perception.cli import main
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine


def test_the_torch_engine_runs_what_was_trained(training: Path, tmp_path: Path) -> None:
    assert main(["export", "--training", str(training), "--out", str(tmp_path / "boxes"), "--torch"]) == 0
    bundle = Bundle.load(tmp_path / "boxes")
    assert bundle.variants["torch"].model.file == "model.torch.pt2"
    on_torch, on_onnx = (load_engine(bundle, precision=precision) for precision in ("torch", "fp32"))
    assert "torch-cpu f32" in on_torch.description
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    ours, theirs = on_torch.infer(image), on_onnx.infer(image)
    assert np.mean(ours.mask == theirs.mask) > 0.97
    assert np.abs(ours.confidence.astype(int) - theirs.confidence.astype(int)).mean() < 4
