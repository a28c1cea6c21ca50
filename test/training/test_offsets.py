"""Offsets of the logits undo what a network believes too often."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from seg_perception.core.classes import UNLABELLED, ClassTable
from seg_perception.core.metrics import confusion, mean_iou
from seg_perception.models.build import PixelClassifier
from seg_perception.models.deploy import PIXEL_MEAN, PIXEL_STD, Deployed
from seg_perception.training.data import Source
from seg_perception.training.offsets import fit_offsets

LEVELS = (40, 110, 180)
"""Brightness of the three classes."""


def table(*kinds: str) -> ClassTable:
    return ClassTable.from_dicts(
        [{"id": i, "name": f"class {i}", "color": [i, i, i], "cost": 0, "kind": k} for i, k in enumerate(kinds)]
    )


ALL_OBSTACLES = table("obstacle", "obstacle", "obstacle")


class Brightness(torch.nn.Module):
    """The log-likelihood of every class at a pixel's brightness, and a belief that it has without looking."""

    def __init__(self, belief: tuple[float, float, float]) -> None:
        super().__init__()
        self.levels = torch.nn.Parameter((torch.tensor(LEVELS, dtype=torch.float32) - PIXEL_MEAN) / PIXEL_STD)
        self.belief = torch.nn.Parameter(torch.tensor(belief))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        distance = image[:, :1] - self.levels.reshape(1, 3, 1, 1)
        return -2.0 * distance**2 + self.belief.reshape(1, 3, 1, 1)


def scenes(seed: int) -> Source:
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(4):
        labels = rng.choice(3, (48, 64), p=(0.45, 0.1, 0.45)).astype(np.uint8)
        noisy = np.array(LEVELS)[labels] + rng.normal(0.0, 25.0, labels.shape)
        labels[:4] = UNLABELLED
        samples.append((np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), labels))
    return Source("scenes", samples, 1.0)


def nothing() -> Source:
    """Images without labels."""
    return Source("nothing", [(image, np.full_like(labels, UNLABELLED)) for image, labels in scenes(0).samples], 1.0)


def miou(deployed: Deployed, source: Source) -> float:
    matrix = sum(confusion(deployed(torch.from_numpy(image)[None])[0][0].numpy(), y, 3) for image, y in source.samples)
    return mean_iou(np.asarray(matrix))


def test_a_class_that_is_believed_in_too_often_is_taken_back() -> None:
    network = PixelClassifier(Brightness((0.0, 2.5, 0.0)), multiple=1)
    plain = Deployed(network)
    offsets = fit_offsets(plain, [scenes(0)], [scenes(2)], ALL_OBSTACLES)
    assert offsets is not None
    assert offsets[1] - offsets[[0, 2]].mean() == pytest.approx(-2.5, abs=1.0)
    assert miou(Deployed(network, offsets=offsets), scenes(1)) > miou(plain, scenes(1)) + 0.1


def test_what_is_never_seen_stays_as_it_is() -> None:
    source = scenes(0)
    for _, labels in source.samples:
        labels[labels == 1] = 0
    network = PixelClassifier(Brightness((1.0, -9.0, 0.0)), multiple=1)
    offsets = fit_offsets(Deployed(network), [source, nothing()], [source, nothing()], ALL_OBSTACLES)
    assert offsets is not None and offsets[1] == 0.0


def test_without_labels_and_where_it_does_not_hold_elsewhere_there_are_none() -> None:
    plain = Deployed(PixelClassifier(Brightness((0.0, 2.5, 0.0)), multiple=1))
    mostly_middle = scenes(2)
    for _, labels in mostly_middle.samples:
        labels[4:] = 1
    assert fit_offsets(plain, [nothing()], [nothing()], ALL_OBSTACLES) is None
    assert fit_offsets(plain, [], [scenes(2)], ALL_OBSTACLES) is None
    assert fit_offsets(plain, [scenes(0)], [mostly_middle], ALL_OBSTACLES) is None


def test_obstacles_do_not_become_ground_for_a_better_score() -> None:
    network, source = PixelClassifier(Brightness((0.0, 2.5, 0.0)), multiple=1), scenes(0)

    def taken_for_ground(deployed: Deployed) -> int:
        pairs = ((deployed(torch.from_numpy(image)[None])[0][0].numpy(), labels) for image, labels in source.samples)
        return int(sum(confusion(*pair, 3)[1, [0, 2]].sum() for pair in pairs))

    plain = Deployed(network)
    offsets = fit_offsets(plain, [source], [source], table("ground", "obstacle", "ground"))
    assert offsets is None or taken_for_ground(Deployed(network, offsets=offsets)) <= taken_for_ground(plain)
