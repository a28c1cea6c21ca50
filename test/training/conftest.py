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
