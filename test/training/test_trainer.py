"""Training: learns, continues after an interruption as if there had been none, and stops before it does harm."""

from __future__ import annotations

import csv
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from box_scenes import CLASSES

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import TrainingError
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import load_sources
from seg_perception.training.trainer import Trainer


def _trainer(document: dict[str, Any], out: Path) -> Trainer:
    config = TrainingConfig.from_dict(document)
    table = ClassTable.from_dicts(CLASSES)
    train = load_sources(config, config.train, table)
    return Trainer(config, table, train, load_sources(config, config.validation, table), out)


def _log(out: Path) -> list[dict[str, str]]:
    with open(out / "log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_learns_and_leaves_its_records(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"].update(steps=60, validate_every=20)
    assert _trainer(document, tmp_path).fit()
    rows = _log(tmp_path)
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    (score,) = (float(value) for key, value in rows[-1].items() if key.startswith("miou "))
    assert score > 0.7
    assert (tmp_path / "curves.png").stat().st_size > 0
    (best,) = checkpoint.load(tmp_path / checkpoint.BEST)["scores"].values()
    assert best >= score


def test_resumed_training_equals_the_uninterrupted_one(document: dict[str, Any], tmp_path: Path) -> None:
    _trainer(document, tmp_path / "whole").fit()

    killed = _trainer(document, tmp_path / "parts")
    _stop_at(killed, step=6)
    assert not killed.fit()
    resumed = _trainer(document, tmp_path / "parts")
    resumed.resume()
    assert resumed.step == 6
    assert resumed.fit()

    whole = checkpoint.load(tmp_path / "whole" / checkpoint.LAST)
    parts = checkpoint.load(tmp_path / "parts" / checkpoint.LAST)
    for name, weights in whole["average"].items():
        torch.testing.assert_close(parts["average"][name], weights, msg=name)
    columns = [key for key in _log(tmp_path / "whole")[0] if key not in ("elapsed_s", "loss")]
    rows = [[[row[key] for key in columns] for row in _log(tmp_path / part)] for part in ("whole", "parts")]
    assert rows[0] == rows[1]


def _stop_at(trainer: Trainer, step: int) -> None:
    """Send this process SIGTERM, as `kill` does, after a step."""

    def hook(*_: object) -> None:
        if trainer.step == step - 1 and trainer.network.training:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.network.register_forward_hook(hook)


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(document: dict[str, Any], tmp_path: Path) -> None:
    trainer = _trainer(document, tmp_path)

    def poison(_: object, __: object, logits: Any) -> Any:
        return logits * math.nan if trainer.step == 6 else logits

    trainer.network.register_forward_hook(poison)
    with pytest.raises(TrainingError, match=r"step 6: the loss is nan; the last good state is .*last\.pt"):
        trainer.fit()
    state = checkpoint.load(tmp_path / checkpoint.LAST)
    assert state["step"] == 4
    assert all(torch.isfinite(weights).all() for weights in state["network"].values())


def test_another_model_is_not_resumed(document: dict[str, Any], tmp_path: Path) -> None:
    document["schedule"]["steps"] = 1
    _trainer(document, tmp_path).fit()
    document["model"] = {**document["model"], "options": {"channels": [8, 16, 16, 16]}}
    with pytest.raises(TrainingError, match="was trained with another model"):
        _trainer(document, tmp_path).resume()


def test_damaged_checkpoint_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / checkpoint.LAST).write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=r"last\.pt: not a checkpoint"):
        _trainer(document, tmp_path).resume()


def test_unknown_encoder_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    document["model"] = {"architecture": "unet", "encoder": "tu-nonsense"}
    with pytest.raises(TrainingError, match="tu-nonsense"):
        _trainer(document, tmp_path)
