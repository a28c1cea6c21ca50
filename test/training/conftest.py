"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from box_scenes import CLASSES, configuration, write_scenes


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train/, val/ and classes.yaml; not to be written to."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "train", 8, seed=1)
    write_scenes(folder / "val", 4, seed=2)
    (folder / "classes.yaml").write_text(yaml.safe_dump({"classes": CLASSES}))
    return folder


@pytest.fixture()
def document(scenes: Path) -> dict[str, Any]:
    """A configuration to change at will."""
    return configuration(scenes)


@pytest.fixture(scope="session")
def exported(training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `training`; not to be written to."""
    from seg_perception.cli import main

    out = tmp_path_factory.mktemp("exported") / "boxes"
    assert main(["export", "--training", str(training), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def training(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a short training that has learned the scenes; not to be written to."""
    from seg_perception.core.classes import ClassTable
    from seg_perception.training.config import TrainingConfig
    from seg_perception.training.data import load_sources
    from seg_perception.training.trainer import Trainer

    document = configuration(scenes)
    document["schedule"].update(steps=60, validate_every=60)
    config, table = TrainingConfig.from_dict(document), ClassTable.from_dicts(CLASSES)
    folder = tmp_path_factory.mktemp("training")
    sources = (load_sources(config, part, table) for part in (config.train, config.validation))
    Trainer(config, table, *sources, folder).fit()
    return folder
