"""The table of a training: what it is given back, and what it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="training needs: pip install -r requirements/train.txt")

from seg_perception.core.errors import TrainingError
from seg_perception.training.history import History


@pytest.fixture
def table(tmp_path: Path) -> Path:
    history = History(tmp_path / "log.csv")
    for step in (10, 20, 30):
        history.add({"step": step, "loss": 1.5, "learning_rate": 0.1})
    history.write(tmp_path / "curves.png")
    return tmp_path / "log.csv"


def test_rows_after_the_step_are_undone(table: Path) -> None:
    history = History(table)
    history.load(up_to=20)
    assert history.has(10) and history.has(20) and not history.has(30)


@pytest.mark.parametrize(
    "spoil", [lambda text: text.replace(",", ";"), lambda text: text.replace("1.5", "much"), lambda text: text[5:]]
)
def test_a_table_that_was_changed_is_told(table: Path, spoil) -> None:
    table.write_text(spoil(table.read_text()))
    with pytest.raises(TrainingError, match=r"log\.csv: is not the table that the training wrote"):
        History(table).load(up_to=20)
