"""Losses see labelled pixels alone, and are least where the prediction is right."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from seg_perception.training.config import LOSSES
from seg_perception.training.losses import SegmentationLoss, class_weights

N = 3


@pytest.fixture()
def labels() -> torch.Tensor:
    labels = torch.randint(0, N, (2, 8, 12), generator=torch.Generator().manual_seed(0))
    labels[:, :2] = 255
    return labels


@pytest.fixture()
def logits() -> torch.Tensor:
    return torch.randn((2, N, 8, 12), generator=torch.Generator().manual_seed(1))


def _loss(**shares: float) -> SegmentationLoss:
    return SegmentationLoss(torch.ones(N), shares, label_smoothing=0.0)


@pytest.mark.parametrize("name", LOSSES)
def test_unlabelled_pixels_do_not_count(name: str, logits: torch.Tensor, labels: torch.Tensor) -> None:
    other = logits.clone()
    other[:, :, :2] = 50 * torch.randn((2, N, 2, 12))
    torch.testing.assert_close(_loss(**{name: 1.0})(other, labels), _loss(**{name: 1.0})(logits, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_the_truth_is_better_than_anything_else(name: str, logits: torch.Tensor, labels: torch.Tensor) -> None:
    loss = _loss(**{name: 1.0})
    truth = 20.0 * torch.nn.functional.one_hot(labels.clamp(max=N - 1), N).permute(0, 3, 1, 2) - 10.0
    assert float(loss(truth, labels)) < 0.05
    assert float(loss(-truth, labels)) > float(loss(logits, labels)) > float(loss(truth, labels)) + 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_labelled_is_no_loss(name: str, logits: torch.Tensor) -> None:
    logits.requires_grad_()
    loss = _loss(**{name: 1.0})(logits, torch.full((2, 8, 12), 255))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_single_label_is_a_loss_wherever_it_is(name: str, logits: torch.Tensor) -> None:
    for v, u in ((0, 0), (1, 1), (7, 4)):
        labels = torch.full((2, 8, 12), 255)
        labels[0, v, u] = 1
        loss = _loss(cross_entropy=1.0, **({name: 1.0} if name != "cross_entropy" else {}))(logits, labels)
        assert loss.ndim == 0 and float(loss) > 0


def test_a_mixture_is_the_weighted_sum(logits: torch.Tensor, labels: torch.Tensor) -> None:
    shares = {"cross_entropy": 1.0, "dice": 0.5, "focal": 2.0, "lovasz": 0.25}
    parts = sum(share * _loss(**{name: 1.0})(logits, labels) for name, share in shares.items())
    torch.testing.assert_close(_loss(**shares)(logits, labels), parts)


def test_cross_entropy_is_weighted_by_class(logits: torch.Tensor, labels: torch.Tensor) -> None:
    weights = torch.tensor([0.2, 1.0, 5.0])
    found = SegmentationLoss(weights, {"cross_entropy": 1.0}, 0.0)(logits, labels)
    expected = torch.nn.functional.cross_entropy(logits, labels, weights, ignore_index=255)
    torch.testing.assert_close(found, expected)


def test_rare_classes_weigh_more() -> None:
    weights = class_weights(np.array([0.9, 0.09, 0.01, 0.0]), balance=0.5).numpy()
    np.testing.assert_allclose(weights, [(0.09 / 0.9) ** 0.5, 1.0, 3.0, 1.0], rtol=1e-6)
    assert class_weights(np.array([0.98, 0.0199, 1e-4]), balance=1.0).numpy() == pytest.approx([0.2, 1.0, 5.0])
