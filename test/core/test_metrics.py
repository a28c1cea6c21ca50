"""Scores against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg_perception.core import metrics
from seg_perception.core.errors import DataError

ids = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 3, 255]))


@given(ids, ids)
def test_iou_is_intersection_over_union(mask: np.ndarray, labels: np.ndarray) -> None:
    matrix = metrics.confusion(mask, labels, 4)
    counted = (labels < 4) & (mask < 4)
    for c, value in enumerate(metrics.iou(matrix)):
        union = counted & ((mask == c) | (labels == c))
        both = counted & (mask == c) & (labels == c)
        assert np.isnan(value) if not union.any() else value == pytest.approx(both.sum() / union.sum())


def test_mean_iou_leaves_absent_classes_out() -> None:
    labels = np.array([[0, 0, 1, 1]], np.uint8)
    mask = np.array([[0, 0, 1, 0]], np.uint8)
    matrix = metrics.confusion(mask, labels, 5)
    assert metrics.mean_iou(matrix) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics.pixel_accuracy(matrix) == 0.75
    assert np.isnan(metrics.mean_iou(np.zeros((5, 5), np.int64)))


def test_a_class_that_the_labels_lack_counts_against_those_that_it_covers() -> None:
    labels = np.array([[0, 0, 1, 1]], np.uint8)
    matrix = metrics.confusion(np.array([[0, 4, 1, 1]], np.uint8), labels, 5)
    assert metrics.mean_iou(matrix) == pytest.approx((1 / 2 + 1) / 2)
    assert metrics.mean_dice(matrix) == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.iou(matrix)[4] == 0.0 and np.isnan(metrics.mean_dice(np.zeros((5, 5), np.int64)))


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match="resize"):
        metrics.confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)


def test_grid_score_counts_each_kind_of_cell() -> None:
    occupancy = np.array([[0, 24, 25, 64, 65, 100, -1, -1]], np.int8)
    everywhere = np.ones(occupancy.shape, bool)
    nowhere = ~everywhere
    as_obstacles, as_ground = metrics.GridScore(), metrics.GridScore()
    as_obstacles.update(occupancy, everywhere, nowhere, everywhere, everywhere, everywhere)
    as_ground.update(occupancy, nowhere, everywhere, everywhere, nowhere, everywhere)
    one, two = as_obstacles.result(), as_ground.result()
    assert (one["false_free"], one["occupied_recall"], one["hidden_unknown"]) == (2 / 8, 2 / 8, 2 / 8)
    assert (two["free_recall"], two["false_occupied"]) == (2 / 8, 2 / 8)
    assert np.isnan(two["hidden_unknown"]) and two["cells"] == 8


def test_grid_score_looks_only_where_it_is_told_to() -> None:
    score = metrics.GridScore()
    everywhere = np.ones((1, 4), bool)
    within = np.array([[True, False, False, False]])
    score.update(np.zeros((1, 4), np.int8), everywhere, ~everywhere, everywhere, ~everywhere, within)
    assert score.result()["cells"] == 1
