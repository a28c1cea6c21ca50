"""Simulated frames are rendered once per version of the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")
street = pytest.importorskip("seg_perception.simulation.street", reason="rendering needs trimesh and embreex")

from box_scenes import CLASSES

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.labels import LabelFolder
from seg_perception.simulation.labels import Label
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
    return _remapped(document, cache, frames, {8: 2})


def _remapped(
    document: dict[str, Any], cache: Path, frames: int, remap: dict[int | str, int], classes: Any = CLASSES
) -> Source:
    entry = {"cache": str(cache), "frames": frames, "first_seed": 2, "size": [64, 48], "remap": remap}
    document["train"] = {"simulation": [entry]}
    config = TrainingConfig.from_dict(document)
    (source,) = load_sources(config, config.train, ClassTable.from_dicts(classes))
    return source


def _seen(source: Source) -> set[int]:
    return {int(value) for _, labels in source.samples for value in np.unique(labels)}


def test_classes_of_the_simulator_are_known_by_name(
    document: dict[str, Any], tmp_path: Path, rendered: list[int]
) -> None:
    assert rendered == []
    with pytest.raises(DataError, match=r"label 8 \(car\) is not in the class table"):
        _seen(_remapped(document, tmp_path, 1, {}))
    assert _seen(_remapped(document, tmp_path, 1, {"car": 1})) == {1}
    named = [{**CLASSES[0], "name": "car"}, *CLASSES[1:]]
    assert _seen(_remapped(document, tmp_path, 1, {}, named)) == {0}


def test_the_simulators_classes_are_those_that_the_labels_are_read_as(tmp_path: Path) -> None:
    table = ClassTable.load(Path(__file__).parents[2] / "config" / "classes" / "camvid.yaml")
    picture = np.array([[int(label) for label in Label]], np.uint8)
    assert cv2.imwrite(str(tmp_path / "0.png"), picture)
    named = {entry.name: entry.id for entry in table.classes}
    expected = [named.get(label.name.lower(), 255) for label in Label]
    found = LabelFolder(tmp_path, "camvid", table).read("0")
    assert found is not None and found.tolist() == [expected] and len(set(expected)) == 12


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
