"""What a variant may lose: overall, in a class seen often enough to tell, and in obstacles that become ground."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="the gate needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="the gate needs ONNX Runtime: pip install -r requirements/runtime.txt")

from box_scenes import CLASSES

from seg_perception.core.classes import ClassTable
from seg_perception.core.metrics import confusion
from seg_perception.engines.base import Segmentation
from seg_perception.training.calibration import calibrate
from seg_perception.training.config import ExportConfig
from seg_perception.training.data import Source
from seg_perception.training.gate import Measured, class_drops, judge, measure

TABLE = ClassTable.from_dicts(CLASSES)
SKY, ROAD, BOX = range(3)
FREE = ExportConfig(max_miou_drop=1.0, max_class_drop=1.0, min_agreement=0.0, max_obstacle_to_ground=1.0)


def _source(labels: np.ndarray) -> Source:
    """(N, H, W) labels, with black images."""
    return Source("s", [(np.zeros((*one.shape, 3), np.uint8), one) for one in labels], 1.0)


def _measured(masks: np.ndarray, labels: np.ndarray) -> Measured:
    matrices = np.stack([confusion(mask, truth, 3) for mask, truth in zip(masks, labels, strict=True)])
    return Measured({"s": matrices}, {"s": masks}, {"s": 0.0})


def _scenes(count: int, with_box: int) -> np.ndarray:
    """(count, 20, 20) labels: sky over road, and a box in the first `with_box`."""
    labels = np.full((count, 20, 20), SKY, np.uint8)
    labels[:, 10:] = ROAD
    labels[:with_box, 5:10, 5:10] = BOX
    return labels


def test_obstacles_that_became_ground_are_counted() -> None:
    labels = _scenes(1, 1)
    blind = labels.copy()
    blind[0, 5, 5:10] = ROAD
    limits = dataclasses.replace(FREE, max_obstacle_to_ground=0.1)
    exact = _measured(labels, labels)
    verdict = judge("blind", _measured(blind, labels), exact, [_source(labels)], TABLE, limits)
    assert verdict.scores["obstacle_to_ground"] == pytest.approx(5 / 25)
    assert [failure.split(" ")[0] for failure in verdict.failures] == ["obstacle"]
    assert judge("same", exact, exact, [_source(labels)], TABLE, limits).passed


def test_obstacles_that_the_reference_calls_ground_are_not_counted_again() -> None:
    labels = _scenes(1, 1)
    blind = labels.copy()
    blind[0, 5:10, 5:10] = ROAD
    same = judge("b", _measured(blind, labels), _measured(blind, labels), [_source(labels)], TABLE, FREE)
    assert same.scores["obstacle_to_ground"] == 0


def test_a_runtime_that_spoils_the_confidence_is_refused() -> None:
    labels = _scenes(4, 1)
    exact = _measured(labels, labels)
    for ece, passes in ((0.02, True), (0.04, False)):
        spoilt = dataclasses.replace(exact, ece={"s": ece})
        verdict = judge("spoilt", spoilt, exact, [_source(labels)], TABLE, ExportConfig(), 0.01)
        assert verdict.passed == passes
        assert judge("uncalibrated", spoilt, exact, [_source(labels)], TABLE, ExportConfig()).passed


def test_default_limits() -> None:
    limits = ExportConfig()
    assert (limits.max_miou_drop, limits.max_class_drop, limits.max_obstacle_to_ground) == (0.005, 0.015, 0.001)


def test_a_stray_pixel_of_a_class_that_the_labels_lack_is_no_loss() -> None:
    labels = _scenes(20, 0)
    stray = labels.copy()
    stray[0, 0, 0] = BOX
    exact, limits = _measured(labels, labels), dataclasses.replace(FREE, max_miou_drop=0.005)
    assert judge("stray", _measured(stray, labels), exact, [_source(labels)], TABLE, limits).passed
    worse = labels.copy()
    worse[:, 9] = ROAD
    verdict = judge("worse", _measured(worse, labels), _measured(stray, labels), [_source(labels)], TABLE, limits)
    assert [failure.split(" 0")[0] for failure in verdict.failures] == ["mIoU drop on s"]


def test_loss_of_a_class_is_refused() -> None:
    labels = _scenes(20, 10)
    worse = labels.copy()
    worse[:10, 5, 5] = SKY
    limits = dataclasses.replace(FREE, max_class_drop=0.015)
    verdict = judge("w", _measured(worse, labels), _measured(labels, labels), [_source(labels)], TABLE, limits)
    assert verdict.scores["class_drop"] == pytest.approx(1 / 25, abs=1e-3)
    assert [failure.split(" (")[0] for failure in verdict.failures] == ["IoU drop of box on s 0.0400"]


@pytest.mark.parametrize(("with_box", "decides"), [(1, False), (2, False), (10, True)])
def test_class_of_few_images_decides_nothing(with_box: int, decides: bool) -> None:
    labels = _scenes(40, with_box)
    worse = np.where(labels == BOX, SKY, labels).astype(np.uint8)
    drops = class_drops(_measured(worse, labels), _measured(labels, labels), TABLE)
    assert ("box on s" in drops) == decides


def test_loss_here_and_gain_there_is_chance() -> None:
    labels = _scenes(20, 20)
    first, second = labels.copy(), labels.copy()
    first[:11, 5, 5] = SKY
    second[11:, 5, 5] = SKY
    assert class_drops(_measured(first, labels), _measured(second, labels), TABLE) == {}


class _HalfSure:
    """Right on every pixel, and says 50 %."""

    input_size = (20, 20)
    description = "half sure"

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = iter(labels)

    def infer(self, image_bgr: np.ndarray) -> Segmentation:
        mask = next(self._labels)
        return Segmentation(mask, np.full(mask.shape, 128, np.uint8))


def test_calibration_error_of_an_engine() -> None:
    labels = _scenes(3, 1)
    found = measure(_HalfSure(labels), [_source(labels)], 3)
    assert found.mean_ece == pytest.approx(0.5, abs=0.01)
    assert found.miou["s"] == 1


def _confident(image: np.ndarray) -> np.ndarray:
    """Right on 80 % of the pixels, and wildly sure of all."""
    wrong = np.random.default_rng(0).random(image.shape[:2]) < 0.2
    return np.where([~wrong, wrong], np.float32(4), np.float32(0))


def test_temperature_makes_confidence_honest() -> None:
    sample = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8)
    result = calibrate(_confident, [Source("all of class 0", [sample], 1.0)])
    assert result.temperature > 2
    assert result.ece_before > 0.15
    assert result.ece_after < 0.05


def _sources_of_other_difficulty() -> list[Source]:
    """The first pixels of an image are labelled, the rest of the second source's is not: 2000 and 100 pixels."""
    easy, hard = np.zeros((40, 50), np.uint8), np.full((40, 50), 255, np.uint8)
    hard.flat[:100] = 0
    return [
        Source(name, [(np.zeros((40, 50, 3), np.uint8), labels)], 1.0) for name, labels in (("a", easy), ("b", hard))
    ]


