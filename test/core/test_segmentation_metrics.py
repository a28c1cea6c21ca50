"""The scores of masks are those that torchmetrics computes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="compares with torchmetrics, which needs torch")
pytest.importorskip("torchmetrics", reason="pip install -r requirements/test.txt")

from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from seg_perception.core.metrics import confusion, dice, iou, mean_dice, mean_iou, pixel_accuracy

N = 5


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), present=st.sets(st.integers(0, N - 1), min_size=1), void=st.floats(0, 0.5))
def test_equal_to_torchmetrics(seed: int, present: set[int], void: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(sorted(present), (17, 23)).astype(np.uint8)
    mask = np.where(rng.random(labels.shape) < 0.6, labels, rng.integers(0, N, labels.shape)).astype(np.uint8)
    labels[rng.random(labels.shape) < void] = 255
    matrix = confusion(mask, labels, N)

    predicted, truth = torch.from_numpy(mask).long().ravel(), torch.from_numpy(labels).long().ravel()
    options = {"num_classes": N, "ignore_index": 255}
    np.testing.assert_array_equal(matrix, multiclass_confusion_matrix(predicted, truth, **options))
    occurs = np.isfinite(iou(matrix))
    theirs = multiclass_jaccard_index(predicted, truth, average="none", **options).numpy()
    np.testing.assert_allclose(iou(matrix)[occurs], theirs[occurs], atol=1e-6)
    f1 = multiclass_f1_score(predicted, truth, average="none", **options).numpy()
    np.testing.assert_allclose(dice(matrix)[occurs], f1[occurs], atol=1e-6)
    if occurs.any():
        labelled = matrix.any(1)
        assert mean_iou(matrix) == pytest.approx(theirs[labelled].mean(), abs=1e-6)
        assert mean_dice(matrix) == pytest.approx(f1[labelled].mean(), abs=1e-6)
        if labelled.all():
            macro = multiclass_jaccard_index(predicted, truth, average="macro", **options)
            assert mean_iou(matrix) == pytest.approx(float(macro), abs=1e-6)
        accuracy = multiclass_accuracy(predicted, truth, average="micro", **options)
        assert pixel_accuracy(matrix) == pytest.approx(float(accuracy), abs=1e-6)
