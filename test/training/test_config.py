"""A wrong configuration is refused in one line that names the place, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from seg_perception.core.errors import TrainingError
from seg_perception.training.config import TrainingConfig

SHIPPED = sorted((Path(__file__).parents[2] / "config" / "training").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    config = TrainingConfig.load(path)
    assert config.resolve(config.classes).is_file()


def test_survives_the_way_to_yaml_and_back(document: dict[str, Any]) -> None:
    config = TrainingConfig.from_dict(document)
    assert TrainingConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("schedule", {"step": 3}, "schedule: unknown key step; known: steps"),
        ("schedule", {"minutes": 3}, "schedule: give either steps or minutes"),
        ("schedule", {"batch": 0}, "schedule: batch: is 0; allowed: at least 1"),
        ("schedule", {"learning_rate": "fast"}, "schedule: learning_rate: is 'fast'; must be float"),
        ("schedule", {"bf16": 1}, "schedule: bf16: is 1; must be bool"),
        ("augment", {"scale": [2.0, 0.5]}, r"augment: scale: is \[2.0, 0.5\]; allowed: \[low, high\]"),
        ("train", {"folders": []}, "train: no source"),
        ("train", {"folders": [{"void": []}]}, r"folders\[0\]: key path is missing"),
        ("train", {"folders": [{"path": "train", "share": 0}]}, r"folders\[0\]: share: is 0"),
        ("train", {"folders": [{"path": "x", "layout": "kitti"}]}, "layout: is 'kitti'; allowed: ids, colour, camvid"),
        ("train", {"folders": [{"path": "x", "layout": "voc"}]}, "split: is ''; allowed: a name, for voc"),
        ("train", {"folders": [{"path": "x", "split": "train"}]}, "split: is 'train'; allowed: no name, for ids"),
        ("train", {"folders": [{"path": "x", "region": [0, 0.9, 1, 0.5]}]}, r"region: is \[0.0, 0.9, 1.0, 0.5\]"),
        ("train", {"folders": [{"path": "x", "remap": {"rider": "car"}}]}, "remap: rider: is 'car'; must be int"),
        ("train", {"folders": [{"path": "x", "remap": {1.5: 2}}]}, "remap: key 1.5: is 1.5; must be int or str"),
        ("train", {"bags": [{"path": "b", "image_topic": "/i", "cache": "c"}]}, "give either label_topic or labels"),
        ("schedule", {"policy": "step"}, "policy: is 'step'; allowed: cosine, one_cycle, plateau"),
        (
            "schedule",
            {"cross_entropy": 0, "dice": 0},
            "cross_entropy, dice, focal, lovasz: is 0; allowed: at least one",
        ),
        ("schedule", {"weight_decay": -0.1}, "weight_decay: is -0.1; allowed: 0 or more"),
        ("schedule", {"focal": -1}, "focal: is -1.0; allowed: 0 or more"),
        ("export", {"min_agreement": 98}, "export: min_agreement: is 98.0; allowed: 0 … 1"),
        ("export", {"max_miou_drop": -1}, "max_miou_drop: is -1.0; allowed: 0 … 1"),
        ("export", {"max_class_drop": 1.5}, "max_class_drop: is 1.5; allowed: 0 … 1"),
        ("export", {"max_obstacle_to_ground": float("nan")}, "max_obstacle_to_ground: is nan; allowed: 0 … 1"),
    ],
)
def test_wrong_values_are_named(document: dict[str, Any], section: str, change: dict[str, Any], message: str) -> None:
    document[section] = {**document[section], **change}
    with pytest.raises(TrainingError, match=message):
        TrainingConfig.from_dict(document, "mine.yaml")


@pytest.mark.parametrize("content", [None, b"name: [", "name: Straße".encode("latin-1"), b"name: 2024-13-45"])
def test_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"mine\.yaml: cannot read"):
        TrainingConfig.load(path)


def test_a_section_that_is_there_twice_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document) + "train: {folders: [{path: val}]}\n")
    with pytest.raises(TrainingError, match=r"mine\.yaml: .*line \d+: train is listed twice; make it one entry"):
        TrainingConfig.load(path)


def test_configurations_of_before_stay_readable(document: dict[str, Any]) -> None:
    """What a checkpoint of the first version says of itself."""
    plain = TrainingConfig.from_dict(document).to_dict()
    for name in ("accumulate", "policy", "patience", "cross_entropy", "focal", "lovasz", "memory_gb"):
        del plain["schedule"][name]
    del plain["model"]["weights"]
    for part in ("train", "validation"):
        del plain[part]["bags"]
        for folder in plain[part]["folders"]:
            for name in ("layout", "split", "remap", "region"):
                del folder[name]
    assert TrainingConfig.from_dict(plain) == TrainingConfig.from_dict(document)


def test_a_seed_that_no_generator_takes_is_named(document: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="seed: is -1; allowed: 0 or more"):
        TrainingConfig.from_dict({**document, "seed": -1})
