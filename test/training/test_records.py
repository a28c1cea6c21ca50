"""What a validation says about a network, and so which one is called the best."""

from __future__ import annotations

import numpy as np
import pytest
from box_scenes import CLASSES

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from seg_perception.core.classes import ClassTable
from seg_perception.training.records import Scores


def test_a_stray_pixel_of_a_class_without_labels_does_not_choose_the_network() -> None:
    worse = np.array([[900, 100, 0], [100, 900, 0], [0, 0, 0]])
    better = np.array([[959, 40, 1], [40, 960, 0], [0, 0, 0]])
    assert Scores({"val": better}).overall > Scores({"val": worse}).overall + 0.05
    row = Scores({"val": better}).row(ClassTable.from_dicts(CLASSES))
    assert row["dice val"] == pytest.approx(0.96, abs=1e-3) and row["iou val box"] == 0.0
