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
    ],
)
def test_wrong_values_are_named(document: dict[str, Any], section: str, change: dict[str, Any], message: str) -> None:
    document[section] = {**document[section], **change}
    with pytest.raises(TrainingError, match=message):
        TrainingConfig.from_dict(document, "mine.yaml")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none\.yaml: cannot read"):
        TrainingConfig.load(tmp_path / "none.yaml")