def test_every_source_counts_the_same_in_the_calibration() -> None:
    def logits(image: np.ndarray) -> np.ndarray:
        """Right on all pixels but the first hundred, of which it is right on half; always as sure."""
        wrong = np.zeros(image.shape[:2], bool)
        wrong.flat[:100:2] = True
        return np.where([~wrong, wrong], np.float32(2), np.float32(0))

    easy, hard = _sources_of_other_difficulty()
    alone = [calibrate(logits, [source]).temperature for source in (easy, hard)]
    both = calibrate(logits, [easy, hard])
    assert alone[0] < 0.9 and alone[1] > 3.9
    assert 1.2 < both.temperature < 3.5
    errors = [calibrate(logits, [source]).ece_before for source in (easy, hard)]
    assert both.ece_before == pytest.approx(np.mean(errors))


def test_a_runtime_that_does_not_reproduce_the_golden_mask_is_refused() -> None:
    labels = _scenes(4, 1)
    verdict = judge("exact", _measured(labels, labels), _measured(labels, labels), [_source(labels)], TABLE, FREE)
    assert verdict.and_golden(0.99, "cpu") == verdict and verdict.passed
    assert verdict.and_golden(0.95, "cpu").failures == ("golden mask as on cpu 0.9500 (limit 0.98)",)
