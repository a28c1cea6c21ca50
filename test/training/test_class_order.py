"""Output i of a network is class i: every command refuses tables that say otherwise before it writes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from box_scenes import CLASSES

from seg_perception.cli import main
from seg_perception.training import checkpoint

WRONG = {"from one": (1, 2, 3), "backwards": (2, 1, 0), "with a gap": (0, 1, 7)}


@pytest.fixture(params=WRONG.values(), ids=WRONG)
def classes(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return [entry | {"id": number} for entry, number in zip(CLASSES, request.param, strict=True)]


def _refuses(words: list[Any], out: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    code = main([str(word) for word in (*words, "--out", out)])
    said = capsys.readouterr().err
    return code == 2 and f"{source}: class " in said and "list the ids 0..2 in order" in said and not out.exists()


def test_tables_of_networks_to_be(
    classes: list[dict[str, Any]],
    document: dict[str, Any],
    training: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, config, out = tmp_path / "classes.yaml", tmp_path / "config.yaml", tmp_path / "out"
    table.write_text(yaml.safe_dump({"classes": classes}))
    config.write_text(yaml.safe_dump(document | {"classes": str(table)}))
    imported = ["import", tmp_path / "model.onnx", "--classes", table]
    assert _refuses(["train", "--config", config], out, table, capsys)
    assert _refuses(["distil", "--config", config, "--teacher", training], out, table, capsys)
    assert _refuses(imported, out, table, capsys)


def test_networks_that_were_trained_with_such_a_table(
    classes: list[dict[str, Any]], training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / checkpoint.BEST, tmp_path / "out"
    checkpoint.save(weights, checkpoint.load(training / checkpoint.BEST) | {"classes": classes})
    for command in ("prune", "qat", "export"):
        assert _refuses([command, "--training", tmp_path], out, weights, capsys)
