"""Mask R-CNN learns from instances, and does with a fixed number of boxes what torchvision's does with any."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import TrainingError
from seg_perception.models.build import InstanceClassifier, build
from seg_perception.models.deploy import Deployed, normalise
from seg_perception.training.instances import MOST, SMALLEST, instances_of
from seg_perception.training.objective import OfInstances
from seg_perception.training.qat import round_convolutions

CLASSES = 3
SIZE = (64, 96)
OPTIONS = {"channels": [8, 8, 16, 16], "pyramid_channels": 16, "proposals": 40, "detections": 10}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Of many small operators, two threads make a slower step wherever something else runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _network() -> InstanceClassifier:
    torch.manual_seed(0)
    network = build("mask_rcnn", "tu-resnet10t", OPTIONS, CLASSES)
    assert isinstance(network, InstanceClassifier)
    return network


@pytest.fixture(scope="module")
def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of a ground (class 0), a sky (1) and a box (2), and their labels."""
    labels = torch.zeros((2, *SIZE), dtype=torch.uint8)
    labels[:, :30] = 1
    labels[0, 20:50, 10:40] = labels[1, 10:50, 60:80] = 2
    colours = torch.tensor([[40, 40, 40], [230, 180, 120], [30, 30, 220]], dtype=torch.uint8)
    return colours[labels.long()], labels


@pytest.fixture(scope="module")
def trained(scene: tuple[torch.Tensor, torch.Tensor]) -> InstanceClassifier:
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(40):
        loss = OfInstances()(network.train(), *scene)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def test_it_learns_a_scene_from_its_instances(
    trained: InstanceClassifier, scene: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = scene
    with torch.inference_mode():
        masks = trained(normalise(images)).argmax(1)
    for index in range(CLASSES):
        found, true = masks == index, labels == index
        assert (found & true).sum() / (found | true).sum() > 0.6, f"class {index}"


def test_its_masks_are_those_of_torchvisions_detections(
    trained: InstanceClassifier, scene: tuple[torch.Tensor, torch.Tensor]
) -> None:
    image = normalise(scene[0][:1])
    detector = trained.network.detector
    with torch.inference_mode():
        mask = trained(image)[0].argmax(0)
        features = detector.backbone(image)
        proposals, _ = detector.rpn(ImageList(image, [SIZE]), features)
        (found,), _ = detector.roi_heads(features, proposals, [SIZE])
    likely = found["scores"][:, None, None] * paste_masks_in_image(found["masks"], found["boxes"], SIZE)[:, 0]
    by_class = torch.stack([(likely * (found["labels"] == c + 1)[:, None, None]).amax(0) for c in range(CLASSES)])
    found_there = by_class.amax(0) > 0.01
    assert found_there.float().mean() > 0.8
    assert (by_class.argmax(0) == mask)[found_there].float().mean() > 0.95


def test_where_nothing_is_found_the_confidence_is_that_of_chance() -> None:
    network = _network().eval()
    with torch.inference_mode():
        network.network.detector.roi_heads.box_predictor.cls_score.bias[0] = 50.0  # surely no object, anywhere
        _, confidence = Deployed(network, temperature=1.0)(torch.zeros((1, *SIZE, 3), dtype=torch.uint8))
    assert confidence.unique().tolist() == [255 // CLASSES]


def test_two_classes_are_refused_for_one_of_them_would_seem_likely() -> None:
    with pytest.raises(TrainingError, match="at least 3 classes, the table has 2"):
        build("mask_rcnn", "tu-resnet10t", OPTIONS, 2)


@pytest.mark.parametrize("option", [{"depth": 4}, {"output_stride": 16}])
def test_encoders_of_other_strides_are_refused(option: dict[str, int]) -> None:
    with pytest.raises(TrainingError, match=next(iter(option))):
        build("mask_rcnn", "resnet18", {**OPTIONS, **option}, CLASSES)


def test_connected_parts_of_every_class_are_instances() -> None:
    labels = np.full((40, 60), UNLABELLED, np.uint8)
    labels[5:25, 3:13] = labels[5:15, 30:50] = 2
    labels[30:40] = 0
    labels[0, : SMALLEST - 1] = 1  # too small
    found = instances_of(labels)
    assert found["labels"].tolist() == [1, 3, 3]
    assert sorted(found["boxes"].tolist()) == [[0, 30, 60, 40], [3, 5, 13, 25], [30, 5, 50, 15]]
    for mask, label in zip(found["masks"].bool(), found["labels"], strict=True):
        assert (labels[mask.numpy()] == int(label) - 1).all()
    assert found["masks"].sum() == (labels != UNLABELLED).sum() - (SMALLEST - 1)


def test_the_largest_instances_are_kept() -> None:
    labels = np.full((200, 200), UNLABELLED, np.uint8)
    for row, column in np.ndindex(12, 12):
        side = 5 if row < 6 else 6
        labels[16 * row :, 16 * column :][:side, :side] = 0
    masks = instances_of(labels)["masks"]
    areas = masks.sum((1, 2)).tolist()
    assert len(areas) == MOST and areas.count(36) == 72


@pytest.mark.parametrize("rounded", [False, True])
def test_images_without_labels_give_a_finite_loss(rounded: bool, scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = scene
    network = _network().train()
    if rounded:
        round_convolutions(network)
    for unlabelled in (slice(0, 1), slice(0, 2)):
        partly = labels.clone()
        partly[unlabelled] = UNLABELLED
        loss = OfInstances()(network, images, partly)
        loss.backward()
        assert torch.isfinite(loss)
