"""Simulated frames are rendered once per version of the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")
street = pytest.importorskip("seg_perception.simulation.street", reason="rendering needs trimesh and embreex")

from box_scenes import CLASSES

from seg_perception.core.classes import ClassTable
from seg_perception.training import simulated
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import Source, load_sources


@pytest.fixture()
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds that were rendered, by a stand-in that is a thousand times faster."""
    seeds: list[int] = []

    def frame(seed: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        seeds.append(seed)
        return np.full((height, width, 3), 40 * seed, np.uint8), np.full((height, width), 8, np.uint8)

    monkeypatch.setattr(street, "training_frame", frame)
    return seeds


def _load(document: dict[str, Any], cache: Path, frames: int) -> Source:
    entry = {"cache": str(cache), "frames": frames, "first_seed": 2, "size": [64, 48], "remap": {8: 2}}
    document["train"] = {"simulation": [entry]}
    config = TrainingConfig.from_dict(document)
    (source,) = load_sources(config, config.train, ClassTable.from_dicts(CLASSES))
    return source


def test_each_frame_is_rendered_once(document: dict[str, Any], tmp_path: Path, rendered: list[int]) -> None:
    _load(document, tmp_path, 2)
    source = _load(document, tmp_path, 3)
    assert rendered == [2, 3, 4]
    assert [int(image.mean()) for image, _ in source.samples] == [80, 120, 160]
    assert {int(value) for _, labels in source.samples for value in np.unique(labels)} == {2}


def test_another_simulator_renders_anew(
    document: dict[str, Any], tmp_path: Path, rendered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _load(document, tmp_path, 2)
    monkeypatch.setattr(simulated, "simulation_version", lambda: "other")
    _load(document, tmp_path, 2)
    assert rendered == [2, 3, 2, 3]
    assert len(list(tmp_path.iterdir())) == 2
