"""Samples: broken data sets are named file by file; the mixture keeps its shares and can be continued anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from box_scenes import CLASSES, HEIGHT, WIDTH, write_scenes

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.training.augment import augment
from seg_perception.training.config import AugmentConfig, TrainingConfig
from seg_perception.training.data import Mixture, Source, class_frequencies, load_sources


def _load(document: dict[str, Any], folder: Path) -> list[Source]:
    document["train"] = {"folders": [{"path": str(folder), "void": [3]}]}
    config = TrainingConfig.from_dict(document)
    return load_sources(config, config.train, ClassTable.from_dicts(CLASSES))


def test_void_becomes_unlabelled(document: dict[str, Any], scenes: Path) -> None:
    (source,) = _load(document, scenes / "train")
    _, labels = source.samples[0]
    assert set(np.unique(labels)) == {0, 1, 2, 255}
    assert (labels[0] == 255).all()


def test_samples_have_the_size_of_the_input(document: dict[str, Any], scenes: Path) -> None:
    document["input_size"] = [64, 32]
    image, labels = _load(document, scenes / "train")[0].samples[0]
    assert image.shape == (32, 64, 3)
    assert labels.shape == (32, 64)


def test_empty_folder_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="images: no image"):
        _load(document, tmp_path)


def _break_size(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "001.png"), np.zeros((10, 20), np.uint8))


def _break_id(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "001.png"), np.full((HEIGHT, WIDTH), 7, np.uint8))


def _break_channels(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "001.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def _remove_labels(folder: Path) -> None:
    (folder / "labels" / "001.png").unlink()


def _truncate_image(folder: Path) -> None:
    (folder / "images" / "001.png").write_bytes(b"\x89PNG")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_break_size, r"images/001\.png: size \(96, 64\) differs from its labels' \(20, 10\)"),
        (_break_id, r"labels/001\.png: label 7 is not in the class table"),
        (_break_channels, r"labels/001\.png: has colours, this form of labels needs one channel"),
        (_remove_labels, r"images/001\.png: has no labels"),
        (_truncate_image, r"images/001\.png: cannot be decoded"),
    ],
)
def test_broken_pair_is_named(document: dict[str, Any], tmp_path: Path, damage: Any, message: str) -> None:
    write_scenes(tmp_path, 2, seed=3)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        _load(document, tmp_path)


def _flat_source(name: str, value: int, share: float) -> Source:
    sample = np.full((64, 64, 3), value, np.uint8), np.full((64, 64), value, np.uint8)
    return Source(name, [sample], share)


def test_mixture_draws_by_share_and_repeats_by_index() -> None:
    sources = [_flat_source("a", 0, 3.0), _flat_source("b", 1, 1.0)]
    mixture = Mixture(sources, AugmentConfig(crop=[32, 32]), seed=5)
    drawn = [int(mixture[index][1].min()) for index in range(400)]
    assert 0.19 < np.mean(drawn) < 0.31
    image, labels = mixture[17]
    again = Mixture(sources, AugmentConfig(crop=[32, 32]), seed=5)[17]
    assert (image == again[0]).all()
    assert (labels == again[1]).all()


def test_frequencies_follow_the_shares() -> None:
    sources = [_flat_source("a", 0, 3.0), _flat_source("b", 1, 1.0)]
    np.testing.assert_allclose(class_frequencies(sources, 3), [0.75, 0.25, 0.0])


@pytest.mark.parametrize("seed", range(20))
def test_labels_move_with_the_pixels(seed: int) -> None:
    """An image whose blue channel is its label stays so through every geometric change."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (8, 8)), np.ones((16, 16))).astype(np.uint8)
    image = np.repeat(labels[..., None] * 60, 3, axis=2)
    config = AugmentConfig(crop=[96, 80], colour=0.0, blur=0.0, noise=0.0)
    crop, truth = augment(image, labels, config, rng)
    assert crop.shape == (80, 96, 3)
    inside = truth != 255
    assert inside.mean() > 0.3
    wrong = np.abs(crop[inside, 0].astype(int) - truth[inside].astype(int) * 60) > 30
    assert wrong.mean() < 0.05
